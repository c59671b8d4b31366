"""Watching a run: its history read once for everybody, and a piece of page that is drawn anew while the run lives."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import streamlit as st
from plotly.graph_objects import Figure

from finetune_core.errors import UserError
from finetune_core.places import stamp
from finetune_core.recipe import Recipe, plan
from finetune_core.recipe.changes import Made, kept
from finetune_core.runs.store import Run, Status
from finetune_core.runs.telling.history import History, Reading, read_on, sketch
from finetune_core.runs.telling.remembered import LONG, remember, remembered
from pages.ui.kit import chart, outline, state
from pages.ui.kit.chart import Drawn
from pages.ui.kit.pieces import EVERY, SELDOM, piece

READING = 0.05  # seconds of reading records, after which others get a word in
REST = 0.02  # seconds that they have for it
FINE = 100  # parts of a run; charts are drawn again where one more has passed
BRISK, SOON, CALM = 0.5, 10.0, 1.0  # seconds between two looks while a run begins, for so many; and then until it steps
GLANCES = 40  # at a run from its start to its end, unless that would be more seldom than `SELDOM`
DOUBT = 1.25  # times as long as is said a run may take, or as short
PLANNED = 400  # steps at which the planned rates are worked out, and at each phase's ends

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


def watch(run: Run, seen: str, draw: Callable[[], None], *, stays: bool = False) -> None:
    """Draw now and, while the run moves, again and again; when that changes, the whole page once more.

    `seen` is how the run was `moving` before anything of the page was drawn: what changes while it is drawn, as when a
    pause is reached between the buttons and the rest, would else never be noticed. What `stays` is a fragment at rest,
    too: then everything in it is the same for the browser before and after the end, and charts keep their zoom and
    hidden lines. A click in it draws only the fragment anew.
    """
    every = _every(run.status) if seen else None

    def tick() -> None:
        if moving(run) != seen or (every and _every(run.status, every) != every):
            st.rerun()
        draw()

    if seen or stays:
        piece(tick, every)
    else:
        tick()


def moving(run: Run | None) -> str:
    """How a run moves: its state, wishes and changes, or that it is being read.

    Empty where it rests, or there is none, or its files cannot be read, of which whoever draws them tells. Where this
    changes the whole page is drawn anew: its buttons follow the state, and what it says of the run's length and of what
    is thawed follows a change on the way.
    """
    if run is None:
        return ""
    status = run.status
    try:
        if status.active or status.state == "queued":
            return f"{status.state}, asked to {run.wish()}, changed at {stamp(run.changes_file)}"
        return "" if told(run).whole else "read"
    except UserError:
        return ""


def _every(status: Status, now: float = 0.0) -> float:
    """Seconds between two looks at a run: few until its first step, with little to draw; then the longer it takes.

    How long that is sways from step to step: as long as it may be so, it stays as it is `now`.
    """
    if status.state != "queued" and (status.settling or not status.step):
        return BRISK if time.time() - status.started < SOON else CALM
    takes = time.time() - status.started + (status.seconds_left or 0.0)
    less, said, more = (_of_length(takes * part) for part in (1 / DOUBT, 1.0, DOUBT))
    return now if less <= now <= more else said


def _of_length(seconds: float) -> float:
    return next((every for every in (EVERY, (EVERY + SELDOM) / 2) if seconds <= GLANCES * every), SELDOM)


@dataclass
class _Told:
    """What the sessions of this server share about one run. Whoever looks reads on; the others wait for that."""

    reading: Reading
    kept: int = 0  # bytes whose history is in the cache folder
    glance: History | None = None  # until all has been read
    behind: bool = False  # whether a thread reads what is long
    drawn: dict[str, tuple[Hashable, Drawn]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class Telling:
    """A run's history, and how much of its records has been read; until all has, the history is a sketch."""

    history: History
    share: float

    @property
    def whole(self) -> bool:
        """Whether all that was there has been read."""
        return self.share == 1.0


def told(run: Run) -> Telling:
    """What a run has said until now; of a long one what can be seen at a glance, while it is being read."""
    shared = _shared(str(run.records_file))
    with shared.lock:
        if not shared.behind:
            _read(run.records_file, shared)
            if not shared.reading.whole:
                shared.behind = True
                threading.Thread(target=_read_all, args=(run.records_file, shared), daemon=True).start()
        return Telling(shared.glance or shared.reading.history, shared.reading.share)


def _read_all(path: Path, shared: _Told) -> None:
    """Read what is long to its end, behind the page."""
    try:
        while not shared.reading.whole:
            time.sleep(REST)
            with shared.lock:
                _read(path, shared)
    finally:
        shared.behind = False


def _read(path: Path, shared: _Told) -> None:
    shared.reading = reading = read_on(path, shared.reading, READING)
    if not reading.whole:
        shared.glance = shared.glance or sketch(path)
        return
    shared.glance = None
    if reading.cursor - shared.kept > LONG:
        remember(path, reading)
        shared.kept = reading.cursor


@st.cache_resource(max_entries=50, show_spinner=False)
def _shared(path: str) -> _Told:
    reading = remembered(Path(path))
    return _Told(reading, reading.cursor)


def drawn(run: Run, name: str, version: Hashable, draw: Callable[[], Figure]) -> Drawn:
    """A chart of a run, drawn once for all sessions as long as its version stays the same."""
    shared = _shared(str(run.records_file))
    with shared.lock:
        if name not in shared.drawn or shared.drawn[name][0] != version:
            shared.drawn[name] = version, chart.drawn(draw())
        return shared.drawn[name][1]


def version(told: Telling, status: Status) -> Hashable:
    """Changes when a chart would look different: not with every step of a long run."""
    history, part = told.history, max(1, status.steps // FINE)
    return history.steps // part, len(history.epochs), len(history.events), told.whole, status.state, status.steps


def records(run: Run) -> Rows:
    """All records so far of a short job; of a running one only what is new is read. The list must not be changed."""
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


def readable(run: Run) -> bool:
    """Whether its recipe, its job and its records can be read: a page that tells of some run passes over others."""
    try:
        _ = run.recipe, run.job, records(run)
    except UserError:  # of which the page of that run tells
        return False
    return True


def changes(run: Run) -> list[Made]:
    """What was changed on the way."""
    return kept(run.changes())


def planned(run: Run, recipe: Recipe, history: History, status: Status) -> Rows:
    """The planned rates, as they are after changes: with the worker's count of steps once it has one.

    Before that as the recipe lets expect.
    """
    names = tuple(history.of("lr"))
    try:
        if names and status.epoch_steps:
            lengths = tuple(lasting(run, recipe, history, status))
            seen = stamp(run.recipe_file), stamp(run.changes_file)
            return _planned(run.path, seen, names, status.epoch_steps, lengths)
        return outline.planned(recipe)
    except UserError:  # the worker will say it in its own words, or the records are of another recipe
        return []


@lru_cache(maxsize=50)
def _planned(path: Path, seen: object, names: tuple[str, ...], epoch_steps: int, lasting: tuple[int, ...]) -> Rows:
    run, every = Run(path), max(1, sum(lasting) * epoch_steps // PLANNED)
    return plan.plan(run.recipe, names, epoch_steps, lasting, changes(run), every)


def lasting(run: Run, recipe: Recipe, history: History, status: Status) -> list[int]:
    """The epochs that each phase takes: as many as it took where it is over, else as many as it may take."""
    lengths = plan.full_length(recipe, changes(run))
    newest = history.latest("phase")
    over = len(lengths) if status.state == "finished" else int(newest[-1]) if len(newest) else 0
    for phase in range(over):
        lengths[phase] = sum(row["phase"] == phase for row in history.epochs)
    return lengths


def starts(run: Run, recipe: Recipe, history: History, status: Status) -> list[int]:
    """The first step of each phase, as far as it is known."""
    return plan.starts(lasting(run, recipe, history, status), status.epoch_steps) if status.epoch_steps else []
