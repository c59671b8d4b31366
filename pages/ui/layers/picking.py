"""The catalogue in the dialog: a chart to click and a list, of what was asked for, with a backbone chosen in either."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from finetune_core import figures
from finetune_core.errors import UserError
from finetune_core.finder import probes
from finetune_core.network import catalogue, refit
from finetune_core.network.catalogue import Entry
from finetune_core.parts.backbones import Backbone
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.jobs import Measure
from finetune_core.runs.shelf.summaries import moving, summaries
from finetune_core.runs.store import Run
from finetune_core.training import timing
from pages.ui.kit import asking, dialogs, shell, state
from pages.ui.kit.chart import chart, meant
from pages.ui.kit.pieces import EVERY, piece
from pages.ui.layers import measuring, thawing

CHART = "backbone-chart"
CHOOSING = "backbones"  # the dialog
PICKED = "backbone:picked"  # the point that was clicked last, and how many were: a click unticks the list
AT_ONCE = 24  # networks that are timed in one go
HEAVY, LARGE = 20.0, 200e6  # MACs (G) and weights from which on none is timed without being asked
PARAMETERS, MACS, IMAGENET, HERE = "Parameters (M)", "Work (G MACs)", "ImageNet (%)", "Time here (ms)"
MISSING = {
    IMAGENET: "timm publishes no accuracy for them.",
    HERE: "they are not timed yet.",
    MACS: "their work is not known.",
    PARAMETERS: "",
}
COLUMNS = {
    PARAMETERS: st.column_config.NumberColumn(format="%.1f"),
    MACS: st.column_config.NumberColumn(
        format="%.3g", help="Billions of multiplications and additions for one image of its input size."
    ),
    IMAGENET: st.column_config.NumberColumn(
        format="%.1f",
        help="Accuracy on ImageNet-1k, where the library brings it along: torchvision does, timm does not.",
    ),
    HERE: st.column_config.NumberColumn(
        format="%.3g", help="To look at one image of your size on this machine: timed by a worker while you look."
    ),
}


class Wish(NamedTuple):
    """What is asked for: words, libraries, sizes and families."""

    words: str
    libraries: tuple[str, ...]
    sizes: tuple[str, ...] = ()
    families: tuple[str, ...] = ()

    @property
    def said(self) -> bool:
        """Whether anything is."""
        return bool(self.words or self.sizes or self.families)


def panel(recipe: Recipe, wish: Wish) -> None:
    """Chart, list, and the button; drawn anew by itself while networks are timed."""
    listed = found(wish)
    moves = probes.on() and bool(_untimed(recipe, listed))
    piece(partial(_drawn, recipe, wish, listed), EVERY if moves else None)


def found(wish: Wish) -> list[Entry]:
    """The networks that fit; good first choices where nothing is asked for."""
    if wish.said or "timm" not in wish.libraries:
        return catalogue.search(wish.words, wish.libraries, wish.sizes, wish.families)
    return catalogue.good_first()


def open() -> None:
    """Have the dialog open, with nothing clicked in it yet."""
    dialogs.open(CHOOSING)
    state.keep(PICKED, ("", 0))


def _drawn(recipe: Recipe, wish: Wish, listed: list[Entry]) -> None:
    dialogs.follow(CHOOSING)
    everything = listed if wish.said else catalogue.search("", wish.libraries)
    chosen = _chosen(wish, listed, everything)
    head = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom")
    shown = _name(chosen) if chosen else refit.name_of(recipe.model.backbone)
    _chart(recipe, everything, shown, head.container(horizontal=True, width="content"))
    told = f"{len(listed):,} networks" if wish.said else f"Good first choices of {len(everything):,}; search or filter"
    st.caption(f"{told}. Tick one, or click its point.")
    _list(recipe, wish, listed)
    st.caption(_timing(recipe, listed) or catalogue.advice())
    if chosen:
        measuring.panel(recipe, _backbone(chosen))
    label = f"Use {chosen.architecture}" if chosen else "Use this one"
    head.button(
        label, type="primary", disabled=chosen is None, key="use-backbone", on_click=dialogs.done, args=(_use, chosen)
    )


def _use(entry: Entry) -> None:
    thawing.take(refit.best_backbone(entry))


def _chosen(wish: Wish, listed: Sequence[Entry], everything: Sequence[Entry]) -> Entry | None:
    """The network that is ticked, or whose point was clicked after that, or whose whole name was searched for."""
    rows = (state.value(_rows(wish)) or {}).get("selection", {}).get("rows", [])
    if rows and rows[0] < len(listed):
        return listed[rows[0]]
    picked = state.value(PICKED, ("", 0))[0]
    clicked = (each for each in everything if picked and _name(each) == picked)
    named = (each for each in listed if each.architecture == wish.words)
    return next(clicked, None) or next(named, None)


def _name(entry: Entry) -> str:
    return f"{entry.library}/{entry.architecture}"


def _backbone(entry: Entry) -> Backbone:
    return Backbone.kinds()[entry.library](architecture=entry.architecture)


# The chart


def _values(recipe: Recipe, entries: Sequence[Entry]) -> pd.DataFrame:
    measured = timing.known(recipe)
    here = [measured.get(timing.name(entry.library, entry.architecture)) for entry in entries]
    return pd.DataFrame(
        {
            "Name": [entry.architecture for entry in entries],
            "Family": [entry.title for entry in entries],
            "Library": [entry.library for entry in entries],
            PARAMETERS: [entry.size / 1e6 for entry in entries],
            IMAGENET: pd.Series([entry.top1 for entry in entries], dtype=float),
            HERE: pd.Series([each.answer_ms if each else None for each in here], dtype=float),
            MACS: pd.Series([entry.macs or None for entry in entries], dtype=float),
            "Input (px)": [entry.input_size for entry in entries],
            "Published weights": [len(entry.tags) for entry in entries],
        }
    )


def _chart(recipe: Recipe, entries: Sequence[Entry], shown: str, head: DeltaGenerator) -> None:
    """A point for each network of which both figures are known, one `shown`; `head` is where the axes are chosen."""
    values = _values(recipe, entries)
    axes = [axis for axis in (IMAGENET, HERE, MACS, PARAMETERS) if values[axis].count() > 1]
    if len(axes) < 2:
        return
    up = head.selectbox("Up", axes[:-1], key="backbone-up", width=145)
    others = [axis for axis in reversed(axes) if axis not in (up, IMAGENET)]
    across = head.selectbox("Across", others, key="backbone-across", width=145)
    known = values[values[[up, across]].notna().all(axis=1)]
    spots = [
        figures.Spot(row["Name"], f"{row['Library']}/{row['Name']}", row[across], row[up])
        for row in known.to_dict("records")
    ]
    chart(figures.choices(spots, across, up, shown, even=up == IMAGENET), CHART, picked=_pick)
    if less := len(entries) - len(spots):
        why = next(words for axis, words in MISSING.items() if axis in (up, across))
        st.caption(f"{less:,} others are not drawn: {why}")


def _pick() -> None:
    """Choose the backbone whose point was clicked."""
    if name := meant(CHART):
        state.keep(PICKED, (name, state.value(PICKED, ("", 0))[1] + 1))


# The list


def _rows(wish: Wish) -> str:
    """The list's key: another one, without a tick, for what else is asked for and after a click on a point."""
    clicks = state.value(PICKED, ("", 0))[1]
    return "-".join(("backbone-rows", wish.words, *wish.libraries, *wish.sizes, *wish.families, str(clicks)))


def _list(recipe: Recipe, wish: Wish, listed: list[Entry]) -> None:
    """All that was found as a table to tick one in."""
    values = _values(recipe, listed)
    st.dataframe(
        values if values[IMAGENET].count() else values.drop(columns=IMAGENET),
        hide_index=True,
        placeholder="–",
        height=300,
        on_select="rerun",
        selection_mode="single-row",
        key=_rows(wish),
        column_config=COLUMNS,
    )


# Milliseconds


def _untimed(recipe: Recipe, listed: Sequence[Entry]) -> list[Entry]:
    light = (each for each in listed if each.macs <= HEAVY and each.size <= LARGE)
    return timing.unknown(recipe, light)[:AT_ONCE]


def _timing(recipe: Recipe, listed: Sequence[Entry]) -> str:
    """Have a worker time what is listed and was not yet, one after the other; how far that is, in words."""
    run = _running()
    if run is None and (left := _untimed(recipe, listed)) and probes.on() and not _busy():
        run = _begun(recipe, left)
    if run is None:
        return ""
    status = run.status
    many = len(measuring.several(run))
    done = shell.plain(status.message) if status.settling else f"{round(status.share * many)} done"
    return f":material/timer: Timing {many} networks on this machine, the lightest first: {done}."


def _running() -> Run | None:
    runs = store.list_runs(probes.runs_dir(), job=Measure.kind)
    return next((run for run in runs if run.status.active and measuring.several(run)), None)


def _busy() -> bool:
    return moving(summaries(job=None)) or asking.unasked_at_work()


def _begun(recipe: Recipe, left: Sequence[Entry]) -> Run | None:
    with contextlib.suppress(UserError):  # figures that nobody has asked for are no reason for an error
        asking.tidy(probes.runs_dir(), Measure)
        return asking.unasked(recipe, Measure(backbones=tuple(map(_name, left))))
    return None
