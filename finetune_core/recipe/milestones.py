"""Seed 002's dictionary of milestones, read and written in its own form.

    {1: {'freeze_to': -1, 'duration': 1, 'pct_start': 0.3, 'lrs': [0.0, 0.0, 0.0, 0.0, 0.0, 0.001]}, …}

A milestone is a phase: `freeze_to` as in fastai (-1: the last group trains, 0: all), `duration` in epochs, `pct_start`
of its one-cycle schedule, a peak rate per layer group, stem first. Its keys are epochs counted from 1.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from finetune_core.errors import UserError
from finetune_core.parts.base import reason
from finetune_core.parts.schedules import OneCycle
from finetune_core.recipe import Phase, plan
from finetune_core.recipe.names import freeze_to
from finetune_core.recipe.rules import Phases, with_rates

NEEDED, KNOWN = ("freeze_to", "duration", "lrs"), ("freeze_to", "duration", "pct_start", "lrs")
PCT_START = 0.3  # where a milestone does not say it: torch's default, and the seed's value
LONGEST = 100_000  # characters
FORM = "Write {1: {'freeze_to': -1, 'duration': 1, 'pct_start': 0.3, 'lrs': [0, 0, 1e-3]}, 2: …}, one rate per group."
FROM_ONE = (
    "The milestones count epochs from 1, but epochs start at 0: run as in the article, the first epoch would have no"
    " settings and the last milestone would need one epoch more. Here they begin at once."
)


@dataclass(frozen=True)
class Imported:
    """Phases from milestones, and in words what was understood otherwise than written."""

    phases: Phases
    notes: tuple[str, ...]


def read(file: Path, names: Sequence[str]) -> Imported:
    """Phases from a file of milestones."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The milestones {file} cannot be read.", f"{error}.", "Check the path.") from error
    return from_text(text, names)


def from_text(text: str, names: Sequence[str]) -> Imported:
    """Phases from milestones as a Python dictionary (with or without `milestones =`), JSON or YAML."""
    return from_milestones(_parsed(text), names)


def from_milestones(milestones: Any, names: Sequence[str]) -> Imported:
    """Phases for a network with these layer groups; UserErrors say which milestone is wrong, and how."""
    entries = _entries(milestones)
    notes: list[str] = []
    if entries[0][0] == 1:
        notes.append(FROM_ONE)
    elif entries[0][0] > 1:
        notes.append(f"The first milestone is at epoch {entries[0][0]}; nothing is said of those before it: left out.")
    _check_durations(entries)
    return Imported(tuple(_phase(epoch, entry, names, notes) for epoch, entry in entries), tuple(notes))


def to_milestones(phases: Phases, names: Sequence[str]) -> dict[int, dict[str, Any]]:
    """The dictionary of these phases; a UserError for what its form cannot say."""
    result: dict[int, dict[str, Any]] = {}
    epoch = 1
    for number, phase in enumerate(phases, start=1):
        lrs = [float(f"{rate:.12g}") for rate in plan.peak_rates(phase, names).values()]
        first = next((place for place, rate in enumerate(lrs) if rate > 0), None)
        pct_start = getattr(phase.schedule, "pct_start", PCT_START)
        if first is None or not _says_no_more(phase, pct_start):
            what = f"Phase {number} cannot be written as a milestone."
            why = "A milestone knows a one-cycle schedule with its warm-up share, its epochs and one rate per group."
            raise UserError(
                what, why, "Give that phase the schedule One cycle with its usual divisors, or thaw a group."
            )
        freeze = first - len(names) if first else 0
        result[epoch] = {"freeze_to": freeze, "duration": phase.epochs, "pct_start": pct_start, "lrs": lrs}
        epoch += phase.epochs
    return result


def to_text(milestones: Mapping[int, Mapping[str, Any]]) -> str:
    """The dictionary as Python, a line per milestone."""
    return "{\n" + "".join(f"    {epoch}: {dict(entry)!r},\n" for epoch, entry in milestones.items()) + "}\n"


def _says_no_more(phase: Phase, pct_start: float) -> bool:
    """Whether a milestone with this phase's epochs and rates would be the same phase."""
    kept = {"thaw": phase.thaw, "learning_rate": phase.learning_rate, "multipliers": phase.multipliers}
    return phase == Phase(epochs=phase.epochs, schedule=OneCycle(pct_start=pct_start), **kept)


def _parsed(text: str) -> Any:
    if len(text) > LONGEST:
        raise UserError("These milestones are too long.", f"They have {len(text):,} characters.", FORM)
    try:
        [statement] = ast.parse(text.strip()).body
        return ast.literal_eval(getattr(statement, "value", statement))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        pass  # not Python: YAML, or JSON with words of its own
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError("These milestones are neither Python, JSON nor YAML.", hint=FORM) from error


def _entries(milestones: Any) -> list[tuple[int, Mapping[str, Any]]]:
    """The milestones in order, each with the keys it must have and no others."""
    if not isinstance(milestones, Mapping) or not milestones:
        raise UserError("There are no milestones.", "They must be a dictionary of epochs.", FORM)
    entries = sorted(((_epoch(key), entry) for key, entry in milestones.items()), key=lambda pair: pair[0])
    for epoch, entry in entries:
        if not isinstance(entry, Mapping):
            raise UserError(f"Milestone {epoch} is not a dictionary.", hint=FORM)
        if missing := [key for key in NEEDED if key not in entry]:
            raise UserError(f"Milestone {epoch} has no {' and no '.join(missing)}.", hint=FORM)
        if unknown := [str(key) for key in entry if key not in KNOWN]:
            raise UserError(f"Milestone {epoch} has an unknown {unknown[0]}.", f"It may have {', '.join(KNOWN)}.", FORM)
    return entries


def _epoch(key: Any) -> int:
    if isinstance(key, bool) or not str(key).isdecimal() or len(str(key)) > 9:
        raise UserError(f"{key!r} is not an epoch.", "Milestones are kept under whole numbers from 0 or 1 on.", FORM)
    return int(key)


def _check_durations(entries: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
    """Every milestone must last until the next begins: shorter and its schedule would run out, longer and be cut."""
    for (epoch, entry), (following, _) in pairwise(entries):
        duration = _whole(epoch, "duration", entry["duration"])
        if epoch + duration != following:
            why = f"It lasts {duration} epochs, but the next one begins at {following}."
            raise UserError(
                f"Milestone {epoch} does not meet the next.", why, "Change its duration or the next's epoch."
            )


def _phase(epoch: int, entry: Mapping[str, Any], names: Sequence[str], notes: list[str]) -> Phase:
    lrs = entry["lrs"]
    if not isinstance(lrs, Sequence) or isinstance(lrs, str) or len(lrs) != len(names):
        count = f"{len(lrs)} rates" if isinstance(lrs, list | tuple) else "no list of rates"
        why = f"This network has {len(names)} layer groups: {', '.join(names)}."
        raise UserError(f"Milestone {epoch} has {count}.", why, "Give one rate per group, stem first, 0 where frozen.")
    rates = {name: _number(epoch, "lrs", rate) for name, rate in zip(names, lrs, strict=True)}
    try:
        thawed = freeze_to(_whole(epoch, "freeze_to", entry["freeze_to"]), names)
        notes += _odd(epoch, rates, thawed)
        schedule = OneCycle(pct_start=_number(epoch, "pct_start", entry.get("pct_start", PCT_START)))
        phase = Phase(epochs=_whole(epoch, "duration", entry["duration"]), schedule=schedule)
        return with_rates(phase, names, {name: rates[name] for name in thawed})
    except UserError as error:
        raise UserError(f"Milestone {epoch}: {error.what}", error.why, error.hint) from error
    except ValidationError as error:
        name = error.errors()[0]["loc"][-1]
        raise UserError(f"Milestone {epoch} has a {name} that does not fit.", reason(error)) from error


def _odd(epoch: int, rates: Mapping[str, float], thawed: Sequence[str]) -> list[str]:
    """Rates that contradict `freeze_to`, in words."""
    said = []
    if cold := [name for name, rate in rates.items() if rate > 0 and name not in thawed]:
        said.append(f"Milestone {epoch} gives {', '.join(cold)} a rate but freezes it: it stays frozen.")
    if still := [name for name in thawed if rates[name] == 0]:
        said.append(f"Milestone {epoch} thaws {', '.join(still)} at rate 0: that is frozen here.")
    return said


def _number(epoch: int, key: str, value: Any) -> float:
    """A number that is at least 0; YAML reads 1e-3 as text."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 <= number < math.inf:
        raise UserError(f"Milestone {epoch} has {value!r:.40} in {key}.", "It must be a number from 0 on.", FORM)
    return number


def _whole(epoch: int, key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise UserError(f"Milestone {epoch} has the {key} {value!r:.40}.", "It must be a whole number.", FORM)
    return value
