"""Lines that may grow for ever and stay small: what a chart can show of them is kept, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

POINTS = 1000  # per line at most: two for each pixel of a chart, and what a browser redraws without effort
RECENCY = 15  # the smooth line at step n remembers about n / 16 steps


@dataclass(frozen=True)
class Line:
    """At most `POINTS` points of a line: of each bucket of `width` along x its lowest and its highest.

    Once there are too many points, buckets become twice as wide. So a line of a million points costs as much as one of
    a thousand, and no peak of it is ever lost. x must rise; y may hold NaN, which is kept where a bucket holds nothing
    else.
    """

    x: np.ndarray = field(default_factory=lambda: np.empty(0))
    y: np.ndarray = field(default_factory=lambda: np.empty(0))
    width: int = 1

    def plus(self, x: np.ndarray, y: np.ndarray) -> Line:
        """The line with more points at its end; x and y have shape (n,)."""
        grown, width = Line(np.append(self.x, x), np.append(self.y, y), self.width), self.width
        while len(grown.x) > POINTS:
            grown, width = grown._thinned(width), width * 2
        return grown

    def _thinned(self, width: int) -> Line:
        chosen = extremes(self.x // width, self.y)
        return Line(self.x[chosen], self.y[chosen], width)


def extremes(bucket: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Indices, rising, of the first and last value and of each bucket's lowest and highest; all of shape (n,), n > 0.

    A bucket's first value stands for one that holds nothing but NaN.
    """
    order = np.lexsort((values, bucket))  # by bucket, within it by value, NaN last
    starts = np.flatnonzero(np.diff(bucket[order], prepend=np.nan) != 0)
    finite = np.add.reduceat(np.isfinite(values[order]).astype(int), starts)
    lowest, highest = order[starts], order[starts + np.maximum(finite, 1) - 1]
    chosen = np.zeros(len(values), dtype=bool)
    chosen[lowest] = chosen[highest] = chosen[[0, -1]] = True
    return np.flatnonzero(chosen)


@dataclass(frozen=True)
class Mean:
    """A mean over all values so far in which the n-th weighs n to the power of `RECENCY`.

    So its memory grows with what has passed: it lags behind by a seventeenth of the way, two steps after thirty and
    two hundred after four thousand, where an average of fixed memory lags by ten steps from the first on, and makes
    training look worse than validation in a short run. What it said once never changes.
    """

    count: int = 0
    total: float = 0.0
    weight: float = 0.0

    def plus(self, values: np.ndarray) -> tuple[np.ndarray, Mean]:
        """The mean after each of these values, shape (n,), and where it stands then; NaN stays, and is not counted."""
        known = np.isfinite(values)
        weights = (self.count + np.cumsum(known)) ** float(RECENCY) * known
        totals = self.total + np.cumsum(weights * np.where(known, values, 0.0))
        weight = self.weight + np.cumsum(weights)
        means = np.divide(totals, weight, out=np.full(len(values), np.nan), where=known)
        if not len(values):
            return means, self
        return means, Mean(self.count + int(known.sum()), float(totals[-1]), float(weight[-1]))
