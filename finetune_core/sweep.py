"""The learning-rate range test in numbers: which rates it tries, and what its curve suggests. Pure, without torch."""

from collections.abc import Sequence

import numpy as np

from finetune_core.records import Suggestions

LOW, HIGH, STEPS = 1e-7, 10.0, 100
SMOOTHING = 0.9  # weight of the past in the smoothed loss; fastai's 0.98 lags whole decades behind in 100 steps
DIVERGED = 4.0  # the test stops once the smoothed loss is this many times its best, as in fastai
FLAT = 0.02  # a curve that falls by less than this share of its first loss says nothing
ENOUGH = 10  # points


def rate(step: int, steps: int = STEPS, low: float = LOW, high: float = HIGH) -> float:
    """The learning rate tried at a step, growing from `low` to `high` by the same factor each step."""
    return float(low * (high / low) ** (step / max(1, steps - 1)))


def suggest(lrs: Sequence[float], smooth: Sequence[float]) -> Suggestions:
    """What a smoothed curve suggests: a pure function of rates (ascending) and smoothed losses.

    The steepest point is taken over log10 of the rate: over the rate itself it lies at the noisy far left.
    """
    x, y = _usable(lrs, smooth)
    if len(x) < ENOUGH:
        return Suggestions(None, None, None, "The loss diverged at once or the test was too short to suggest a rate.")
    lowest = int(np.argmin(y))
    drop = (y[: max(lowest, 1)].max() - y[lowest]) / abs(y[0])
    if drop < FLAT or lowest < 3:
        return Suggestions(None, None, None, "The curve is flat: no rate lowered the loss noticeably.")
    slope = np.gradient(y[: lowest + 1], np.log10(x[: lowest + 1]))
    return Suggestions(
        steepest=float(x[int(np.argmin(slope))]),
        minimum_tenth=float(x[lowest] / 10),
        valley=float(x[_valley(y)]),
    )


def _usable(lrs: Sequence[float], smooth: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The curve up to where it stopped being a number."""
    x, y = np.asarray(lrs, float), np.asarray(smooth, float)
    bad = np.flatnonzero(~np.isfinite(y))
    end = bad[0] if len(bad) else len(y)
    return x[:end], y[:end]


def _valley(losses: np.ndarray) -> int:
    """The index in the middle of the longest falling stretch (longest decreasing subsequence), as fastai's `valley`."""
    length = np.ones(len(losses), int)
    for i in range(1, len(losses)):
        lower = losses[:i] > losses[i]
        length[i] = 1 + (length[:i][lower].max() if lower.any() else 0)
    end = int(np.argmax(length))
    start = end - int(length[end])
    third = (end - start) / 3
    return max(0, start + int(third) + int(third / 2))
