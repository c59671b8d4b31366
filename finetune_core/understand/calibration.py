"""How far a model's confidence may be trusted, and the temperature that mends it (Guo et al. 2017). Numpy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finetune_core.parts.tasks import softmax

BINS = 15  # of confidence, as torchmetrics and Guo et al. 2017 have it
COLDEST, HOTTEST = 0.05, 20.0  # temperatures that are tried
STEPS = 60  # of the search, each of which narrows it to 0.62


@dataclass(frozen=True)
class Bin:
    """Images whose confidence lies in (low, high]: how many, how sure on the mean, and how many of them right."""

    low: float
    high: float
    images: int
    sure: float
    right: float


@dataclass(frozen=True)
class Calibration:
    """Whether 80 % sure means right in 80 of 100: `error` is the mean gap (ECE), also once divided by `temperature`."""

    bins: tuple[Bin, ...]
    error: float
    temperature: float
    error_after: float


def calibrated(outputs: np.ndarray, truth: np.ndarray) -> Calibration:
    """Of outputs (N, classes) and classes (N,); the temperature is the one at which the truth is likeliest."""
    wide = outputs.astype(np.float64)
    right = outputs.argmax(1) == truth
    temperature = _temperature(wide, truth)
    before, after = (_binned(softmax(wide / each).max(1), right) for each in (1.0, temperature))
    return Calibration(before, _error(before), temperature, _error(after))


def _binned(sure: np.ndarray, right: np.ndarray) -> tuple[Bin, ...]:
    """Bins of equal width over (0, 1]; empty ones are left out."""
    edges = np.linspace(0, 1, BINS + 1)
    which = (np.ceil(sure * BINS) - 1).clip(0, BINS - 1).astype(np.int64)
    found = ((place, which == place) for place in range(BINS))
    return tuple(
        Bin(
            float(edges[place]),
            float(edges[place + 1]),
            int(some.sum()),
            float(sure[some].mean()),
            float(right[some].mean()),
        )
        for place, some in found
        if some.any()
    )


def _error(bins: tuple[Bin, ...]) -> float:
    """The gap between confidence and accuracy, a mean over images."""
    return sum(each.images * abs(each.sure - each.right) for each in bins) / max(1, sum(each.images for each in bins))


def _temperature(outputs: np.ndarray, truth: np.ndarray) -> float:
    """What to divide outputs by so that the truth is likeliest: a search by golden section over its logarithm."""
    rows = np.arange(len(truth))

    def surprise(log: float) -> float:
        values = outputs / np.exp(log)
        top = values.max(1, keepdims=True)
        return float((np.log(np.exp(values - top).sum(1)) + top[:, 0] - values[rows, truth]).mean())

    low, high, share = np.log(COLDEST), np.log(HOTTEST), (5**0.5 - 1) / 2
    for _ in range(STEPS):
        one, other = high - share * (high - low), low + share * (high - low)
        low, high = (low, other) if surprise(one) < surprise(other) else (one, high)
    return float(np.exp((low + high) / 2))
