"""Where the model is wrong: every image of a cell, of a list, with what may be mended, and training again with that."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from finetune_core import figures
from finetune_core.errors import UserError
from finetune_core.parts.tasks import NUMBERS, ONE_CLASS, TAGS
from finetune_core.places import stamp
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.store import Run
from finetune_core.understand.calibration import Calibration
from finetune_core.understand.outcomes import ClassScores, Outcomes, outcomes
from finetune_core.understand.resampled import Interval
from pages.ui.kit import shell, state
from pages.ui.kit.chart import chart
from pages.ui.run import calibrating, mending
from pages.ui.run.mapping import atlas
from pages.ui.run.missing import missing
from pages.ui.run.picturing import Tile, pictures
from pages.ui.run.tagging import tagging

MANY, CELL = 8, 44  # classes from which on each has so many px: twelve stand beside their pictures, the diagonal whole
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
        draw = _OF[recipe.task.key](run, recipe)
    except UserError as error:
        shell.empty("Nothing to show", str(error))
        return
    mending.panel(run, recipe)
    draw()


def _of_classes(run: Run, recipe: Recipe) -> Callable[[], None]:
    """How classes are confused."""
    found = _outcomes(str(run.path), stamp(run.predictions_file))
    wrong = int((~found.right).sum())
    st.caption(
        f"Validation images, epoch {found.epoch}: {wrong:,} of {len(found.truth):,} are taken for another class."
    )
    return lambda: _lists(run, recipe, found)


def _lists(run: Run, recipe: Recipe, found: Outcomes) -> None:
    key = state.seed(f"mistakes:{run.id}", state.value(f"mistakes:{run.id}", "cell"))
    which = st.segmented_control(
        "Which", list(LISTS), format_func=LISTS.__getitem__, key=key, required=True, label_visibility="collapsed"
    )
    which = which or "cell"
    st.caption(HELP[which])
    tile = lambda place: _tile(found, place)  # noqa: E731
    if which == MAP:
        atlas(run)
    elif which == "cell":
        left, right = st.columns([7, 5], gap="medium")
        with left:
            places = _cell(run, found)
        with right:
            pictures(run, recipe, places, tile, which)
    else:
        pictures(run, recipe, getattr(found, which)(), tile, which)
    label, icon = "Each class, and how far sureness can be trusted", ":material/rule:"
    more = st.expander(label, icon=icon, key="each-class", on_change="rerun")
    if more.open:
        with more:
            _by_class(run, found)


@lru_cache(maxsize=4)
def _outcomes(path: str, when: object) -> Outcomes:
    return outcomes(store.open_run(path))


@lru_cache(maxsize=4)
def _judged(path: str, when: object) -> tuple[tuple[ClassScores, ...], Calibration]:
    """Each class with its intervals, which take a second where there are many images, and calibration."""
    found = _outcomes(path, when)
    return found.by_class(), found.calibration()


def _cell(run: Run, found: Outcomes) -> np.ndarray:
    """The table, and the images of the cell that was clicked; of all mistakes where none was."""
    table = pd.DataFrame(found.confusion(), index=list(found.names), columns=list(found.names))
    event = st.dataframe(
        table.style.apply(_shaded, axis=1).format(lambda number: f"{number:,}" if number else ""),
        column_config={name: st.column_config.Column(width=CELL) for name in found.names if len(found.names) >= MANY},
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


def _tile(found: Outcomes, place: int) -> Tile:
    truth, guess = found.names[found.truth[place]], found.names[found.guess[place]]
    mark = ":green[:material/check:]" if truth == guess else ":red[:material/close:]"
    words = f"{mark} **{shell.plain(guess)}** {found.sure[place]:.0%}  \n:gray[is {shell.plain(truth)}]"
    label = guess if guess != truth else ""
    return Tile(found.images[place], words, f"{truth}, taken for {guess}", guess, label)


def _by_class(run: Run, found: Outcomes) -> None:
    """Precision, recall and F1 of each class with their intervals, and calibration."""
    classes, calibration = _judged(str(run.path), stamp(run.predictions_file))
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
    calibrating.temperature(run, found, calibration)


def _range(value: Interval) -> str:
    return "–" if np.isnan(value.value) else f"{value.value:.0%} ({value.low:.0%} to {value.high:.0%})"


_OF: dict[str, Callable[[Run, Recipe], Callable[[], Any]]] = {
    ONE_CLASS.key: _of_classes,
    TAGS.key: tagging,
    NUMBERS.key: missing,
}
