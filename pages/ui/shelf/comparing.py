"""Runs over each other: their curves, what differs between their recipes, and whether one is really better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from finetune_core import figures
from finetune_core.errors import UserError
from finetune_core.places import stamp
from finetune_core.recipe.arms import against
from finetune_core.recipe.diff import differing
from finetune_core.recipe.words import place_words
from finetune_core.runs import store
from finetune_core.runs.jobs import Experiment
from finetune_core.runs.shelf.summaries import Summary
from finetune_core.understand import compare as comparing
from finetune_core.understand.compare import Comparison
from finetune_core.understand.resampled import Interval
from pages.ui.kit import asking, path, shell, state
from pages.ui.kit.chart import chart
from pages.ui.shelf.agreeing import agreeing

MOST = len(figures.LINES)  # runs over each other
SEEDS = 5  # of an experiment with their recipes


def compare(ticked: Sequence[Summary]) -> None:
    """Everything about some ticked runs, those left out that cannot be read."""
    readable = [run for run in ticked if run.readable]
    runs = [run for run in readable if run.task == readable[0].task][:MOST] if readable else []
    _left_out(ticked, readable, runs)
    if len(runs) < 2:
        return
    called = names(runs)
    _curves(runs, called)
    _final(runs, called)
    _several_seeds(runs)
    agreeing(runs, called)
    _recipes(runs, called)


def names(runs: Sequence[Summary]) -> dict[str, str]:
    """What to call each run, by its id: by its title, or its id too where others have the same title."""
    titles = [run.title for run in runs]
    return {run.id: run.title if titles.count(run.title) == 1 else f"{run.title} ({run.id})" for run in runs}


def _left_out(ticked: Sequence[Summary], readable: Sequence[Summary], runs: Sequence[Summary]) -> None:
    others = [run for run in readable if run.task != readable[0].task]
    if len(readable) < len(ticked):
        st.caption(f"{len(ticked) - len(readable)} of them cannot be read.")
    if others:
        st.caption(f"{len(others)} of them learn something else than the first, and cannot be compared with it.")
    if len(readable) - len(others) > len(runs):
        st.caption(f"The first {MOST} of {len(readable) - len(others)} are drawn.")


def _curves(runs: Sequence[Summary], called: dict[str, str]) -> None:
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


def _recipes(runs: Sequence[Summary], called: dict[str, str]) -> None:
    st.markdown("**What differs**")
    recipes = [store.open_run(run.id).recipe.replace(name="") for run in runs]
    rows = [(place_words(place, recipes), *_values(place, values)) for place, *values in differing(*recipes)]
    if rows:
        frame = pd.DataFrame(rows, columns=["", *called.values()])
        first = {"": st.column_config.TextColumn(pinned=True)}  # it stays where many runs have to be scrolled
        st.dataframe(frame, hide_index=True, width="stretch", column_config=first, key="differences")
    else:
        st.caption("Nothing: the recipes are the same.")


def _values(place: str, values: Sequence[str]) -> list[str]:
    return ["everything" if place.endswith(".thaw") and value == "*" else value for value in values]


def _final(runs: Sequence[Summary], called: dict[str, str]) -> None:
    """Which is better, and whether that may be chance."""
    st.markdown("**Which is better?**")
    if any(run.status.active for run in runs):
        st.caption("As soon as all of them have ended.")
        return
    try:
        with st.spinner("Comparing", show_time=False):
            found = _compared(tuple((run.id, stamp(store.open_run(run.id).predictions_file)) for run in runs))
    except UserError as error:
        st.markdown(f":gray[:material/info:] {shell.plain(str(error))}")
        return
    for pair in (*found.pairs, found.gained):
        mark = ":green[:material/check_circle:]" if pair.distinguishable else ":gray[:material/balance:]"
        st.markdown(f"{mark} {shell.plain(comparing.verdict(pair, found, called))}")
    for note in found.notes:
        st.caption(shell.plain(note))
    st.dataframe(_scores(found, called), key="final-scores")
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


def _scores(found: Comparison, called: dict[str, str]) -> pd.DataFrame:
    def cell(each: Interval, score: Any) -> str:
        return f"{score.shown(each.value)} ({score.shown(each.low)} to {score.shown(each.high)})"

    scored = [*((called[run], each) for run, each in found.runs.items()), ("All together", found.together)]
    rows = [{score.title: cell(each[score.key], score) for score in found.scores} for _, each in scored]
    return pd.DataFrame(rows, index=[name for name, _ in scored])


@st.cache_data(max_entries=50, show_spinner=False)
def _compared(which: tuple[tuple[str, Any], ...]) -> Comparison:
    """By the stamps of what the runs answered, so that nothing is drawn again as long as they stay the same."""
    return comparing.compare([store.open_run(name) for name, _ in which])
