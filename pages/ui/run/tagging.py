"""Where the model is wrong about tags: one tag at a time, at a threshold to choose, with the pictures it costs."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
import pandas as pd
import streamlit as st

from finetune_core import figures
from finetune_core.parts.numbers import Scale
from finetune_core.parts.tasks import TAGS, THRESHOLD, Targets
from finetune_core.places import stamp
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.states.fitted import Fitted
from finetune_core.runs.store import Run
from finetune_core.understand.tags import LEAST, Curve, Tagged, tagged
from finetune_core.wording import count
from pages.ui.kit import numbers, shell, state
from pages.ui.kit.chart import chart, clicked
from pages.ui.kit.numbers import Entry
from pages.ui.run import calibrating
from pages.ui.run.picturing import Tile, pictures

LISTS = {"missed": "Missed", "alarms": "Wrongly found", "near": "Near the threshold"}
BETWEEN = Scale(LEAST, 1 - LEAST, step=0.01)
PRECISION, ROC = "precision-recall", "roc"


def tagging(run: Run, recipe: Recipe) -> Callable[[], None]:
    """Read the answers; what is drawn with them, once nothing is wrong."""
    found = _tagged(str(run.path), stamp(run.predictions_file))
    st.caption(
        f"{count(len(found.images), 'validation image')}, epoch {found.epoch}. A tag counts where its probability"
        " reaches a threshold: a low one finds more, and more that is wrong."
    )
    return lambda: _draw(run, recipe, found)


@lru_cache(maxsize=4)
def _tagged(path: str, when: object) -> Tagged:
    return tagged(store.open_run(path))


@lru_cache(maxsize=4)
def _bests(path: str, when: object) -> tuple[float, ...]:
    found = _tagged(path, when)
    return tuple(found.best(tag) for tag in range(len(found.names)))


def _draw(run: Run, recipe: Recipe, found: Tagged) -> None:
    tag = st.selectbox("Tag", range(len(found.names)), format_func=found.names.__getitem__, key=f"tag:{run.id}")
    bars = _bars(run, found)
    curve, bar = found.curve(tag), bars[tag]
    _choice(run, found, tag, bars)
    _charts(run, found, tag, curve, bars)
    _pictures(run, recipe, found, tag, bar)
    more = st.expander("All tags", icon=":material/rule:", key="all-tags", on_change="rerun")
    if more.open:
        with more:
            _all(run, found, bars)


def _bars(run: Run, found: Tagged) -> tuple[float, ...]:
    """The threshold of each tag: as chosen here, else as kept with the model, else the usual one."""
    kept = calibrating.held(run)
    usual = kept.thresholds if kept and len(kept.thresholds) == len(found.names) else (THRESHOLD,) * len(found.names)
    chosen: tuple[float, ...] = state.value(_key(run)) or usual
    return chosen


def _key(run: Run) -> str:
    return f"thresholds:{run.id}"


def _choice(run: Run, found: Tagged, tag: int, bars: tuple[float, ...]) -> None:
    """The threshold, and what it comes to."""
    left, right = st.columns([5, 7], gap="medium", vertical_alignment="center")
    take = partial(_take, run, bars, tag)
    with left, st.container(horizontal=True, vertical_alignment="bottom"):
        numbers.number(Entry(f"threshold:{run.id}:{tag}", "Threshold", BETWEEN, lambda: bars[tag], take))
        best = _bests(str(run.path), stamp(run.predictions_file))[tag]
        help = f"{best:.3f}: at which F1, the balance of what is found and what is right, is best on these images."
        st.button("Best F1", key="best-f1", help=help, on_click=take, args=(best,))
    counts = found.counts(tag, bars[tag])
    shares = {"Right of those found": counts.precision, "Found of its images": counts.recall, "F1": counts.f1}
    with right, st.grid(len(shares), min_column_width=120):
        for title, value in shares.items():
            st.metric(title, TAGS.score.shown(value), border=True)


def _take(run: Run, bars: tuple[float, ...], tag: int, bar: float) -> None:
    state.keep(_key(run), (*bars[:tag], bar, *bars[tag + 1 :]))


def _charts(run: Run, found: Tagged, tag: int, curve: Curve, bars: tuple[float, ...]) -> None:
    """Both curves; a click on either takes the threshold there."""
    if not found.wanted[:, tag].any() or found.wanted[:, tag].all():
        shell.empty("No curve", "All validation images have this tag, or none has.")
        return
    counts = found.counts(tag, bars[tag])
    alarms = counts.alarms / (counts.alarms + counts.left)
    left, right = st.columns(2, gap="medium")
    with left:
        here = (counts.recall, 1.0 if np.isnan(counts.precision) else counts.precision)
        figure = figures.precision_recall(curve.recall, curve.precision, here)
        chart(figure, key=PRECISION, picked=partial(_clicked, PRECISION, run, bars, tag, curve))
        st.caption(f"Average precision {curve.average_precision:.1%}. Click the curve to take its threshold.")
    with right:
        figure = figures.roc(curve.alarms, curve.recall, (alarms, counts.recall))
        chart(figure, key=ROC, picked=partial(_clicked, ROC, run, bars, tag, curve))
        st.caption(f"Area below (AUROC) {curve.area:.1%}: how often an image that has the tag is ranked above another.")


def _clicked(key: str, run: Run, bars: tuple[float, ...], tag: int, curve: Curve) -> None:
    if point := clicked(key):
        x, y = point
        near = curve.near(x, curve.precision, y) if key == PRECISION else curve.near(y, curve.alarms, x)
        _take(run, bars, tag, min(1 - LEAST, max(LEAST, near)))


def _pictures(run: Run, recipe: Recipe, found: Tagged, tag: int, bar: float) -> None:
    lists = {"missed": found.missed, "alarms": found.alarms, "near": found.near}
    places = {key: make(tag, bar) for key, make in lists.items()}
    key = state.seed(f"mistakes:{run.id}", state.value(f"mistakes:{run.id}", "missed"))
    which = st.segmented_control(
        "Which",
        list(LISTS),
        format_func=lambda key: LISTS[key] if key == "near" else f"{LISTS[key]} ({len(places[key]):,})",
        key=key,
        required=True,
        label_visibility="collapsed",
    )
    which = which or "missed"
    targets = Targets(recipe.task.key, found.names)
    pictures(run, recipe, places[which], lambda place: _tile(found, tag, place, bar, targets), f"{tag}:{which}")


def _tile(found: Tagged, tag: int, place: int, bar: float, targets: Targets) -> Tile:
    share, there, name = found.shares[place, tag], found.wanted[place, tag], found.names[tag]
    mark = ":green[:material/check:]" if (share >= bar) == there else ":red[:material/close:]"
    truth = targets.about.spelled(targets, found.wanted[place])
    words = f"{mark} **{shell.plain(name)}** {share:.0%}  \n:gray[has {shell.plain(truth)}]"
    return Tile(found.images[place], words, f"{truth}: {name} {share:.0%}", name)


def _all(run: Run, found: Tagged, bars: tuple[float, ...]) -> None:
    """Every tag at its threshold, those of the best F1, and keeping them with the model."""
    bests = _bests(str(run.path), stamp(run.predictions_file))
    rows = []
    for tag, (name, bar, best) in enumerate(zip(found.names, bars, bests, strict=True)):
        counts = found.counts(tag, bar)
        rows.append(
            {
                "Tag": name,
                "Images": counts.found + counts.missed,
                "Threshold": round(bar, 3),
                "Precision": TAGS.score.shown(counts.precision),
                "Recall": TAGS.score.shown(counts.recall),
                "F1": TAGS.score.shown(counts.f1),
                "Best F1": f"{TAGS.score.shown(found.counts(tag, best).f1)} at {best:.3f}",
            }
        )
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch", key="tag-scores")
    st.caption("Chosen on these images, so on others F1 is less: the less the fewer have a tag.")
    if bars != bests:
        st.button("Take the best F1 of every tag", key="best-of-all", on_click=state.keep, args=(_key(run), bests))
    help = "Try an image, evaluate, tables of guesses and the README of what is taken away follow."
    calibrating.keeping(run, Fitted(thresholds=bars), "Keep these thresholds with the model", _said, help)


def _said(kept: Fitted) -> str:
    return f"a threshold for each of {count(len(kept.thresholds), 'tag')}"
