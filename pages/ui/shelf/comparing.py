"""Runs over each other: their curves, what differs between their recipes, and whether one is really better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from finetune_core import figures
from finetune_core.errors import UserError
from finetune_core.places import stamp
from finetune_core.recipe.arms import against
from finetune_core.recipe.diff import in_words
from finetune_core.runs import store
from finetune_core.runs.jobs import Experiment
from finetune_core.runs.shelf.summaries import Summary
from finetune_core.understand import compare as comparing
from finetune_core.understand.compare import Comparison
from finetune_core.understand.resampled import Interval
from finetune_core.wording import count, roughly
from pages.ui.kit import asking, path, shell, state
from pages.ui.kit.chart import chart
from pages.ui.shelf.agreeing import agreeing

MOST = len(figures.LINES)  # runs over each other
SENTENCE = 1500  # letters, with the names of ten runs
SEEDS = 5  # of an experiment with their recipes


def compare(ticked: Sequence[Summary], called: Mapping[str, str]) -> None:
    """Everything about some ticked runs, `called` so by their ids; those left out that cannot be read."""
    readable = [run for run in ticked if run.readable]
    runs = [run for run in readable if run.task == readable[0].task][:MOST] if readable else []
    _left_out(ticked, readable, runs)
    if len(runs) < 2:
        return
    _apart(runs, called)
    _curves(runs, called)
    _side_by_side(runs, called)
    _final(runs, called)
    _several_seeds(runs)
    agreeing(runs, called)


def _left_out(ticked: Sequence[Summary], readable: Sequence[Summary], runs: Sequence[Summary]) -> None:
    others = [run for run in readable if run.task != readable[0].task]
    if len(readable) < len(ticked):
        st.caption(f"{len(ticked) - len(readable)} of them cannot be read.")
    if others:
        st.caption(f"{len(others)} of them learn something else than the first, and cannot be compared with it.")
    if len(readable) - len(others) > len(runs):
        st.caption(f"The first {MOST} of {len(readable) - len(others)} are drawn.")


def _apart(runs: Sequence[Summary], called: Mapping[str, str]) -> None:
    """Said first: curves of runs that were not measured on the same images must not be read against each other."""
    try:
        told = comparing.apart([store.open_run(run.id) for run in runs], called)
    except UserError as error:
        shell.error_card(error)
        return
    if told:
        st.markdown(f":orange[:material/error:] {shell.plain(told, SENTENCE)}")


def _curves(runs: Sequence[Summary], called: Mapping[str, str]) -> None:
    epochs = {called[run.id]: _epochs(run) for run in runs}
    loss, score = st.columns(2, gap="medium")
    with loss:
        chart(figures.compared_losses(epochs), key="compared-loss")
    with score:
        chart(figures.compared(epochs, runs[0].score), key="compared")
    st.caption("Solid: on the training images. Dashed: on the validation images. A click on a name hides its lines.")


def _epochs(run: Summary) -> list[dict[str, Any]]:
    """A run's epochs; where its records are damaged that is said, and the others are drawn."""
    try:
        return store.open_run(run.id).epochs()
    except UserError as error:
        shell.error_card(error)
        return []


def _side_by_side(runs: Sequence[Summary], called: Mapping[str, str]) -> None:
    """A column for each run: what it reached, and in words what differs between the recipes."""
    st.markdown("**Side by side**")
    recipes = [store.open_run(run.id).recipe.replace(name="") for run in runs]
    differing = in_words(*recipes)
    rows = [
        (f"Best {runs[0].score.inside}", *(run.score.shown(run.status.best_score) for run in runs)),
        ("Trained", *(f"{count(run.status.epoch, 'epoch')} in {roughly(run.seconds)}" for run in runs)),
        *differing,
    ]
    _table(rows, [called[run.id] for run in runs], key="differences")
    if not differing:
        st.caption("Their recipes are the same.")


def _table(rows: Sequence[Sequence[str]], names: Sequence[str], key: str) -> None:
    """A column for each run, whose whole name stands above it."""
    frame = pd.DataFrame([row[1:] for row in rows], index=[*map(_cell, (row[0] for row in rows))]).map(_cell)
    frame.columns = pd.Index([*map(_cell, names)])
    with st.container(key=key):
        st.table(frame, border="horizontal")


def _cell(text: str) -> str:
    """Plain, and a path in it may be broken into lines."""
    return shell.plain(text).replace("/", "/\u200b")


def _final(runs: Sequence[Summary], called: Mapping[str, str]) -> None:
    """Which is better, and whether that may be chance."""
    st.markdown("**Which is better?**")
    if any(run.status.active for run in runs):
        st.caption("As soon as all of them have ended.")
        return
    try:
        with st.spinner("Comparing", show_time=False):
            found = _compared(
                tuple((run.id, stamp(store.open_run(run.id).predictions_file)) for run in runs), dict(called)
            )
    except UserError as error:
        st.markdown(f":gray[:material/info:] {shell.plain(str(error), SENTENCE)}")
        return
    for pair in (*found.pairs, found.gained):
        mark = ":green[:material/check_circle:]" if pair.distinguishable else ":gray[:material/balance:]"
        st.markdown(f"{mark} {shell.plain(comparing.verdict(pair, found, called), SENTENCE)}")
    for note in found.notes:
        st.caption(shell.plain(note, SENTENCE))
    _table(*_scores(found, called), key="final-scores")
    st.caption(
        f"On {found.images:,} validation images, best epoch of each. In brackets: where the score would lie for 95 of"
        " 100 sets of images like these. The best epoch was chosen on the same images, so all scores flatter a little."
        " All together is the mean of their answers, which takes as long as all of them."
    )


def _several_seeds(runs: Sequence[Summary]) -> None:
    """Their recipes once more, with several seeds each: a single run tells nothing about the luck of its seed."""
    if any(run.status.active for run in runs):
        return
    label, icon = f"Train each again with {SEEDS} seeds", ":material/casino:"
    help = "An experiment: it says which recipe is better whatever the seed. It takes as long as all of them."
    if shell.start(st.container(), label, icon=icon, key="several-seeds", kind="tertiary", help=help):
        try:
            recipe, arms = against([store.open_run(run.id).recipe for run in runs])
            made = asking.soon(recipe.replace(name="Which recipe?"), Experiment(arms=arms, seeds=SEEDS))
        except UserError as error:
            state.note(error)
            st.rerun()
        shell.go(path.RUN, run=made.id)


def _scores(found: Comparison, called: Mapping[str, str]) -> tuple[list[tuple[str, ...]], list[str]]:
    """Every score as a row of cells, and the names of the columns."""

    def cell(each: Interval, score: Any) -> str:
        return f"{score.shown(each.value)} ({score.shown(each.low)} to {score.shown(each.high)})"

    columns = [*found.runs.values(), found.together]
    rows = [(score.title, *(cell(each[score.key], score) for each in columns)) for score in found.scores]
    return rows, [*(called[run] for run in found.runs), "All together"]


@st.cache_data(max_entries=50, show_spinner=False)
def _compared(which: tuple[tuple[str, Any], ...], called: dict[str, str]) -> Comparison:
    """By the stamps of what the runs answered, so that nothing is drawn again as long as they stay the same."""
    return comparing.compare([store.open_run(name) for name, _ in which], called)
