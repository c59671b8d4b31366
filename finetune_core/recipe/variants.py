"""Variants of a recipe: one knob, or two, at several values each, so that runs of them answer which is best. Pure.

What can be varied is read off the recipe itself: every number and every choice of its sections and parts, the kind of
each part, and what a phase thaws, by preset.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from finetune_core.errors import UserError
from finetune_core.parts import Knob, Part, Section, changed_kind, family
from finetune_core.parts.numbers import Scale, Several, written
from finetune_core.recipe import Recipe
from finetune_core.recipe.presets import current_preset, presets, with_preset
from finetune_core.recipe.words import run_words
from finetune_core.wording import few

MOST = 60  # runs of one sweep
FIRST = 5  # values of an axis to begin with
PARTS = ("model.head", "training.optimizer", "training.loss", "training.mix")
# Where it runs and how it is saved, what the images are, and what is measured on: other validation images make scores
# that say nothing
OF_DATA = ("unreadable", "channels", "valid_share", "split_seed")
OF_TRAINING = ("device", "processes", "save_minutes", "checkpoints", "truth_every")
NOT_VARIED = (*(f"training.{name}" for name in OF_TRAINING), *(f"data.{name}" for name in OF_DATA))


@dataclass(frozen=True)
class Knobs:
    """What can be varied: a `scale` of numbers, or else `choices` by the word that stands for each."""

    path: str
    title: str
    scale: Scale | None = None
    choices: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    def read(self, text: str) -> tuple[Any, ...]:
        """The values of a text, each once. A UserError says which does not fit, and why."""
        try:
            if self.scale:
                return tuple(dict.fromkeys(Several(self.scale).read(text)))
        except UserError as error:
            raise UserError(f"{self.title} cannot be tried at {text}.", str(error), "Mend that value.") from error
        chosen = tuple(dict.fromkeys(each.strip() for each in text.replace(";", ",").split(",") if each.strip()))
        if unknown := [each for each in chosen if each not in self.choices]:
            hint = f"There are: {', '.join(self.choices)}."
            raise UserError(f"{self.title} cannot be tried at {few(unknown)}.", "There is no such choice.", hint)
        return chosen

    def around(self, now: Any) -> tuple[Any, ...]:
        """Values to begin with: the two below and above what is chosen now, or the first few choices and it."""
        if not self.scale:
            return tuple(dict.fromkeys([str(now), *self.choices]))[:FIRST]
        below, above = [now], [now]
        for _ in range(FIRST // 2):
            below.append(self._beside(below[-1], -1))
            above.append(self._beside(above[-1], 1))
        return tuple(dict.fromkeys([*reversed(below), *above]))

    def _beside(self, number: Any, way: int) -> Any:
        """The next number worth a run: of rates and the like about a factor of three on."""
        assert self.scale
        strides = 2 if self.scale.log and not self.scale.whole else 1
        for _ in range(strides):
            number = self.scale.stepped(number, way)
        return number

    def shown(self, value: Any) -> str:
        """A value as people read it."""
        if self.scale:
            return written(value)
        return self.words[self.choices.index(value)] if value in self.choices else str(value)


@dataclass(frozen=True)
class Axis:
    """One knob and the values that it is tried at; `words` are these as people read them."""

    path: str
    title: str
    values: tuple[Any, ...]
    words: tuple[str, ...]
    number: bool = False
    log: bool = False


@dataclass(frozen=True)
class Variant:
    """One recipe of a sweep: its values, one for each axis, its seed."""

    values: tuple[Any, ...]
    seed: int
    recipe: Recipe


def knobs(recipe: Recipe, names: Sequence[str]) -> dict[str, Knobs]:
    """Everything that can be varied, by dotted path; `names` are the layer groups, stem first."""
    return {each.path: each for each in _knobs(recipe, names)}


def chosen(recipe: Recipe, names: Sequence[str], path: str) -> Any:
    """What the recipe has chosen for a knob now, as one of its values."""
    node = _at(recipe, path)
    if isinstance(node, Part):
        return node.kind
    if path.endswith(".thaw"):
        return current_preset(_at(recipe, path.rpartition(".")[0]), names) or presets(names)[0].key
    return {True: "yes", False: "no"}[node] if isinstance(node, bool) else node


def axis(recipe: Recipe, names: Sequence[str], path: str, text: str) -> Axis:
    """A knob, by its path or the end of it, at the values of a text such as `1e-4; 3e-4; 1e-3`.

    A UserError where there is no such knob, or a value does not fit.
    """
    known = knobs(recipe, names)
    meant = [each for each in known if f".{each}".endswith(f".{path}")]
    if len(meant) != 1:
        alike = meant or [each for each in known if path.rpartition(".")[2] in each] or list(known)
        why = "Several are called so." if meant else "The recipe has no such number or choice."
        raise UserError(f"{path} cannot be varied.", why, f"There are: {few(alike)}.")
    found = known[meant[0]]
    values = found.read(text)
    log = bool(found.scale and found.scale.log and min(values, default=0) > 0)
    return Axis(found.path, found.title, values, tuple(map(found.shown, values)), found.scale is not None, log)


def variants(recipe: Recipe, axes: Sequence[Axis], names: Sequence[str], seeds: int = 1) -> list[Variant]:
    """A recipe for every combination of values, and for each of so many seeds from the recipe's own on.

    UserErrors where a recipe cannot hold a value, and where they are too few or too many to be run.
    """
    _check(axes, seeds)
    made = []
    for values in product(*(each.values for each in axes)):
        changed = recipe
        for each, value in zip(axes, values, strict=True):
            changed = _with(changed, names, each.path, value)
        words = ", ".join(
            f"{each.title.lower()} {_word(each, value)}" for each, value in zip(axes, values, strict=True)
        )
        for seed in range(changed.training.seed, changed.training.seed + seeds):
            name = f"{run_words(recipe, names)}: {words}" + (f", seed {seed}" if seeds > 1 else "")
            one = changed.with_value("training.seed", seed) if seeds > 1 else changed
            made.append(Variant(values, seed, one.replace(name=name)))
    return made


def _check(axes: Sequence[Axis], seeds: int) -> None:
    if not 1 <= len(axes) <= 2 or len({each.path for each in axes}) < len(axes):
        raise UserError("A sweep varies one knob, or two.", f"It was {few(each.path for each in axes) or 'none'}.")
    if short := [each.title for each in axes if len(each.values) < 2]:
        raise UserError(f"{few(short)}: one value is no comparison.", hint="Give at least two.")
    if seeds > 1 and any(each.path == "training.seed" for each in axes):
        raise UserError("The seed is varied already.", hint="Repeat each value with one seed.")
    count = seeds
    for each in axes:
        count *= len(each.values)
    if count > MOST:
        raise UserError(f"That would be {count} runs.", f"A sweep has at most {MOST}.", "Take fewer values or seeds.")


def _with(recipe: Recipe, names: Sequence[str], path: str, value: Any) -> Recipe:
    """The recipe with one value of an axis."""
    place, _, last = path.rpartition(".")
    node = _at(recipe, path)
    if isinstance(node, Part):
        return recipe if node.kind == value else recipe.with_value(path, changed_kind(node, value))
    if last == "thaw":
        phase = with_preset(_at(recipe, place), names, value)
        return recipe.with_value(place, phase.model_dump(mode="json"))
    return recipe.with_value(path, {"yes": True, "no": False}.get(value, value) if isinstance(node, bool) else value)


def _at(recipe: Recipe, path: str) -> Any:
    node: Any = recipe
    for step in path.split("."):
        node = node[int(step)] if step.isdigit() else getattr(node, step)
    return node


def _word(axis: Axis, value: Any) -> str:
    return axis.words[axis.values.index(value)].lower()


def _knobs(recipe: Recipe, names: Sequence[str]) -> Iterator[Knobs]:
    """Phase by phase what people vary most, then the rest in the recipe's order."""
    several = len(recipe.phases) > 1
    for number, phase in enumerate(recipe.phases):
        place, before = f"phases.{number}", f"Phase {number + 1}: " if several else ""
        yield from _of_section(place, phase, before)
        ready = presets(names)
        keys, words = tuple(each.key for each in ready), tuple(each.title for each in ready)
        yield Knobs(f"{place}.thaw", f"{before}Thawed", choices=keys, words=words)
        yield from _of_part(f"{place}.schedule", phase.schedule, before)
    yield from _of_section("training", recipe.training)
    yield from _of_section("data", recipe.data)
    for path in PARTS:
        yield from _of_part(path, _at(recipe, path))


def _of_part(path: str, part: Part, before: str = "") -> Iterator[Knobs]:
    kinds = {kind: cls.title for kind, cls in family(part).kinds().items()}
    title = path.rpartition(".")[2].capitalize()
    yield Knobs(path, f"{before}{title}", choices=tuple(kinds), words=tuple(kinds.values()))
    yield from _of_section(path, part, f"{before}{part.title}: ")


def _of_section(path: str, section: Section, before: str = "") -> Iterator[Knobs]:
    for knob in section.knobs():
        place = f"{path}.{knob.name}"
        if place not in NOT_VARIED and (found := _of_knob(place, f"{before}{knob.title}", knob)):
            yield found


def _of_knob(path: str, title: str, knob: Knob) -> Knobs | None:
    if knob.type in ("int", "float"):
        return Knobs(path, title, scale=knob.each)
    if knob.type == "bool":
        return Knobs(path, title, choices=("yes", "no"), words=("Yes", "No"))
    if knob.type == "choice":
        texts = tuple(map(str, knob.choices))
        return Knobs(path, title, choices=texts, words=tuple(knob.words.get(text, text) for text in texts))
    return None
