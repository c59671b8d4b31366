"""The badge of the running run: on every page, leads to its live page."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

from finetune_core.records import counted
from finetune_core.runs.shelf.summaries import Summary
from finetune_core.runs.store import Status
from finetune_core.wording import roughly
from pages.ui.kit import path
from pages.ui.kit.shell import NAME, plain

WIDE = 28  # letters of a name in the sidebar


def badge(runs: Iterable[Summary]) -> None:
    """The newest active run with its progress; nothing where there is none."""
    run = next((run for run in runs if run.status.active), None)
    if run is None:
        return
    with st.container(border=True, gap="xsmall", key="badge"):
        st.page_link(
            path.RUN.script,
            label=f":small[**{plain(run.title, WIDE)}**]",
            icon=":material/local_fire_department:",
            query_params={"run": run.id},
            help=f"Watch {plain(run.title, NAME)} live",
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
    return epoch if status.seconds_left is None else f"{epoch} · {roughly(status.seconds_left)} left"
