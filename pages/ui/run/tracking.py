"""Where else a run's numbers go: chosen for this session, since it is no part of the recipe."""

from __future__ import annotations

import streamlit as st

from finetune_core.errors import UserError
from finetune_core.parts import Tracker
from finetune_core.runs.jobs import Train
from pages.ui.kit import state

_KEY = "thaw:trackers"


def job() -> Train:
    """The training to launch, with the trackers that were chosen. A UserError where the library of one is missing."""
    made = Train(trackers=tuple(Tracker.kinds()[kind]() for kind in _chosen()))
    for tracker in made.trackers:
        tracker.check()
    return made


def field() -> None:
    """The choice of trackers, with their sentences."""
    kinds = Tracker.kinds()
    key = state.seed("trackers", list(_chosen()))
    st.pills(
        Train.knob("trackers").title,
        list(kinds),
        default=list(_chosen()),
        selection_mode="multi",
        wrap=True,
        format_func=lambda kind: kinds[kind].title,
        help=Train.knob("trackers").help,
        **state.callback(key, _choose),
    )
    for kind in _chosen():
        st.caption(kinds[kind].about())
        _missing(kinds[kind])


def _missing(kind: type[Tracker]) -> None:
    try:
        kind().check()
    except UserError as error:
        st.caption(f":orange[:material/warning:] {error.why} {error.hint}")


def _chosen() -> tuple[str, ...]:
    return tuple(state.value(_KEY, [each.kind for each in Train().trackers]))


def _choose(kinds: list[str]) -> None:
    state.keep(_KEY, list(kinds))
