"""Lessons about images: how many of each, and what is done to them."""

from __future__ import annotations

from typing import ClassVar

from finetune_core.lessons.base import SPECIES, Lesson, blooms, head, phase
from finetune_core.recipe import Recipe
from finetune_core.recipe.arms import Arm

TOPIC = "Data"
COMMON, RARE, MEASURED = 60, 4, 25  # training images of a class, and those that it is measured on
WEIGHTED = "classes weighted"


class ClassWeights(Lesson):
    """Where one class has many images and another few, the network guesses the frequent one when in doubt."""

    kind: ClassVar[str] = "class-weights"
    title: ClassVar[str] = "Rare classes"
    topic: ClassVar[str] = TOPIC
    question: ClassVar[str] = "Six flowers with sixty pictures, six with four. Do class weights help the rare ones?"
    article: ClassVar[str] = "001"
    claim: ClassVar[str] = "Give rare classes a larger weight in the loss."
    arms: ClassVar[tuple[Arm, ...]] = (
        Arm(name="plain"),
        Arm(name=WEIGHTED, changes={"training.loss": {"kind": "cross_entropy", "balance": "inverse"}}),
        Arm(name="classes drawn alike", changes={"training.sampling": {"kind": "balanced"}}),
    )
    expected: ClassVar[tuple[tuple[str, str], ...]] = ((WEIGHTED, "plain"),)
    measure: ClassVar[str] = "balanced_accuracy"
    ask: ClassVar[tuple[str, ...]] = (
        "Why is balanced accuracy measured here, and not accuracy?",
        "What do weights cost the common classes?",
    )
    further: ClassVar[str] = "Class balance stands on Data; the weights on Train, under Loss."
    seeds: ClassVar[int] = 5

    def base(self) -> Recipe:
        """Every other class rare, all measured on as many images."""
        learned = {name: RARE if place % 2 else COMMON for place, name in enumerate(SPECIES)}
        return blooms(learned, MEASURED, phases=[head(10)])


class Augmentation(Lesson):
    """Each view of a picture is another picture to learn from, as long as one still sees what it is."""

    kind: ClassVar[str] = "augmentation"
    title: ClassVar[str] = "Enough, or too much?"
    topic: ClassVar[str] = TOPIC
    question: ClassVar[str] = "Pictures as they are, gently changed, or changed beyond recognition: what teaches most?"
    article: ClassVar[str] = "000"
    claim: ClassVar[str] = "Add one or two transforms at a time, and look: is it enough, or too much?"
    arms: ClassVar[tuple[Arm, ...]] = (
        Arm(name="none", changes={"augment": []}),
        Arm(name="gentle"),
        Arm(
            name="too much",
            changes={
                "augment": [
                    {"kind": "random_resized_crop", "min_scale": 0.08},
                    {"kind": "hue_shift", "amount": 0.5},
                    {"kind": "grayscale", "chance": 0.5},
                    {"kind": "random_erasing", "area": 0.33, "chance": 1.0},
                ]
            },
        ),
    )
    expected: ClassVar[tuple[tuple[str, str], ...]] = (("gentle", "none"), ("gentle", "too much"))
    ask: ClassVar[tuple[str, ...]] = (
        "Which of the twelve flowers are told apart by colour alone?",
        "With how many pictures would no augmentation be needed?",
    )
    further: ClassVar[str] = "Look at the ladder on Augment, and ask the lab."

    def base(self) -> Recipe:
        """The last stage and the head, from few images."""
        return blooms(15, 25, phases=[phase("layer4", "head", epochs=6, rate=1e-3)])
