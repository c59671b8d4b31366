"""The draft's phases as a strip: a block for each, the wider the longer it lasts.

Drag a border and epochs go from one phase to the other; drag a block and the order changes; a click chooses the phase
that the page shows. What a hand does is drawn by the browser at once (timeline.js) and told here when it lets go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

from finetune_core import figures
from finetune_core.errors import UserError
from finetune_core.recipe import Phase, Recipe
from finetune_core.recipe.names import matching
from finetune_core.recipe.words import phase_words
from finetune_core.wording import tidy
from pages.ui.kit import outline, phasing, shell, state

KEY = "timeline"
SEVERAL = (
    "A run goes through its phases from left to right. Drag a border to shift epochs, a block by its dots to change "
    "the order; click one to see its settings."
)
ONE = "Drag its end to train longer or shorter. More phases, such as the head first: on Model & layers, under More."
_SHOWN, _HEARD = "thaw:timeline-shown", "thaw:timeline-heard"
_HTML = '<div class="timeline"></div>'


def strip(recipe: Recipe, *, alone: bool = False) -> None:
    """Draw the strip, a single phase only if it may be drawn `alone`; what is drawn next is of the phase chosen."""
    several = len(recipe.phases) > 1
    if not (several or alone):
        return
    state.keep(_SHOWN, recipe.phases)
    heard, taken = state.value(_HEARD, ("", True))
    bounds = Phase.knob("epochs")
    data = {
        "phases": _blocks(recipe),
        "chosen": phasing.index(),
        "low": bounds.low,
        "high": bounds.high,
        "heard": heard,
        "taken": taken,
    }
    _component()(data=data, key=KEY, on_arranged_change=_arranged)
    st.caption(SEVERAL if several else ONE)


def _blocks(recipe: Recipe) -> list[dict[str, Any]]:
    """Each phase as the browser draws it: words, epochs, its colour, and that of each of its groups that is thawed."""
    try:
        names = outline.group_names(recipe)
    except UserError:  # which the checks tell
        names = ()
    return [
        {"words": tidy(phase_words(phase)), "epochs": phase.epochs, **_colours(phase, names)} for phase in recipe.phases
    ]


def _colours(phase: Phase, names: Sequence[str]) -> dict[str, Any]:
    try:
        warm = matching(names, phase.thaw)
    except UserError:  # which the checks tell
        warm = ()
    painted = figures.group_colours(names)
    groups = [painted[name] if name in warm else "" for name in names]
    return {"colour": figures.warmth(len(warm) / max(1, len(names))), "groups": groups}


def _arranged() -> None:
    """A hand has let go. What is told twice counts once, and where another tab has changed the phases, not at all."""
    heard, _ = state.value(_HEARD, ("", True))
    match (state.value(KEY) or {}).get("arranged"):
        case {"id": str(name), "steps": list(steps), "look": int(look)} if name != heard:
            state.keep(_HEARD, (name, _taken(steps, look)))


def _taken(steps: list[Any], look: int) -> bool:
    """Whether the draft could follow; where it could not, a notice says why."""
    try:
        if steps and state.elsewhere() and state.value(_SHOWN) != state.draft().phases:
            raise UserError("The phases were not changed.", shell.ELSEWHERE, "Look at them, then drag again.")
        phasing.arrange(steps, max(0, look))
    except UserError as error:
        state.note(error)
        return False
    return True


@cache
def _component() -> Callable[..., Any]:
    script, style = (Path(__file__).with_suffix(end).read_text(encoding="utf-8") for end in (".js", ".css"))
    return st.components.v2.component("thaw_timeline", html=_HTML, css=style, js=script)
