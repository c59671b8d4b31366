"""Changes of a run that is running: its rate, its epochs, what is thawed. Pure, without torch.

A `Change` is what a person asks for (`rate x0.5`, `epochs +2`, `thaw layer3`). What came of it is `Made`: before which
optimizer step, in which phase, and the values that the phase has from then on. So the rates at a step are a function of
the recipe and of what was made up to it, and a run that goes on makes the same changes at the same steps again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import ValidationError, ValidationInfo, field_validator

from finetune_core.errors import UserError
from finetune_core.parts import Part, Progress, Section, knob
from finetune_core.parts.base import reason
from finetune_core.parts.numbers import written
from finetune_core.recipe import Phase
from finetune_core.recipe.names import matching, thaw_patterns
from finetune_core.recipe.thawing import further
from finetune_core.wording import count

Names = Sequence[str]
Phases = tuple[Phase, ...]

EXAMPLES = "rate x0.5, rate layer4 x0.5, rate 1e-4, epochs +2, epochs 10, thaw layer3, freeze stem"
FACTORS = {0.5: "Rate halved", 2.0: "Rate doubled"}
DIGITS = 3  # of a rate in words


class Change(Part):
    """What a person asks of a running phase."""

    lengthens: ClassVar[bool] = False  # whether it may open a phase again that has just ended
    sets: ClassVar[str] = ""  # the phase's number that `how: to` sets outright, and whose bounds hold then

    @field_validator("number", mode="before", check_fields=False)
    @classmethod
    def _fits_the_phase(cls, value: Any, info: ValidationInfo) -> Any:
        """Before it is read as a factor or so many more, which may be what no phase takes."""
        try:
            return Phase.knob(cls.sets).each.read(value) if info.data.get("how") == "to" else value
        except UserError as error:
            raise ValueError(str(error).removesuffix(".")) from error

    @property
    def asked(self) -> str:
        """As it is typed."""
        raise NotImplementedError

    def after(self, phase: Phase, names: Names, at: Progress) -> Phase:
        """What the phase becomes, of a network with these groups, where it stands `at`; a UserError if it cannot."""
        raise NotImplementedError

    def on(self, phase: Phase, names: Names, at: Progress) -> Phase:
        """The same, where a number that no phase takes is a UserError too."""
        try:
            return self.after(phase, names, at)
        except ValidationError as error:
            what = f"The change “{self.asked}” does not fit."
            raise UserError(what, reason(error), "Take another number.") from error

    def told(self, before: Phase, after: Phase, names: Names, at: Progress) -> str:
        """What was changed, in words for the record and the charts."""
        raise NotImplementedError


class Rate(Change):
    """Raise or lower the peak rate of all groups, or of some."""

    kind: ClassVar[str] = "rate"
    title: ClassVar[str] = "Rate"
    sets: ClassVar[str] = "learning_rate"
    groups: str = knob("", "Groups", "Whose rate: a group's name, * and ? standing for any letters; empty for all.")
    how: Literal["times", "to"] = knob("times", "How", "Multiply the rate, or set it.")
    number: float = knob(1.0, "Number", "The factor, or the rate.", low=1e-9, high=1e9, log=True)

    @property
    def asked(self) -> str:
        """As it is typed."""
        number = f"{'x' if self.how == 'times' else ''}{written(self.number)}"
        return " ".join(filter(None, ("rate", self.groups, number)))

    def after(self, phase: Phase, names: Names, at: Progress) -> Phase:
        """The phase at another rate, or with other factors on it."""
        if not self.groups:
            return phase.replace(learning_rate=self._of(phase.learning_rate))
        factors = dict(phase.multipliers)
        for name in _thawed(phase, names, self.groups):
            factors[name] = self._of(phase.learning_rate * factors.get(name, 1.0)) / phase.learning_rate
        return phase.replace(multipliers={name: float(f"{factor:.15g}") for name, factor in factors.items()})

    def _of(self, rate: float) -> float:
        return float(f"{rate * self.number:.15g}") if self.how == "times" else self.number

    def told(self, before: Phase, after: Phase, names: Names, at: Progress) -> str:
        """By how much, from what to what, and whose."""
        done = FACTORS.get(self.number, f"Rate × {written(self.number, DIGITS)}") if self.how == "times" else "Rate set"
        if not self.groups:
            return f"{done}: {_span(before.learning_rate, after.learning_rate)} (all groups)"
        whose = _thawed(before, names, self.groups)
        ends = [phase.learning_rate * phase.multipliers.get(whose[-1], 1.0) for phase in (before, after)]
        return f"{done}: {_span(*ends)} ({', '.join(whose)})"


class Epochs(Change):
    """Let the phase take more epochs, or fewer."""

    kind: ClassVar[str] = "epochs"
    title: ClassVar[str] = "Epochs"
    lengthens: ClassVar[bool] = True
    sets: ClassVar[str] = "epochs"
    how: Literal["more", "to"] = knob("more", "How", "So many more (or fewer), or so many in all.")
    number: int = knob(1, "Number", "How many.", low=-1000, high=1000)

    @property
    def asked(self) -> str:
        """As it is typed."""
        return f"epochs {'+' if self.how == 'more' and self.number >= 0 else ''}{self.number}"

    def after(self, phase: Phase, names: Names, at: Progress) -> Phase:
        """The phase with another length, which ends with this epoch at the earliest."""
        wanted = self.number + (phase.epochs if self.how == "more" else 0)
        finished, begun = at.step // at.epoch_steps, -(-at.step // at.epoch_steps)
        if wanted < max(finished, 1):
            what = f"The phase cannot end after {count(wanted, 'epoch')}."
            why = f"{finished} {'is' if finished == 1 else 'are'} done already." if finished else "It needs one."
            raise UserError(what, why, f"The least is {max(begun, 1)}: then it ends with this epoch.")
        return phase.replace(epochs=max(wanted, begun))

    def told(self, before: Phase, after: Phase, names: Names, at: Progress) -> str:
        """From how many to how many, and what that does to the rate: schedules go by the share that is done."""
        done = f"Epochs changed: {before.epochs} to {after.epochs}."
        if at.step >= (after.epochs - 1) * at.epoch_steps and after.epochs < before.epochs:
            done += " The phase ends with this epoch."
        was, becomes = (written(_at(phase, at), DIGITS) for phase in (before, after))
        if at.step >= after.epochs * at.epoch_steps or was == becomes:
            return done
        how = "stretched" if after.epochs > before.epochs else "squeezed"
        return f"{done} The schedule is {how}: the rate here is {becomes} instead of {was}."


class Thaw(Change):
    """Let more layer groups learn."""

    kind: ClassVar[str] = "thaw"
    title: ClassVar[str] = "Thaw"
    groups: tuple[str, ...] = knob((), "Groups", "Names of layer groups; * and ? stand for any letters.")

    @property
    def asked(self) -> str:
        """As it is typed."""
        return " ".join(("thaw", *self.groups))

    def after(self, phase: Phase, names: Names, at: Progress) -> Phase:
        """The phase with these groups thawed, slower than those above."""
        return further(phase, names, matching(names, self.groups))

    def told(self, before: Phase, after: Phase, names: Names, at: Progress) -> str:
        """Which, and how fast they learn."""
        new = [name for name in matching(names, after.thaw) if name not in matching(names, before.thaw)]
        rates = [written(after.learning_rate * after.multipliers.get(name, 1.0), DIGITS) for name in new]
        return f"Thawed: {', '.join(f'{name} at {rate}' for name, rate in zip(new, rates, strict=True))}"


class Freeze(Change):
    """Let layer groups stand still from now on."""

    kind: ClassVar[str] = "freeze"
    title: ClassVar[str] = "Freeze"
    groups: tuple[str, ...] = knob((), "Groups", "Names of layer groups; * and ? stand for any letters.")

    @property
    def asked(self) -> str:
        """As it is typed."""
        return " ".join(("freeze", *self.groups))

    def after(self, phase: Phase, names: Names, at: Progress) -> Phase:
        """The phase without these groups; their rates are kept for when they thaw again."""
        still = matching(names, self.groups)
        rest = [name for name in matching(names, phase.thaw) if name not in still]
        if not rest:
            raise UserError("Nothing would train.", "That freezes every layer group.", "Leave at least one thawed.")
        return phase.replace(thaw=thaw_patterns(names, rest))

    def told(self, before: Phase, after: Phase, names: Names, at: Progress) -> str:
        """Which."""
        return f"Frozen: {', '.join(n for n in matching(names, before.thaw) if n not in matching(names, after.thaw))}"


class Made(Section):
    """A change that was made before optimizer step `step`: the values that phase number `phase` has from then on."""

    step: int
    phase: int
    values: dict[str, Any]
    text: str = ""

    @field_validator("values")
    @classmethod
    def _are_those_of_a_phase(cls, values: dict[str, Any]) -> dict[str, Any]:
        try:
            Phase().replace(**values)
        except ValidationError as error:
            raise ValueError(reason(error)) from error
        return values

    def saved(self) -> dict[str, Any]:
        """As plain data, for a line of a file; `kept` reads it again."""
        return self.model_dump(mode="json")


def kept(rows: Iterable[Mapping[str, Any]]) -> list[Made]:
    """The changes in a file's lines, which may say more about each; what was refused has no values and is left out."""
    known = ({name: row[name] for name in Made.model_fields if name in row} for row in rows if row.get("values"))
    return [Made.parsed(row, "The change") for row in known]


def make(change: Change, phases: Phases, index: int, names: Names, at: Progress, step: int) -> Made:
    """What a change makes of a phase that stands `at`, before the run's step `step`.

    A UserError where it cannot be made, or would change nothing.
    """
    before = phases[index]
    after = change.on(before, names, at)
    values = {
        name: getattr(after, name) for name in Phase.model_fields if getattr(after, name) != getattr(before, name)
    }
    if not values:
        raise UserError(f"The change “{change.asked}” changes nothing.", "It is so already.")
    where = f"Phase {index + 1}: " if len(phases) > 1 else ""
    return Made(step=step, phase=index, values=values, text=where + change.told(before, after, names, at))


def applied(phases: Phases, changes: Sequence[Made]) -> Phases:
    """The phases as they are after these changes, whose order is that of their steps."""
    for each in sorted(changes, key=lambda made: made.step):
        if each.phase < len(phases):
            changed = phases[each.phase].replace(**each.values)
            phases = (*phases[: each.phase], changed, *phases[each.phase + 1 :])
    return phases


# Reading what people type


def parsed(text: str) -> Change:
    """The change that a text means, such as `rate x0.5`; a UserError says in words why it means none."""
    word, *rest = text.replace("×", "x").split()[:50] or [""]
    reader = READERS.get(word.casefold())
    if reader is None:
        raise UserError(f"A run has no {word or 'change'} to set.", f"Known are {', '.join(READERS)}.", _hint())
    if not rest:
        raise UserError(f"What about {word}?", "It says nothing more.", _hint())
    return Change.parsed(reader(rest), f"The change “{' '.join(text.split())}”")


def _rate(words: list[str]) -> Mapping[str, Any]:
    """`x0.5`, `1e-4`, and before it the groups whose rate it is."""
    *groups, number = _joined(words)
    sign = re.match(r"[x*·/]", number, re.IGNORECASE)
    value: Any = number[1:] if sign else number
    if sign and sign[0] == "/":
        value = 1 / float(Rate.knob("number").each.read(value))
    if len(groups) > 1:
        raise UserError("One rate at a time, please.", f"These are several groups: {', '.join(groups)}.", _hint())
    return {"kind": "rate", "groups": groups[0] if groups else "", "how": "times" if sign else "to", "number": value}


def _joined(words: list[str]) -> list[str]:
    """`x 0.5` is `x0.5`."""
    return [*words[:-2], "".join(words[-2:])] if len(words) > 1 and words[-2].casefold() in ("x", "*", "/") else words


def _epochs(words: list[str]) -> Mapping[str, Any]:
    text = "".join(words)
    more = text[0] in "+-−"
    return {"kind": "epochs", "how": "more" if more else "to", "number": text}


def _groups(kind: str) -> Callable[[list[str]], Mapping[str, Any]]:
    return lambda words: {"kind": kind, "groups": [word for word in re.split(r"[,\s]+", " ".join(words)) if word]}


READERS: dict[str, Callable[[list[str]], Mapping[str, Any]]] = {
    "rate": _rate,
    "epochs": _epochs,
    "thaw": _groups("thaw"),
    "freeze": _groups("freeze"),
}


def _hint() -> str:
    return f"Such as: {EXAMPLES}."


def _thawed(phase: Phase, names: Names, groups: str) -> tuple[str, ...]:
    """Those of the groups meant that learn; a UserError where none does, so that a rate would move nothing."""
    meant, warm = matching(names, [groups]), matching(names, phase.thaw)
    if not set(meant) & set(warm):
        raise UserError(f"{meant[-1]} is frozen.", "Its rate moves nothing.", f"Thaw it first: thaw {meant[-1]}.")
    return tuple(name for name in meant if name in warm)


def _span(one: float, other: float) -> str:
    return f"{written(one, DIGITS)} to {written(other, DIGITS)}"


def _at(phase: Phase, at: Progress) -> float:
    """The phase's rate where it stands."""
    return phase.learning_rate * phase.schedule.multiplier(at._replace(steps=phase.epochs * at.epoch_steps))
