"""Lessons about heads and losses, and about what the network brings along."""

from __future__ import annotations

from typing import Any, ClassVar

from finetune_core.lessons.base import Lesson, blooms, head, phase
from finetune_core.recipe import Recipe
from finetune_core.recipe.arms import Arm

TOPIC = "Heads and losses"


def _head(kind: str, **knobs: Any) -> dict[str, Any]:
    return {"model.head": {"kind": kind, **knobs}}


class Pooling(Lesson):
    """Average pooling says how much of a feature there is, maximum pooling whether it is anywhere."""

    kind: ClassVar[str] = "pooling"
    title: ClassVar[str] = "Concat pooling"
    topic: ClassVar[str] = TOPIC
    question: ClassVar[str] = "A linear layer on averages, or the large head of the article on averages and maxima?"
    article: ClassVar[str] = "000"
    claim: ClassVar[str] = "A head on concatenated average and maximum pooling, with two layers, does better."
    arms: ClassVar[tuple[Arm, ...]] = (
        Arm(name="average, linear"),
        Arm(name="concat pool", changes=_head("concat_pool", hidden=256)),
    )
    expected: ClassVar[tuple[tuple[str, str], ...]] = (("concat pool", "average, linear"),)
    ask: ClassVar[tuple[str, ...]] = (
        "A flower fills the picture, or sits in a corner. Which pooling minds?",
        "How many weights has each head?",
    )
    further: ClassVar[str] = "The head is a small picture on Model & layers; change it there."
    seeds: ClassVar[int] = 5

    def base(self) -> Recipe:
        """The head alone."""
        return blooms(phases=[head(10, rate=3e-3)])


class NothingBetween(Lesson):
    """Two linear layers with nothing between them are one linear layer."""

    kind: ClassVar[str] = "nothing-between"
    title: ClassVar[str] = "Two layers with nothing between"
    topic: ClassVar[str] = TOPIC
    question: ClassVar[str] = "The article's head has two linear layers in a row. Is that more than one?"
    article: ClassVar[str] = "002"
    claim: ClassVar[str] = "A head of 512 → 256 → 10. (Without an activation between them it is one linear map.)"
    arms: ClassVar[tuple[Arm, ...]] = (
        Arm(name="one layer"),
        Arm(name="two, nothing between", changes=_head("mlp", hidden=256, dropout=0.0, activation="none")),
        Arm(name="two, ReLU between", changes=_head("mlp", hidden=256, dropout=0.0)),
    )
    expected: ClassVar[tuple[tuple[str, str], ...]] = (("two, nothing between", "one layer"),)
    ask: ClassVar[tuple[str, ...]] = (
        "Write both layers as matrices. What is their product?",
        "If it is the same map, why may it train otherwise?",
    )
    further: ClassVar[str] = "Set the activation of the head to none: Thaw warns of it."
    seeds: ClassVar[int] = 5

    def base(self) -> Recipe:
        """The head alone."""
        return blooms(phases=[head(10, rate=3e-3)])


class Pretrained(Lesson):
    """What a network has learned from other pictures helps with twelve flowers."""

    kind: ClassVar[str] = "pretrained"
    title: ClassVar[str] = "Pretrained or random"
    topic: ClassVar[str] = TOPIC
    question: ClassVar[str] = (
        "The same network and training, once with its pretraining and once from nothing. How far apart?"
    )
    article: ClassVar[str] = "001"
    claim: ClassVar[str] = "Start from pretrained weights. (Its own snippet forgets pretrained=True and loads none.)"
    arms: ClassVar[tuple[Arm, ...]] = (
        Arm(name="pretrained"),
        Arm(name="random", changes={"model.backbone.weights": {"kind": "random"}}),
    )
    expected: ClassVar[tuple[tuple[str, str], ...]] = (("pretrained", "random"),)
    ask: ClassVar[tuple[str, ...]] = (
        "How would you notice that no weights were loaded?",
        "How many epochs would the random one need?",
    )
    further: ClassVar[str] = "The backbone's card says loudly where weights are random."

    def base(self) -> Recipe:
        """Everything."""
        return blooms(20, 25, phases=[phase("*", epochs=3, rate=1e-3)])


class TripletLoss(Lesson):
    """A triplet loss compares pictures; cross-entropy names them."""

    kind: ClassVar[str] = "triplet"
    title: ClassVar[str] = "Triplets against cross-entropy"
    topic: ClassVar[str] = TOPIC
    question: ClassVar[str] = "The same network and the same steps: does comparing pictures beat naming them?"
    article: ClassVar[str] = "004"
    claim: ClassVar[str] = "A triplet loss, which compares pictures, does better. (Here it is half of the loss.)"
    arms: ClassVar[tuple[Arm, ...]] = (
        Arm(name="cross-entropy"),
        Arm(name="triplets", changes={"training.loss": {"kind": "triplet"}}),
        Arm(name="triplets after softmax", changes={"training.loss": {"kind": "triplet", "compare": "probabilities"}}),
    )
    expected: ClassVar[tuple[tuple[str, str], ...]] = (
        ("triplets", "cross-entropy"),
        ("triplets after softmax", "cross-entropy"),
    )
    ask: ClassVar[tuple[str, ...]] = (
        "How many triplets are there in a batch of 32?",
        "Softmax turns scores into probabilities. Which distances does that make small?",
        "What is a hard triplet?",
    )
    further: ClassVar[str] = "Start a triplet run from the weights of a run that names already."

    def base(self) -> Recipe:
        """The last stage and the head."""
        return blooms(20, 25, phases=[phase("layer4", "head", epochs=4, rate=1e-3, views=2)])


class Together(Lesson):
    """Networks err in different places, so the mean of their answers errs less."""

    kind: ClassVar[str] = "together"
    title: ClassVar[str] = "One model, three, or five views"
    topic: ClassVar[str] = TOPIC
    question: ClassVar[str] = "One network's answer, the mean of three networks', or of one network's to five views?"
    article: ClassVar[str] = "001"
    claim: ClassVar[str] = "Ensembling is promised as a further step: several models do better than one."
    arms: ClassVar[tuple[Arm, ...]] = (
        Arm(name="one network"),
        Arm(name="three networks", members=3),
        Arm(name="five views", views=4),
    )
    expected: ClassVar[tuple[tuple[str, str], ...]] = (("three networks", "one network"),)
    measure: ClassVar[str] = "answers"
    ask: ClassVar[tuple[str, ...]] = (
        "Three networks cost three times as much to train and to ask. Is it worth it?",
        "When would networks err in the same places?",
    )
    further: ClassVar[str] = "Tick runs on Runs: All together is their ensemble."

    def base(self) -> Recipe:
        """The head alone, from few images."""
        return blooms(10, 60, phases=[head(10)])
