"""Where the model is wrong about numbers: guesses over truth, how far off, and the pictures that it misses most."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
import streamlit as st

from finetune_core import figures
from finetune_core.parts.tasks import NUMBERS
from finetune_core.places import stamp
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.store import Run
from finetune_core.understand.residuals import Missed, Residuals, residuals
from finetune_core.wording import count
from pages.ui.kit import shell, state
from pages.ui.kit.chart import chart, clicked
from pages.ui.run.picturing import Tile, pictures

LISTS = {"worst": "Farthest off", "highest": "Guessed too high", "lowest": "Guessed too low"}
CHART = "guess-over-truth"


def missing(run: Run, recipe: Recipe) -> Callable[[], None]:
    """Read the answers; what is drawn with them, once nothing is wrong."""
    found = _residuals(str(run.path), stamp(run.predictions_file))
    st.caption(f"{count(len(found.images), 'validation image')}, epoch {found.epoch}.")
    return lambda: _draw(run, recipe, found)


@lru_cache(maxsize=4)
def _residuals(path: str, when: object) -> Residuals:
    return residuals(store.open_run(path))


@lru_cache(maxsize=16)
def _missed(path: str, when: object, name: int) -> Missed:
    return _residuals(path, when).of(name)


def _draw(run: Run, recipe: Recipe, found: Residuals) -> None:
    name, many = 0, len(found.names)
    if many > 1:
        name = st.selectbox("Number", range(many), format_func=found.names.__getitem__, key=f"number:{run.id}")
    made = _missed(str(run.path), stamp(run.predictions_file), name)
    _metrics(made)
    left, right = st.columns(2, gap="medium")
    with left:
        figure = figures.against(found.truth[:, name], found.guess[:, name], made.name)
        chart(figure, key=CHART, picked=partial(_clicked, run, found, name))
        low, high = (NUMBERS.shown(value) for value in (made.mean.low, made.mean.high))
        st.caption(
            "On the dotted line a guess is exact. Click a point to see its picture. With other images like these the "
            f"mean error would lie between {low} and {high}."
        )
    with right:
        chart(figures.misses(found.missed[:, name]), key="misses")
        st.caption(_leaning(made))
    _pictures(run, recipe, found, name)


def _metrics(made: Missed) -> None:
    values = {
        "Mean error": NUMBERS.shown(made.mean.value),
        "Half are within": f"± {NUMBERS.shown(made.half)}",
        "90 % are within": f"± {NUMBERS.shown(made.most)}",
        "R²": "–" if np.isnan(made.explained) else f"{made.explained:.3f}",
    }
    with st.grid(len(values), min_column_width=140):
        for title, value in values.items():
            st.metric(title, value, border=True)


def _leaning(made: Missed) -> str:
    """Whether it guesses too high or too low on the whole."""
    if not made.lopsided:
        return "On the whole it guesses neither too high nor too low."
    way = "high" if made.bias.value > 0 else "low"
    by, *ends = (abs(each) for each in (made.bias.value, made.bias.low, made.bias.high))
    near, far = (NUMBERS.shown(each) for each in sorted(ends))
    return f"On the whole it guesses too {way}, by {NUMBERS.shown(by)} ({near} to {far})."


def _clicked(run: Run, found: Residuals, name: int) -> None:
    if point := clicked(CHART):
        spread = np.ptp(found.truth[:, name]) or 1.0, np.ptp(found.guess[:, name]) or 1.0
        away = np.hypot(
            (found.truth[:, name] - point[0]) / spread[0],
            (found.guess[:, name] - point[1]) / spread[1],
        )
        state.keep(_picked(run), (name, int(away.argmin())))


def _picked(run: Run) -> str:
    return f"picked-number:{run.id}"


def _pictures(run: Run, recipe: Recipe, found: Residuals, name: int) -> None:
    tile = lambda place: _tile(found, name, place)  # noqa: E731
    number, place = state.value(_picked(run)) or (None, 0)
    if number == name and place < len(found.images):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown("**The point that was clicked**", width="content")
            st.button("Show lists", key="unpick", type="tertiary", on_click=state.keep, args=(_picked(run), None))
        pictures(run, recipe, np.array([place]), tile, "picked")
        return
    key = state.seed(f"mistakes:{run.id}", state.value(f"mistakes:{run.id}", "worst"))
    which = st.segmented_control(
        "Which", list(LISTS), format_func=LISTS.__getitem__, key=key, required=True, label_visibility="collapsed"
    )
    which = which or "worst"
    pictures(run, recipe, getattr(found, which)(name), tile, f"{name}:{which}")


def _tile(found: Residuals, name: int, place: int) -> Tile:
    truth, guess = (NUMBERS.shown(float(each[place, name])) for each in (found.truth, found.guess))
    off = found.missed[place, name]
    words = f"**{guess}** :gray[{'+' if off > 0 else '−'}{NUMBERS.shown(abs(float(off)))}]  \n:gray[is {truth}]"
    alt = f"{shell.plain(found.names[name])} {truth}, guessed {guess}"
    return Tile(found.images[place], words, alt, found.names[name])
