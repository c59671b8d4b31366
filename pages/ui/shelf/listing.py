"""The table of runs: what to look for, its rows, and which of them are ticked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st

from finetune_core.errors import UserError
from finetune_core.parts.tasks import TASKS
from finetune_core.runs import store
from finetune_core.runs.shelf import notes
from finetune_core.runs.shelf.notes import Notes
from finetune_core.runs.shelf.summaries import Summary, matching
from finetune_core.wording import count
from pages.ui.kit import live, path, shell, state
from pages.ui.kit.badge import duration

TABLE, OPENED, STARRED = "runs-table", "runs-open", "runs-star"
_TICKED, _TO_OPEN = "runs-ticked", "runs-opened"
TALLEST = 12  # rows before the table scrolls
ROW = 44  # px


def unreadable(runs: Sequence[Summary]) -> None:
    """Which runs cannot be read, each with its reason; the others are not touched by that."""
    bad = [run for run in runs if not run.readable]
    if not bad:
        return
    with st.expander(f":red[:material/error:] {count(len(bad), 'run')} cannot be read.", key="unreadable"):
        for run in bad:
            st.text(f"{run.id}: {UserError.said(run.status.error or {'what': run.status.message})}")


def chosen(runs: Sequence[Summary]) -> list[Summary]:
    """The runs that a person looks for."""
    if len(runs) < 2:
        return [*runs]
    with st.container(horizontal=True, vertical_alignment="bottom", key="filter"):
        text = st.text_input(
            "Find", key="runs-find", placeholder="Name, data, backbone, note", icon=":material/search:", width=300
        )
        states = _several("State", {run.status.state for run in runs}, lambda key: live.look(key).word)
        tasks = _several("Learns", {run.task for run in runs}, lambda key: TASKS[key].title)
        tags = _several("Tags", {tag for run in runs for tag in run.notes.tags}, str)
        starred = any(run.notes.star for run in runs) and st.toggle("Starred", key="runs-starred")
    found = matching(runs, text or "", states=states, tasks=tasks, tags=tags, starred=starred)
    if not found:
        st.caption(f"None of the {len(runs):,} runs is like that.")
    elif len(found) < len(runs):
        st.caption(f"{len(found):,} of {len(runs):,} runs.")
    return found


def _several(label: str, options: set[str], words: Any) -> list[str]:
    """A choice of any; where there is nothing to choose from it takes no room."""
    if len(options) < 1 + (label != "Tags"):
        return []
    return st.multiselect(label, sorted(options), format_func=words, key=f"runs-{label}", placeholder="Any", width=165)


def table(runs: Sequence[Summary]) -> list[Summary]:
    """Draw the runs; returns those that are ticked. Ticks go with a run, wherever it stands."""
    if opened := state.value(_TO_OPEN):
        state.keep(_TO_OPEN, None)
        shell.go(path.RUN, run=opened)
    if not runs:
        return []
    key, before = key_of(runs), state.value(_TICKED, ())
    again: Any = {"selection": {"rows": [place for place, run in enumerate(runs) if run.id in before]}}
    # What no run has takes no room: most have no name of their own, and only those that learn numbers an error.
    frame = pd.DataFrame([_row(run) for run in runs]).dropna(axis="columns", how="all")
    picked = st.dataframe(
        frame,
        placeholder="–",
        key=key,
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        selection_default=again,
        height=ROW * (min(len(runs), TALLEST) + 1) if len(runs) > TALLEST else "auto",
        row_height=ROW,
        column_config=_columns(runs),
        alt=f"Table of {count(len(runs), 'run')}",
    )
    ticked = [runs[place] for place in picked["selection"]["rows"] if place < len(runs)]
    state.keep(_TICKED, tuple(run.id for run in ticked))
    return ticked


def key_of(runs: Sequence[Summary]) -> str:
    """The table's key: another one as soon as other runs stand in its rows, since ticks are told by row."""
    ids = "\n".join(run.id for run in runs)
    return f"{TABLE}-{hashlib.sha256(ids.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"


def _row(run: Summary) -> dict[str, Any]:
    status, look = run.status, live.look(run.status.state)
    word = f"{look.word} {status.share:.0%}" if status.state == "running" else look.word
    best = status.best_score
    return {
        "star": "★" if run.notes.star else "☆",
        "open": "Open",
        "state": f"{look.mark} {word}",
        "name": run.name or None,
        "best": best if run.score.share else None,
        "error": None if run.score.share else best,
        "curve": run.curve or None,
        "data": run.data or None,
        "backbone": run.backbone or None,
        "thawed": run.thawed or None,
        "time": duration(run.seconds) if run.readable else None,
        "started": pd.Timestamp(status.started, unit="s") if status.started else None,
        "size": run.size / 1e6,
        "tags": [*run.notes.tags] or None,
        "id": run.id,
    }


def _columns(runs: Sequence[Summary]) -> dict[str, Any]:
    config, ids = st.column_config, [run.id for run in runs]
    return {
        "star": config.ButtonColumn(
            "", type="tertiary", on_click=_toggle_star, args=(ids,), key=STARRED, pinned=True, width=45
        ),
        "open": config.ButtonColumn(
            "", type="tertiary", on_click=_open, args=(ids,), key=OPENED, pinned=True, width=60
        ),
        "state": config.TextColumn("State", width=105),
        "name": config.TextColumn("Name", width=130),
        "data": config.TextColumn("Data", width=85),
        "backbone": config.TextColumn("Backbone", width=125),
        "thawed": config.TextColumn("Thawed", width=135),
        "best": config.ProgressColumn("Best score", width=115, format="percent", min_value=0.0, max_value=1.0),
        "error": config.NumberColumn("Mean error", width=100, format="%.4g"),
        "curve": config.LineChartColumn("Validation", width=90),
        "time": config.TextColumn("Time", width=65),
        "started": config.DatetimeColumn("Started", width=110, format="distance"),
        "size": config.NumberColumn("Size", width=65, format="%.0f MB"),
        "tags": config.ListColumn("Tags", width=120),
        "id": config.TextColumn("Folder"),
    }


def _open(ids: list[str]) -> None:
    if (click := state.value(OPENED)) is not None:
        state.keep(_TO_OPEN, ids[click["row"]])


def _toggle_star(ids: list[str]) -> None:
    if (click := state.value(STARRED)) is not None:
        change(ids[click["row"]], lambda had: replace(had, star=not had.star))


def change(run: str, made: Callable[[Notes], Notes]) -> None:
    """Write other notes on the run of this id; what stands against it becomes a notice."""
    try:
        files = store.open_run(run)
        notes.write(files, made(notes.read(files)))
    except UserError as error:
        state.note(error)
