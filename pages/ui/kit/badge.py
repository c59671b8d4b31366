"""The badge of the running run: on every page, leads to its live page, costs one small file read every few seconds."""

from __future__ import annotations

import streamlit as st

from finetune_core.records import counted
from finetune_core.runs.shelf.summaries import summaries
from finetune_core.runs.store import Status
from pages.ui.kit import path
from pages.ui.kit.shell import NAME, plain

EVERY = 3  # seconds


def badge() -> None:
    """The newest active run with its progress; nothing while none is active, and then nothing is asked for either.

    What others start, on the command line say, shows with the next click on any page.
    """
    moves = any(run.status.active or run.status.state == "queued" for run in summaries())
    st.fragment(run_every=EVERY if moves else None)(_badge)()


def _badge() -> None:
    run = next((run for run in summaries() if run.status.active), None)
    if run is None:
        return
    with st.container(border=True, gap="xsmall", key="badge"):
        name = plain(run.title, NAME)
        st.page_link(
            path.RUN.script,
            label=f":small[**{name}**]",
            icon=":material/local_fire_department:",
            query_params={"run": run.id},
            help="Watch it live",
        )
        st.progress(run.status.share, text=status_words(run.status))


def status_words(status: Status) -> str:
    """`Epoch 2 of 5 · 40 s left`, or the state while there is no progress to tell."""
    if status.state == "paused" and status.epoch_steps:
        return f"Paused in epoch {min(status.epoch + 1, status.epochs)} of {status.epochs}"
    if status.state == "stopping":
        return "Stopping"
    if status.state != "running" or not status.epoch_steps:
        return plain(counted(status.message or status.state.capitalize(), status.done, status.total, status.unit))
    epoch = f"Epoch {min(status.epoch + 1, status.epochs)} of {status.epochs}"
    return epoch if status.seconds_left is None else f"{epoch} · {duration(status.seconds_left)} left"


def duration(seconds: float) -> str:
    """`40 s`, `3 min`, `2 h 5 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
