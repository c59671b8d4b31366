"""From records to columns of numbers, and from many points to as many as a chart can show."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

Record = Mapping[str, Any]
POINTS = 1500  # per line: what a browser redraws once a second without effort


def kept(values: np.ndarray, limit: int = POINTS) -> np.ndarray:
    """Indices of at most `limit` points that keep a line's look: each bucket's lowest and highest, first and last.

    `values` has shape (n,) and may hold NaN, which is kept only where a bucket holds nothing else.
    """
    count = len(values)
    if count <= limit:
        return np.arange(count)
    edges = np.linspace(0, count, (limit - 2) // 2 + 1).astype(int)
    chosen = {0, count - 1}
    for start, end in pairwise(edges):
        bucket = values[start:end]
        finite = np.flatnonzero(np.isfinite(bucket))
        if len(finite):
            chosen.update((start + finite[bucket[finite].argmin()], start + finite[bucket[finite].argmax()]))
        else:
            chosen.add(start)
    return np.array(sorted(int(index) for index in chosen))


def smoothed(values: np.ndarray, memory: float = 0.9) -> np.ndarray:
    """Exponential moving average with bias correction, shape (n,); NaN passes through and is not remembered."""
    result, mean, weight = np.full(len(values), np.nan), 0.0, 0.0
    for index, value in enumerate(values):
        if np.isfinite(value):
            mean = memory * mean + (1 - memory) * value
            weight = memory * weight + 1 - memory
            result[index] = mean / weight
    return result


def of_kind(records: Iterable[Record], kind: str) -> list[Record]:
    """The records of one kind, in order."""
    return [record for record in records if record.get("kind") == kind]


def column(records: Sequence[Record], name: str) -> np.ndarray:
    """One value of every record as floats, shape (n,); missing ones are NaN."""
    return np.array([_number(record.get(name)) for record in records], dtype=float)


def by_group(records: Sequence[Record], name: str) -> dict[str, np.ndarray]:
    """A `{group: number}` value of every record as one column per group, each of shape (n,), in order of appearance."""
    names: dict[str, None] = {}
    for record in records:
        names.update(dict.fromkeys(record.get(name) or {}))
    return {
        group: np.array([_number((record.get(name) or {}).get(group)) for record in records], dtype=float)
        for group in names
    }


def sparkline(records: Iterable[Record], points: int = 40) -> list[float]:
    """Validation score by epoch for a small line, or the smoothed training loss of a run's first epochs."""
    materials = list(records)
    scores = column(of_kind(materials, "epoch"), "valid_score")
    values = scores if len(scores) > 1 else smoothed(column(of_kind(materials, "step"), "loss"))
    values = values[np.isfinite(values)]
    if len(values) > points:
        values = values[np.linspace(0, len(values) - 1, points).astype(int)]
    return [round(float(value), 5) for value in values]


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
