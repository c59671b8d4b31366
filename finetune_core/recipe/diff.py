"""What differs between two recipes."""

from __future__ import annotations

from typing import Any

from finetune_core.parts.numbers import written
from finetune_core.recipe import Recipe


def differences(one: Recipe, other: Recipe) -> list[tuple[str, str, str]]:
    """(dotted place, value, other value) wherever two recipes differ."""
    mine, theirs = _leaves(one.model_dump(mode="json")), _leaves(other.model_dump(mode="json"))
    places = dict.fromkeys([*mine, *theirs])
    return [(at, _shown(mine.get(at)), _shown(theirs.get(at))) for at in places if mine.get(at) != theirs.get(at)]


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
    return "–" if value is None else written(value) if type(value) in (int, float) else str(value)
