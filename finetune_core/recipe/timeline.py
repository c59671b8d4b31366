"""The phases of a run as a line of time: a border between two of them is moved, or one takes another place. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from finetune_core.errors import UserError
from finetune_core.parts.base import reason
from finetune_core.recipe import Phase, stack
from finetune_core.recipe.rules import Phases
from finetune_core.recipe.words import epoch_words


def with_end(phases: Phases, place: int, epochs: int) -> Phases:
    """Let the phase at `place` last so many epochs: what the next one then has less or more. The last is on its own.

    A UserError where one of them would last less or longer than a phase can.
    """
    _check(phases, place)
    made = list(phases)
    if place + 1 < len(phases):
        made[place + 1] = _lasting(made, place + 1, phases[place].epochs + phases[place + 1].epochs - epochs)
    made[place] = _lasting(made, place, epochs)
    return tuple(made)


def moved(phases: Phases, place: int, to: int) -> Phases:
    """The phase at `place` at the place `to`; the others keep their order. A UserError where there is no such place."""
    _check(phases, place, to)
    return stack.moved(phases, place, to)


def arranged(phases: Phases, steps: Iterable[Any]) -> Phases:
    """The phases after these steps of a hand, as plain data: `{"end": 0, "epochs": 3}` or `{"move": 2, "to": 0}`.

    A UserError for one that cannot be done.
    """
    for step in steps:
        match step:
            case {"end": int(place), "epochs": int(epochs)}:
                phases = with_end(phases, place, epochs)
            case {"move": int(place), "to": int(to)}:
                phases = moved(phases, place, to)
            case _:
                raise UserError("The phases were not changed.", f"{step!r:.80} is no change of a timeline.")
    return phases


def _lasting(phases: list[Phase], place: int, epochs: int) -> Phase:
    try:
        return phases[place].replace(epochs=epochs)
    except ValidationError as error:
        what = f"Phase {place + 1} cannot last {epoch_words(epochs)}."
        raise UserError(what, reason(error), "Move the border less far.") from error


def _check(phases: Phases, *places: int) -> None:
    if wrong := [place for place in places if not 0 <= place < len(phases)]:
        raise UserError(f"There is no phase {wrong[0] + 1}.", f"There are {len(phases)}.", "Look at the phases again.")
