"""The sweep of a range test: which rates it tries, and a phase at a rate that was found. Pure, without torch."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from finetune_core.errors import UserError
from finetune_core.parts.base import reason
from finetune_core.parts.numbers import written
from finetune_core.recipe import Phase

LOW, HIGH, STEPS = 1e-7, 10.0, 100
DOWN_FROM = 0.1  # a higher start throws the weights so far that nothing is left to be seen on the way down
SMOOTHING = 0.9  # weight of the past in the smoothed loss that is drawn while the test runs
DIVERGED = 4.0  # the test stops once the smoothed loss is this many times its best, as in fastai
RACE_STEPS = 50  # of each contender


@dataclass(frozen=True)
class Sweep:
    """Which rates are tried: from `low` to `high` in `steps` steps, or down; all groups together, or one `group`."""

    low: float = LOW
    high: float = HIGH
    steps: int = STEPS
    down: bool = False
    group: str = ""

    def __post_init__(self) -> None:
        """Raise a UserError for rates or steps that make no test."""
        if not 0 < self.low < self.high:
            what = f"Rates from {written(self.low)} to {written(self.high)} make no test."
            raise UserError(what, "The lowest must lie above 0 and below the highest.", "Such as 1e-7 and 10.")
        if self.steps < 2:
            raise UserError("The test needs at least 2 steps.", hint=f"Leave it at {STEPS}.")

    def rate(self, step: int) -> float:
        """The learning rate tried at a step, growing or shrinking by the same factor each step."""
        share = step / max(1, self.steps - 1)
        return float(self.low * (self.high / self.low) ** (1 - share if self.down else share))


def with_rate(phase: Phase, rate: float, group: str = "") -> Phase:
    """The phase at this learning rate, or with one group at this rate and the others at theirs.

    A UserError where no recipe takes such a rate.
    """
    factor = float(f"{rate / phase.learning_rate:.15g}")
    try:
        if group:
            return phase.replace(multipliers={**phase.multipliers, group: factor})
        return phase.replace(learning_rate=rate)
    except ValidationError as error:
        what, hint = f"The rate {written(rate)} does not fit.", "Take one nearer to the others."
        raise UserError(what, reason(error), hint) from error
