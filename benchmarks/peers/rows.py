"""The rows of the table: who does which work, what is measured, and what the project wants to reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

THAW = "Thaw"
HELD = "fastai, norms held"
ALONE, TUNED, TUNED_HELD = f"{HELD}, head alone", "fastai, fine_tune", f"{HELD}, fine_tune"


@dataclass(frozen=True)
class Entry:
    """One side's part in a row: the module that does it, the package that it needs, and what its task has besides."""

    module: str
    needs: str = ""
    task: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Goal:
    """How many times better Thaw is to be than some others, the best of them; `words` name them."""

    factor: float
    words: str
    than: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """Some work; `more` says whether larger numbers are better. Its entries' order is that of the columns."""

    title: str
    unit: str
    about: str
    task: Mapping[str, Any]
    entries: Mapping[str, Entry]
    goal: Goal | None = None
    more: bool = True

    def ratio(self, thaw: float, other: float) -> float:
        """How many times better Thaw is."""
        return thaw / other if self.more else other / thaw

    def reached(self, found: Mapping[str, float]) -> float | None:
        """How many times better Thaw is than the best of those that its goal names, as far as they were measured."""
        if not self.goal or THAW not in found:
            return None
        ratios = [self.ratio(found[THAW], found[name]) for name in self.goal.than if name in found]
        return min(ratios, default=None)


TRAINERS = {
    THAW: Entry("thaw"),
    "plain torch": Entry("plain"),
    "timm's loader": Entry("plain", task={"options": ("timm's loader",)}),
    "Lightning": Entry("lightning", "lightning"),
    "fastai": Entry("fastai", "fastai"),
}
WITH_HELD = {**TRAINERS, HELD: Entry("fastai", "fastai", {"options": ("norms held",)})}
REUSED = {THAW: Entry("thaw", task={"epochs": 20}), "plain torch": Entry("plain", task={"epochs": 2})}
STEPS = "A whole epoch's training steps without validation; each epoch draws its views afresh."

ROWS = (
    Row("Head only", "images/s", STEPS, {"work": "speed", "learns": "head"}, WITH_HELD),
    Row("Last stage + head", "images/s", STEPS, {"work": "speed", "learns": "stage"}, WITH_HELD),
    Row(
        "Whole network",
        "images/s",
        STEPS,
        {"work": "speed", "learns": "all"},
        TRAINERS,
        Goal(1.4, "the best peer", tuple(name for name in TRAINERS if name != THAW)),
    ),
    Row(
        "A second head",
        "images/s",
        "Whole epochs with validation, the training images counted: Thaw's second run at another rate on the three "
        "views of each image that a first run has kept (20 epochs, with all that a run writes), and plain torch, which "
        "draws and works them out each time (2 epochs).",
        {"work": "epochs", "learns": "head"},
        REUSED,
        Goal(20, "plain torch", ("plain torch",)),
    ),
    Row(
        "A second last stage + head",
        "images/s",
        "As the row before, with the last stage learning too.",
        {"work": "epochs", "learns": "stage"},
        REUSED,
        Goal(5, "plain torch", ("plain torch",)),
    ),
    Row(
        "Finder, head",
        "CPU-s a 100 rates",
        "Seconds of the processor, all processes together, for 100 rates from 1e-7 to 10. Thaw with the views that an "
        "earlier run or test has kept, and *first*, with nothing kept yet.",
        {"work": "finder", "learns": "head"},
        {
            THAW: Entry("thaw", task={"options": ("again",)}),
            "Thaw, first": Entry("thaw"),
            "torch-lr-finder": Entry("lr_finder", "torch-lr-finder"),
            "fastai": Entry("fastai", "fastai"),
            HELD: Entry("fastai", "fastai", {"options": ("norms held",)}),
        },
        Goal(20, "fastai", ("fastai", HELD)),
        more=False,
    ),
)

ACCURACY = Row(
    "fastai's best accuracy",
    "s from process start",
    "Seconds from the start of the process, nothing prepared, until an epoch's validation accuracy is the best that "
    "fastai reaches in that round; for Thaw's quick head, until it is as high. fastai trains the head alone (5 epochs) "
    "and as its documents have it (`fine_tune(4)`, a frozen epoch first); the one that gets highest is compared. With "
    "norms held all of fastai's norms keep their statistics: those of these weights, rebuilt from a converted network, "
    "do not take its habit of training them well.",
    {"work": "accuracy", "learns": "head"},
    {
        THAW: Entry("thaw", task={"epochs": 20}),
        ALONE: Entry("fastai", "fastai", {"epochs": 5, "options": ("norms held",)}),
        TUNED: Entry("fastai", "fastai", {"epochs": 5, "options": ("fine_tune",)}),
        TUNED_HELD: Entry("fastai", "fastai", {"epochs": 5, "options": ("fine_tune", "norms held")}),
    },
    Goal(10, "fastai", ("fastai",)),
    more=False,
)

Curve = Sequence[tuple[float, float]]
"""Seconds since the process began, and the accuracy reached then."""


def best(curve: Curve) -> tuple[float, float]:
    """When the best accuracy was reached first, and which."""
    return min(curve, key=lambda point: (-point[1], point[0]))


def until(curve: Curve, accuracy: float) -> float | None:
    """When an accuracy was reached first, if ever."""
    return next((seconds for seconds, reached in curve if reached >= accuracy), None)


def middle(rounds: Sequence[float | None]) -> float | None:
    """The median, where a round that never got there counts as endless; None where half of them did not."""
    found = median([float("inf") if each is None else each for each in rounds]) if rounds else float("inf")
    return None if found == float("inf") else found
