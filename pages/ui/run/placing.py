"""Where a run is at work: chosen for this session, since it is no part of the recipe."""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from finetune_core.errors import UserError
from finetune_core.parts import Engine, Knob
from finetune_core.runs.waiting.engines import Here
from pages.ui.kit import fields, refused, state

_KEY = "thaw:engine"


def chosen() -> Engine:
    """The engine for the next run."""
    return Engine.parsed(state.value(_KEY) or {"kind": Here.kind}, "Where it runs")


def here() -> bool:
    """Whether that is this machine."""
    return chosen().kind == Here.kind


def words(engine: Engine) -> list[str]:
    """How a command asks for an engine: by what is not as it is without asking."""
    if engine.kind == Here.kind:
        return []
    plain = type(engine)()
    values = {knob.name: getattr(engine, knob.name) for knob in engine.knobs()}
    changed = [f"{name}={value}" for name, value in values.items() if value != getattr(plain, name)]
    return ["--on", engine.kind, *(word for each in changed for word in ("--set-on", each))]


def field() -> None:
    """The choice of an engine, its sentence, and its knobs."""
    engine, kinds = chosen(), Engine.kinds()
    st.pills(
        "Where it runs",
        list(kinds),
        default=engine.kind,
        required=True,
        wrap=True,
        format_func=lambda kind: kinds[kind].title,
        **state.callback(state.seed("engine", engine.kind), _choose),
    )
    st.caption(engine.about())
    try:
        engine.check()
    except UserError as error:
        st.caption(f":orange[:material/warning:] {error.what} {error.hint}")
    for knob in engine.knobs():
        fields.apart(_key(engine, knob), knob, getattr(engine, knob.name), partial(_change, knob.name))


def wrong() -> list[str]:
    """What stands in its fields and cannot be kept."""
    engine = chosen()
    return [entry.label for knob in engine.knobs() if (entry := refused.at(_key(engine, knob)))]


def _key(engine: Engine, knob: Knob) -> str:
    return f"engine:{engine.kind}:{knob.name}"


def _choose(kind: str) -> None:
    state.keep(_KEY, {"kind": kind})


def _change(name: str, value: Any) -> None:
    """Keep another value; a UserError where it does not fit."""
    data = chosen().model_dump(mode="json") | {name: value.strip() if isinstance(value, str) else value}
    state.keep(_KEY, Engine.parsed(data, "Where it runs").model_dump(mode="json"))
