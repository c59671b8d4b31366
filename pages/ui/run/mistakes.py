"""Where the model is wrong: every image of a cell, of a list, with what may be mended, and training again with that."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from finetune_core import figures
from finetune_core.data.chosen import with_fix
from finetune_core.errors import UserError
from finetune_core.parts.fixes import Fix, LeaveOut, Relabel
from finetune_core.places import stamp
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.store import Run
from finetune_core.runs.waiting import engines
from finetune_core.understand.outcomes import Outcomes, outcomes
from finetune_core.understand.resampled import Interval
from finetune_core.wording import count
from pages.ui.kit import dataset, shell, state
from pages.ui.kit.chart import chart
from pages.ui.run import acting, heating
from pages.ui.run.mapping import atlas

PAGE = 12  # pictures
SIDE, WIDTH = 200, 150  # px of a picture, and that a column has at least
MAP = "map"
LISTS = {
    "cell": "Confusions",
    "mistakes": "Surest mistakes",
    "hardest": "Hardest",
    "unsure": "Least sure",
    MAP: "Map of all images",
}
HELP = {
    "cell": "Rows are what images are, columns what the model takes them for. Click a cell to see its pictures.",
    "mistakes": "Wrong and sure of it: look here first for labels that are wrong themselves.",
    "hardest": "Where the truth surprises the model most, whatever it guesses.",
    "unsure": "Where two classes are nearly as likely: more such pictures would teach most.",
    MAP: "Every image by what the model sees in it: alike ones lie together. Clusters are classes that it tells apart.",
}


def mistakes(run: Run, recipe: Recipe) -> None:
    """The whole tab."""
    try:
        found = _outcomes(str(run.path), stamp(run.predictions_file))
    except UserError as error:
        shell.empty("Nothing to show", str(error))
        return
    wrong = int((~found.right).sum())
    st.caption(
        f"Validation images, epoch {found.epoch}: {wrong:,} of {len(found.truth):,} are taken for another class."
    )
    _mended(run, recipe)
    key = state.seed(f"mistakes:{run.id}", state.value(f"mistakes:{run.id}", "cell"))
    which = st.segmented_control(
        "Which", list(LISTS), format_func=LISTS.__getitem__, key=key, required=True, label_visibility="collapsed"
    )
    which = which or "cell"
    st.caption(HELP[which])
    if which == MAP:
        atlas(run)
    elif which == "cell":
        left, right = st.columns([6, 6], gap="medium")
        with left:
            places = _cell(run, found)
        with right:
            _pictures(run, recipe, found, places, which)
    else:
        _pictures(run, recipe, found, getattr(found, which)(), which)
    label, icon = "Each class, and how far sureness can be trusted", ":material/rule:"
    more = st.expander(label, icon=icon, key="each-class", on_change="rerun")
    if more.open:
        with more:
            _by_class(found)


@lru_cache(maxsize=4)
def _outcomes(path: str, when: object) -> Outcomes:
    return outcomes(store.open_run(path))


def _cell(run: Run, found: Outcomes) -> np.ndarray:
    """The table, and the images of the cell that was clicked; of all mistakes where none was."""
    table = pd.DataFrame(found.confusion(), index=list(found.names), columns=list(found.names))
    event = st.dataframe(
        table.style.apply(_shaded, axis=1),
        key=f"confusion:{run.id}",
        on_select="rerun",
        selection_mode="single-cell",
        width="stretch",
    )
    if not (cells := event.selection.cells):
        st.caption("No cell is chosen: these are all mistakes.")
        return found.mistakes()
    row, column = cells[0]
    guess = found.names.index(str(column)) if str(column) in found.names else int(row)
    st.markdown(f"**{shell.plain(found.names[row])}** taken for **{shell.plain(found.names[guess])}**")
    return found.cell(int(row), guess)


def _shaded(row: pd.Series) -> list[str]:
    """A cell is as blue as its share of the images of its class."""
    total = max(1, int(row.sum()))
    return [f"background-color: rgba(47, 111, 222, {0.75 * value / total:.2f})" for value in row]


def _pictures(run: Run, recipe: Recipe, found: Outcomes, places: np.ndarray, which: str) -> None:
    """A page of images, each with what may be mended."""
    if not len(places):
        st.info("There are none.")
        return
    pages = -(-len(places) // PAGE)
    page = st.pagination(pages, key=f"mistakes-page:{run.id}:{which}") if pages > 1 else 1
    some = places[(page - 1) * PAGE : page * PAGE]
    try:
        root = dataset.samples(recipe.data.source).root
    except UserError as error:
        shell.error_card(error)
        return
    help = "A heat map over each picture: what in it speaks for the guess. Takes a second or more for each."
    if not st.toggle("Where it looked", key=state.seed("heats", state.value("heats", False)), help=help):
        _tiles(run, found, some, [dataset.thumbnail(root / found.images[place], SIDE) for place in some])
        return
    asked = [(root / found.images[place], found.names[found.guess[place]]) for place in some]
    key = f"{found.epoch}:{','.join(map(str, some))}"
    draw = lambda made: _tiles(run, found, some, [each and each.pixels for each in made])  # noqa: E731
    heating.heat(run, asked, key, draw)


def _tiles(run: Run, found: Outcomes, some: np.ndarray, pictures: Sequence[Any]) -> None:
    fixed = {name for fix in _fixes(run) for name in fix.images}
    with st.grid(len(some), min_column_width=WIDTH):
        for place, picture in zip(some, pictures, strict=True):
            with st.container(gap="xsmall"):
                _tile(run, found, int(place), picture, fixed)


def _tile(run: Run, found: Outcomes, place: int, picture: Any, fixed: set[str]) -> None:
    name, truth, guess = found.images[place], found.names[found.truth[place]], found.names[found.guess[place]]
    if picture is None:
        st.caption(f":material/broken_image: {shell.plain(name)} is gone.")
        return
    st.image(picture, width="stretch", alt=f"{truth}, taken for {guess}")
    mark = ":green[:material/check:]" if truth == guess else ":red[:material/close:]"
    st.markdown(f"{mark} **{shell.plain(guess)}** {found.sure[place]:.0%}  \n:gray[is {shell.plain(truth)}]")
    written = Path(name).as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if written in fixed:
        st.caption(":green[:material/healing:] mended above")
        return
    with st.container(horizontal=True, gap="small"):
        out = LeaveOut(images=(written,))
        st.button("Leave out", key=f"out:{place}", type="tertiary", on_click=_mend, args=(run, out))
        if truth != guess:
            other = Relabel(images=(written,), label=guess)
            label = f"Relabel as {shell.plain(guess, 24)}"
            st.button(label, key=f"is:{place}", type="tertiary", on_click=_mend, args=(run, other))


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


def _mended(run: Run, recipe: Recipe) -> None:
    """What was mended here, and training again with it."""
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
            _propose(run, recipe, fixes)


@st.dialog("Train again", width="medium")
def _propose(run: Run, recipe: Recipe, fixes: Sequence[Fix]) -> None:
    """What will be different, and the launch."""
    every: tuple[Fix, ...] = recipe.data.fixes
    for fix in fixes:
        every = with_fix(every, fix)
    made = recipe.with_value("data.fixes", [fix.model_dump(mode="json") for fix in every])
    st.caption("The same recipe from the start, but for what was mended:")
    for fix in fixes:
        st.markdown(f":green[:material/healing:] {shell.plain(fix.line())}")
    icon = ":material/local_fire_department:"
    begin = lambda run: _begin(run, made)  # noqa: E731
    if st.button("Train", type="primary", icon=icon, key="mended-go", on_click=acting.done, args=(run, begin)):
        st.rerun()


def _begin(run: Run, recipe: Recipe) -> None:
    made = store.create(recipe, run.job, run.path.parent)
    engines.start(made, like=run)
    _keep(run, ())
    state.keep(acting.FOLLOWED, made.id)


def _by_class(found: Outcomes) -> None:
    """Precision, recall and F1 of each class with their intervals, and calibration."""
    classes, calibration = found.by_class(), found.calibration()
    rows = [
        {
            "Class": each.name,
            "Images": each.images,
            **{
                title: _range(value)
                for title, value in (("Precision", each.precision), ("Recall", each.recall), ("F1", each.f1))
            },
        }
        for each in classes
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch", key="class-scores")
    st.caption("In brackets where each would lie for 95 of 100 sets of images like these.")
    chart(figures.reliability([(each.sure, each.right, each.images) for each in calibration.bins]), key="reliability")
    gap, images = f"{calibration.error:.1%}", count(len(found.truth), "image")
    st.caption(
        f"When it is sure, is it right? The mean gap (ECE) is {gap}. Divided by a temperature of "
        f"{calibration.temperature:.2f}, fitted on these {images}, it would be {calibration.error_after:.1%}."
    )


def _range(value: Interval) -> str:
    return "–" if np.isnan(value.value) else f"{value.value:.0%} ({value.low:.0%} to {value.high:.0%})"
