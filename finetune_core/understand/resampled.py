"""What chance does to scores: intervals by the bootstrap, and McNemar's exact test. Numpy alone.

A score says how good a model was on *these* validation images. Others like them would have given another number. The
bootstrap draws as many images again, with repetition, and looks how far the score moves (Efron 1979; percentile
intervals). Two models are drawn with the same images each time, so that what is hard for both cancels out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from finetune_core.parts.tasks import NUMBERS, ONE_CLASS, TAGS, THRESHOLD, TOP, Targets, sigmoid

ROUNDS = 2000
LEVEL = 0.95  # of the intervals
STILL = 1e-6  # a variance of this share of the squares that it is told from is none
EFFORT = 400_000_000  # numbers looked at in all; where there are many images, fewer rounds say as much

Scores = Mapping[str, float]
Weighted = Callable[[np.ndarray], Scores]
"""The task's scores with image i counted `weights[i]` times, weights being (N,) float64."""


@dataclass(frozen=True)
class Interval:
    """A number with the range in which it would lie for 95 of 100 sets of images like these."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """One model's score less the other's, and how likely so large a difference is among models that are alike."""

    interval: Interval
    chance: float


def weighted(targets: Targets, outputs: np.ndarray, wanted: np.ndarray) -> Weighted:
    """The scores of a task as a function of how often each image counts.

    `outputs` (N, names) are a network's, `wanted` what `Targets.encoded` made of the labels. With every image counted
    once these are the scores that a training run records.
    """
    return _WEIGHTED[targets.task](targets, outputs, wanted)


def draws(images: int, names: int, rounds: int | None = None, seed: int = 0) -> np.ndarray:
    """How often each image counts in each round, (rounds, images) int32; the same for the same numbers."""
    rounds = rounds or max(200, min(ROUNDS, EFFORT // max(1, images * names)))
    random = np.random.default_rng(seed)
    drawn = np.empty((rounds, images), np.int32)
    for row in drawn:
        row[:] = np.bincount(random.integers(0, images, images), minlength=images)
    return drawn


def resampled(score: Weighted, drawn: np.ndarray) -> dict[str, np.ndarray]:
    """Each score in each round, by its key, (rounds,)."""
    rows = [score(weights.astype(np.float64)) for weights in drawn]
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def interval(value: float, rounds: np.ndarray) -> Interval:
    """A score's interval from its values in the rounds; NaN ones, where there was nothing to measure, are left out."""
    known = rounds[np.isfinite(rounds)]
    if not len(known):
        return Interval(value, math.nan, math.nan)
    low, high = np.percentile(known, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Interval(value, float(low), float(high))


def difference(value: float, one: np.ndarray, other: np.ndarray) -> Difference:
    """The difference `value` of two scores, from both in the same rounds.

    `chance` is how often the rounds lie on the other side of zero, twice, since either could have been the better one.
    """
    apart = one - other
    known = apart[np.isfinite(apart)]
    sides = min((known <= 0).sum(), (known >= 0).sum())
    return Difference(interval(value, apart), float(min(1.0, 2 * (sides + 1) / (len(known) + 1))))


def right(outputs: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Of one class each: whether the likeliest one is the right one, (N,) bool."""
    return outputs.argmax(1) == wanted


def mcnemar(only_one: int, only_other: int) -> float:
    """McNemar's exact test (1947): the probability of a split so uneven, or more, if both were right equally often.

    Of the images on which exactly one of two models is right, the one is right on `only_one`, the other on
    `only_other`. If they were equally good this would be a coin thrown as often: two-sided binomial test at one half.
    """
    thrown, fewer = only_one + only_other, min(only_one, only_other)
    ways, term = 0, 1
    for heads in range(fewer + 1):
        ways += term
        term = term * (thrown - heads) // (heads + 1)
    return min(1.0, ways * 2 / 2**thrown)


def holm(chances: list[float]) -> list[float]:
    """The same probabilities made larger for having looked several times (Holm 1979), in the same order."""
    count, worst, found = len(chances), 0.0, [0.0] * len(chances)
    for rank, place in enumerate(sorted(range(count), key=chances.__getitem__)):
        worst = max(worst, min(1.0, (count - rank) * chances[place]))
        found[place] = worst
    return found


def _one_class(targets: Targets, outputs: np.ndarray, wanted: np.ndarray) -> Weighted:
    classes, guess = len(targets.names), outputs.argmax(1)
    hit = right(outputs, wanted).astype(np.float64)
    its = outputs[np.arange(len(wanted)), wanted]
    among_top = ((outputs > its[:, None]).sum(1) < TOP).astype(np.float64)

    def scores(weights: np.ndarray) -> Scores:
        total = weights.sum()
        there = np.bincount(wanted, weights, classes)
        said = np.bincount(guess, weights, classes)
        hits = np.bincount(wanted, weights * hit, classes)
        with np.errstate(invalid="ignore"):
            recall, f1 = hits / there, 2 * hits / np.where(there > 0, there + said, np.nan)
        top = {"top5": weights @ among_top / total} if classes > TOP else {}
        means = {"balanced_accuracy": _mean(recall), "macro_f1": _mean(f1)}
        return {"accuracy": weights @ hit / total, **top, **means}

    return scores


def _tags(targets: Targets, outputs: np.ndarray, wanted: np.ndarray) -> Weighted:
    there = (wanted >= THRESHOLD).astype(np.float64)
    moved = outputs.astype(np.float64) - targets.bars if targets.thresholds else outputs.astype(np.float32)
    probability = sigmoid(moved)
    said = (probability > THRESHOLD).astype(np.float64)
    order = np.argsort(-probability, axis=0, kind="stable")
    ranked = np.take_along_axis(probability, order, 0)
    ranked_there = np.take_along_axis(there, order, 0)
    ends = _last_of_equals(ranked)

    def scores(weights: np.ndarray) -> Scores:
        counted = weights[:, None]
        both, real, claimed = ((counted * each).sum(0) for each in (there * said, there, said))
        with np.errstate(invalid="ignore"):
            f1 = np.where(real > 0, 2 * both / (real + claimed), np.nan)
            micro = 2 * both.sum() / (real.sum() + claimed.sum()) if real.sum() + claimed.sum() else 0.0
            heavy = weights[order]
            hits = np.cumsum(heavy * ranked_there, 0)
            share = np.take_along_axis(hits / np.cumsum(heavy, 0), ends, 0)
            precision = np.nansum(heavy * ranked_there * share, 0) / np.where(real > 0, real, np.nan)
        return {"map": _mean(precision), "macro_f1": _mean(f1), "micro_f1": float(micro)}

    return scores


def _numbers(targets: Targets, outputs: np.ndarray, wanted: np.ndarray) -> Weighted:
    spread = np.asarray(targets.std)
    real = wanted * spread
    missed = outputs * spread - real

    def scores(weights: np.ndarray) -> Scores:
        total, names = weights.sum(), missed.shape[1]
        squares = weights @ missed**2
        mean = weights @ real / total
        around = weights @ (real - mean) ** 2
        with np.errstate(invalid="ignore", divide="ignore"):
            explained = 1 - squares / np.where(around > STILL * (weights @ real**2), around, np.nan)
        mae = (weights @ np.abs(missed)).sum() / (total * names)
        return {"mae": float(mae), "rmse": math.sqrt(squares.sum() / (total * names)), "r2": float(explained.mean())}

    return scores


_WEIGHTED = {ONE_CLASS.key: _one_class, TAGS.key: _tags, NUMBERS.key: _numbers}


def _mean(values: np.ndarray) -> float:
    """Over the names that occur; NaN where none does."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _last_of_equals(ranked: np.ndarray) -> np.ndarray:
    """For each place in columns that fall, the last place of the same value: equals are ranked together."""
    rows = np.arange(len(ranked))[:, None]
    closes = np.ones(ranked.shape, bool)
    closes[:-1] = ranked[:-1] != ranked[1:]
    marked = np.where(closes, rows, len(ranked))
    return np.minimum.accumulate(marked[::-1], axis=0)[::-1]
