"""Schedules: how the learning rate moves during a phase, as pure functions of progress.

Each layer group keeps its peak rate and the loop multiplies it by `multiplier(progress)`, so the curve drawn before a
run and the rates logged during it are the same function. Equal to torch's schedulers at every step (see the tests).
"""

import math
from typing import ClassVar, NamedTuple

from finetune_core.parts.base import Part, knob


class Progress(NamedTuple):
    """Where a phase stands: optimizer step `step` (from 0) of `steps`, with `epoch_steps` of them in an epoch."""

    step: int
    steps: int
    epoch_steps: int


class Schedule(Part):
    """How the learning rate moves during a phase."""

    def multiplier(self, progress: Progress) -> float:
        """The factor on every group's peak rate at this step, usually in [0, 1]."""
        raise NotImplementedError


class OneCycle(Schedule):
    """Warm up to the peak rate, then anneal to almost nothing: fast and forgiving, the usual choice for fine-tuning.

    Smith 2018; seed 002. Equals torch's OneCycleLR with cosine annealing.
    """

    kind: ClassVar[str] = "one_cycle"
    title: ClassVar[str] = "One cycle"
    pct_start: float = knob(0.25, "Warm-up share", "Share of the steps spent rising to the peak.", low=0.0, high=0.95)
    div: float = knob(25.0, "Start divisor", "The first rate is the peak divided by this.", low=1.0, high=1e4, log=True)
    final_div: float = knob(
        1e4, "End divisor", "The last rate is the first rate divided by this.", low=1.0, high=1e8, log=True, more=True
    )

    def multiplier(self, progress: Progress) -> float:
        """Cosine up over the first `pct_start`, cosine down over the rest."""
        start, end = 1 / self.div, 1 / (self.div * self.final_div)
        turn, last = self.pct_start * progress.steps - 1, progress.steps - 1
        if progress.step <= turn and turn > 0:
            return _cosine(start, 1.0, progress.step / turn)
        if last <= turn:
            return end
        return _cosine(1.0, end, (progress.step - max(turn, 0)) / (last - max(turn, 0)))


class Cosine(Schedule):
    """Start at the peak rate and glide down along half a cosine wave.

    Loshchilov & Hutter 2016; seed 000. Equals torch's CosineAnnealingLR with T_max = all steps.
    """

    kind: ClassVar[str] = "cosine"
    title: ClassVar[str] = "Cosine"
    final: float = knob(0.0, "Final share", "Share of the peak rate left at the end.", low=0.0, high=1.0)

    def multiplier(self, progress: Progress) -> float:
        """Half a cosine wave from 1 towards `final`."""
        return _cosine(1.0, self.final, progress.step / progress.steps)


class Constant(Schedule):
    """Keep the rate as it is: the plainest choice, good for short tries and for seeing what a rate does."""

    kind: ClassVar[str] = "constant"
    title: ClassVar[str] = "Constant"

    def multiplier(self, progress: Progress) -> float:
        """Always 1."""
        return 1.0


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
