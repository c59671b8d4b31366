"""The learning-rate finder as pages see it: the searches that fit the draft, their curves, and taking a rate."""

from __future__ import annotations

import time
from itertools import islice
from typing import Any

import numpy as np
import streamlit as st

from finetune_core import figures
from finetune_core.errors import UserError
from finetune_core.finder import sweep
from finetune_core.finder.question import question, same_ground
from finetune_core.network import catalogue
from finetune_core.parts import Progress
from finetune_core.recipe import Phase, Recipe
from finetune_core.recipe.names import matching
from finetune_core.recipe.words import phase_words
from finetune_core.runs import launch, store
from finetune_core.runs.jobs import RangeTest, RateJob
from finetune_core.runs.store import Run
from pages.ui.kit import live, phasing, starts, state
from pages.ui.kit.chart import clicked

EARLIER = 3  # curves of earlier searches that stay in sight
LIMITS = (sweep.LOW, sweep.HIGH)
CHART = "finder-chart"

SUGGESTIONS = {
    "steepest": ("Steepest", "Where the loss falls fastest: bold, and usually right."),
    "valley": ("Valley", "The middle of the longest fall: steady on noisy curves."),
    "minimum_tenth": ("Minimum ÷ 10", "A tenth of where the loss is lowest: a safe step back from the blow-up."),
}
LOWEST = ("Lowest loss", "Where the loss is lowest: there it has stopped falling, so the rate is too high (seed 003).")
SLIDE = ("Slide", "Where two points sliding down from the blow-up first fall alike: fastai's interval rule.")


TRIES = {1: "1 try", 3: "3 tries"}
DIRECTIONS = {False: "Low to high", True: "High to low"}


def next_search() -> RangeTest:
    """What the next search is to be, as chosen behind "More"."""
    group = state.value("find-group", "")
    return RangeTest(
        phase=phasing.index() + 1,
        tries=state.value("find-tries", 1),
        down=state.value("find-down", False),
        group=group if group in thawed(phasing.chosen()) else "",
    )


def start() -> str:
    """The checkpoint that the next search starts from, as chosen behind "More"; empty for the recipe's own weights."""
    file = state.value("find-start", "")
    return file if file and file in starts.known(state.draft()) else ""


def starting_recipe(recipe: Recipe) -> Recipe:
    """The recipe with the weights that a search starts from."""
    file = start()
    return starts.with_weights_of(recipe, file) if file else recipe


def thawed(phase: Phase) -> tuple[str, ...]:
    """The groups that a phase trains, as far as their names are known."""
    try:
        return matching(catalogue.layer_names(state.draft().model), phase.thaw)
    except UserError:
        return ()


def searches(recipe: Recipe) -> list[Run]:
    """Searches on the same data and backbone as the draft: a running one, those of the chosen phase, newest first."""
    found = [run for run in store.list_runs(job="find") if alike(run, recipe)]
    ranked = sorted(found, key=lambda run: not (run.status.active or fits(run, recipe)))
    return [*islice(filter(live.readable, ranked), EARLIER + 1)]


def fits(run: Run, recipe: Recipe) -> bool:
    """Whether a search was made with what the chosen phase thaws, its optimizer, batch size and start."""
    group = alone(run)
    return question(run.recipe, phase(run), group) == question(starting_recipe(recipe), phasing.chosen(), group)


def alone(run: Run | None) -> str:
    """The one group whose rate a search moved; empty where it moved all."""
    return rate_job(run).group if run else ""


def rate_job(run: Run) -> RateJob:
    """The search or race of a run."""
    return run.job_as(RateJob)


def phase(run: Run) -> Phase:
    """The phase that a search was made for."""
    return run.recipe.phases[rate_job(run).index]


def begin(recipe: Recipe, job: RateJob) -> None:
    """Start a search or a race in a worker and draw the page anew; what stops it becomes a notice there."""
    try:
        launch.start(store.create(starting_recipe(recipe), job))
    except UserError as error:
        state.note(error)
    st.rerun()


def curves(runs: list[Run]) -> list[figures.Curve]:
    """One curve per search, named by what was thawed, from which weights and when."""
    found = [figures.curve(live.records(run), _name(run)) for run in runs]
    return [found[0], *(curve for curve in found[1:] if curve.lrs)] if found else []


def suggested(run: Run | None) -> dict[str, Any]:
    """What a finished search suggests, how sure that is, and its remark; nothing of it while it runs."""
    if run is None:
        return {}
    return next((row for row in reversed(live.records(run)) if row["kind"] == "suggestions"), {})


def take(rate: float, group: str = "") -> None:
    """Make this the rate of the draft's chosen phase, or of one group; with as many digits as one can mean."""
    try:
        phasing.edit(sweep.with_rate(phasing.chosen(), float(f"{rate:.3g}"), group))
    except UserError as error:
        state.note(error)


def take_clicked(group: str = "") -> None:
    """Take the rate that was clicked on the chart."""
    if point := clicked(CHART):
        take(point[0], group)


def chosen(phase: Phase, group: str = "") -> float:
    """The peak rate of a phase, or of one of its groups."""
    return phase.learning_rate * (phase.multipliers.get(group, 1.0) if group else 1.0)


def swept(phase: Phase, group: str = "") -> tuple[float, float]:
    """Between which rates nine in ten steps of the phase, or of one of its groups, will lie."""
    steps = 200
    factors = [phase.schedule.multiplier(Progress(step, steps, steps)) for step in range(steps)]
    low, high = float(np.quantile(factors, 0.1)), max(factors)
    peak = chosen(phase, group)
    return max(peak * low, LIMITS[0]), peak * high


def alike(run: Run, recipe: Recipe) -> bool:
    """Whether a run is of the draft's data and backbone, wherever its weights came from."""
    try:
        theirs, _ = run.recipe, run.job
    except UserError:  # written by another version of Thaw
        return False
    return same_ground(theirs, recipe)


def _name(run: Run) -> str:
    when = time.strftime("%H:%M", time.localtime(run.status.started))
    job = rate_job(run)
    number = f"phase {job.phase}: " if len(run.recipe.phases) > 1 else ""
    what = f"{alone(run)} alone" if alone(run) else phase_words(phase(run))
    weights = run.recipe.model.backbone.weights
    origin = "" if weights == state.draft().model.backbone.weights else f", from {starts.weights_words(weights)}"
    return f"{number}{what}{origin}{', downwards' if getattr(job, 'down', False) else ''} ({when})"
