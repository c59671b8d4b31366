"""What may be fitted to a run's answers and kept with its model: a temperature for classes, a threshold for a tag."""

from __future__ import annotations

from dataclasses import dataclass

from finetune_core.errors import UserError
from finetune_core.parts.tasks import NUMBERS, ONE_CLASS, TAGS, THRESHOLD
from finetune_core.runs.states.fitted import Fitted
from finetune_core.runs.store import Run
from finetune_core.understand import outcomes, tags
from finetune_core.wording import count, shown


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
            f"{shown(each.name)}{': ' * bool(each.name)}{about} {each.value:.4g}, {self.measure} {each.before:.1%}, "
            f"with it {each.after:.1%}"
            for each in self.gains
        ]
        return [*said, f"Fitted on {count(self.images, 'validation image')}: on others it brings a little less."]


def fit(run: Run) -> Fit:
    """Of a run. A UserError where it kept no answers, or learns numbers, of which nothing is fitted."""
    if run.recipe.task.key == NUMBERS.key:
        raise UserError(
            "Nothing is fitted to numbers.", "They are neither sure nor unsure.", "See how far off they are."
        )
    return _OF[run.recipe.task.key](run)


def _temperature(run: Run) -> Fit:
    found = outcomes.outcomes(run)
    made = found.calibration()
    gain = Gain("", made.temperature, made.error, made.error_after)
    return Fit(Fitted(temperature=made.temperature), "mean gap of confidence (ECE)", len(found.images), (gain,))


def _thresholds(run: Run) -> Fit:
    found = tags.tagged(run)
    best = tuple(found.best(tag) for tag in range(len(found.names)))
    gains = tuple(
        Gain(name, bar, *(found.counts(tag, each).f1 for each in (THRESHOLD, bar)))
        for tag, (name, bar) in enumerate(zip(found.names, best, strict=True))
    )
    return Fit(Fitted(thresholds=best), "F1", len(found.images), gains)


_OF = {ONE_CLASS.key: _temperature, TAGS.key: _thresholds}
