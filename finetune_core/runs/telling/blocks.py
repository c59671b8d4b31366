"""Records by the block: what was measured by the step as columns, all other records one by one.

A million step records are half a gigabyte of JSON. One by one they would keep a server busy for half a minute; as a
table, by pyarrow, they take a third of that, and other threads may work meanwhile. A block in which anything is out of
order is read line by line, and what no one can read is counted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MEASURED = ("step", "gauges")  # kinds of records that hold numbers by the step
PLACED = (*MEASURED, "epoch", "event")  # and all that stand somewhere on the time axis
STARTS = {kind: f'{{"kind": "{kind}"'.encode() for kind in MEASURED}  # as a worker writes them

Key = tuple[str, str]
"""A field of such records, and the layer group of a `{group: number}` field, else an empty string."""

Columns = dict[Key, np.ndarray]
"""Numbers by key, all of one length; NaN where a record has none."""


@dataclass(frozen=True)
class Block:
    """Some records of a run: those that measure as columns, by kind."""

    measured: dict[str, Columns] = field(default_factory=dict)
    others: tuple[dict[str, Any], ...] = ()
    unreadable: int = 0  # lines


def parse(text: bytes) -> Block:
    """The records of whole lines. Never raises: a line that is no record is counted."""
    lines = [line for line in text.splitlines() if line.strip()]
    tables = {kind: _table([line for line in lines if line.startswith(start)]) for kind, start in STARTS.items()}
    rows = [record(line) for line in lines if not line.startswith(tuple(STARTS.values()))]
    if None in tables.values() or any(row and row["kind"] in MEASURED for row in rows):
        rows = [record(line) for line in lines]
        tables = {kind: _columns([row for row in rows if row and row["kind"] == kind]) for kind in MEASURED}
    others = tuple(row for row in rows if row and row["kind"] not in MEASURED)
    return Block({kind: each for kind, each in tables.items() if each}, others, rows.count(None))


def record(line: bytes) -> dict[str, Any] | None:
    """One line as a record; None where it is none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("kind"), str):
        return None
    placed = found["kind"] not in PLACED or (is_number(found.get("step")) and math.isfinite(found["step"]))
    return found if placed else None


def is_number(value: Any) -> bool:
    """Whether it is a number; True and False are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _table(lines: Sequence[bytes]) -> Columns | None:
    """Columns of records of one kind by pyarrow; None where it cannot read them all."""
    if not lines:
        return {}
    from pyarrow import ArrowException, BufferReader
    from pyarrow import json as arrow

    text = b"\n".join(lines)
    try:
        table = arrow.read_json(BufferReader(text), arrow.ReadOptions(use_threads=False, block_size=len(text) + 1))
    except ArrowException:
        return None
    found = {key: numbers for key, values in _flattened(table) if (numbers := _floats(values)) is not None}
    whole = table.num_rows == len(lines) and np.isfinite(found.get(("step", ""), np.nan)).all()
    return found if whole else None


def _flattened(table: Any) -> Iterator[tuple[Key, Any]]:
    """The columns of a pyarrow table, those of `{group: number}` fields by group."""
    for each in table.schema:
        column = table[each.name].combine_chunks()
        if str(each.type).startswith("struct"):
            groups = [group.name for group in each.type]
            yield from (((each.name, group), part) for group, part in zip(groups, column.flatten(), strict=True))
        else:
            yield (each.name, ""), column


def _floats(values: Any) -> np.ndarray | None:
    """A pyarrow array as floats; None where it holds something else than numbers."""
    if str(values.type) == "null":
        return np.full(len(values), np.nan)
    numbers = values.to_numpy(zero_copy_only=False)
    return numbers.astype(float) if numbers.dtype.kind in "iuf" else None


def _columns(rows: Sequence[dict[str, Any]]) -> Columns:
    """The same from records one by one, in the order of their steps."""
    flat = [_flat(row) for row in sorted(rows, key=lambda row: row["step"])]
    keys = dict.fromkeys(key for row in flat for key in row)
    return {key: np.array([row.get(key, np.nan) for row in flat], dtype=float) for key in keys}


def _flat(row: dict[str, Any]) -> dict[Key, float]:
    pairs = ((name, each if isinstance(each, dict) else {"": each}) for name, each in row.items())
    return {
        (name, group): float("nan") if value is None else value
        for name, groups in pairs
        for group, value in groups.items()
        if value is None or is_number(value)
    }
