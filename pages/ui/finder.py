"""The learning-rate finder as pages see it: the searches that fit the draft, their curves, and taking a rate."""

from __future__ import annotations

import time

import numpy as np

from finetune_core import figures, launch, store, sweep
from finetune_core.errors import UserError
from finetune_core.parts import Progress
from finetune_core.recipe import Phase, Recipe
from finetune_core.store import Run
from pages.ui import live, path, state
from pages.ui.chart import clicked

EARLIER = 3  # curves of earlier searches that stay in sight
LIMITS = (sweep.LOW, sweep.HIGH)
CHART = "finder-chart"
PLACE = "phases.0.learning_rate"

SUGGESTIONS = {
    "steepest": ("Steepest", "Where the loss falls fastest: bold, and usually right."),
    "valley": ("Valley", "The middle of the longest fall: steady on noisy curves."),
    "minimum_tenth": ("Minimum ÷ 10", "A tenth of where the loss is lowest: a safe step back from the blow-up."),
}


def searches(recipe: Recipe) -> list[Run]:
    """Searches on the same data and backbone as the draft, newest first."""
    return [run for run in store.list_runs(job="find") if _alike(run, recipe)][: EARLIER + 1]


def fits(run: Run, recipe: Recipe) -> bool:
    """Whether a search was made with what the draft thaws, its optimizer and batch size."""
    return _question(run.recipe) == _question(recipe)


def begin(recipe: Recipe) -> None:
    """Start a search in a worker; what stops it becomes a notice on the page."""
    try:
        run = store.create(recipe, job="find")
        launch.start(run)
    except UserError as error:
        state.note(error)


def stop(run: Run) -> None:
    """Ask the search to stop; its curve so far remains."""
    try:
        launch.stop(run)
    except UserError as error:
        state.note(error)


def curves(runs: list[Run]) -> list[figures.Curve]:
    """One curve per search, named by what was thawed and when."""
    found = [figures.curve(live.records(run), _name(run)) for run in runs]
    return [found[0], *(curve for curve in found[1:] if curve.lrs)] if found else []


def suggested(run: Run) -> tuple[dict[str, float | None], str]:
    """What a finished search suggests, and its remark where it suggests nothing."""
    last = next((row for row in reversed(live.records(run)) if row["kind"] == "suggestions"), {})
    return {key: last.get(key) for key in SUGGESTIONS}, last.get("note", "")


def take(rate: float) -> None:
    """Make this the draft's rate, with as many digits as one can mean."""
    state.edit_value(PLACE, float(f"{rate:.3g}"))


def picked() -> None:
    """Take the rate that was clicked on the chart."""
    rate = clicked(CHART)
    if rate is not None:
        take(rate)


def swept(phase: Phase) -> tuple[float, float]:
    """Between which rates nine in ten steps of the phase will lie."""
    steps = 200
    factors = [phase.schedule.multiplier(Progress(step, steps, steps)) for step in range(steps)]
    low, high = float(np.quantile(factors, 0.1)), max(factors)
    return max(phase.learning_rate * low, LIMITS[0]), phase.learning_rate * high


def _alike(run: Run, recipe: Recipe) -> bool:
    try:
        theirs = run.recipe
    except UserError:  # written by another version of Thaw
        return False
    return (theirs.data.source, theirs.model) == (recipe.data.source, recipe.model)


def _question(recipe: Recipe) -> tuple[object, ...]:
    phase, training = recipe.phases[0], recipe.training
    return set(phase.thaw), phase.multipliers, training.optimizer, training.batch_size


def _name(run: Run) -> str:
    when = time.strftime("%H:%M", time.localtime(run.status.started))
    return f"{path.thaw_words(run.recipe)} ({when})"
