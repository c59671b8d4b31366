"""Recipes of earlier versions, told in the words of today: what was written once can always be opened.

Each step takes plain data of one version to the next. Data that say no version go through all steps, each of which acts
only on what it finds. Files are never rewritten: what is saved anew is of today.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from finetune_core.errors import UserError

Tree = dict[str, Any]
VERSION = 2


def today(tree: Any) -> Any:
    """Plain data of a recipe as this version has it; what is no mapping is left to the validation.

    A UserError for a recipe of a version to come.
    """
    if not isinstance(tree, Mapping):
        return tree
    said = tree.get("version", 1)
    if not isinstance(said, int) or said < 1:
        return tree
    if said > VERSION:
        raise UserError(
            f"The recipe is of version {said}.",
            f"This Thaw reads recipes up to version {VERSION}.",
            "Update Thaw, or take the run or recipe back to where it was made.",
        )
    made = dict(tree)
    for step in STEPS[said - 1 :]:
        made = step(made)
    return {**made, "version": VERSION}


def _mixing_is_a_part(tree: Tree) -> Tree:
    """Version 1 had a word for the mixing, and its evenness beside it."""
    training = tree.get("training")
    if not isinstance(training, Mapping) or "mix_alpha" not in training:
        return tree
    rest = {name: value for name, value in training.items() if name != "mix_alpha"}
    mix = rest.get("mix", "none")
    mix = {"kind": mix} if isinstance(mix, str) else mix
    if isinstance(mix, Mapping) and mix.get("kind") != "none":
        mix = {**mix, "alpha": training["mix_alpha"]}
    return {**tree, "training": {**rest, "mix": mix}}


STEPS: tuple[Callable[[Tree], Tree], ...] = (_mixing_is_a_part,)
