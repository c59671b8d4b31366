"""Which of some runs is the better one on the same validation images, and whether that may be chance."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from finetune_core.errors import UserError
from finetune_core.parts.tasks import Score, Targets, Task
from finetune_core.recipe.words import source_words
from finetune_core.runs.folder import damaged
from finetune_core.runs.states import predictions
from finetune_core.runs.states.predictions import Predictions
from finetune_core.runs.store import Run
from finetune_core.understand.resampled import (
    Difference,
    Interval,
    difference,
    draws,
    holm,
    interval,
    mcnemar,
    resampled,
    right,
    weighted,
)
from finetune_core.wording import count, few

ENOUGH = 30  # common images, where not all are common
FEW = 100  # images, from which on an interval says something
SPLITTING = {
    "source",
    "fixes",
    "valid_share",
    "test_share",
    "split_seed",
    "fold",
    "group",
}  # which images are measured on
DOUBT = 0.05  # chance below which two runs count as different
TOGETHER = ""  # stands for all of them together where a run's id would; no run is called so


@dataclass(frozen=True)
class Pair:
    """The best run against another one, or all of them `TOGETHER` against the best."""

    better: str
    other: str
    differences: Mapping[str, Difference]  # by the score's key: the better run's less the other's
    alone: float  # the chance that runs which are alike differ so much
    chance: float  # that one of all the pairs that are looked at does, though all are alike
    only_better: int | None = None  # images that it alone has right; None where an answer is not right or wrong
    only_other: int | None = None

    @property
    def distinguishable(self) -> bool:
        """Whether the difference is more than chance."""
        return self.chance < DOUBT


@dataclass(frozen=True)
class Comparison:
    """Every run's scores with their intervals, and the best run against each other one.

    `together` is what the mean of all their answers reaches (an ensemble), `gained` that against the best run alone.
    """

    images: int
    scores: tuple[Score, ...]
    runs: Mapping[str, Mapping[str, Interval]]  # by the run's id and the score's key
    pairs: tuple[Pair, ...]
    together: Mapping[str, Interval]
    gained: Pair
    notes: tuple[str, ...]


def compare(runs: Sequence[Run], called: Mapping[str, str] | None = None) -> Comparison:
    """Compare two runs or more, `called` so by their ids.

    A UserError where they cannot be: other tasks, other names, no images in common.
    """
    targets, kept, notes = common(runs, called)
    return judge(targets, kept, notes)


def measured_alike(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs by what they were measured on: those of one group have the same names and the same validation images.

    Of a run that has not yet said which images these are, or is from before that was kept, its recipe tells.
    """
    known = {_planned(run): seen for run in runs if (seen := _seen(run))}
    groups: dict[object, list[Run]] = {}
    for run in runs:
        planned = _planned(run)
        groups.setdefault(_seen(run) or known.get(planned, planned), []).append(run)
    return list(groups.values())


def _seen(run: Run) -> object:
    """Names and validation images as the run has said; None where it has not."""
    return (begun.names, frozenset(begun.valid)) if (begun := run.begun) and begun.valid else None


def _planned(run: Run) -> str:
    """The same as its recipe asks for."""
    return json.dumps(run.recipe.data.model_dump(include=SPLITTING, mode="json"))


def apart(runs: Sequence[Run], called: Mapping[str, str]) -> str:
    """What to know before curves of runs are laid over each other that were not measured on the same; else empty."""
    groups = measured_alike(runs)
    if len(groups) < 2:
        return ""
    data = [source_words(group[0].recipe) for group in groups]
    what = "different data" if len({*data}) > 1 else "different validation images"
    told = "; ".join(
        f"{few((f'“{called[run.id]}”' for run in group), 3)} on {_images(group[0])}{source}"
        for group, source in zip(groups, data, strict=True)
    )
    return f"They were measured on {what}: {told}. A curve that lies higher here need not be of the better model."


def _images(run: Run) -> str:
    begun = run.begun
    return f"{count(len(begun.valid), 'image')} of " if begun and begun.valid else ""


def common(
    runs: Sequence[Run], called: Mapping[str, str] | None = None
) -> tuple[dict[str, Targets], dict[str, Predictions], list[str]]:
    """What runs answered to the images that all of them were measured on, by their ids, and notes. UserErrors."""
    if len({run.id for run in runs}) < 2:
        raise UserError("There is nothing to compare.", "One run was named.", "Name two runs or more.")
    kept = {run.id: predictions.needed(run) for run in runs}
    targets = {run.id: _targets(run, kept[run.id]) for run in runs}
    words = {run.id: f"“{called[run.id]}”" if called else run.id for run in runs}
    _check_alike(targets, words)
    shared, notes = _common(kept, targets, words)
    return targets, shared, [*notes, *(note for run in runs for note in _not_of_best(run, kept[run.id], words))]


def judge(targets: Mapping[str, Targets], kept: Mapping[str, Predictions], notes: Sequence[str] = ()) -> Comparison:
    """Compare what runs answered to the same images in the same order; `targets` and `kept` by the run's id."""
    about = next(iter(targets.values())).about
    images, names = next(iter(kept.values())).outputs.shape
    drawn = draws(images, names)
    measured = {run: _measure(run, targets[run], each, drawn) for run, each in kept.items()}
    best = max(measured, key=lambda run: about.score.signed(measured[run].values[about.score.key]))
    pairs = [_pair(measured[best], measured[run], about) for run in measured if run != best]
    all_of_them = _together(targets, kept, drawn)
    two = sorted((all_of_them, measured[best]), key=lambda one: about.score.signed(one.values[about.score.key]))
    pairs.append(_pair(two[1], two[0], about))
    *pairs, gained = (
        replace(pair, chance=chance) for pair, chance in zip(pairs, holm([pair.alone for pair in pairs]), strict=True)
    )
    return Comparison(
        images,
        tuple(score for score in about.scores if score.key in measured[best].values),
        {run: each.intervals() for run, each in measured.items()},
        tuple(pairs),
        all_of_them.intervals(),
        gained,
        (*notes, *_cautions(images)),
    )


def verdict(pair: Pair, comparison: Comparison, called: Mapping[str, str]) -> str:
    """What came of a pair, in words; `called` says what people call a run."""
    score = comparison.scores[0]
    words = {**{run: f"“{name}”" for run, name in called.items()}, TOGETHER: f"the mean of all {len(comparison.runs)}"}
    better, other = words[pair.better], words[pair.other]
    scores = {**comparison.runs, TOGETHER: comparison.together}
    values = [scores[run][score.key].value for run in (pair.better, pair.other)]
    reached = f"{score.inside} {score.shown(values[0])} against {score.shown(values[1])}"
    apart = pair.differences[score.key].interval
    within = f"the difference lies between {_signed(score, apart.low)} and {_signed(score, apart.high)}"
    if pair.distinguishable:
        return f"{_begun(better)} is better than {other}: {reached}; {within}. {_odds(pair)}"
    return (
        f"{_begun(better)} and {other} are not distinguishable: {reached}; {within}, so either may be the better one. "
        f"{_odds(pair)} More validation images would tell more."
    )


@dataclass(frozen=True)
class _Measured:
    """One run on the common images: its scores, and each of them in every round."""

    run: str
    values: Mapping[str, float]
    rounds: Mapping[str, np.ndarray]
    kept: Predictions

    def intervals(self) -> dict[str, Interval]:
        return {key: interval(value, self.rounds[key]) for key, value in self.values.items()}


def _measure(run: str, targets: Targets, kept: Predictions, drawn: np.ndarray) -> _Measured:
    score = weighted(targets, kept.outputs, kept.wanted)
    return _Measured(run, score(np.ones(len(kept.images))), resampled(score, drawn), kept)


def _together(targets: Mapping[str, Targets], kept: Mapping[str, Predictions], drawn: np.ndarray) -> _Measured:
    """The mean of what all of them answered, measured as the first."""
    run, first = next(iter(kept.items()))
    answers = targets[run].about.averaged([targets[each] for each in kept], [each.outputs for each in kept.values()])
    return _measure(TOGETHER, targets[run], replace(first, outputs=answers), drawn)


def _pair(best: _Measured, other: _Measured, about: Task) -> Pair:
    apart = {
        key: difference(best.values[key] - other.values[key], best.rounds[key], other.rounds[key])
        for key in best.values
    }
    if not about.exclusive:
        chance = apart[about.score.key].chance
        return Pair(best.run, other.run, apart, chance, chance)
    mine, theirs = (right(each.kept.outputs, each.kept.wanted) for each in (best, other))
    alone = int((mine & ~theirs).sum()), int((theirs & ~mine).sum())
    chance = mcnemar(*alone)
    return Pair(best.run, other.run, apart, chance, chance, *alone)


def _not_of_best(run: Run, kept: Predictions, words: Mapping[str, str]) -> list[str]:
    """A note where the answers are not those of the weights kept as the best: a kill may have come between the two."""
    if predictions.of_best(run, kept.epoch):
        return []
    return [
        f"{words[run.id]} is judged by the answers of its epoch {kept.epoch}, which are not those of its best weights."
    ]


def _targets(run: Run, kept: Predictions) -> Targets:
    found = run.targets
    if found is None or len(found.names) != kept.outputs.shape[1]:
        raise damaged(run.targets_file, "It does not name what the run's answers stand for")
    return found


def _check_alike(targets: Mapping[str, Targets], words: Mapping[str, str]) -> None:
    """A UserError where the runs learn different things."""
    (first, one), *others = targets.items()
    for name, other in others:
        if (one.task, one.names) != (other.task, other.names):
            raise UserError(
                f"{words[first]} and {words[name]} cannot be compared: they learn different things.",
                f"{_learns(one)}; {_learns(other)}.",
                "Compare runs on the same data.",
            )


def _learns(targets: Targets) -> str:
    return f"{targets.about.there(len(targets.names))} ({few(targets.names, 3)})"


def _common(
    kept: Mapping[str, Predictions], targets: Mapping[str, Targets], words: Mapping[str, str]
) -> tuple[dict[str, Predictions], list[str]]:
    """What the runs answered to the images that all of them were measured on, in one order, and a note on the others.

    A UserError where there are too few, or where an image has another label in another run.
    """
    places = {run: {image: place for place, image in enumerate(each.images)} for run, each in kept.items()}
    first = next(iter(kept.values()))
    shared = [image for image in first.images if all(image in each for each in places.values())]
    most = max(len(each.images) for each in kept.values())
    if len(shared) < min(ENOUGH, most):
        raise UserError(
            "The runs were measured on different validation images.",
            f"{count(len(shared), 'image')} of up to {most:,} {'is' if len(shared) == 1 else 'are'} common to all.",
            "Train with the same data, split seed and validation share, so that they answer to the same images.",
        )
    chosen = {run: each.taking([places[run][image] for image in shared]) for run, each in kept.items()}
    _check_labels(chosen, targets, words)
    if len(shared) == most:
        return chosen, []
    return chosen, [
        f"The runs were measured on different validation images: compared on the {len(shared):,} of up to {most:,}"
        " that are common to all."
    ]


def _check_labels(chosen: Mapping[str, Predictions], targets: Mapping[str, Targets], words: Mapping[str, str]) -> None:
    (first, one), *others = ((run, _labels(targets[run], each.wanted)) for run, each in chosen.items())
    for run, other in others:
        if not np.allclose(one, other, rtol=1e-4, atol=1e-6):
            raise UserError(
                f"The labels of {words[first]} and {words[run]} are not the same.",
                "An image of the same name has another label, so it may be another image.",
                "Compare runs on the same data.",
            )


def _labels(targets: Targets, wanted: np.ndarray) -> np.ndarray:
    """Labels that can be compared between runs: numbers were learned in units that depend on the training images."""
    return targets.in_units(wanted) if targets.mean else wanted


def _cautions(images: int) -> list[str]:
    if images >= FEW:
        return []
    return [f"{count(images, 'validation image')} can tell large differences only."]


def _signed(score: Score, value: float) -> str:
    if math.isnan(value):
        return "–"
    shown = f"{100 * value:+.1f} points" if score.share else f"{value:+.3g}"
    return shown.replace("-", "−")


def _begun(words: str) -> str:
    """As a sentence begins."""
    return words[:1].upper() + words[1:]


def _odds(pair: Pair) -> str:
    """How sure that is, as the test says it of this pair alone, and where that decides, of all of them."""
    several = pair.alone < DOUBT <= pair.chance
    among = " That is not rare enough where several runs are compared." if several else ""
    if pair.only_better is None:
        return f"Were they equally good, so large a difference would come {_often(pair.alone)}.{among}"
    alone = f"{count(pair.only_better, 'image')} the first alone has right, {pair.only_other:,} the second alone"
    return f"{alone}: were they equally good, so uneven a split would come {_often(pair.alone)}.{among}"


def _often(chance: float) -> str:
    if chance < 0.001:
        return "less than once in 1,000 times"
    return f"{100 * chance:.0f} times in 100" if chance >= 0.095 else f"{1000 * chance:.0f} times in 1,000"
