"""Runs: what has been tried, what came of it, side by side."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from finetune_core import figures
from finetune_core.errors import UserError
from finetune_core.recipe.diff import differences
from finetune_core.recipe.words import model_words, source_words, thaw_words
from finetune_core.runs import store
from finetune_core.runs.store import Run
from pages.ui import live, path, shell, state, sweeping
from pages.ui.badge import duration
from pages.ui.chart import chart, load

LEAD = "What you have tried, and what came of it. Open one, or tick two to compare them."
EVERY = 2.0  # seconds between two looks while a run is active
TABLE, OPENED = "runs-table", "runs-open"


def show() -> None:
    """The whole page."""
    slot = shell.page("runs", "Runs", LEAD, strip=False)
    if shell.primary(slot, "New run", icon=":material/add:"):
        st.switch_page(path.PAGES["train"].script)
    sweeping.above_runs()
    runs = _readable(store.list_runs())
    if not runs:
        card = shell.empty("No runs yet", "A run appears here as soon as it is launched.", icon=":material/ac_unit:")
        if card.button("Try it now", icon=":material/local_fire_department:"):
            st.switch_page(path.PAGES["train"].script)
        return
    if any(run.status.active for run in runs):
        st.fragment(run_every=EVERY)(_table)(runs)
    else:
        _table(runs)
    load()


def _readable(runs: list[Run]) -> list[Run]:
    """Runs whose recipe this version understands; others are told of in one line."""
    good = []
    for run in runs:
        try:
            known = run.recipe is not None
        except UserError:
            known = False
        if known:
            good.append(run)
    if len(good) < len(runs):
        st.caption(f"{len(runs) - len(good)} runs of another version of Thaw are left out.")
    return good


def _table(runs: list[Run]) -> None:
    if opened := state.value("opened"):
        state.keep("opened", None)
        st.switch_page(path.RUN.script, query_params={"run": opened})
    # What no run has takes no room: most have no name of their own, and only those that learn numbers an error.
    frame = pd.DataFrame([_row(run) for run in runs]).dropna(axis="columns", how="all")
    chosen = st.dataframe(
        frame,
        placeholder="–",
        key=TABLE,
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        row_height=44,
        column_config=_columns(runs),
        alt=f"Table of {len(runs)} runs",
    )
    ticked = [runs[index] for index in chosen["selection"]["rows"] if index < len(runs)]
    if len(ticked) == 1:
        _reuse(ticked[0])
    elif len(ticked) >= 2:
        _compare(ticked[0], ticked[1])


def _row(run: Run) -> dict[str, Any]:
    status, recipe = run.status, run.recipe
    look, score = live.LOOKS[status.state], recipe.task.score
    word = f"{look.word} {status.share:.0%}" if status.state == "running" else look.word
    return {
        "open": ":material/open_in_full: Open",
        "state": f"{look.mark} {word}",
        "name": recipe.name or None,
        "data": source_words(recipe),
        "backbone": model_words(recipe),
        "thawed": thaw_words(recipe),
        "best": status.best_score if score.share else None,
        "error": None if score.share else status.best_score,
        "curve": [value for value in status.valid_score if value is not None],
        "time": duration(max(0.0, status.updated - status.started)),
        "started": pd.Timestamp(status.started, unit="s"),
        "size": run.megabytes,
        "id": run.id,
    }


def _columns(runs: list[Run]) -> dict[str, Any]:
    config = st.column_config
    return {
        "open": config.ButtonColumn(
            "", type="tertiary", on_click=_open, args=(runs,), key=OPENED, pinned=True, width=85
        ),
        "state": config.TextColumn("State", width=105),
        "name": config.TextColumn("Name", width=130),
        "data": config.TextColumn("Data", width=80),
        "backbone": config.TextColumn("Backbone", width=90),
        "thawed": config.TextColumn("Thawed", width=150),
        "best": config.ProgressColumn("Best score", width=130, format="percent", min_value=0.0, max_value=1.0),
        "error": config.NumberColumn("Mean error", width=100, format="%.4g"),
        "curve": config.LineChartColumn("Validation", width=100),
        "time": config.TextColumn("Time", width=65),
        "started": config.DatetimeColumn("Started", width=110, format="distance"),
        "size": config.NumberColumn("Size", width=65, format="%.0f MB"),
        "id": config.TextColumn("Folder"),
    }


def _open(runs: list[Run]) -> None:
    click = state.value(OPENED)
    if click is not None:
        state.keep("opened", runs[click["row"]].id)


def _reuse(run: Run) -> None:
    with st.container(horizontal=True):
        if st.button("Open", icon=":material/open_in_full:"):
            st.switch_page(path.RUN.script, query_params={"run": run.id})
        if st.button("Use this recipe", icon=":material/edit:", help="Makes it your draft and opens Train."):
            state.take(run.recipe)
            st.switch_page(path.PAGES["train"].script)


def _compare(one: Run, other: Run) -> None:
    """Two runs over each other, and what differs between their recipes."""
    left, right = st.columns([3, 2], gap="large")
    names = (one.recipe.name or one.id, other.recipe.name or other.id)
    names = names if names[0] != names[1] else (one.id, other.id)
    with left:
        pair = {name: live.records(run) for name, run in zip(names, (one, other), strict=True)}
        if one.recipe.task == other.recipe.task:
            chart(figures.compared(pair, one.recipe.task.score), key="compared")
        else:
            st.caption("Their scores cannot be compared: one learns something else than the other.")
    with right:
        st.markdown("**What differs**")
        rows = differences(one.recipe.replace(name=""), other.recipe.replace(name=""))
        if rows:
            st.dataframe(pd.DataFrame(rows, columns=["", *names]), hide_index=True)
        else:
            st.caption("Nothing: the two recipes are the same.")


show()
