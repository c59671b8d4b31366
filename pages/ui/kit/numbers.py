"""The number field, one for the whole studio: what is kept is what is shown.

It is a text field, since a browser's own number field takes `0,003` for 3 and drops what is out of bounds without a
word. What cannot be kept stays as it was typed, with a line below that says why and what is kept; all that starts
something waits meanwhile (`shell.start`). Beside it lie − and +, or a slider where a scale is even.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import streamlit as st

from finetune_core.errors import UserError
from finetune_core.parts.numbers import Scale, Several
from pages.ui.kit import refused, shell, state

BUTTON = 26  # px across, of − and +
BESIDE = 96  # px across, of a field beside a slider


@dataclass(frozen=True)
class Entry:
    """A field for a number or several: `now` is what is kept (None: nothing), `take` keeps another, or a UserError.

    `on` are the values of the draft, by dotted path, that it belongs to: where one changes, a wrong entry goes. Without
    any the number is none of the draft's. `called` is its name where it is told of, if that is not the label.
    """

    key: str
    label: str
    scale: Scale | Several
    now: Callable[[], Any]
    take: Callable[[Any], None]
    on: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""  # of the draft's value, where it is one
    called: str = ""


def of_draft(path: str, label: str, scale: Scale | Several) -> Entry:
    """The field for a value of the draft."""
    now = partial(state.found_at, path)
    return Entry(f"field:{path}", label, scale, now, partial(state.change_value, path), {path: now()}, path)


def number(
    entry: Entry, *, help: str = "", hidden: bool = False, disabled: bool = False, width: Any = "stretch"
) -> None:
    """Draw the field, `hidden` without its label."""
    mistake, scale = refused.at(entry.key), entry.scale
    help = f"{help} {scale.words()}." if help else ""
    with st.container(gap="xxsmall", width=width):
        with st.container(horizontal=True, wrap=False, vertical_alignment="bottom", gap="xxsmall"):
            if scale.track:
                _slider(entry, scale.track, help)
                _text(entry, mistake, hidden=True, width=BESIDE)
            else:
                _text(entry, mistake, help, hidden, disabled)
                if scale.steps:
                    _button(entry, "minus", "remove", -1, disabled)
                    _button(entry, "plus", "add", 1, disabled)
        if mistake:
            st.markdown(f":small[:orange[:material/error: {shell.plain(mistake.why)}]]")
    shell.keep_waiting()


def wrong(entry: Entry) -> bool:
    """Whether something stands in it that cannot be kept."""
    return refused.at(entry.key) is not None


def _text(
    entry: Entry,
    mistake: refused.Refused | None,
    help: str = "",
    hidden: bool = False,
    disabled: bool = False,
    width: Any = "stretch",
) -> None:
    shown = mistake.text if mistake else entry.scale.shown(entry.now())
    st.text_input(
        entry.label,
        shown,
        help=help or None,
        placeholder=entry.scale.words(),
        disabled=disabled,
        label_visibility="collapsed" if hidden else "visible",
        width=width,
        **state.callback(state.seed(entry.key, shown), _typed, entry),
    )


def _typed(entry: Entry, text: str) -> None:
    if state.is_echo(entry.key):
        return
    try:
        found: Any = entry.scale.read(text)
        _keep(entry, entry.scale.read(entry.scale.shown(found)))  # a third is kept as it will be shown
    except UserError as error:
        kept = entry.scale.shown(entry.now())
        why = (error.why or error.what).removesuffix(".") + (f"; kept at {kept}" if kept else "")
        refused.refuse(entry.key, refused.Refused(entry.called or entry.label, text, why, entry.on, entry.path, kept))


def _keep(entry: Entry, found: Any) -> None:
    if found != entry.now():
        entry.take(found)
    refused.forget(entry.key)


def _slider(entry: Entry, track: tuple[float, float, float], help: str) -> None:
    low, high, step = track
    now = float(entry.now())
    st.slider(
        entry.label,
        low,
        high,
        now,
        step,
        format=" ",  # the number stands in the field
        help=help or None,
        **state.callback(state.seed(f"slide:{entry.key}", now), _slid, entry),
    )


def _slid(entry: Entry, number: float) -> None:
    if not state.is_echo(f"slide:{entry.key}"):
        _attempt(entry, float(f"{number:.10g}"))  # sliders add up steps: 0.35000000000000003


def _button(entry: Entry, key: str, icon: str, way: int, disabled: bool) -> None:
    now = entry.now()
    beside: Any = None if now is None else entry.scale.stepped(now, way)
    st.button(
        f":material/{icon}:",
        key=f"{key}:{entry.key}",
        type="tertiary",
        help=None if beside in (None, now) else f"{entry.label}: {entry.scale.shown(beside)}",
        disabled=disabled or beside in (None, now),
        on_click=_step,
        args=(entry, way),
        width=BUTTON,
    )


def _step(entry: Entry, way: int) -> None:
    if (typed := state.told(entry.key)) is not None:  # in the same breath, and not handed over yet
        _typed(entry, typed)
    if (now := entry.now()) is not None:
        _attempt(entry, entry.scale.stepped(now, way))
        state.seed(entry.key, entry.scale.shown(entry.now()))


def _attempt(entry: Entry, number: Any) -> None:
    try:
        _keep(entry, number)
    except UserError as error:
        state.note(error)
