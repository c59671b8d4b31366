"""How quick a backbone is on this machine: measured by a worker on request, while the page stays as it is."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from finetune_core.errors import UserError
from finetune_core.parts.backbones import Backbone
from finetune_core.recipe import Recipe
from finetune_core.runs import launch, store
from finetune_core.runs.jobs import Measure
from finetune_core.runs.store import Run
from finetune_core.training import timing
from pages.ui.kit import asking, shell
from pages.ui.kit.pieces import EVERY, piece


def panel(recipe: Recipe, backbone: Backbone) -> None:
    """What was measured, and the button to measure; while it is measured, how far that is."""
    place = st.empty()
    run = running(backbone)
    if run is None and _offer(place.container(), recipe, backbone):
        run = _begun(recipe, backbone)
        place.empty()
    if run is None:
        return

    def tick() -> None:
        if run.status.active:
            _progress(run)
        else:
            _outcome(recipe, backbone, run)

    piece(tick, EVERY)


def running(backbone: Backbone) -> Run | None:
    """The measurement of a backbone that is under way."""
    for run in store.list_runs(job="measure"):
        if run.status.active:
            theirs = run.recipe.model.backbone
            if (theirs.kind, theirs.architecture) == (backbone.kind, backbone.architecture):
                return run
    return None


def several(run: Run) -> tuple[str, ...]:
    """The networks that a measurement times one image with, where it is such a one."""
    return getattr(run.job, "backbones", ())


def _known(recipe: Recipe, backbone: Backbone) -> timing.Latency | None:
    return timing.known(recipe).get(timing.name(backbone.kind, backbone.architecture))


def _offer(place: DeltaGenerator, recipe: Recipe, backbone: Backbone) -> bool:
    """Draw what is known, and the button; true where it was clicked."""
    found = _known(recipe, backbone)
    row = place.container(horizontal=True, vertical_alignment="center")
    if found:
        row.caption(f":material/timer: On this machine: {found.sentence()}", width="content")
    return shell.start(
        row,
        "Measure again" if found else "Measure on this machine",
        icon=None if found else ":material/timer:",
        key=f"measure-{backbone.kind}-{backbone.architecture}",
        kind="tertiary" if found else "secondary",
        help="Times one image and a few training steps at your image and batch size. Half a minute or less; let "
        "nothing else run meanwhile.",
    )


def _begun(recipe: Recipe, backbone: Backbone) -> Run | None:
    """A measurement that has just been started; what stops it is shown here, since a dialog may lie over the page."""
    try:
        run = store.create(timing.to_measure(recipe, backbone), Measure())
        launch.start(run)
    except UserError as error:
        shell.error_card(error)
        return None
    return run


def _progress(run: Run) -> None:
    status = run.status
    with st.container(horizontal=True, vertical_alignment="center"):
        words = "Measuring" if status.state == "running" else status.message
        st.progress(status.share, text=shell.plain(f"{run.recipe.model.backbone.architecture}: {words}"))
        st.button("Stop", key="stop-measuring", type="tertiary", on_click=asking.stop, args=(run,))


def _outcome(recipe: Recipe, backbone: Backbone, run: Run) -> None:
    found, status = _known(recipe, backbone), run.status
    if status.error:
        shell.error_card(UserError.said(status.error))
    elif found and status.state == "finished":
        st.caption(f":material/timer: On this machine: {found.sentence()}")
    else:
        st.caption(f":material/timer: {shell.plain(status.message) or 'The measurement broke off.'}")
