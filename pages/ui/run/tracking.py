"""Where else a run's numbers go: chosen for this session, since it is no part of the recipe."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from finetune_core.errors import UserError
from finetune_core.parts import Job, Tracker
from finetune_core.runs.jobs import Train
from pages.ui.kit import state

_KEY = "thaw:trackers"


def chosen() -> Train:
    """A training with the trackers that were chosen."""
    return Train(trackers=tuple(Tracker.kinds()[kind]() for kind in _kinds()))


def job() -> Train:
    """The same, to be launched. A UserError where the library of a tracker is missing."""
    made = chosen()
    for tracker in made.trackers:
        tracker.check()
    return made


def words(job: Job) -> list[str]:
    """How a command asks for a job's trackers, where they are not those that it has without asking."""
    trackers: Sequence[Tracker] = dict(job).get("trackers", ())
    return ["--trackers", *(each.kind for each in trackers)] if trackers != Train().trackers else []


def field() -> None:
    """The choice of trackers, with their sentences."""
    kinds = Tracker.kinds()
    key = state.seed("trackers", list(_kinds()))
    st.pills(
        Train.knob("trackers").title,
        list(kinds),
        default=list(_kinds()),
        selection_mode="multi",
        wrap=True,
        format_func=lambda kind: kinds[kind].title,
        help=Train.knob("trackers").help,
        **state.callback(key, _choose),
    )
    for kind in _kinds():
        st.caption(kinds[kind].about())
        _missing(kinds[kind])


def _missing(kind: type[Tracker]) -> None:
    try:
        kind().check()
    except UserError as error:
        st.caption(f":orange[:material/warning:] {error.why} {error.hint}")


def _kinds() -> tuple[str, ...]:
    return tuple(state.value(_KEY, [each.kind for each in Train().trackers]))


def _choose(kinds: list[str]) -> None:
    state.keep(_KEY, list(kinds))
