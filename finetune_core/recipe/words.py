"""A recipe in few words, as chips, titles and tables say it. Pure, without torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from finetune_core.parts import Part, Section
from finetune_core.parts.numbers import written
from finetune_core.recipe import Phase, Recipe
from finetune_core.recipe.names import HEAD, thawed
from finetune_core.wording import tidy

UNSAID = ("data", "augment", "model", "phases", "training", "kind")  # what lies there says enough
COUNTED = ("", "two ", "three ", "four ", "five ", "six ", "seven ", "eight ", "nine ")
BETWEEN = " · "  # the parts of a run's name
DATA = 32  # letters of the data's own name in it


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


def phase_words(phase: Phase, names: Sequence[str] = (), noun: str = "stage") -> str:
    """What trains in a phase, in few words; with the `names` of all layer groups as `last two stages`."""
    thaw = thawed(phase.thaw, names) if names else phase.thaw
    if any(pattern in ("*", "**") for pattern in phase.thaw) or (names and thaw == tuple(names)):
        return "everything"
    if thaw in ((), (HEAD,)):
        return "head only" if thaw else "nothing"
    if names and thaw == tuple(names)[-len(thaw) :] and len(thaw) - 2 < len(COUNTED):
        return _last(len(thaw) - 1, noun) if len(thaw) < len(names) - 1 else f"all but {names[0]}"
    return " + ".join(thaw) if len(thaw) < 4 else f"{thaw[0]} … {thaw[-1]}"


def _last(count: int, noun: str) -> str:
    """`last stage`, `last two stages`: the head goes without saying."""
    return f"last {COUNTED[count - 1]}{noun}{'' if count == 1 else 's'}"


def thaw_words(recipe: Recipe, names: Sequence[str] = ()) -> str:
    """What trains: `head only`, `last two stages`, or over several phases `2 phases: head → everything`."""
    noun = "group" if recipe.model.split or recipe.model.merge else "stage"
    first, last = (phase_words(recipe.phases[end], names, noun) for end in (0, -1))
    count = len(recipe.phases)
    ends = (each.removesuffix(" only") for each in (first, last))
    return first if count == 1 else f"{count} phases: {' → '.join(ends)}"


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


def made_words(recipe: Recipe, names: Sequence[str] = ()) -> str:
    """A name made of its data, its backbone and what is thawed of the layer groups `names`."""
    return BETWEEN.join((tidy(source_words(recipe), DATA), model_words(recipe), thaw_words(recipe, names)))


def run_words(recipe: Recipe, names: Sequence[str] = ()) -> str:
    """What a run is called: its own name, else the made one."""
    return recipe.name or made_words(recipe, names)


def detail_words(recipe: Recipe) -> tuple[str, ...]:
    """What its name leaves out, the most telling first: in these, runs of one name may differ."""
    training, weights = recipe.training, recipe.model.backbone.weights
    return (
        model_words(recipe),
        thaw_words(recipe),
        f"rate {rate_words(recipe)}",
        train_words(recipe),
        schedule_words(recipe),
        f"{augment_words(recipe)} in augment",
        f"{recipe.data.image_size} px",
        f"batch {training.batch_size}",
        training.optimizer.title,
        f"{weights.title.lower()} weights",
        f"seed {training.seed}",
    )


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
    steps = place.split(".")
    for number, step in enumerate(steps):
        if isinstance(node, dict):  # whose keys may have dots of their own, as a layer group `blocks.6`
            yield ".".join(steps[number:])
            return
        if isinstance(node, Section):
            field, node = type(node).model_fields.get(step), getattr(node, step)
            if step not in UNSAID:
                yield field.title if field and field.title else step.replace("_", " ").capitalize()
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
