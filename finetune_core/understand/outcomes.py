"""Where a run is wrong: what its best epoch answered to each validation image, sorted as one looks at it. Numpy alone.

The answers are those that the run has kept (`runs.states.predictions`): nothing is looked at a second time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from finetune_core.errors import UserError
from finetune_core.parts.tasks import ONE_CLASS, Targets, softmax
from finetune_core.runs.states import predictions
from finetune_core.runs.store import Run
from finetune_core.understand.calibration import Calibration, calibrated
from finetune_core.understand.resampled import Interval, draws, interval


@dataclass(frozen=True)
class ClassScores:
    """One class: its validation images, and precision, recall and F1 with their intervals of 95 %."""

    name: str
    images: int
    precision: Interval
    recall: Interval
    f1: Interval


@dataclass(frozen=True)
class Outcomes:
    """Validation images by their paths below the data's root, with their class and the model's outputs (N, classes)."""

    names: tuple[str, ...]
    images: tuple[str, ...]
    truth: np.ndarray
    outputs: np.ndarray
    epoch: int

    @cached_property
    def shares(self) -> np.ndarray:
        """The probability of each class, (N, classes) float64."""
        return softmax(self.outputs.astype(np.float64))

    @cached_property
    def guess(self) -> np.ndarray:
        """The likeliest class of each image."""
        return self.outputs.argmax(1)

    @cached_property
    def sure(self) -> np.ndarray:
        """Its probability."""
        return self.shares[np.arange(len(self.truth)), self.guess]

    @cached_property
    def loss(self) -> np.ndarray:
        """Cross-entropy of each image: how surprised the model is by the truth."""
        return -np.log(self.shares[np.arange(len(self.truth)), self.truth].clip(1e-300))

    @property
    def right(self) -> np.ndarray:
        """Whether the guess is the truth."""
        found: np.ndarray = self.guess == self.truth
        return found

    def confusion(self) -> np.ndarray:
        """How many images of each class (rows) are taken for each class (columns)."""
        count = len(self.names)
        return np.bincount(self.truth * count + self.guess, minlength=count * count).reshape(count, count)

    def cell(self, truth: int, guess: int) -> np.ndarray:
        """The images of one cell, the surest first."""
        return ordered((self.truth == truth) & (self.guess == guess), -self.sure)

    def mistakes(self) -> np.ndarray:
        """Wrong ones, the surest first: where a label may be wrong, too."""
        return ordered(~self.right, -self.sure)

    def hardest(self) -> np.ndarray:
        """All, by loss."""
        return ordered(np.ones(len(self.truth), bool), -self.loss)

    def unsure(self) -> np.ndarray:
        """All, by how near the second guess comes to the first."""
        two = np.partition(self.shares, -2, axis=1)[:, -2:]
        return ordered(np.ones(len(self.truth), bool), two[:, 1] - two[:, 0])

    def by_class(self) -> tuple[ClassScores, ...]:
        """Each class by itself; NaN where there is nothing to measure."""
        count, drawn = len(self.names), draws(len(self.truth), len(self.names)).astype(np.float32)
        weights = np.concatenate([np.ones((1, len(self.truth)), np.float32), drawn])
        one, other = np.eye(count, dtype=np.float32)[self.truth], np.eye(count, dtype=np.float32)[self.guess]
        there, said, hits = weights @ one, weights @ other, weights @ (one * other)
        with np.errstate(invalid="ignore"):
            found = hits / said, hits / there, 2 * hits / np.where(there > 0, there + said, np.nan)
        return tuple(
            ClassScores(
                name,
                int(there[0, place]),
                *(interval(float(values[0, place]), values[1:, place].astype(np.float64)) for values in found),
            )
            for place, name in enumerate(self.names)
        )

    def calibration(self) -> Calibration:
        """How far its confidence may be trusted."""
        return calibrated(self.outputs, self.truth)


def ordered(which: np.ndarray, by: np.ndarray) -> np.ndarray:
    """The places of those images (N,) bool, by a number of each, the least first."""
    places = np.flatnonzero(which)
    return places[np.argsort(by[places], kind="stable")]


def outcomes(run: Run) -> Outcomes:
    """Those of a run. A UserError where it kept none, or its images have not one class each."""
    kept, targets = predictions.needed(run), run.targets
    return from_kept(kept, targets)


def from_kept(kept: predictions.Predictions, targets: Targets | None) -> Outcomes:
    """The same of kept answers."""
    if targets is None or targets.task != ONE_CLASS.key:
        raise UserError("Only classes can be confused.", "These images have tags or numbers.", "See Scores.")
    if kept.outputs.shape[1] != len(targets.names) or (len(kept.wanted) and kept.wanted.max() >= len(targets.names)):
        raise UserError("The answers that the run kept are not of its classes.", "A file of it was changed.")
    return Outcomes(targets.names, kept.images, kept.wanted.astype(np.int64), kept.outputs, kept.epoch)
