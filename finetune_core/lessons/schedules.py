"""Lessons about how the rate goes over a training, and about the optimizer that takes it."""

from __future__ import annotations

from typing import Any, ClassVar

from finetune_core.lessons.base import Lesson, blooms, head, phase
from finetune_core.recipe import Recipe
from finetune_core.recipe.arms import Arm

TOPIC = "Schedules and optimizers"


def _schedule(kind: str, **knobs: Any) -> dict[str, Any]:
    return {"phases.0.schedule": {"kind": kind, **knobs}}


class Schedules(Lesson):
    """A rate that falls lets the network settle; one that restarts shakes it up again."""

    kind: ClassVar[str] = "schedules"
    title: ClassVar[str] = "Step, cosine, one-cycle, restarts"
    topic: ClassVar[str] = TOPIC
    question: ClassVar[str] = "The same peak rate, four ways down. Which one ends best?"
    article: ClassVar[str] = "000"
    claim: ClassVar[str] = "SGD with restarts (SGDR, each cycle twice as long) proved better than the usual ways."
    arms: ClassVar[tuple[Arm, ...]] = (
        Arm(name="step", changes=_schedule("step", every=5)),
        Arm(name="cosine", changes=_schedule("cosine")),
        Arm(name="one-cycle"),
        Arm(name="restarts (SGDR)", changes=_schedule("restarts", cycle_len=1, cycle_mult=2)),
    )
    expected: ClassVar[tuple[tuple[str, str], ...]] = (
        ("restarts (SGDR)", "step"),
        ("restarts (SGDR)", "cosine"),
    )
    measure: ClassVar[str] = "last"
    ask: ClassVar[tuple[str, ...]] = (
        "Cycles of 1, 2, 4 and 8 epochs make 15. Why end with a whole cycle?",
        "At which epochs would you take the weights of the SGDR run?",
    )
    further: ClassVar[str] = "Choose a schedule on Train, and look at its curve before anything runs."
    seeds: ClassVar[int] = 5

    def base(self) -> Recipe:
        """The head alone for fifteen epochs, by SGD."""
        optimizer = {"kind": "sgd"}
        return blooms(phases=[head(15, rate=0.1)]).with_value("training.optimizer", optimizer)


class AdamDecay(Lesson):
    """Adam divides each gradient by its size; weight decay that is part of the gradient is divided, too."""

    kind: ClassVar[str] = "adam-decay"
    title: ClassVar[str] = "Weight decay in Adam and in AdamW"
    topic: ClassVar[str] = TOPIC
    question: ClassVar[str] = "The same weight decay of 0.1 in Adam and in AdamW: do they end alike?"
    article: ClassVar[str] = "000"
    claim: ClassVar[str] = "The article gives Adam a weight decay. In AdamW the same one does better, say its authors."
    arms: ClassVar[tuple[Arm, ...]] = (
        Arm(name="AdamW"),
        Arm(name="Adam", changes={"training.optimizer": {"kind": "adam", "weight_decay": 0.1}}),
    )
    expected: ClassVar[tuple[tuple[str, str], ...]] = (("AdamW", "Adam"),)
    ask: ClassVar[tuple[str, ...]] = (
        "Which weights does Adam decay least: those with large gradients, or those with small ones?",
        "At which weight decay would you expect no difference?",
    )
    further: ClassVar[str] = "The optimizer's formula stands on Train, under Optimizer."
    seeds: ClassVar[int] = 5

    def base(self) -> Recipe:
        """The head alone, with much weight decay."""
        decay = {"kind": "adamw", "weight_decay": 0.1}
        return blooms(phases=[head(12)]).with_value("training.optimizer", decay)


class Momentum(Lesson):
    """Momentum goes on in the direction of the last steps: it carries over small bumps, and over the goal."""

    kind: ClassVar[str] = "momentum"
    title: ClassVar[str] = "Momentum"
    topic: ClassVar[str] = TOPIC
    question: ClassVar[str] = (
        "SGD without momentum, or with 0.9 as torch, Sutskever or Nesterov have it: which learns most?"
    )
    article: ClassVar[str] = "004"
    claim: ClassVar[str] = "Momentum speeds SGD up; Nesterov's looks ahead and does so a little better."
    arms: ClassVar[tuple[Arm, ...]] = (
        Arm(name="none", changes={"training.optimizer": {"kind": "sgd", "momentum": 0.0}}),
        Arm(name="0.9"),
        Arm(name="0.9, Nesterov", changes={"training.optimizer": {"kind": "sgd", "momentum": 0.9, "nesterov": True}}),
        Arm(name="0.9, Sutskever's", changes={"training.optimizer": {"kind": "sgd_sutskever", "momentum": 0.9}}),
    )
    expected: ClassVar[tuple[tuple[str, str], ...]] = (("0.9", "none"), ("0.9, Nesterov", "0.9"))
    measure: ClassVar[str] = "last"
    ask: ClassVar[tuple[str, ...]] = (
        "A momentum of 0.9 makes steps about ten times as long. What if SGD without it had ten times the rate?",
        "torch multiplies the velocity by the rate, Sutskever keeps the rate inside. When do they differ?",
    )
    further: ClassVar[str] = "Try SGD without momentum at ten times the rate."
    seeds: ClassVar[int] = 5

    def base(self) -> Recipe:
        """The head alone by SGD, at a small rate."""
        optimizer = {"kind": "sgd", "momentum": 0.9}
        return blooms(phases=[head(6, rate=0.01)]).with_value("training.optimizer", optimizer)


class Underflow(Lesson):
    """fp16 knows no number between 0 and 6e-8: what is smaller vanishes, unless the loss is scaled first."""

    kind: ClassVar[str] = "underflow"
    title: ClassVar[str] = "Gradients that vanish in fp16"
    topic: ClassVar[str] = TOPIC
    question: ClassVar[str] = "One step's gradient, written down in three ways. Of how many numbers is nothing left?"
    article: ClassVar[str] = "001"
    claim: ClassVar[str] = "In fp16 small gradients underflow to zero; mixed precision scales the loss against that."
    arms: ClassVar[tuple[Arm, ...]] = (
        Arm(name="fp32", gradients="fp32"),
        Arm(name="fp16", gradients="fp16"),
        Arm(name="fp16, loss scaled by 65 536", gradients="scaled"),
    )
    expected: ClassVar[tuple[tuple[str, str], ...]] = (("fp32", "fp16"), ("fp16, loss scaled by 65 536", "fp16"))
    measure: ClassVar[str] = "vanished"
    ask: ClassVar[tuple[str, ...]] = (
        "Why scale the loss, and not each gradient?",
        "What happens to the largest gradients when the loss is scaled?",
    )
    further: ClassVar[str] = "Precision on Train says what each format does on this machine."

    def base(self) -> Recipe:
        """Everything thawed, a batch."""
        return blooms(20, 25, phases=[phase("*", epochs=1)])
