"""Lessons about what keeps a network from learning its images by heart."""

from __future__ import annotations

from typing import ClassVar

from finetune_core.lessons.base import Lesson, blooms, head
from finetune_core.recipe import Recipe
from finetune_core.recipe.arms import Arm

TOPIC = "Regularisation"


class L1(Lesson):
    """L1 adds the sum of all weights to the loss, so that those which bring little become zero."""

    kind: ClassVar[str] = "l1"
    title: ClassVar[str] = "L1 of 0.01"
    topic: ClassVar[str] = TOPIC
    question: ClassVar[str] = "The article adds 0.01 times the sum of all weights to the loss. What comes of it?"
    article: ClassVar[str] = "001"
    claim: ClassVar[str] = "L1 with λ = 0.01 regularises. (Over thousands of weights it swamps the loss.)"
    arms: ClassVar[tuple[Arm, ...]] = (
        Arm(name="no L1"),
        Arm(name="L1, 1e-4", changes={"training.l1": 1e-4}),
        Arm(name="L1, 0.01", changes={"training.l1": 0.01}),
    )
    expected: ClassVar[tuple[tuple[str, str], ...]] = (("L1, 0.01", "no L1"),)
    measure: ClassVar[str] = "last"
    ask: ClassVar[tuple[str, ...]] = (
        "The head has about 6,000 weights of 0.05. How large is 0.01 times their sum?",
        "What would L1 on the whole network do?",
    )
    further: ClassVar[str] = "L1 is a field on Train, under More; 1e-5 is gentle."
    seeds: ClassVar[int] = 5

    def base(self) -> Recipe:
        """The head alone."""
        return blooms(phases=[head(10)])
