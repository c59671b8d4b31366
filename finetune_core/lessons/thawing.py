"""Lessons about what is frozen and what is thawed, and when."""

from __future__ import annotations

from typing import Any, ClassVar

from finetune_core.lessons.base import Lesson, blooms, head, phase
from finetune_core.recipe import Recipe
from finetune_core.recipe.arms import Arm

TOPIC = "Thawing"
BODY = ("stem", "layer1", "layer2", "layer3", "layer4")


def _thaw(*names: str, **changes: Any) -> dict[str, Any]:
    return {"phases.0.thaw": list(names), **{f"phases.0.{key}": value for key, value in changes.items()}}


HOW_MUCH = (
    Arm(name="the head alone"),
    Arm(name="last stage and head", changes=_thaw("layer4", "head", learning_rate=1e-3)),
    Arm(name="everything", changes=_thaw("*", learning_rate=1e-3)),
)


class HowMuchOfFew(Lesson):
    """With few images there is little to learn from, and much to spoil."""

    kind: ClassVar[str] = "how-much-of-few"
    title: ClassVar[str] = "How much to thaw: 60 images"
    topic: ClassVar[str] = TOPIC
    question: ClassVar[str] = "Sixty pictures of twelve flowers, five of each. How much of the network should learn?"
    article: ClassVar[str] = "001"
    claim: ClassVar[str] = "With a small set that is like the pretraining's, freeze all but the head."
    arms: ClassVar[tuple[Arm, ...]] = HOW_MUCH
    expected: ClassVar[tuple[tuple[str, str], ...]] = (("the head alone", "everything"),)
    ask: ClassVar[tuple[str, ...]] = (
        "How many numbers learn in each arm, and from how many pictures?",
        "What does 'overfit' mean here?",
    )
    further: ClassVar[str] = "The same with 600 images: the next lesson."

    def base(self) -> Recipe:
        """Five images of each class."""
        return blooms(5, 30, phases=[phase("head", epochs=8, rate=1e-2)])


class HowMuchOfMany(Lesson):
    """With more images more of the network can learn without learning them by heart."""

    kind: ClassVar[str] = "how-much-of-many"
    title: ClassVar[str] = "How much to thaw: 600 images"
    topic: ClassVar[str] = TOPIC
    question: ClassVar[str] = "Now there are fifty pictures of each flower. How much should learn?"
    article: ClassVar[str] = "000"
    claim: ClassVar[str] = "Thawing the last stages brings the most: that is where the pretraining fits least."
    arms: ClassVar[tuple[Arm, ...]] = HOW_MUCH
    expected: ClassVar[tuple[tuple[str, str], ...]] = (
        ("last stage and head", "the head alone"),
        ("last stage and head", "everything"),
    )
    ask: ClassVar[tuple[str, ...]] = (
        "What has changed since there were sixty?",
        "Which arm would you take if a picture cost you an hour to get?",
    )
    further: ClassVar[str] = "Look at Advice on Model & layers with your own images."

    def base(self) -> Recipe:
        """Fifty images of each class."""
        return blooms(50, 25, phases=[phase("head", epochs=2, rate=1e-2)])


class OneStageOrTwo(Lesson):
    """A new head sends nonsense back through the body until it has learned something."""

    kind: ClassVar[str] = "one-stage-or-two"
    title: ClassVar[str] = "One stage or two?"
    topic: ClassVar[str] = TOPIC
    question: ClassVar[str] = "Train everything from the first step, or the head first and everything afterwards?"
    article: ClassVar[str] = "004"
    claim: ClassVar[str] = "First the head alone, then everything at a low rate. (Its author never compared the two.)"
    arms: ClassVar[tuple[Arm, ...]] = (
        Arm(name="everything at once"),
        Arm(name="head first, then everything", changes={"phases": [head(6), phase("*", epochs=2, rate=3e-4)]}),
    )
    expected: ClassVar[tuple[tuple[str, str], ...]] = (("head first, then everything", "everything at once"),)
    measure: ClassVar[str] = "last"
    ask: ClassVar[tuple[str, ...]] = (
        "What do the gradients of an untrained head tell the body?",
        "Is the comparison fair? What costs time in each arm?",
    )
    further: ClassVar[str] = "Two phases stand ready as a preset on Train."

    def base(self) -> Recipe:
        """Everything, in one phase."""
        return blooms(20, 25, phases=[phase("*", epochs=3, rate=1e-3)])


class Alternate(Lesson):
    """What is thawed should lie together, so that one layer's change is not read by a frozen one."""

    kind: ClassVar[str] = "alternate-layers"
    title: ClassVar[str] = "Every other layer"
    topic: ClassVar[str] = TOPIC
    question: ClassVar[str] = "Two stages may learn. The last two, or every other one, with frozen stages between?"
    article: ClassVar[str] = "004"
    claim: ClassVar[str] = "Do not freeze alternate layers: that gives poor results."
    arms: ClassVar[tuple[Arm, ...]] = (
        Arm(name="the last two"),
        Arm(name="every other", changes=_thaw("layer1", "layer3", "head")),
    )
    expected: ClassVar[tuple[tuple[str, str], ...]] = (("the last two", "every other"),)
    ask: ClassVar[tuple[str, ...]] = (
        "What does a frozen layer expect of the one below it?",
        "Do the arms have the same number of weights to learn?",
    )
    further: ClassVar[str] = "Toggle single groups on Model & layers: it warns where they do not lie together."

    def base(self) -> Recipe:
        """The last two stages and the head."""
        return blooms(20, 25, phases=[phase("layer3", "layer4", "head", epochs=3, rate=1e-3)])


class Bump(Lesson):
    """Where more is thawed the loss may jump: weights that had found their place are moved again."""

    kind: ClassVar[str] = "bump"
    title: ClassVar[str] = "The bump at thawing"
    topic: ClassVar[str] = TOPIC
    question: ClassVar[str] = "The body thaws. How far does the loss jump: at the head's rate, or at a hundredth of it?"
    article: ClassVar[str] = "003"
    claim: ClassVar[str] = "The loss jumps where layers thaw, and less at lower rates for them."
    arms: ClassVar[tuple[Arm, ...]] = (
        Arm(name="the head's rate"),
        Arm(name="a hundredth for the body", changes={"phases.1.multipliers": dict.fromkeys(BODY, 0.01)}),
    )
    expected: ClassVar[tuple[tuple[str, str], ...]] = (("a hundredth for the body", "the head's rate"),)
    measure: ClassVar[str] = "bump"
    ask: ClassVar[tuple[str, ...]] = (
        "Does a bump do any harm, if the loss comes down again?",
        "What would a warm-up do here?",
    )
    further: ClassVar[str] = "Watch a run of two phases: its charts mark where the second begins."

    def base(self) -> Recipe:
        """The head, then everything at the same rate, without a warm-up."""
        second = phase("*", epochs=1, rate=1e-2, schedule="constant")
        return blooms(20, 25, phases=[head(8), second])


class Statistics(Lesson):
    """BatchNorm keeps a mean and a spread of what it has seen, even where its weights are frozen."""

    kind: ClassVar[str] = "batch-statistics"
    title: ClassVar[str] = "Frozen, and yet it moves"
    topic: ClassVar[str] = TOPIC
    question: ClassVar[str] = "The body is frozen. Should its BatchNorm keep the statistics of its pretraining?"
    article: ClassVar[str] = "001"
    claim: ClassVar[str] = (
        "Frozen layers should stay as they are. (In plain PyTorch their statistics move all the same.)"
    )
    arms: ClassVar[tuple[Arm, ...]] = (
        Arm(name="held"),
        Arm(name="updated", changes={"phases.0.norm_statistics": "update"}),
        Arm(name="by each batch", changes={"phases.0.norm_statistics": "batch"}),
    )
    expected: ClassVar[tuple[tuple[str, str], ...]] = (("held", "updated"), ("held", "by each batch"))
    ask: ClassVar[tuple[str, ...]] = (
        "Which numbers in a network are not weights?",
        "When would statistics of your own images be better?",
    )
    further: ClassVar[str] = "Norm statistics is a field of each phase on Train, under More."

    def base(self) -> Recipe:
        """The head alone, on images as they come."""
        return blooms(20, 25, phases=[phase("head", epochs=3, rate=1e-2)])


class TwoModes(Lesson):
    """A network normalises by each batch in training, and by what it has kept when it is used."""

    kind: ClassVar[str] = "two-modes"
    title: ClassVar[str] = "One network or two"
    topic: ClassVar[str] = TOPIC
    question: ClassVar[str] = "How far is the network that trains from the one that is measured and used?"
    article: ClassVar[str] = "001"
    claim: ClassVar[str] = (
        "Train and evaluation mode differ in BatchNorm: normalise by batches of which nothing is kept, and you train "
        "another network than you use."
    )
    arms: ClassVar[tuple[Arm, ...]] = (
        Arm(name="statistics adapt", changes={"phases.0.norm_statistics": "update"}),
        Arm(name="by each batch", changes={"phases.0.norm_statistics": "batch"}),
    )
    expected: ClassVar[tuple[tuple[str, str], ...]] = (("statistics adapt", "by each batch"),)
    measure: ClassVar[str] = "norms"
    ask: ClassVar[tuple[str, ...]] = (
        "What does the network answer to a single image in training mode?",
        "Why is there no difference at all where the statistics are held?",
    )
    further: ClassVar[str] = "A run warns where the two drift apart; try Norm statistics per group."

    def base(self) -> Recipe:
        """The head alone, on images as they come."""
        return blooms(20, 25, phases=[phase("head", epochs=3, rate=1e-2)])


class WhereTheLoopStands(Lesson):
    """Code that freezes layers in a constructor reaches only those that are there already."""

    kind: ClassVar[str] = "where-the-loop-stands"
    title: ClassVar[str] = "Where the freezing stands"
    topic: ClassVar[str] = TOPIC
    question: ClassVar[str] = "A loop freezes “all parameters” while the network is being built. Where should it stand?"
    article: ClassVar[str] = "004"
    claim: ClassVar[str] = (
        "Let the head learn alone: stand the loop after the body. (It freezes what is there by then.)"
    )
    arms: ClassVar[tuple[Arm, ...]] = (
        Arm(name="after the body: it is frozen"),
        Arm(name="in the midst: half is frozen", changes=_thaw("layer3", "layer4", "head")),
        Arm(name="at the top: nothing is frozen", changes=_thaw("*")),
    )
    expected: ClassVar[tuple[tuple[str, str], ...]] = (
        ("after the body: it is frozen", "at the top: nothing is frozen"),
    )
    ask: ClassVar[tuple[str, ...]] = (
        "Which arm is the one that its author wanted?",
        "How would you notice that nothing was frozen?",
    )
    further: ClassVar[str] = "Every run here proves its freezing bit by bit: look for the truth check in its notes."

    def base(self) -> Recipe:
        """The head alone."""
        return blooms(20, 25, phases=[phase("head", epochs=3, rate=2e-3)])


def _milestones(*thawed: tuple[str, ...]) -> list[dict[str, Any]]:
    return [phase(*names, epochs=1, rate=3e-3 / 2**place) for place, names in enumerate(thawed)]


class OffByOne(Lesson):
    """Milestones that count from 1 in a loop that counts from 0: the first epoch is configured by nobody."""

    kind: ClassVar[str] = "off-by-one"
    title: ClassVar[str] = "Milestones off by one"
    topic: ClassVar[str] = TOPIC
    question: ClassVar[str] = (
        "Layers thaw one after another, at epochs 1, 2, 3. But epochs count from 0. Does it matter?"
    )
    article: ClassVar[str] = "002"
    claim: ClassVar[str] = "The head begins alone. (As written, epoch 0 trains everything at the first rate.)"
    arms: ClassVar[tuple[Arm, ...]] = (
        Arm(name="as it was meant"),
        Arm(
            name="as it is written",
            changes={"phases": _milestones(("*",), ("head",), ("layer4", "head"), ("layer3", "layer4", "head"))},
        ),
    )
    expected: ClassVar[tuple[tuple[str, str], ...]] = (("as it was meant", "as it is written"),)
    ask: ClassVar[tuple[str, ...]] = (
        "What happens in the first epoch as it is written?",
        "How would a chart of the rates have shown it?",
    )
    further: ClassVar[str] = "Import milestones on Train: Thaw shifts them, and says so."

    def base(self) -> Recipe:
        """Head, last stage, last two, everything: an epoch each."""
        return blooms(20, 25, phases=_milestones(("head",), ("layer4", "head"), ("layer3", "layer4", "head"), ("*",)))
