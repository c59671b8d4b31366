"""What a backbone's features alone are good for: a worker finds it without being asked; the page stays as it is."""

from __future__ import annotations

import contextlib

import streamlit as st

from finetune_core.errors import UserError
from finetune_core.finder import probes
from finetune_core.network import catalogue
from finetune_core.parts.backbones import Backbone
from finetune_core.recipe import Recipe
from finetune_core.records import Probed
from finetune_core.runs import launch, store
from finetune_core.runs.jobs import Scout
from finetune_core.runs.shelf.summaries import moving, summaries
from finetune_core.runs.store import Run
from pages.ui.kit import asking, shell, state
from pages.ui.kit.pieces import piece

MINE = "probe:run"  # that this session has begun last
FAILED = "probe:failed"  # the recipe and backbone that could not be probed, and why


def panel(recipe: Recipe, backbone: Backbone) -> None:
    """The figure where it is known, else how far it is; where nothing may start by itself, the button."""
    with st.container(key="probe"):  # always there, so that nothing below moves when the figure comes
        if found := probes.known(recipe, backbone):
            _told(recipe, found)
            return
        run = _running(recipe, backbone) or _begun(recipe, backbone)
        if run:
            piece(lambda: _tick(recipe, backbone, run), asking.OFTEN)
        else:
            _offer(recipe, backbone)


def _tick(recipe: Recipe, backbone: Backbone, run: Run) -> None:
    status = run.status
    if status.active:
        with st.container(horizontal=True, vertical_alignment="center"):
            words = shell.plain(status.message) if status.settling else "Trying what it already sees"
            st.progress(status.share, text=f"What are its features alone good for? :gray[{words}]")
            _switch()
        return
    if status.state != "stopped" and not probes.known(recipe, backbone):
        state.keep(FAILED, (recipe.data, backbone, asking.why(run)))
    st.rerun()


def _told(recipe: Recipe, found: Probed) -> None:
    score = recipe.task.score
    reached = probes.words(found.score, found.margin, score)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(
            f":material/visibility: These features alone give **{reached}** :gray[{score.inside}: a linear head on "
            f"{found.images} of your images.]",
            width="content",
        )
        _switch()


def _offer(recipe: Recipe, backbone: Backbone) -> None:
    """Why there is no figure, and the way to one."""
    failed = state.value(FAILED)
    if failed and failed[:2] == (recipe.data, backbone) and failed[2]:
        st.caption(f":material/visibility_off: Its features alone could not be tried. {shell.plain(failed[2])}")
    if failed or not probes.on():
        _switch()


def _switch() -> None:
    """Whether figures come by themselves."""
    help = "A worker looks at some of your images with each backbone that you choose, in some seconds, at low priority."
    key = state.seed("probe-by-itself", probes.on())
    st.toggle("Try each that I choose", probes.on(), help=help, **state.callback(key, _switched))


def _switched(wanted: bool) -> None:
    probes.switch(wanted)
    state.keep(FAILED, None)
    if not wanted:
        _end()


def _running(recipe: Recipe, backbone: Backbone) -> Run | None:
    """The probe of this backbone on these images that is under way."""
    for run in store.list_runs(probes.runs_dir(), job=Scout.kind):
        if (
            run.status.active
            and run.status.state != "stopping"
            and (run.recipe.data, run.recipe.model.backbone) == (recipe.data, backbone)
        ):
            return run
    return None


def _begun(recipe: Recipe, backbone: Backbone) -> Run | None:
    """A probe that has just been started; None where none may be, or nothing is there to look at."""
    failed = state.value(FAILED)
    if not probes.on() or (failed and failed[:2] == (recipe.data, backbone)):
        return None
    try:
        files = catalogue.published(backbone)
        if (
            recipe.data.source.missing()
            or recipe.data.source.coming()
            or backbone.weights.missing()
            or (files and not files.here())
        ):
            return None
        if moving(summaries()):  # it would take the cores from what somebody asked for
            return None
        _end()
        run = asking.unasked(recipe, Scout(images=probes.ENOUGH))
        state.keep(MINE, run.id)
    except UserError as error:
        state.keep(FAILED, (recipe.data, backbone, error.what))
        return None
    return run


def _end() -> None:
    """Nobody waits for this session's last probe any more."""
    asking.tidy(probes.runs_dir(), Scout)
    for run in store.list_runs(probes.runs_dir(), job=Scout.kind):
        with contextlib.suppress(UserError):  # it has just ended
            if run.status.active and run.id == state.value(MINE):
                launch.stop(run)
