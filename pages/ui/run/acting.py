"""What can be done with a run, as buttons that derive from where it stands."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from finetune_core.errors import UserError
from finetune_core.parts import Job
from finetune_core.runs import launch
from finetune_core.runs.states import branch, mending
from finetune_core.runs.store import Run
from finetune_core.runs.waiting import engines, queue
from pages.ui.kit import path, shell, sight, state

FOLLOWED = "thaw:go-to"  # the run that a click has begun
PAUSE, STOP, GO = ":material/pause_circle:", ":material/stop_circle:", ":material/play_circle:"


def actions(slot: DeltaGenerator, run: Run, job: Job) -> None:
    """The buttons of a run, in the place for a page's primary action."""
    draw = _DRAWN.get(run.status.state, _ended)
    with slot, st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center", gap="small"):
        draw(run, job)


def _queued(run: Run, job: Job) -> None:
    help = "Beside whatever is at work: both will be slower."
    if not run.engine_file.exists():  # else another queue has it
        _button("Start now", ":material/local_fire_department:", run, queue.start_now, primary=True, help=help)
    _button("Cancel", ":material/close:", run, queue.cancel, help="Takes it out of the queue; its folder remains.")


def _preparing(run: Run, job: Job) -> None:
    _button("Stop", STOP, run, launch.stop)


def _running(run: Run, job: Job) -> None:
    if job.trains and run.wish() == "pause":
        _button("Pausing", PAUSE, run, launch.pause, disabled=True)
    elif job.trains:
        _button("Pause", PAUSE, run, launch.pause, help="Saves and waits; the memory it uses stays taken.")
    _button("Stop", STOP, run, launch.stop, help="Saves and ends; it can go on later from there.")


def _paused(run: Run, job: Job) -> None:
    _button("Resume", GO, run, launch.resume, primary=True)
    _button("Stop", STOP, run, launch.stop, help="Ends it; it can go on later from here.")


def _stopping(run: Run, job: Job) -> None:
    _button("Stopping", STOP, run, launch.stop, disabled=True)
    help = "Ends it without waiting for it to save: what it has learned since it saved last is lost."
    _button("Stop now", ":material/dangerous:", run, _stop_now, help=help)


def _finished(run: Run, job: Job) -> None:
    if job.trains:
        st.button("Try an image", icon=":material/image_search:", type="primary", on_click=_try, key="primary")


def _try() -> None:
    state.keep("tab", "Try an image")
    sight.wish()


def _ended(run: Run, job: Job) -> None:
    """It broke or was stopped: the one way to go on that fits what happened, and to go on as it is."""
    if not job.resumable:
        return
    try:
        way = mending.way(run)
    except UserError:  # its recipe cannot be read, which the page says
        return
    if way:
        _button(way.title, ":material/healing:", run, lambda run: _go_on(run, way), primary=True, help=way.why)
    anew = job.trains and not run.status.step and not run.states
    label, help = (
        ("Start again", "From its beginning: nothing was saved.") if anew else ("Resume", "From what was saved last.")
    )
    _button(label, GO, run, engines.resume, primary=way is None and not anew, help=help)


def _stop_now(run: Run) -> None:
    launch.stop(run, now=True)


def _go_on(run: Run, way: mending.Way) -> None:
    """Branch with the changed recipe, or start anew where nothing was saved, and watch that."""
    made = branch.go_on(run, way.recipe, way.step)
    engines.start(made, like=run)
    state.keep(FOLLOWED, made.id)


def follow() -> None:
    """Turn to the run that a click has begun, if one has."""
    if found := state.value(FOLLOWED):
        state.keep(FOLLOWED, None)
        shell.go(path.RUN, run=found)


def _button(
    label: str,
    icon: str,
    run: Run,
    act: Callable[[Run], None],
    *,
    primary: bool = False,
    disabled: bool = False,
    help: str | None = None,
) -> None:
    key = "primary" if primary else label.lower().replace(" ", "-")
    st.button(
        label,
        key=key,
        icon=icon,
        type="primary" if primary else "secondary",
        disabled=disabled,
        help=help,
        on_click=done,
        args=(run, act),
    )


def done(run: Run, act: Callable[[Run], None]) -> None:
    """Do it; what stands against it is said at the top of the page."""
    try:
        act(run)
    except UserError as error:
        state.note(error)


_DRAWN: dict[str, Callable[[Run, Job], None]] = {
    "queued": _queued,
    "starting": _preparing,
    "preparing": _preparing,
    "running": _running,
    "paused": _paused,
    "stopping": _stopping,
    "finished": _finished,
}
