"""What it costs to thaw what is thawed: an estimate at once, from timings that a worker takes without being asked."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence

import streamlit as st

from finetune_core.errors import UserError
from finetune_core.finder import probes
from finetune_core.recipe import Phase, Recipe
from finetune_core.runs import launch, store
from finetune_core.runs.jobs import Measure
from finetune_core.runs.shelf.summaries import moving, summaries
from finetune_core.runs.store import Run
from finetune_core.training import costs
from finetune_core.training.costs import Costs, Estimate
from finetune_core.wording import lasting, megabytes
from pages.ui.kit import asking, outline, shell, state
from pages.ui.kit.pieces import piece
from pages.ui.layers import measuring

MINE = "costing:run"  # that this session has begun last
FAILED = "costing:failed"  # what could not be timed, and why
HELP = (
    "An estimate, as if nothing else were at work: the sum of what each layer group was timed at on this machine, at "
    "your image and batch size, forward and, from the first thawed group on, back. Time can be off by a third."
)
EPOCH = f"{HELP} With drawing the images and the evaluation, once what is frozen is kept."
MEMORY = f"{HELP} Of the whole process on a CPU, of the GPU's own memory there."


def figures(recipe: Recipe, phase: Phase, names: Sequence[str], thawed: Collection[str]) -> dict[str, float]:
    """Draw the two figures among others. Returns what a flip of each layer group's toggle would add, in seconds."""
    found, images = costs.known(recipe), _images(recipe)
    fits = found is not None and list(found.parts) == list(names) and recipe.training.processes == 1
    now = costs.estimate(found, recipe, phase, thawed, images or (0, 0)) if found and fits else None
    st.metric("An epoch, about", lasting(now.seconds) if now and images else "–", width="content", help=EPOCH)
    st.metric("Memory, about", megabytes(round(now.memory * 1e6)) if now else "–", width="content", help=MEMORY)
    return _flips(found, recipe, phase, thawed, images, now) if found and now and images else {}


def panel(recipe: Recipe, phase: Phase, thawed: Collection[str]) -> None:
    """What the figures rest on; until there are any, how far their timing is."""
    with st.container(key="costing"):  # always there, so that nothing below moves when the figures come
        found = costs.known(recipe)
        _end(recipe)
        if found:
            st.caption(_words(costs.estimate(found, recipe, phase, thawed, _images(recipe) or (0, 0)), recipe))
        elif (run := _running(recipe)) or _others() or (run := _begun(recipe)):
            piece(lambda: _tick(recipe, run), asking.OFTEN)
        else:
            st.caption(f":material/timer_off: {_why(recipe)}")


def _images(recipe: Recipe) -> tuple[int, int] | None:
    """How many images there are to learn from and to measure on; what is wrong with them is told on their page."""
    with contextlib.suppress(UserError):
        return outline.images(recipe.data.model_dump_json())
    return None


def _flips(
    found: Costs, recipe: Recipe, phase: Phase, thawed: Collection[str], images: tuple[int, int], now: Estimate
) -> dict[str, float]:
    flipped = {name: set(thawed) ^ {name} for name in found.parts}
    return {
        name: costs.estimate(found, recipe, phase, others, images).seconds - now.seconds
        for name, others in flipped.items()
        if others
    }


def _words(now: Estimate, recipe: Recipe) -> str:
    words = ":material/timer: Estimated from timings of each layer group on this machine"
    if recipe.training.processes > 1:
        return f"{words}, which are of one process and not of {recipe.training.processes}."
    if now.anew:
        first = "The first epoch" + (f" on each of {now.anew} views" if now.anew > 1 else "")
        return f"{words}. {first} takes {lasting(now.first)}: what is frozen is worked out once."
    return f"{words}, at rest otherwise; a busy machine is slower."


def _why(recipe: Recipe) -> str:
    failed = state.value(FAILED)
    if failed and failed[0] == costs.key(recipe) and failed[1]:
        return f"The layer groups could not be timed. {shell.plain(failed[1])}"
    return "What thawing costs is told once the network is timed: *Measure on this machine*, above."


def _tick(recipe: Recipe, run: Run | None) -> None:
    """How far it is; the page is drawn anew when it is over, or may begin."""
    if run is None:
        if not _others():
            st.rerun()
        st.caption(":material/timer: What thawing costs is timed as soon as the worker is free.")
        return
    status = run.status
    if not status.active:
        if status.state != "stopped" and not costs.known(recipe):
            state.keep(FAILED, (costs.key(recipe), asking.why(run)))
        st.rerun()
    words = shell.plain(status.message) if status.settling else "a few seconds for each way through the network"
    st.progress(status.share, text=f"Timing what thawing costs :gray[{words}]")


def _running(recipe: Recipe) -> Run | None:
    """The measurement under way that these figures wait for, whoever has asked for it."""
    mine = [*store.list_runs(probes.runs_dir(), job=Measure.kind), measuring.running(recipe.model.backbone)]
    for run in mine:
        if run and run.status.active and run.status.state != "stopping" and _is_of(run, recipe):
            return run
    return None


def _is_of(run: Run, recipe: Recipe) -> bool:
    return not measuring.several(run) and costs.key(run.recipe) == costs.key(recipe)


def _others() -> bool:
    return probes.on() and asking.unasked_at_work()


def _begun(recipe: Recipe) -> Run | None:
    """A measurement that has just been started; None where none may be."""
    failed = state.value(FAILED)
    if not probes.on() or (failed and failed[0] == costs.key(recipe)) or moving(summaries(job=None)):
        return None
    try:
        asking.tidy(probes.runs_dir(), Measure)
        run = asking.unasked(recipe, Measure(only_new=True))
        state.keep(MINE, run.id)
    except UserError as error:
        state.keep(FAILED, (costs.key(recipe), error.what))
        return None
    return run


def _end(recipe: Recipe) -> None:
    """Nobody waits for this session's last measurement any more, if it was of something else."""
    for run in store.list_runs(probes.runs_dir(), job=Measure.kind):
        with contextlib.suppress(UserError):  # it has just ended
            if run.id == state.value(MINE) and run.status.active and not _is_of(run, recipe):
                launch.stop(run)
