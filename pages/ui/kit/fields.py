"""Widgets from knobs: every field is drawn from the draft at a dotted path and writes back to it.

`field("phases.0.epochs")` draws one knob, `knobs("training")` all of a section, `choice("training.optimizer")` the
choice of a part together with its knobs. Titles, sentences, bounds and units come from the part itself. Edits reach the
draft in the widget's callback, so whatever is drawn afterwards already shows them; nothing is returned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import streamlit as st

from finetune_core.parts import Knob, changed_kind, family
from pages.ui.kit import browsing, numbers, state

BAR = 24  # letters that fit into one bar of choices
_LEFT = "thaw:left:"  # and the path: the parts that were chosen there before, by their kind
FEW = 7  # as many choices are shown side by side; more go into a list that unfolds


def field(path: str, *, explain: bool = True, label: str | None = None, placeholder: str = "") -> None:
    """One knob of the draft, such as `data.valid_share`; `explain` writes its sentence below, else it is a tooltip."""
    section_path, _, name = path.rpartition(".")
    knob = state.value_at(section_path).knob(name)
    _widget(path, knob, label or _label(knob), "" if explain else knob.help, placeholder)
    if explain and knob.help:
        st.caption(knob.help)


def knobs(path: str, names: Iterable[str] | None = None, *, explain: bool = True, more: bool = True) -> None:
    """All knobs of the section or part at `path` (or only `names`); those meant for few wait behind "More"."""
    found = [knob for knob in state.value_at(path).knobs() if _drawable(knob) and (names is None or knob.name in names)]
    for knob in found:
        if not knob.more:
            field(f"{path}.{knob.name}", explain=explain)
    behind = [knob for knob in found if knob.more]
    if more and behind:
        with st.expander("More", icon=":material/tune:"):
            for knob in behind:
                field(f"{path}.{knob.name}", explain=explain)


def choice(
    path: str,
    label: str,
    *,
    skip: tuple[str, ...] = (),
    with_knobs: bool = True,
    edit: Callable[[str, Any], None] = state.edit_value,
) -> None:
    """The choice of a part of its family (optimizer, schedule, head, …), its sentence, then its knobs.

    `edit` takes the path and plain data for the part that was chosen.
    """
    part = state.value_at(path)
    kinds = {kind: cls for kind, cls in family(part).kinds().items() if kind not in skip}
    key = state.seed(f"kind:{path}", part.kind)
    options: dict[str, Any] = {
        "format_func": lambda kind: kinds[kind].title if kind in kinds else kind,
        **state.callback(key, _choose, path, edit),
    }
    if len(kinds) <= FEW:
        bar = side_by_side([cls.title for cls in kinds.values()])
        bar(label, list(kinds), default=part.kind, required=True, **options)
    else:
        st.selectbox(label, list(kinds), index=list(kinds).index(part.kind), **options)
    st.caption(part.about())
    if with_knobs:
        knobs(path, explain=False)


def side_by_side(words: Sequence[str]) -> Callable[..., Any]:
    """The widget for a few choices: one bar where it fits into a narrow column, else pills, which wrap."""
    return st.segmented_control if sum(map(len, words)) <= BAR else partial(st.pills, wrap=True)


def _choose(path: str, edit: Callable[[str, Any], None], kind: str) -> None:
    """What means the same in both parts goes along; the rest waits in this session for whoever comes back.

    Nothing happens where another tab has taken the part away.
    """
    if (before := state.found_at(path)) is None:
        return
    key = f"{_LEFT}{state.taken()}:{path}"
    left = {**state.value(key, {}), before.kind: before.model_dump(mode="json")}
    state.keep(key, left)
    edit(path, {**left.get(kind, {}), **changed_kind(before, kind)})


def _write(path: str, value: Any) -> None:
    state.edit_value(path, value.strip() if isinstance(value, str) else value)


def _drawable(knob: Knob) -> bool:
    return knob.type != "list" and knob.name != "active"


def _label(knob: Knob) -> str:
    return f"{knob.title} ({knob.unit})" if knob.unit else knob.title


def _widget(path: str, knob: Knob, label: str, help: str, placeholder: str = "") -> None:
    if scale := knob.scale:
        numbers.number(numbers.of_draft(path, label, scale), help=help)
    else:
        _wordy(f"field:{path}", knob, state.value_at(path), partial(_write, path), label, help, placeholder)


def apart(key: str, knob: Knob, value: Any, write: Callable[[Any], None]) -> None:
    """One knob of what is no part of the draft; `write` keeps another value, or raises a UserError."""
    label = _label(knob)
    if scale := knob.scale:
        numbers.number(numbers.Entry(key, label, scale, lambda: value, write), help=knob.help)
    else:
        _wordy(key, knob, value, write, label, knob.help)


def _wordy(
    key: str, knob: Knob, value: Any, write: Callable[[Any], None], label: str, help: str, placeholder: str = ""
) -> None:
    """The widget of what is no number."""
    if knob.path is not None:
        browsing.field(key, label, value, write, endings=knob.path, help=help, placeholder=placeholder)
        return
    common: dict[str, Any] = {"help": help or None, **state.callback(state.seed(key, value), write)}
    if knob.type == "bool":
        st.toggle(label, value, **common)
    elif knob.type == "choice" and len(knob.choices) <= FEW:
        words = _words(knob)
        side_by_side([*map(words, knob.choices)])(
            label, knob.choices, default=value, required=True, format_func=words, **common
        )
    elif knob.type == "choice":
        st.selectbox(label, knob.choices, knob.choices.index(value), format_func=_words(knob), **common)
    else:
        st.text_input(label, value, placeholder=placeholder or None, **common)


def _words(knob: Knob) -> Callable[[Any], str]:
    """What people call each of a knob's choices."""
    return lambda choice: knob.words.get(str(choice), str(choice))
