"""Where a run is wrong about tags: each tag at every threshold, what one costs and brings, and its images. No torch.

Curves and areas are those of scikit-learn: every probability that occurs is a threshold, equals are taken together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from finetune_core.errors import UserError
from finetune_core.parts.tasks import TAGS, THRESHOLD, Targets, sigmoid
from finetune_core.runs.states import predictions
from finetune_core.runs.store import Run
from finetune_core.understand.outcomes import ordered

LEAST = 1e-6  # a threshold's distance from 0 and 1


@dataclass(frozen=True)
class Curve:
    """One tag at each threshold, the strictest first, (thresholds,) each: what is found, and how much of it is true.

    `recall` is the share of its images that are found, `precision` of those found that have it, `alarms` the share of
    the other images that are found (1 - specificity). NaN where there are no such images.
    """

    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    alarms: np.ndarray

    @property
    def average_precision(self) -> float:
        """The area below precision over recall, in steps."""
        return float((np.diff(self.recall, prepend=0.0) * self.precision).sum())

    @property
    def area(self) -> float:
        """The area below recall over alarms: how often an image with the tag is ranked above one without (AUROC)."""
        across, up = np.concatenate([[0.0], self.alarms]), np.concatenate([[0.0], self.recall])
        return float(np.trapezoid(up, across))

    @cached_property
    def f1(self) -> np.ndarray:
        """At each threshold; 0 where nothing is found rightly."""
        with np.errstate(invalid="ignore"):
            found = 2 * self.precision * self.recall / (self.precision + self.recall)
        return np.nan_to_num(found)

    def near(self, recall: float, other: np.ndarray, value: float) -> float:
        """The threshold of the point nearest to a click; `other` is what the chart has beside recall."""
        return float(self.thresholds[np.nanargmin((self.recall - recall) ** 2 + (other - value) ** 2)])


@dataclass(frozen=True)
class Counts:
    """What a threshold comes to: images rightly found, missed, wrongly found, and rightly left."""

    found: int
    missed: int
    alarms: int
    left: int

    @property
    def precision(self) -> float:
        """Of those found the share that is right; NaN where nothing is found."""
        return self.found / (self.found + self.alarms) if self.found + self.alarms else np.nan

    @property
    def recall(self) -> float:
        """Of its images the share that is found; NaN where it has none."""
        return self.found / (self.found + self.missed) if self.found + self.missed else np.nan

    @property
    def f1(self) -> float:
        """Their harmonic mean; NaN where no image has the tag."""
        return 2 * self.found / (2 * self.found + self.alarms + self.missed) if self.found + self.missed else np.nan


@dataclass(frozen=True)
class Tagged:
    """Validation images by their paths below the data's root, with their tags (N, tags) bool, and outputs alike."""

    names: tuple[str, ...]
    images: tuple[str, ...]
    wanted: np.ndarray
    outputs: np.ndarray
    epoch: int

    @cached_property
    def shares(self) -> np.ndarray:
        """The probability of each tag, (N, tags) float64."""
        return sigmoid(self.outputs.astype(np.float64))

    def curve(self, tag: int) -> Curve:
        """Of one tag."""
        order = np.argsort(-self.shares[:, tag], kind="stable")
        ranked, there = self.shares[order, tag], self.wanted[order, tag]
        ends = np.flatnonzero(np.append(ranked[:-1] != ranked[1:], True))
        found, taken = np.cumsum(there)[ends], ends + 1
        with np.errstate(invalid="ignore"):
            recall, alarms = found / there.sum(), (taken - found) / (~there).sum()
        return Curve(ranked[ends], found / taken, recall, alarms)

    def counts(self, tag: int, threshold: float) -> Counts:
        """What this threshold comes to."""
        said, there = self.shares[:, tag] >= threshold, self.wanted[:, tag]
        both = (said & there, ~said & there, said & ~there, ~said & ~there)
        return Counts(*(int(each.sum()) for each in both))

    def missed(self, tag: int, threshold: float) -> np.ndarray:
        """Images that have the tag and are not found, the least likely first."""
        return ordered(self.wanted[:, tag] & (self.shares[:, tag] < threshold), self.shares[:, tag])

    def alarms(self, tag: int, threshold: float) -> np.ndarray:
        """Images that are found and have it not, the likeliest first."""
        return ordered(~self.wanted[:, tag] & (self.shares[:, tag] >= threshold), -self.shares[:, tag])

    def near(self, tag: int, threshold: float) -> np.ndarray:
        """All, by how near they are to the threshold."""
        return ordered(np.ones(len(self.images), bool), abs(self.shares[:, tag] - threshold))

    def best(self, tag: int) -> float:
        """The threshold of the best F1, half-way to the next likely image; of equals the one nearest to a half."""
        curve = self.curve(tag)
        if not self.wanted[:, tag].any():
            return THRESHOLD
        between = (curve.thresholds + np.append(curve.thresholds[1:], 0.0)) / 2
        good = np.flatnonzero(curve.f1 >= curve.f1.max() * (1 - 1e-12))
        chosen = float(min(between[good], key=lambda each: abs(each - THRESHOLD)))
        return min(1 - LEAST, max(LEAST, chosen))


def tagged(run: Run) -> Tagged:
    """Those of a run. A UserError where it kept no answers, or its images have no tags."""
    kept, targets = predictions.needed(run), run.targets
    return from_kept(kept, targets)


def from_kept(kept: predictions.Predictions, targets: Targets | None) -> Tagged:
    """The same of kept answers."""
    if targets is None or targets.task != TAGS.key:
        raise UserError("Only tags have thresholds.", "These images have classes or numbers.")
    if kept.outputs.shape[1] != len(targets.names) or kept.wanted.shape != kept.outputs.shape:
        raise UserError("The answers that the run kept are not of its tags.", "A file of it was changed.")
    return Tagged(targets.names, kept.images, kept.wanted >= THRESHOLD, kept.outputs, kept.epoch)
