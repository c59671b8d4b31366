"""The queue as pages see it: what a new run would wait for, who waits, and moving or taking out who does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import streamlit as st

from finetune_core import machine
from finetune_core.errors import UserError
from finetune_core.recipe import Recipe
from finetune_core.runs.shelf.summaries import summary
from finetune_core.runs.store import Run
from finetune_core.runs.waiting import engines, queue
from finetune_core.runs.waiting.queue import Queue
from finetune_core.wording import count
from pages.ui.kit import path, shell, state
from pages.ui.kit.badge import status_words
from pages.ui.kit.pieces import EVERY, piece
from pages.ui.run import tracking

_ADDED = "queue:added"
TARGET = 30  # px across, of a button that is but an icon


def ahead(recipe: Recipe) -> str:
    """What a run of this recipe would wait for, in words; empty where its device is free."""
    return _wait_words(queue.look().before(recipe, machine.facts()))


def add(recipe: Recipe) -> None:
    """Let the recipe as it is now wait for its turn, and draw the page anew; what stops it becomes a notice."""
    try:
        run = queue.submit(recipe, tracking.job())
        state.keep(_ADDED, f"{_place_words(run)}. The draft is yours to change: what waits stays as it is.")
    except UserError as error:
        state.note(error)
    st.rerun()


def added() -> str:
    """That a recipe was added just now, in words, once; else empty."""
    words = state.value(_ADDED, "")
    state.keep(_ADDED, "")
    return words


def panel() -> None:
    """Who is at work and who waits, with arrows to move them; nothing where nobody waits."""
    if queue.look().waiting:
        piece(_panel, EVERY)


def line() -> None:
    """How many wait; nothing where nobody does. Whatever was killed, somebody starts them while this is shown."""
    waiting = len(queue.look().waiting)
    if not waiting:
        return
    _try(queue.ensure)
    words = f":small[{count(waiting, 'run')} {'waits' if waiting == 1 else 'wait'}]"
    st.page_link(path.PAGES["runs"].script, label=words, icon=":material/schedule:", width="stretch")


def told(run: Run) -> None:
    """A waiting run's place, and what it waits for; elsewhere what is to be done there."""
    try:
        if run.engine_file.exists():
            _elsewhere(run)
        else:
            st.caption(_here(run))
    except UserError as error:
        st.caption(f":orange[:material/error:] {shell.plain(str(error))}")


def _elsewhere(run: Run) -> None:
    """In words, and where something is to be typed there, as code to copy."""
    engine = engines.of(run)
    sentence, _, command = engine.words(run).partition("\n")
    with st.container(gap="small"):  # below each other, also in a row
        st.caption(shell.plain(f"{engine.title}. {run.status.message}. {sentence}"))
        if command:
            st.code(command, language="bash", wrap_lines=True)


def _here(run: Run) -> str:
    return f"{_place_words(run)}. {_wait_words(queue.look().before(run.recipe, machine.facts(), run))}"


def _place_words(run: Run) -> str:
    here = machine.facts()
    place, kind = queue.look().place(run, here), queue.waits_for(run, here)
    return f"Number {place} in the queue for {here.device_words(kind) or kind}" if place else "It begins"


def _wait_words(before: list[Run]) -> str:
    """As in `Waits for resnet18 on Blooms (Epoch 2 of 5 · 40 s left) and 2 others`."""
    if not before:
        return ""
    first, others = before[0], len(before) - 1
    told = f"Waits for {shell.plain(summary(first).title)} ({status_words(first.status)})"
    return f"{told} and {count(others, 'other')}." if others else f"{told}."


def _panel() -> None:
    now, here = queue.look(), machine.facts()
    if not now.waiting:
        st.rerun()
    with st.container(border=True, gap="small", key="queue"):
        st.markdown("**Queue**")
        for run in now.active:
            _at_work(run)
        for run in now.waiting:
            _waiting(run, now, here)


def _at_work(run: Run) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        _link(run, ":material/local_fire_department:")
        st.progress(run.status.share, text=status_words(run.status))


def _waiting(run: Run, now: Queue, here: machine.Machine) -> None:
    """A line: its place, its name, and what can be done with it."""
    lane = [each.id for each in now.lane(queue.waits_for(run, here), here)]
    place, name = lane.index(run.id), summary(run).title
    with st.container(horizontal=True, vertical_alignment="center", gap=None, wrap=False, key=f"queued-{run.id}"):
        device = f" · {queue.waits_for(run, here)}" if len(lane) < len(now.waiting) else ""
        st.markdown(f":gray[{place + 1}{device}]", width=46 if device else 24)
        _link(run, ":material/schedule:")
        first, last = place == 0, place == len(lane) - 1
        _quiet("up", run, "arrow_upward", f"{name}: earlier", partial(queue.move, where="up", here=here), first)
        _quiet("down", run, "arrow_downward", f"{name}: later", partial(queue.move, where="down", here=here), last)
        _quiet("out", run, "close", f"Cancel {name}", queue.cancel)


def _link(run: Run, icon: str) -> None:
    label = shell.plain(summary(run).title)
    st.page_link(
        path.RUN.script, label=label, icon=icon, query_params={"run": run.id}, help=shell.plain(run.id), width="stretch"
    )


def _quiet(key: str, run: Run, icon: str, help: str, act: Callable[[Run], None], disabled: bool = False) -> None:
    st.button(
        f":material/{icon}:",
        key=f"queue-{key}:{run.id}",
        type="tertiary",
        help=shell.plain(help),
        disabled=disabled,
        on_click=_try,
        args=(partial(act, run),),
        width=TARGET,
    )


def _try(act: Callable[[], None]) -> None:
    """Do it; where it cannot be done, a notice at the top of the page."""
    try:
        act()
    except UserError as error:
        state.note(error)
