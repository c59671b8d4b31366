"""A recipe in few words, as chips, titles and tables say it. Pure, without torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from finetune_core.parts import Part, Section
from finetune_core.parts.numbers import written
from finetune_core.recipe import Phase, Recipe

UNSAID = ("data", "augment", "model", "phases", "training", "kind")  # what lies there says enough


def source_words(recipe: Recipe) -> str:
    """Where the images come from: `Blooms`, or the own name of a folder or table."""
    return recipe.data.source.called()


def augment_words(recipe: Recipe) -> str:
    """How much is done to the images."""
    active = sum(part.active for part in recipe.augment)
    return f"{active} transform{'' if active == 1 else 's'}" if active else "nothing"


def model_words(recipe: Recipe) -> str:
    """The backbone by name."""
    return recipe.model.backbone.architecture


def phase_words(phase: Phase) -> str:
    """What trains in a phase, in few words."""
    thaw = phase.thaw
    if any(pattern in ("*", "**") for pattern in thaw):
        return "everything"
    if thaw in ((), ("head",)):
        return "head only" if thaw else "nothing"
    return " + ".join(thaw) if len(thaw) < 4 else f"{thaw[0]} … {thaw[-1]}"


def thaw_words(recipe: Recipe) -> str:
    """What trains: `head only`, or over several phases `2 phases: head → everything`."""
    first, last = (phase_words(recipe.phases[end]).removesuffix(" only") for end in (0, -1))
    count = len(recipe.phases)
    return phase_words(recipe.phases[0]) if count == 1 else f"{count} phases: {first} → {last}"


def thawed_words(recipe: Recipe) -> str:
    """The same as a phrase of its own: `thawed: head only`."""
    return f"thawed: {thaw_words(recipe)}" if len(recipe.phases) == 1 else thaw_words(recipe)


def rate_words(recipe: Recipe) -> str:
    """The peak rate of the first phase, and of the last where it is another, as short as numbers can be."""
    ends = (written(recipe.phases[end].learning_rate, 3) for end in (0, -1))
    return " → ".join(dict.fromkeys(ends))


def schedule_words(recipe: Recipe) -> str:
    """The schedules of the phases, each once."""
    return ", ".join(dict.fromkeys(phase.schedule.title.lower() for phase in recipe.phases))


def train_words(recipe: Recipe) -> str:
    """How long it runs."""
    return epoch_words(recipe.epochs)


def epoch_words(epochs: int) -> str:
    """`1 epoch`, `5 epochs`."""
    return f"{epochs} epoch{'' if epochs == 1 else 's'}"


def run_words(recipe: Recipe) -> str:
    """What a run is called: its own name, else backbone and data."""
    return recipe.name or f"{model_words(recipe)} on {source_words(recipe)}"


def place_words(place: str, recipes: Sequence[Recipe]) -> str:
    """A dotted place as the pages call it, such as `Phase 2: Learning rate`, by those recipes that have it."""
    several = any(len(recipe.phases) > 1 for recipe in recipes)
    found = []
    for recipe in recipes:
        with suppress(LookupError, AttributeError):  # it has other parts, or fewer
            found.append(": ".join(_titles(recipe, place, several)))
    return " / ".join(dict.fromkeys(found)) or place


def _titles(recipe: Recipe, place: str, several: bool) -> Iterator[str]:
    """Of every step on the way to a place that needs a word; of phases only where there are `several`."""
    node: Any = recipe
    for step in place.split("."):
        if isinstance(node, Section):
            field, node = type(node).model_fields.get(step), getattr(node, step)
            if step not in UNSAID:
                yield field.title if field and field.title else step.replace("_", " ").capitalize()
        elif isinstance(node, dict):
            node = node[step]
            yield step
        else:
            node = node[int(step)]
            if isinstance(node, Part):
                yield node.title
            elif isinstance(node, Phase) and several:
                yield f"Phase {int(step) + 1}"


def millions(count: float) -> str:
    """`4.9 M`, `6.2 K`, `312`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f}"
