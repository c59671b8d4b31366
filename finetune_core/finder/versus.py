"""What an experiment has shown, in numbers and words: each arm over its seeds, and which differ by more than chance.

Arms are compared seed by seed: both saw the same images in the same order, so that what was luck of a seed cancels out
(Student's paired t-test, 1908). Where several pairs are looked at, each must be the surer (Bonferroni). All of it is
about the images that they were measured on. Nothing here knows torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, stdev
from typing import Any, Literal

import numpy as np

from finetune_core.parts.tasks import Score
from finetune_core.records import Trial

DOUBT = 0.05  # chance that arms which are alike are called different, over all pairs that are looked at
LEAST = 1e-9  # differences that are smaller are none

Word = Literal["shows", "opposite", "open"]


@dataclass(frozen=True)
class Result:
    """One arm: what was measured with each seed; `failed` says why there is no value, of seeds that have none.

    `images` is how many it was measured on, 0 where that is not known.
    """

    name: str
    values: Mapping[int, float]
    failed: tuple[str, ...] = ()
    seconds: float = 0.0
    images: int = 0

    @property
    def mean(self) -> float:
        """Over the seeds; NaN without any."""
        return fmean(self.values.values()) if self.values else math.nan

    @property
    def spread(self) -> float:
        """The standard deviation over the seeds; 0 of a single one."""
        return stdev(self.values.values()) if len(self.values) > 1 else 0.0

    def said(self, score: Score) -> str:
        """`94.1 ± 0.6 %`, with those that failed; or why there is nothing."""
        tries = len(self.values) + len(self.failed)
        but = f" ({len(self.failed)} of {tries} tries failed)" if self.failed and self.values else ""
        return self.middle(score) + but

    def middle(self, score: Score) -> str:
        """The mean alone, with the spread; or why there is none."""
        if not self.values:
            return "nothing" if self.failed else "nothing yet"
        if len(self.values) == 1:
            return score.shown(self.mean)
        if score.share:
            return f"{100 * self.mean:.1f} ± {100 * self.spread:.1f} %"
        return f"{score.shown(self.mean)} ± {score.shown(self.spread)}"


@dataclass(frozen=True)
class Apart:
    """One arm against another: how much better it is on the mean, between which bounds, and by how many seeds.

    Infinitely much where the other one failed with every seed, two or more, and it with none; NaN without any seeds.
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
    trials = [row for row in rows if row["kind"] == Trial.kind and isinstance(row.get("values"), dict)]
    found = []
    for place, name in enumerate(names):
        mine = [row for row in trials if row.get("arm") == place and isinstance(row.get("seed"), int)]
        values = {row["seed"]: row["values"][key] for row in mine if row["values"].get(key) is not None}
        failed = tuple(row["note"] for row in mine if row.get("note"))
        images = max((row.get("images", 0) for row in mine), default=0)
        found.append(Result(name, values, failed, sum(row.get("seconds", 0.0) for row in mine), images))
    return found


def apart(one: Result, other: Result, score: Score, pairs: int = 1) -> Apart:
    """How much better one is than the other; of a score of which less is better, less. `pairs` are looked at in all."""
    if _beaten(other, one):
        return Apart(math.inf, math.inf, math.inf, len(other.failed))
    if _beaten(one, other):
        return Apart(-math.inf, -math.inf, -math.inf, len(one.failed))
    seeds = sorted({*one.values} & {*other.values})
    if len(seeds) < 2:
        return Apart(math.nan, -math.inf, math.inf, len(seeds))
    sign = -1 if score.lower_is_better else 1
    differences = [sign * (one.values[seed] - other.values[seed]) for seed in seeds]
    middle, reach = fmean(differences), _reach(differences, _grain(one, other, score), pairs)
    low = -math.inf if one.failed else middle - reach  # who fails now and then is not surely better
    high = math.inf if other.failed else middle + reach
    return Apart(middle, low, high, len(seeds))


def _beaten(one: Result, other: Result) -> bool:
    """Whether one failed with every seed, two or more, and the other with none."""
    return len(one.failed) > 1 and not one.values and bool(other.values) and not other.failed


def _grain(one: Result, other: Result, score: Score) -> float:
    """The least by which a share can change: an image of those that it was measured on."""
    images = min(one.images, other.images)
    return 1 / images if score.share and images else 0.0


def _reach(differences: Sequence[float], grain: float, pairs: int) -> float:
    """Half the width of the interval; values that happen to agree are no surer than their grain allows."""
    spread = max(stdev(differences), grain)
    if spread == 0 and len(differences) < 4:
        return math.inf
    return student(len(differences) - 1, DOUBT / pairs) * spread / math.sqrt(len(differences))


@lru_cache(maxsize=256)
def student(freedom: int, doubt: float) -> float:
    """By how many standard errors a mean must lie from zero: Student's t at 1 - doubt / 2, by bisection."""
    scale = math.gamma((freedom + 1) / 2) / (math.sqrt(freedom * math.pi) * math.gamma(freedom / 2))
    angles = np.linspace(0, np.pi / 2, 20_001)  # t = √freedom · tan(angle), whose density is a power of the cosine
    density = scale * math.sqrt(freedom) * np.cos(angles) ** (freedom - 1)
    below = 0.5 + np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(angles))])
    angle = float(np.interp(1 - doubt / 2, below, angles))
    return math.sqrt(freedom) * math.tan(angle)


def ranked(found: Sequence[Result], score: Score) -> list[Result]:
    """The best first, those without a value last."""
    return sorted(found, key=lambda each: -score.signed(each.mean))


def pair(one: Result, other: Result, score: Score, pairs: int = 1) -> str:
    """Which of two is better, in a sentence."""
    made = apart(one, other, score, pairs)
    if made.sure and made.better < 0:
        one, other, made = other, one, apart(other, one, score, pairs)
    if not (one.values or other.values):
        return f"“{one.name}” and “{other.name}” have not been measured."
    if math.isinf(made.better):
        why = other.failed[0].rstrip(".")
        return f"“{one.name}” is better than “{other.name}”, which failed in every try ({why}): {one.said(score)}."
    figures = f"{one.said(score)} against {other.said(score)}"
    if not made.sure:
        few = " One seed each tells nothing about chance." if one.values and other.values and made.seeds < 2 else ""
        return f"“{one.name}” and “{other.name}” are not distinguishable: {figures}.{few}"
    by = f"{_step(score, made.better)}, between {_step(score, made.low, made.high)}"
    return f"“{one.name}” is better than “{other.name}”: {figures} (by {by}; {made.seeds} seeds)."


def verdict(found: Sequence[Result], score: Score) -> str:
    """The best against each other one; so far, where some have not been tried yet."""
    best, *others = ranked(found, score)
    if not best.values:
        return "Nothing was measured." if not any(each.failed for each in found) else "Every try failed."
    pairs = _pairs(found)
    return " ".join(pair(best, other, score, pairs) for other in others if other.values or other.failed)


def claim(pairs: Sequence[tuple[str, str]], found: Sequence[Result], score: Score) -> Word:
    """Whether the first of each pair is better than the second: `shows` if all are, `opposite` if one is not."""
    by = {each.name: each for each in found}
    made = [apart(by[one], by[other], score, len(pairs)) for one, other in pairs]
    if any(each.sure and each.better < 0 for each in made):
        return "opposite"
    return "shows" if made and all(each.sure for each in made) else "open"


def winners(found: Sequence[Result], score: Score, claimed: Sequence[tuple[str, str]] = ()) -> list[str]:
    """The best arm, and all that cannot be told from it; a pair that was `claimed` beforehand need not be as sure."""
    best, *others = ranked(found, score)
    named = [{*each} for each in claimed]

    def told(each: Result) -> bool:
        return apart(best, each, score, len(named) if {best.name, each.name} in named else _pairs(found)).sure

    return [best.name, *(each.name for each in others if each.values and not told(each))] if best.values else []


def _pairs(found: Sequence[Result]) -> int:
    """Of so many arms any two may turn out to be the ones that are told."""
    return len(found) * (len(found) - 1) // 2


def _step(score: Score, *values: float) -> str:
    shown = (f"{100 * value:.1f}" if score.share else f"{value:.3g}" for value in values)
    return " and ".join(shown) + " points" * score.share
