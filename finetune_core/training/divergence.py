"""Divergence: when a training is no training any more, told from its losses alone. Pure, without torch.

A loss is measured by its start: the first one, or what a network scores that answers nothing, whichever is larger (a
network that knows the images already starts lower, and may well rise a little). Healthy losses are noisy, rise for a
while when layers thaw or a rate restarts, and come down again; so what counts is the median over some steps. While
training goes on only a hopeless loss ends it, since a falling rate brings many a wild start back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from finetune_core.errors import UserError
from finetune_core.parts.numbers import written

WINDOW = 20  # steps that are looked at
FAR = 4.0  # times its start: where a run that ends there has diverged
HOPELESS = 100.0  # times its start: where a run is ended at once


class Diverged(UserError):  # noqa: N818 - a state of a run, too
    """Training has diverged before optimizer step `step + 1`: a mistake that a person can mend, by a lower rate."""

    def __init__(self, what: str, step: int, rate: float) -> None:
        """Say how, at which step, and at which rate of the fastest group (0 where the schedule has come to rest)."""
        at = f" ({written(rate, 3)} there)" if rate else ""
        super().__init__(
            what,
            f"The learning rate{at} is most likely too high.",
            "Run the learning-rate finder, or try a tenth of the rate.",
        )
        self.step, self.rate = step, rate


def window(before: Sequence[float], loss: float) -> tuple[float, ...]:
    """The latest losses, with one more."""
    return (*before, loss)[-WINDOW:]


def sound(losses: Sequence[float], start: float, times: float = FAR) -> bool:
    """Whether the latest losses of a run are numbers, and not far above its start; yes where that is not known (0)."""
    latest = losses[-WINDOW:]
    if not all(map(math.isfinite, latest)):
        return False
    return not latest or not start or median(latest) <= times * start


def check(losses: Sequence[float], start: float, step: int, rate: float) -> None:
    """Raise `Diverged` where the latest losses, the last of which is that of `step`, are beyond hope."""
    if not math.isfinite(losses[-1]):
        raise Diverged(f"Training broke down at step {step}: the loss is no longer a number.", step, rate)
    if len(losses) >= WINDOW and not sound(losses, start, HOPELESS):
        raise Diverged(f"Training diverged: at step {step} {_compared(losses, start)}.", step, rate)


def check_end(losses: Sequence[float], start: float, step: int) -> None:
    """The same at the end of a run, where the bar is lower: whatever ends far above its start has learned nothing."""
    if not sound(losses, start):
        raise Diverged(f"Training diverged: it ended at step {step}, where {_compared(losses, start)}.", step, 0.0)


def _compared(losses: Sequence[float], start: float) -> str:
    now = written(median(losses[-WINDOW:]), 3)
    return f"the loss is {now}, far above the {written(start, 3)} of a network that knows nothing"
