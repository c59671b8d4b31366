"""Where a run is wrong about numbers: by how much, in which direction, and on which images. Numpy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finetune_core.errors import UserError
from finetune_core.parts.tasks import NUMBERS, Targets
from finetune_core.runs.states import predictions
from finetune_core.runs.store import Run
from finetune_core.understand.resampled import Interval, draws, interval

MOST = 0.9  # of the images, for which it is said how far off they are at most


@dataclass(frozen=True)
class Missed:
    """One number, in its own unit: the mean miss in either direction and with its sign, and what half and most keep.

    `explained` is R², NaN where the number never changes; it is below 0 where the mean would guess better.
    """

    name: str
    mean: Interval
    bias: Interval
    half: float
    most: float
    explained: float

    @property
    def lopsided(self) -> bool:
        """Whether it guesses too high or too low on the whole, and not by chance."""
        return self.bias.low > 0 or self.bias.high < 0


@dataclass(frozen=True)
class Residuals:
    """Validation images by their paths below the data's root, with their numbers (N, names) and those guessed."""

    names: tuple[str, ...]
    images: tuple[str, ...]
    truth: np.ndarray
    guess: np.ndarray
    epoch: int

    @property
    def missed(self) -> np.ndarray:
        """Guess less truth, (N, names)."""
        found: np.ndarray = self.guess - self.truth
        return found

    def of(self, name: int) -> Missed:
        """One number, with intervals of 95 %."""
        missed, truth = self.missed[:, name], self.truth[:, name]
        drawn = draws(len(missed), 1)
        mean, bias = (interval(float(values.mean()), drawn @ values / len(values)) for values in (abs(missed), missed))
        half, most = np.quantile(abs(missed), [0.5, MOST])
        spread = truth.var()
        explained = 1 - float((missed**2).mean() / spread) if spread > 0 else np.nan
        return Missed(self.names[name], mean, bias, float(half), float(most), explained)

    def worst(self, name: int) -> np.ndarray:
        """All images, by how far off the guess is."""
        return np.argsort(-abs(self.missed[:, name]), kind="stable")

    def highest(self, name: int) -> np.ndarray:
        """Those guessed too high, the farthest first."""
        return self._signed(name, 1)

    def lowest(self, name: int) -> np.ndarray:
        """Those guessed too low, the farthest first."""
        return self._signed(name, -1)

    def _signed(self, name: int, sign: int) -> np.ndarray:
        worst = self.worst(name)
        return worst[sign * self.missed[worst, name] > 0]


def residuals(run: Run) -> Residuals:
    """Those of a run. A UserError where it kept no answers, or its images have no numbers."""
    kept, targets = predictions.needed(run), run.targets
    return from_kept(kept, targets)


def from_kept(kept: predictions.Predictions, targets: Targets | None) -> Residuals:
    """The same of kept answers, which are in standard units."""
    if targets is None or targets.task != NUMBERS.key:
        raise UserError("Only numbers are missed by some amount.", "These images have classes or tags.")
    if kept.outputs.shape[1] != len(targets.names) or kept.wanted.shape != kept.outputs.shape:
        raise UserError("The answers that the run kept are not of its numbers.", "A file of it was changed.")
    truth, guess = (targets.in_units(each.astype(np.float64)) for each in (kept.wanted, kept.outputs))
    return Residuals(targets.names, kept.images, truth, guess, kept.epoch)
