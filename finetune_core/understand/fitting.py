"""What may be fitted to a run's answers and kept with its model: a temperature for classes, a threshold for a tag."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finetune_core.errors import UserError
from finetune_core.parts.tasks import NUMBERS, ONE_CLASS, TAGS, THRESHOLD
from finetune_core.runs.states import predictions
from finetune_core.runs.states.fitted import Fitted
from finetune_core.runs.store import Run
from finetune_core.understand import outcomes, tags
from finetune_core.understand.calibration import COLDEST, HOTTEST
from finetune_core.understand.outcomes import Outcomes
from finetune_core.wording import count, shown

EDGE = 1.05  # a temperature nearer to the ends of what is tried says nothing


@dataclass(frozen=True)
class Gain:
    """What it does to a number: confidence as a whole (name ""), or one tag; `value` is what was fitted."""

    name: str
    value: float
    before: float
    after: float


@dataclass(frozen=True)
class Fit:
    """What was fitted on so many validation images, and what it would bring on these very images."""

    fitted: Fitted
    measure: str
    images: int
    gains: tuple[Gain, ...]

    def lines(self) -> list[str]:
        """For people: what was fitted, and what it brings."""
        about = "temperature" if not self.fitted.thresholds else "threshold"
        said = [
            f"{shown(each.name)}{': ' * bool(each.name)}{about} {each.value:.4g}, "
            f"{self.measure} {TAGS.score.shown(each.before)}, with it {TAGS.score.shown(each.after)}"
            for each in self.gains
        ]
        images = count(self.images, "validation image")
        return [*said, f"Fitted on {images}: on others it brings less, the less the fewer these are."]


def fit(run: Run) -> Fit:
    """Of a run. A UserError where it kept no answers, or learns numbers, of which nothing is fitted."""
    if run.recipe.task.key == NUMBERS.key:
        raise UserError(
            "Nothing is fitted to numbers.", "They are neither sure nor unsure.", "See how far off they are."
        )
    return _OF[run.recipe.task.key](run)


def _temperature(run: Run) -> Fit:
    found = outcomes.outcomes(run)
    _check_of_best(run, found.epoch)
    return temperature(found)


def temperature(found: Outcomes) -> Fit:
    """Of the answers at hand. A UserError where they cannot tell how sure to be."""
    images = count(len(found.images), "validation image")
    if not np.isfinite(found.outputs).all():
        raise UserError("No temperature can be fitted.", "Some answers are no numbers.", "Look for what broke down.")
    made = found.calibration()
    if found.right.all() or not COLDEST * EDGE < made.temperature < HOTTEST / EDGE:
        why = f"Its answers to {images} do not tell how sure it should be: {'all' if found.right.all() else 'too few'} "
        raise UserError("No temperature can be fitted.", f"{why}of them are right.", "Measure on more images.")
    gain = Gain("", made.temperature, made.error, made.error_after)
    return Fit(Fitted(temperature=made.temperature), "mean gap of confidence (ECE)", len(found.images), (gain,))


def _check_of_best(run: Run, epoch: int) -> None:
    """A UserError where kept answers are not those of the best weights: a kill, or a better epoch, came between."""
    if not predictions.of_best(run, epoch):
        what, why = "Nothing can be fitted now.", f"The answers of epoch {epoch} are not those of its best weights."
        raise UserError(what, why, "Wait for the epoch at hand to end, or resume the run.")


def _thresholds(run: Run) -> Fit:
    found = tags.tagged(run)
    _check_of_best(run, found.epoch)
    best = tuple(found.best(tag) for tag in range(len(found.names)))
    gains = tuple(
        Gain(name, bar, *(found.counts(tag, each).f1 for each in (THRESHOLD, bar)))
        for tag, (name, bar) in enumerate(zip(found.names, best, strict=True))
    )
    return Fit(Fitted(thresholds=best), "F1", len(found.images), gains)


_OF = {ONE_CLASS.key: _temperature, TAGS.key: _thresholds}
