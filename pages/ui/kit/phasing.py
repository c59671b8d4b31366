"""The draft's phases on pages: which one is looked at, and how many there are.

The chosen phase belongs to this session, so that Model & layers, Learning rate and Train speak of the same one. With
one phase, as at first, nothing of this is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from finetune_core.errors import UserError
from finetune_core.recipe import Phase, rules, timeline
from finetune_core.recipe.rules import Phases
from finetune_core.recipe.words import epoch_words, phase_words
from pages.ui.kit import refused, state

_CHOSEN = "thaw:phase"


def index() -> int:
    """Which of the draft's phases is looked at, from 0."""
    return min(state.value(_CHOSEN, 0), len(state.draft().phases) - 1)


def chosen() -> Phase:
    """The phase that is looked at."""
    return state.draft().phases[index()]


def place(name: str) -> str:
    """The dotted path of one of its values, such as `phases.0.epochs`."""
    return f"phases.{index()}.{name}"


def standing(*names: str) -> dict[str, Any]:
    """The draft's model and these values of the chosen phase by their paths: what a field for a group belongs to."""
    return {path: state.value_at(path) for path in ("model", *map(place, names))}


def label(title: str) -> str:
    """What a field of the chosen phase is called: where there are several, it says of which."""
    return title if len(state.draft().phases) == 1 else f"{title}, phase {index() + 1}"


def words(number: int, phase: Phase) -> str:
    """A phase in few words: `1 · head only · 3 epochs`."""
    return f"{number} · {phase_words(phase)} · {epoch_words(phase.epochs)}"


def choose(number: int) -> None:
    """Look at this phase from now on."""
    state.keep(_CHOSEN, number)


def edit(phase: Phase) -> None:
    """Put this in place of the chosen phase."""
    here, all_of_them = index(), state.draft().phases
    replace((*all_of_them[:here], phase, *all_of_them[here + 1 :]), here)


def replace(made: Phases, number: int = 0) -> None:
    """Make these the draft's phases and look at one of them."""
    if len(made) != len(state.draft().phases):  # another phase may now stand where one has a wrong entry
        refused.forget_under("phases.")
    state.change(lambda draft: draft.replace(phases=made))
    choose(number)


def arrange(steps: Sequence[Any], look: int) -> None:
    """Do to the draft's phases what was done to their strip, and look at one of them; a UserError if it cannot."""
    if not steps:
        choose(look)
        return
    made = timeline.arranged(state.draft().phases, steps)
    if any("move" in step for step in steps):  # another phase may now stand where one has a wrong entry
        refused.forget_under("phases.")
    replace(made, look)


def duplicate() -> None:
    """The chosen phase once more, after itself."""
    here, all_of_them = index(), state.draft().phases
    replace((*all_of_them[: here + 1], *all_of_them[here:]), here + 1)


def add(names: Sequence[str]) -> None:
    """A phase after the chosen one, with one group more."""
    try:
        replace(rules.followed(state.draft().phases, index(), names), index() + 1)
    except UserError as error:
        state.note(error)


def remove() -> None:
    """The others without the chosen phase."""
    here, all_of_them = index(), state.draft().phases
    replace((*all_of_them[:here], *all_of_them[here + 1 :]), max(0, here - 1))
