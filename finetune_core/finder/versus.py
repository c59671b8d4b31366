"""What an experiment has shown, in numbers and words: each arm over its seeds, and which differ by more than chance.

Arms are compared seed by seed: both saw the same images in the same order, so that what was luck of a seed cancels out
(Student's paired t-test, 1908). Nothing here knows torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, Literal

from finetune_core.parts.tasks import Score
from finetune_core.records import Trial, Tried

# By how many standard errors the mean of n differences must lie from zero: 97.5 % points of Student's t, n - 1 degrees
SURE = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
LEAST = 1e-9  # differences that are smaller are none

Word = Literal["shows", "opposite", "open"]


@dataclass(frozen=True)
class Result:
    """One arm: what was measured with each seed; `failed` says why there is no value, of seeds that have none."""

    name: str
    values: Mapping[int, float]
    failed: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def mean(self) -> float:
        """Over the seeds; NaN without any."""
        return fmean(self.values.values()) if self.values else math.nan

    @property
    def spread(self) -> float:
        """The standard deviation over the seeds; 0 of a single one."""
        return stdev(self.values.values()) if len(self.values) > 1 else 0.0

    def said(self, score: Score) -> str:
        """`94.1 ± 0.6 %`, or why there is nothing."""
        if not self.values:
            return "it broke down" if self.failed else "nothing yet"
        if len(self.values) == 1:
            return score.shown(self.mean)
        if score.share:
            return f"{100 * self.mean:.1f} ± {100 * self.spread:.1f} %"
        return f"{score.shown(self.mean)} ± {score.shown(self.spread)}"


@dataclass(frozen=True)
class Apart:
    """One arm against another, in how much better it is on the mean: the interval of that, and whether it is sure.

    NaN where one of them has no values: then it is sure only if all seeds of that one failed, and none of the other.
    """

    better: float
    low: float
    high: float
    seeds: int

    @property
    def sure(self) -> bool:
        """Whether it is more than chance."""
        return self.low > LEAST or self.high < -LEAST


def results(rows: Sequence[Mapping[str, Any]], names: Sequence[str], key: str) -> list[Result]:
    """Each arm, by an experiment's records."""
    found = []
    for place, name in enumerate(names):
        mine = [row for row in rows if row["kind"] == Trial.kind and row["arm"] == place]
        values = {row["seed"]: row["values"][key] for row in mine if row["values"].get(key) is not None}
        failed = tuple(row["note"] for row in mine if row["note"])
        found.append(Result(name, values, failed, sum(row["seconds"] for row in mine)))
    return found


def apart(one: Result, other: Result, score: Score) -> Apart:
    """How much better one is than the other; of a score of which less is better, less."""
    if one.values and other.failed and not other.values:
        return Apart(math.inf, math.inf, math.inf, len(other.failed))
    if other.values and one.failed and not one.values:
        return Apart(-math.inf, -math.inf, -math.inf, len(one.failed))
    seeds = sorted({*one.values} & {*other.values})
    if len(seeds) < 2:
        return Apart(math.nan, -math.inf, math.inf, len(seeds))
    sign = -1 if score.lower_is_better else 1
    differences = [sign * (one.values[seed] - other.values[seed]) for seed in seeds]
    middle, error = fmean(differences), stdev(differences) / math.sqrt(len(seeds))
    reach = SURE[min(len(seeds), max(SURE))] * error
    return Apart(middle, middle - reach, middle + reach, len(seeds))


def ranked(found: Sequence[Result], score: Score) -> list[Result]:
    """The best first, those without a value last."""
    return sorted(found, key=lambda each: -score.signed(each.mean))


def pair(one: Result, other: Result, score: Score) -> str:
    """Which of two is better, in a sentence."""
    made = apart(one, other, score)
    if made.sure and made.better < 0:
        one, other, made = other, one, apart(other, one, score)
    figures = f"{one.said(score)} against {other.said(score)}"
    if math.isinf(made.better):
        return f"“{one.name}” is better than “{other.name}”, which broke down in every try: {figures}."
    if not made.sure:
        more = "" if made.seeds > 1 else " One seed each tells nothing about chance."
        return f"“{one.name}” and “{other.name}” are not distinguishable: {figures}.{more}"
    by = f"{_step(score, made.better)}, {_step(score, made.low)} to {_step(score, made.high)}"
    return f"“{one.name}” is better than “{other.name}”: {figures} (by {by}; {made.seeds} seeds)."


def verdict(found: Sequence[Result], score: Score) -> str:
    """The best against each other one; so far, where some have not been tried yet."""
    best, *others = ranked(found, score)
    if not best.values:
        return "Nothing was measured." if not any(each.failed for each in found) else "Every try broke down."
    return " ".join(pair(best, other, score) for other in others if other.values or other.failed)


def claim(pairs: Sequence[tuple[str, str]], found: Sequence[Result], score: Score) -> Word:
    """Whether the first of each pair is better than the second: `shows` if all are, `opposite` if one is not."""
    by = {each.name: each for each in found}
    made = [apart(by[one], by[other], score) for one, other in pairs]
    if any(each.sure and each.better < 0 for each in made):
        return "opposite"
    return "shows" if made and all(each.sure for each in made) else "open"


def winners(found: Sequence[Result], score: Score) -> list[str]:
    """The best arm, or all that cannot be told from it."""
    best, *others = ranked(found, score)
    alike = [each.name for each in others if each.values and not apart(best, each, score).sure]
    return [best.name, *alike] if best.values else []


def curves(rows: Sequence[Mapping[str, Any]], arm: int) -> list[list[tuple[float, float]]]:
    """The validation score by epoch of each seed's first member."""
    mine = [row for row in rows if row["kind"] == Tried.kind and row["arm"] == arm and not row["member"]]
    by_seed: dict[int, list[tuple[float, float]]] = {}
    for row in mine:
        by_seed.setdefault(row["seed"], []).append((row["epoch"] + 1, row["valid_score"]))
    return list(by_seed.values())


def _step(score: Score, value: float) -> str:
    return f"{100 * value:.1f} points" if score.share else f"{value:.3g}"
