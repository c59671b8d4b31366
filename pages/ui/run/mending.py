"""What was mended on a run's pictures: kept with the run, never done to the files, and trained again with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from finetune_core.data.chosen import with_fix
from finetune_core.errors import UserError
from finetune_core.parts.fixes import Fix, LeaveOut, Relabel
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.store import Run
from finetune_core.runs.waiting import engines
from pages.ui.kit import dialogs, shell, state
from pages.ui.run import acting

AGAIN = "train-again"


def panel(run: Run, recipe: Recipe) -> None:
    """All of it, to take back or to train again with; nothing where nothing was mended."""
    fixes = _fixes(run)
    if not fixes:
        return
    with st.container(border=True, gap="xsmall", key="mended"):
        st.caption("Mended here, for a run to come; your files stay as they are.")
        for number, fix in enumerate(fixes):
            with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
                st.markdown(f":green[:material/healing:] {shell.plain(fix.line())}", width="stretch")
                key, args = f"unmend-{number}", (run, fix.line())
                st.button("Take back", type="tertiary", key=key, on_click=_take_back, args=args)
        label, icon = "Train again with these", ":material/local_fire_department:"
        if shell.start(st.container(), label, icon=icon, key="train-mended", kind="secondary"):
            dialogs.open(AGAIN)
            st.rerun()


def proposal(run: Run, recipe: Recipe) -> None:
    """What would be trained again, where somebody asked; above all that is drawn anew while the run goes on."""
    if dialogs.opened(AGAIN) and (fixes := _fixes(run)):
        _propose(run, recipe, fixes)


def mended(run: Run) -> set[str]:
    """The images that something was mended of, as fixes name them."""
    return {name for fix in _fixes(run) for name in fix.images}


def written(image: str) -> str:
    """How fixes name an image whose path below the data's root this is."""
    return Path(image).as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def buttons(run: Run, image: str, key: str, label: str = "") -> None:
    """What may be mended of an image: it is left out, or gets another `label`."""
    name = written(image)
    with st.container(horizontal=True, gap="small"):
        out = LeaveOut(images=(name,))
        st.button("Leave out", key=f"out:{key}", type="tertiary", on_click=_mend, args=(run, out))
        if label:
            other, said = Relabel(images=(name,), label=label), f"Relabel as {shell.plain(label, 24)}"
            st.button(said, key=f"is:{key}", type="tertiary", on_click=_mend, args=(run, other))


def _fixes(run: Run) -> tuple[Fix, ...]:
    try:
        return run.mended()
    except UserError as error:
        shell.error_card(error)
        return ()


def _keep(run: Run, fixes: Sequence[Fix]) -> None:
    try:
        run.keep_mended(fixes)
    except UserError as error:
        state.note(error)


def _mend(run: Run, fix: Fix) -> None:
    _keep(run, with_fix(_fixes(run), fix))


def _take_back(run: Run, line: str) -> None:
    _keep(run, [fix for fix in _fixes(run) if fix.line() != line])


@st.dialog("Train again", width="medium", on_dismiss=dialogs.close)
def _propose(run: Run, recipe: Recipe, fixes: Sequence[Fix]) -> None:
    """What will be different, and the launch."""
    dialogs.follow(AGAIN)
    every: tuple[Fix, ...] = recipe.data.fixes
    for fix in fixes:
        every = with_fix(every, fix)
    made = recipe.with_value("data.fixes", [fix.model_dump(mode="json") for fix in every])
    st.caption("The same recipe from the start, but for what was mended:")
    for fix in fixes:
        st.markdown(f":green[:material/healing:] {shell.plain(fix.line())}")
    icon = ":material/local_fire_department:"
    begin = lambda run: _begin(run, made)  # noqa: E731
    args = (acting.done, run, begin)
    st.button("Train", type="primary", icon=icon, key="mended-go", on_click=dialogs.done, args=args)


def _begin(run: Run, recipe: Recipe) -> None:
    made = store.create(recipe, run.job, run.path.parent)
    engines.start(made, like=run)
    _keep(run, ())
    state.keep(acting.FOLLOWED, made.id)
