"""The transforms of the draft as cards that are switched, tuned, moved, removed and added.

A card goes by its transform's name (`state.names`), not by its place, so that a click in a hurry or from a page that is
out of date reaches the transform that it was meant for, or none.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import streamlit as st

from finetune_core.parts import Transform
from finetune_core.parts.transforms import PRESETS
from finetune_core.recipe import stack
from pages.ui.kit import fields, state

ADD = "add-transform"
PRESET = "augment-preset"
MOVED = "augment-moved"
TARGET = 30  # px across, of a button that is but an icon
ORDER = "Run from top to bottom. What cuts out the square is always first; arrows move the others."
FIRST = "Runs first, always: it cuts out the square that the others work on."
AFTER = "Nothing to pass: what cuts out the square is always first."
BEFORE = "Nothing to pass."


def cards() -> None:
    """What is on, in the order in which it runs; what can be added; what is off."""
    augment, names = state.draft().augment, state.names()
    titles = stack.titles(augment)
    st.caption(ORDER)
    for place in stack.working(augment):
        _card(place, names[place], titles[place])
    _add()
    resting = stack.resting(augment)
    if resting:
        st.markdown(":gray[Switched off]")
    with st.container(gap=None):
        for place in resting:
            with _line(names[place]):
                _toggle(names[place], titles[place], augment[place])
                _remove(names[place], titles[place])
    _following()(data=state.value(MOVED, {}), key="following", height=1)


def presets() -> None:
    """Stacks to begin with, in one row; the one that does the same as the draft's is lit."""
    current = stack.current_preset(state.draft().augment)
    chosen = st.pills(
        "Presets",
        list(PRESETS),
        default=current,
        format_func=lambda key: PRESETS[key].title,
        label_visibility="collapsed",
        **state.callback(state.seed(PRESET, current), _take_preset),
    )
    st.caption(PRESETS[chosen].help if chosen else "As set below. A preset replaces it.")


def _take_preset(key: str) -> None:
    state.change(lambda draft: draft.replace(augment=PRESETS[key].transforms))
    st.rerun()


def _card(place: int, name: str, title: str) -> None:
    part = state.draft().augment[place]
    with st.container(border=True, gap="xxsmall", key=f"transform-{name[1:]}"):
        with _line(name):
            _toggle(name, title, part)
            _moves(place, name, title)
            _remove(name, title)
        st.caption(part.about())
        if part.strength:
            fields.field(f"augment.{name}.{part.strength}", explain=False)
        _more(name, part)


def _line(name: str) -> st.delta_generator.DeltaGenerator:
    return st.container(horizontal=True, vertical_alignment="center", gap=None, wrap=False, key=f"line-{name[1:]}")


def _toggle(name: str, title: str, part: Transform) -> None:
    key = state.seed(f"on:{name}", part.active)
    words, help = (f"**{title}**", None) if part.active else (title, part.about())
    st.toggle(words, part.active, help=help, width="stretch", **state.callback(key, _switch, name))


def _moves(place: int, name: str, title: str) -> None:
    """Arrows to the neighbours; a lone crop has none, for it can only be first."""
    augment = state.draft().augment
    before, after = (stack.neighbour(augment, place, step) for step in (-1, 1))
    if augment[place].frames and before is None and after is None:
        st.markdown(":gray-badge[always first]", help=FIRST, width="content")
        return
    _quiet("up", name, f"{title}: earlier", "arrow_upward", _move, -1, why=AFTER if before is None else "")
    _quiet("down", name, f"{title}: later", "arrow_downward", _move, 1, why=BEFORE if after is None else "")


def _remove(name: str, title: str) -> None:
    _quiet("remove", name, f"Remove {title}", "close", _take_out)


def _more(name: str, part: Transform) -> None:
    """The other knobs, those meant for few last."""
    knobs = [knob for knob in part.knobs() if knob.name not in ("active", part.strength)]
    if knobs:
        with st.popover("More", icon=":material/tune:", type="tertiary", key=f"more:{name}"):
            for knob in sorted(knobs, key=lambda knob: knob.more):
                fields.field(f"augment.{name}.{knob.name}")


def _add() -> None:
    kinds = Transform.kinds()
    st.menu_button(
        "Add a transform",
        list(kinds),
        format_func=lambda kind: kinds[kind].title,
        key=ADD,
        icon=":material/add:",
        on_click=_put_in,
        width="stretch",
    )


def _quiet(key: str, name: str, label: str, icon: str, act: Callable[..., None], *args: Any, why: str = "") -> None:
    """A button of which one sees but the icon: its label is for screen readers. `why` says what it waits for."""
    st.button(
        label,
        icon=f":material/{icon}:",
        key=f"{key}:{name}",
        type="tertiary",
        help=why or label,
        disabled=bool(why),
        on_click=act,
        args=(name, *args),
        width=TARGET,
    )


def _switch(name: str, active: bool) -> None:
    state.edit_value(f"augment.{name}.active", active)
    st.rerun()  # the whole page: the chips tell how many transforms there are


def _put_in() -> None:
    state.add_transform(Transform.kinds()[state.value(ADD)]())
    st.rerun()


def _take_out(name: str) -> None:
    place = state.place_of(name)
    if place is not None:
        state.arrange(partial(stack.removed, place=place))
        st.rerun()


def _move(name: str, step: int) -> None:
    place = state.place_of(name)
    if place is None:
        return
    to = stack.neighbour(state.draft().augment, place, step)
    if to is not None:
        state.arrange(partial(stack.moved, place=place, to=to))
        state.keep(MOVED, {"turn": time.time_ns(), "name": name[1:], "step": step})


@cache
def _following() -> Callable[..., Any]:
    """Keeps the keyboard on a transform that was moved."""
    script = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
    return st.components.v2.component("thaw_pipeline", js=script, isolate_styles=False)
