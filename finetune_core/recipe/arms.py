"""Arms of an experiment: a recipe with some values changed, and what is measured of each. Pure, without torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, Literal

from finetune_core.errors import UserError
from finetune_core.parts import Section, knob
from finetune_core.parts.tasks import Score, Task
from finetune_core.recipe.schema import Recipe

SCORE = "score"
OF_SCORE = {"last": "at the end", "first": "after one epoch", "answers": "of all answers together"}
OTHERS = {
    each.key: each
    for each in (
        Score("balanced_accuracy", "Balanced accuracy", "Mean accuracy of the classes: rare ones count alike."),
        Score("gap", "Overfit", "How much better it does on what it learned from.", lower_is_better=True),
        Score("loss", "Validation loss", "After the last epoch.", share=False, lower_is_better=True),
        Score(
            "norms",
            "Train and measured apart",
            "How much the loss of the same images differs between norms by batch and by kept statistics.",
            share=False,
            lower_is_better=True,
        ),
        Score("bump", "Bump", "How far the loss jumps where more is thawed.", share=False, lower_is_better=True),
        Score("vanished", "Vanished", "Share of the gradient's numbers that become zero.", lower_is_better=True),
    )
}
MEASURES = (SCORE, *OF_SCORE, *OTHERS)
MEASURED_ON = ("source", "fixes", "valid_share", "test_share", "split_seed", "fold", "group")  # of a recipe's data


class Arm(Section):
    """One of several ways that are tried against each other: `changes` are values of the recipe by dotted path.

    `pick` has the learning rate chosen by a range test, of the first phase, or `again` of every phase. `members`
    are trained with seeds of their own and answer together; `views` are drawn of each validation image beside the plain
    one. With `gradients` nothing is trained: one step's gradient is looked at in that number format.
    """

    name: str = knob("", "Name", "What it is called.")
    changes: dict[str, Any] = knob({}, "Changes", "Values of the recipe by dotted path.")
    pick: Literal["", "lowest", "minimum_tenth", "steepest", "valley", "slide"] = ""
    again: bool = False
    members: int = knob(1, "Members", "Networks that answer together.", low=1, high=20)
    views: int = knob(0, "Views", "Drawn of each validation image.", low=0, high=50)
    gradients: Literal["", "fp32", "fp16", "scaled"] = ""

    def of(self, recipe: Recipe) -> Recipe:
        """The recipe of this arm. A UserError where a value has no place in it, or does not fit."""
        return recipe.with_values(self.changes)


def measure(key: str, task: Task) -> Score:
    """What is measured; `score` is what decides in the task. A UserError for what it does not know, or has not."""
    score = task.score
    if key in ("", SCORE):
        return score
    if key in OF_SCORE:
        return replace(score, key=key, title=f"{score.title} {OF_SCORE[key]}", rest="")
    if key not in OTHERS:
        raise UserError(f"Nothing is measured as {key}.", hint=f"There are: {', '.join(MEASURES)}.")
    if key == "balanced_accuracy" and not task.exclusive:
        raise UserError("Balanced accuracy is of classes.", f"This data has {task.nouns}.", "Measure the score.")
    return replace(OTHERS[key], share=score.share) if key == "gap" else OTHERS[key]


def against(recipes: Sequence[Recipe]) -> tuple[Recipe, tuple[Arm, ...]]:
    """Some recipes as arms of an experiment: the first as it is, the others as what they change in it.

    A UserError where two are the same, or where they are not measured on the same images.
    """
    first = recipes[0]
    trees = [each.replace(name="").model_dump(mode="json") for each in recipes]
    if len(recipes) < 2:
        raise UserError("There is nothing to compare.", "One recipe was named.", "Name two recipes or more.")
    if any(tree in trees[:place] for place, tree in enumerate(trees)):
        raise UserError("There is nothing to compare.", "Two of the recipes are the same.", "Name recipes that differ.")
    for key in MEASURED_ON:
        if any(tree["data"][key] != trees[0]["data"][key] for tree in trees):
            what, why = "The recipes are not measured on the same images.", f"They differ in data.{key}."
            raise UserError(what, why, "Take the same source and split for all.")
    called: list[str] = []
    for place, each in enumerate(recipes, start=1):
        name = each.name or f"Recipe {place}"
        called.append(next(one for one in _numbered(name) if one not in called))
    return first, tuple(
        Arm(name=name, changes={key: value for key, value in tree.items() if value != trees[0][key]})
        for name, tree in zip(called, trees, strict=True)
    )


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name} ({number})" for number in count(2))
