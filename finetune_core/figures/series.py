"""From records to columns of numbers, and from many points to as many as a chart can show."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from finetune_core.runs.telling.blocks import is_number
from finetune_core.runs.telling.lines import POINTS, Line, Mean, extremes

Record = Mapping[str, Any]
Name = TypeVar("Name")

NEAR = 0.01  # two values that differ by less, as a share, are one on a chart
WHILE = 0.05  # of a line's points: less is a crossing


def kept(values: np.ndarray, limit: int = POINTS) -> np.ndarray:
    """Indices of at most `limit` points that keep a line's look: each bucket's lowest and highest, first and last.

    `values` has shape (n,) and may hold NaN, which is kept only where a bucket holds nothing else.
    """
    count = len(values)
    if count <= limit:
        return np.arange(count)
    buckets = (limit - 2) // 2
    return extremes(np.arange(count) * buckets // count, values)


def smoothed(values: np.ndarray) -> np.ndarray:
    """The mean so far in which recent values weigh most, see `Mean`; shape (n,), NaN stays and is not remembered."""
    return Mean().plus(values)[0]


def upon_each_other(lines: Mapping[Name, Line]) -> dict[Name, tuple[int, int]]:
    """Of each line its place among those that lie upon each other for a while, and how many they are; alone (0, 1)."""
    heaps: list[list[Name]] = []
    for name, each in lines.items():
        heap = next((heap for heap in heaps if any(_meet(lines[other], each) for other in heap)), None)
        if heap is None:
            heaps.append([name])
        else:
            heap.append(name)
    return {name: (place, len(heap)) for heap in heaps for place, name in enumerate(heap)}


def _meet(one: Line, other: Line) -> bool:
    """Whether so much of two lines is one line to the eye that it is not just a crossing."""
    _, here, there = np.intersect1d(one.x, other.x, assume_unique=True, return_indices=True)
    alike = np.isclose(one.y[here], other.y[there], rtol=NEAR, atol=0).sum()
    points = min(np.isfinite(one.y).sum(), np.isfinite(other.y).sum())
    return bool(alike > 0 and alike >= WHILE * points)


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


def _number(value: Any) -> float:
    return float(value) if is_number(value) else float("nan")
