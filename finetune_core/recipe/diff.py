"""What differs between recipes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from finetune_core.parts import Part, Section
from finetune_core.parts.numbers import written
from finetune_core.recipe import Phase, Recipe
from finetune_core.recipe.plan import peak_rates
from finetune_core.recipe.words import phase_words, place_words

FROZEN, NONE = "frozen", "–"
SWITCH = {"True": "yes", "False": "no"}


def differences(one: Recipe, other: Recipe) -> list[tuple[str, str, str]]:
    """(dotted place, value, other value) wherever two recipes differ."""
    return [(place, mine, theirs) for place, mine, theirs in differing(one, other)]


def differing(*recipes: Recipe) -> list[tuple[str, ...]]:
    """(dotted place, a value for each recipe) wherever recipes are not all alike."""
    trees = [_leaves(recipe.model_dump(mode="json")) for recipe in recipes]
    places = dict.fromkeys(place for tree in trees for place in tree)
    rows = ((place, [tree.get(place) for tree in trees]) for place in places)
    return [(place, *map(_shown, values)) for place, values in rows if any(each != values[0] for each in values)]


def in_words(*recipes: Recipe) -> list[tuple[str, ...]]:
    """The same as people call it: what, and a value for each recipe, as (Thawed groups, head only, everything)."""
    rows = []
    for place, *values in differing(*recipes):
        said = (_value(recipe, place, value) for recipe, value in zip(recipes, values, strict=True))
        rows.append((place_words(place, recipes), *said))
    return rows


def _value(recipe: Recipe, place: str, value: str) -> str:
    """A part by its title, thawed groups and choices as the pages say them, and of a switch whether it is on."""
    above, _, last = place.rpartition(".")
    owner = None if value == NONE else _owner(recipe, above)
    if isinstance(owner, Phase) and last == "thaw":
        return phase_words(owner)
    if isinstance(owner, Part) and last == "kind":
        return owner.title
    words = owner.knob(last).words if isinstance(owner, Section) and last in type(owner).model_fields else {}
    return words.get(value) or SWITCH.get(value, value)


def _owner(recipe: Recipe, place: str) -> Any:
    """The section at a dotted place, or what stands under names there."""
    node: Any = recipe
    for step in filter(None, place.split(".")):
        if isinstance(node, dict):  # whose keys may have dots of their own
            return node
        node = getattr(node, step) if isinstance(node, Section) else node[int(step)]
    return node


def stages_beside(one: Phase, other: Phase, names: Sequence[str]) -> list[tuple[str, str, str]]:
    """(what, in the one, in the other) of two phases wherever they differ: their length, and each group's peak rate."""
    length = [(Phase.knob("epochs").title, one.epochs, other.epochs)]
    mine, theirs = peak_rates(one, names), peak_rates(other, names)
    rates = [(f"Rate of {name}", mine[name] or FROZEN, theirs[name] or FROZEN) for name in names]
    return [(what, _beside(was), _beside(now)) for what, was, now in (*length, *rates) if was != now]


def _beside(value: float | str) -> str:
    return value if isinstance(value, str) else written(value, 3)


def _leaves(tree: Any, place: str = "") -> dict[str, Any]:
    """Plain data as one value per dotted place; lists of plain values count as one value."""
    if isinstance(tree, list) and any(isinstance(item, dict) for item in tree):
        tree = dict(enumerate(tree))
    if not isinstance(tree, dict):
        return {place: tree}
    return {at: leaf for key, item in tree.items() for at, leaf in _leaves(item, f"{place}.{key}".strip(".")).items()}


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return NONE if value is None else written(value) if type(value) in (int, float) else str(value)
