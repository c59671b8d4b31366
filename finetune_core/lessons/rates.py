"""Lessons about the learning rate."""

from __future__ import annotations

from typing import ClassVar

from finetune_core.lessons.base import Lesson, blooms, head, phase
from finetune_core.recipe import Recipe
from finetune_core.recipe.arms import Arm

TOPIC = "Learning rate"


class RateTooFar(Lesson):
    """The rate sets how far each step goes: too little, and nothing is learned; too much, and it falls apart."""

    kind: ClassVar[str] = "rate-too-far"
    title: ClassVar[str] = "Too small, too large"
    topic: ClassVar[str] = TOPIC
    question: ClassVar[str] = "Three learning rates, ten thousand times apart. Which learns most in twelve epochs?"
    article: ClassVar[str] = "000"
    claim: ClassVar[str] = "Too small a rate takes very long; too large a one may never converge."
    arms: ClassVar[tuple[Arm, ...]] = (
        Arm(name="far too small (1e-6)", changes={"phases.0.learning_rate": 1e-6}),
        Arm(name="between (1e-2)"),
        Arm(name="far too large (100)", changes={"phases.0.learning_rate": 100.0}),
    )
    expected: ClassVar[tuple[tuple[str, str], ...]] = (
        ("between (1e-2)", "far too small (1e-6)"),
        ("between (1e-2)", "far too large (100)"),
    )
    measure: ClassVar[str] = "last"
    ask: ClassVar[tuple[str, ...]] = (
        "What would the curve of the small rate look like after a thousand epochs?",
        "Why does a large rate not simply learn faster?",
    )
    further: ClassVar[str] = "Run the finder on Learning rate, and click a rate far from its picks."
    seeds: ClassVar[int] = 5

    def base(self) -> Recipe:
        """The head alone, at a constant rate."""
        return blooms(phases=[head(schedule="constant")])


class Picks(Lesson):
    """The finder's curve is read in several ways: where it is lowest, a tenth of that, where it falls steepest."""

    kind: ClassVar[str] = "picks"
    title: ClassVar[str] = "Where on the finder's curve?"
    topic: ClassVar[str] = TOPIC
    question: ClassVar[str] = "The finder's curve is lowest at one rate and steepest at another. Which one trains best?"
    article: ClassVar[str] = "003"
    claim: ClassVar[str] = "The rate of the lowest loss is too high; a tenth of it or the steepest point is better."
    arms: ClassVar[tuple[Arm, ...]] = (
        Arm(name="lowest loss", pick="lowest"),
        Arm(name="a tenth of it", pick="minimum_tenth"),
        Arm(name="steepest fall", pick="steepest"),
        Arm(name="valley", pick="valley"),
    )
    expected: ClassVar[tuple[tuple[str, str], ...]] = (
        ("a tenth of it", "lowest loss"),
        ("steepest fall", "lowest loss"),
    )
    ask: ClassVar[tuple[str, ...]] = (
        "At the lowest point of the curve the loss has stopped falling. What does that say about the rate?",
        "Would the answer be the same with ten times as many epochs?",
    )
    further: ClassVar[str] = "Race the picks against each other on Learning rate, on your own images."

    def base(self) -> Recipe:
        """The last stage and the head."""
        return blooms(20, 25, phases=[phase("layer4", "head", epochs=4, views=2)])


class FindAgain(Lesson):
    """Where more is thawed, other weights are to be moved: a range test of all of them may ask for another rate."""

    kind: ClassVar[str] = "find-again"
    title: ClassVar[str] = "Find the rate again?"
    topic: ClassVar[str] = TOPIC
    question: ClassVar[str] = (
        "The head is trained, now everything thaws. Keep the head's rate, or run the finder again?"
    )
    article: ClassVar[str] = "000"
    claim: ClassVar[str] = (
        "The finder has to be run again for what thaws. (Here each test starts from the fresh network.)"
    )
    arms: ClassVar[tuple[Arm, ...]] = (
        Arm(name="keep the head's rate", pick="steepest"),
        Arm(name="find again", pick="steepest", again=True),
    )
    expected: ClassVar[tuple[tuple[str, str], ...]] = (("find again", "keep the head's rate"),)
    measure: ClassVar[str] = "last"
    ask: ClassVar[tuple[str, ...]] = (
        "Which weights have already been trained when the second phase begins?",
        "What would a test see that starts from the trained head?",
    )
    further: ClassVar[str] = "On Learning rate choose the second phase, and compare its curve with the first's."

    def base(self) -> Recipe:
        """The head first, then everything."""
        return blooms(20, 25, phases=[head(6), phase("*", epochs=2)])


class OneRateOrMany(Lesson):
    """Early layers know edges that any picture has; late ones know what the pretraining was about."""

    kind: ClassVar[str] = "one-rate-or-many"
    title: ClassVar[str] = "One rate, or one for each depth?"
    topic: ClassVar[str] = TOPIC
    question: ClassVar[str] = "Everything is thawed. The same rate for all layers, or a tenth for each stage down?"
    article: ClassVar[str] = "000"
    claim: ClassVar[str] = "Lower rates by 10 to 100 for each stage towards the input (discriminative rates)."
    arms: ClassVar[tuple[Arm, ...]] = (
        Arm(name="one rate"),
        Arm(
            name="a tenth for each stage down",
            changes={
                "phases.0.multipliers": {"layer4": 0.1, "layer3": 0.01, "layer2": 1e-3, "layer1": 1e-4, "stem": 1e-5}
            },
        ),
    )
    expected: ClassVar[tuple[tuple[str, str], ...]] = (("a tenth for each stage down", "one rate"),)
    ask: ClassVar[tuple[str, ...]] = (
        "What does the first layer of a network look for?",
        "When would you want the early layers to move a lot?",
    )
    further: ClassVar[str] = "On Model & layers press ÷10 per group, and watch the bars."

    def base(self) -> Recipe:
        """Everything."""
        return blooms(20, 25, phases=[phase("*", epochs=3)])


class HeadTenfold(Lesson):
    """The head is new and knows nothing; the body knows a lot already."""

    kind: ClassVar[str] = "head-tenfold"
    title: ClassVar[str] = "Ten times the rate for the head"
    topic: ClassVar[str] = TOPIC
    question: ClassVar[str] = "Head and body train together. The same rate for both, or ten times as much for the head?"
    article: ClassVar[str] = "004"
    claim: ClassVar[str] = "Let the new head learn at ten times the rate of the pretrained layers."
    arms: ClassVar[tuple[Arm, ...]] = (
        Arm(name="the same rate"),
        Arm(
            name="head × 10",
            changes={
                "phases.0.learning_rate": 3e-3,
                "phases.0.multipliers": dict.fromkeys(("stem", "layer1", "layer2", "layer3", "layer4"), 0.1),
            },
        ),
    )
    expected: ClassVar[tuple[tuple[str, str], ...]] = (("head × 10", "the same rate"),)
    ask: ClassVar[tuple[str, ...]] = (
        "Both arms move the body at the same rate. What is it that the second one gains?",
        "What if the rate of both were ten times as high?",
    )
    further: ClassVar[str] = "Set the head's rate by its field on Model & layers."

    def base(self) -> Recipe:
        """Everything, at a rate that suits the body."""
        return blooms(20, 25, phases=[phase("*", epochs=3, rate=3e-4)])
