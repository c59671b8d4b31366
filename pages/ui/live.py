"""Watching a run: its records read once, and a piece of page that is drawn anew each second while the run lives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import streamlit as st

from finetune_core.errors import UserError
from finetune_core.recipe import Recipe, plan
from finetune_core.recipe.changes import Made, kept
from finetune_core.runs.store import Run, Status
from pages.ui import outline, state

EVERY = 1.0  # seconds between two looks at a run

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Look:
    """How a state is shown: its word, its icon, a plain mark where icons cannot be drawn, its colour."""

    word: str
    icon: str
    mark: str
    colour: Literal["blue", "orange", "green", "gray", "red"]


LOOKS = {
    "queued": Look("Queued", ":material/schedule:", "○", "gray"),
    "starting": Look("Starting", ":material/hourglass_top:", "○", "blue"),
    "preparing": Look("Preparing", ":material/hourglass_top:", "○", "blue"),
    "running": Look("Running", ":material/local_fire_department:", "▶", "orange"),
    "paused": Look("Paused", ":material/pause_circle:", "Ⅱ", "blue"),
    "stopping": Look("Stopping", ":material/hourglass_bottom:", "■", "gray"),
    "finished": Look("Finished", ":material/check_circle:", "✓", "green"),
    "stopped": Look("Stopped", ":material/stop_circle:", "■", "gray"),
    "diverged": Look("Diverged", ":material/trending_up:", "✕", "red"),
    "failed": Look("Failed", ":material/error:", "✕", "red"),
    "lost": Look("Lost", ":material/link_off:", "✕", "red"),
    "unreadable": Look("Unreadable", ":material/broken_image:", "✕", "red"),
}


def look(state: str) -> Look:
    """How a state is shown; one that a later version of Thaw wrote, by its name."""
    return LOOKS.get(state, Look(state.capitalize(), ":material/help:", "?", "gray"))


def watch(run: Run, draw: Callable[[], None]) -> None:
    """Draw now and, while the run is active or waits, each second; when that changes, the whole page once more."""
    before = moving(run)
    if not before:
        draw()
        return

    @st.fragment(run_every=EVERY)
    def tick() -> None:
        if moving(run) == before:
            draw()
        else:
            st.rerun()

    tick()


def moving(run: Run) -> str:
    """How a run moves: it is active, or it waits in the queue; empty where it rests."""
    status = run.status
    return "active" if status.active else status.state if status.state == "queued" else ""


def records(run: Run) -> Rows:
    """All records so far; of a running run only what is new is read. The list must not be changed."""
    status, pid = run.status, run.worker_pid()
    if status.settling:  # a resumed run may still take records back
        return run.records()[0]
    key, stamp = f"records:{run.id}", (pid, 0.0 if pid else status.updated)
    kept = state.value(key)
    rows, cursor = (kept[1], kept[2]) if kept and kept[0] == stamp else ([], 0)
    new, cursor = run.records(cursor)
    rows.extend(new)
    state.keep(key, (stamp, rows, cursor))
    return rows


def changes(run: Run) -> list[Made]:
    """What was changed on the way."""
    return kept(run.changes())


def planned(run: Run, recipe: Recipe, rows: Sequence[dict[str, Any]], status: Status) -> Rows:
    """The planned rates, as they are after changes: with the worker's count of steps once it has one.

    Before that as the recipe lets expect.
    """
    first = next((row for row in rows if row["kind"] == "step"), None)
    try:
        if first and status.epoch_steps:
            lengths = lasting(run, recipe, rows, status)
            return plan.plan(recipe, list(first["lr"]), status.epoch_steps, lengths, changes(run))
        return outline.planned(recipe)
    except UserError:  # the worker will say it in its own words, or the records are of another recipe
        return []


def lasting(run: Run, recipe: Recipe, rows: Sequence[dict[str, Any]], status: Status) -> list[int]:
    """The epochs that each phase takes: as many as it took where it is over, else as many as it may take."""
    lengths = plan.full_length(recipe, changes(run))
    steps = [row for row in rows if row["kind"] == "step"]
    over = len(lengths) if status.state == "finished" else steps[-1]["phase"] if steps else 0
    for phase in range(over):
        lengths[phase] = sum(row["kind"] == "epoch" and row["phase"] == phase for row in rows)
    return lengths
