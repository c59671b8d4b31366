"""The table of runs: what to look for, its rows, and which of them are ticked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st

from finetune_core.errors import UserError
from finetune_core.parts.tasks import TASKS
from finetune_core.runs.shelf.summaries import Summary, matching
from finetune_core.wording import count, roughly
from pages.ui.kit import live, naming, path, shell, state

TABLE, OPENED, STARRED, RENAMED = "runs-table", "runs-open", "runs-star", "runs-rename"
_TICKED, _TO_OPEN, _TO_RENAME = "runs-ticked", "runs-opened", "runs-renamed"
TALLEST = 10  # rows before the table scrolls
ROW = 66  # px: from 65 on Streamlit breaks text into lines, so that no name is cut
HEADER = 36  # px
# What stands in sight, in this order, on 1440 px; on a phone the first three. All else can be shown by the table's eye.
SHOWN = ("name", "open", "best", "error", "curve", "state", "made", "time", "started", "rename", "star", "tags")


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


def table(runs: Sequence[Summary], called: Mapping[str, str]) -> list[Summary]:
    """Draw the runs, `called` so by id; returns those that are ticked. Ticks go with a run, wherever it stands."""
    if renamed := state.value(_TO_RENAME):
        state.keep(_TO_RENAME, None)
        naming.ask(renamed)
        st.rerun()  # the whole page, of which the click may have drawn the table alone
    if opened := state.value(_TO_OPEN):
        state.keep(_TO_OPEN, None)
        shell.go(path.RUN, run=opened)
    if not runs:
        return []
    key, before = key_of(runs), state.value(_TICKED, ())
    again: Any = {"selection": {"rows": [place for place, run in enumerate(runs) if run.id in before]}}
    # What no run has takes no room: only those that learn numbers have an error, say.
    frame = pd.DataFrame([_row(run, called[run.id]) for run in runs]).dropna(axis="columns", how="all")
    picked = st.dataframe(
        frame,
        placeholder="–",
        key=key,
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        selection_default=again,
        height=HEADER + ROW * min(len(runs), TALLEST) + 2,
        row_height=ROW,
        column_order=[each for each in SHOWN if each in frame],
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


def _row(run: Summary, name: str) -> dict[str, Any]:
    status, look = run.status, live.look(run.status.state)
    word = f"{look.word} {status.share:.0%}" if status.state == "running" else look.word
    best = status.best_score
    return {
        "name": name,
        "best": 100 * best if run.score.share and best is not None else None,
        "error": None if run.score.share else best,
        "open": "Open",
        "curve": run.curve or None,
        "state": f"{look.mark} {word}",
        "made": None if name.startswith(run.made) else run.made,
        "time": roughly(run.seconds) if run.readable else None,
        "started": pd.Timestamp(status.started, unit="s") if status.started else None,
        "rename": ":material/edit:",
        "star": "★" if run.notes.star else "☆",
        "tags": [*run.notes.tags] or None,
        "data": run.data or None,
        "backbone": run.backbone or None,
        "thawed": run.thawed or None,
        "size": run.size / 1e6,
        "id": run.id,
    }


def _columns(runs: Sequence[Summary]) -> dict[str, Any]:
    config, ids = st.column_config, [run.id for run in runs]

    def button(key: str, on_click: Any, width: int) -> Any:
        return config.ButtonColumn("", type="tertiary", on_click=on_click, args=(ids,), key=key, width=width)

    return {
        "name": config.TextColumn("Name", width=180),
        "best": config.NumberColumn("Best", width=64, format="%.1f%%", help="The best score on the validation images"),
        "error": config.NumberColumn("Error", width=64, format="%.4g", help="The smallest mean error on them"),
        "open": button(OPENED, _open, 56),
        "curve": config.LineChartColumn("Validation", width=75),
        "state": config.TextColumn("State", width=95),
        "made": config.TextColumn("What was done", width=150),
        "time": config.TextColumn("Time", width=62, alignment="right"),
        "started": config.DatetimeColumn("Started", width=110, format="distance"),
        "rename": button(RENAMED, _rename, 45),
        "star": button(STARRED, _toggle_star, 45),
        "tags": config.ListColumn("Tags", width=120),
        "data": config.TextColumn("Data"),
        "backbone": config.TextColumn("Backbone"),
        "thawed": config.TextColumn("Thawed"),
        "size": config.NumberColumn("Size", format="%.0f MB"),
        "id": config.TextColumn("Folder"),
    }


def _open(ids: list[str]) -> None:
    if (click := state.value(OPENED)) is not None:
        state.keep(_TO_OPEN, ids[click["row"]])


def _rename(ids: list[str]) -> None:
    if (click := state.value(RENAMED)) is not None:
        state.keep(_TO_RENAME, ids[click["row"]])


def _toggle_star(ids: list[str]) -> None:
    if (click := state.value(STARRED)) is not None:
        naming.change(ids[click["row"]], lambda had: replace(had, star=not had.star))
