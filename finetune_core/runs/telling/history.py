"""What a run has said so far, in bounded room: its lines thinned, its epochs and events whole, its newest numbers.

A history is read from metrics.jsonl once, by a byte cursor, and is a value: everybody who looks at a run can share it.
It can be made anew at any time; see `remembered` for how that of a long run is kept.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from finetune_core.records import whole
from finetune_core.runs.folder import check_plain, damaged
from finetune_core.runs.store import today
from finetune_core.runs.telling.blocks import Block, Columns, Key, parse
from finetune_core.runs.telling.lines import Line, Mean

LOSS: Key = ("loss", "")
RECENT = 20  # step records whose numbers are kept as they are
CHUNK = 1 << 22  # bytes that are read at a time
MARK = 256  # bytes before the cursor by which a file is known again
SAMPLES, NEWEST = 800, 1 << 15  # step records in a sketch, and bytes at the end of which it has all


@dataclass(frozen=True)
class History:
    """What a run has said."""

    steps: int = 0  # of the optimizer, for which there are records
    lines: Mapping[Key, Line] = field(default_factory=dict)  # every number that was measured by the step
    smooth: Line = field(default_factory=Line)  # the training loss, as `Mean` says
    mean: Mean = field(default_factory=Mean)
    recent: Columns = field(default_factory=dict)  # the newest numbers, as they came
    epochs: tuple[dict[str, Any], ...] = ()  # all of them, without what was measured for each class
    best: dict[str, Any] | None = None  # the epoch whose weights are kept as the best, whole
    events: tuple[dict[str, Any], ...] = ()
    unreadable: int = 0  # lines that are no records

    def plus(self, block: Block) -> History:
        """The history with what comes next."""
        told = [today(row) for row in block.others]
        others = [row for row in told if whole(row)]
        epochs = [row for row in others if row["kind"] == "epoch"]
        grown = replace(
            self,
            epochs=(*self.epochs, *({**row, "by_name": {}} for row in epochs)),
            best=next((row for row in reversed(epochs) if row.get("best")), self.best),
            events=(*self.events, *(row for row in others if row["kind"] == "event")),
            unreadable=self.unreadable + block.unreadable + len(told) - len(others),
        )
        for columns in block.measured.values():
            grown = grown._measured(columns)
        return grown

    def _measured(self, columns: Columns) -> History:
        x, fields = columns["step", ""], {name for name, _ in columns} - {"kind", "step"}
        known = [key for key in self.lines if key[0] in fields]  # a group that is missing now leaves a gap
        new = {
            key: columns.get(key, np.full(len(x), np.nan))
            for key in dict.fromkeys([*known, *columns])
            if key[0] in fields
        }
        grown = replace(
            self,
            lines={**self.lines, **{key: self.lines.get(key, Line()).plus(x, each) for key, each in new.items()}},
            recent={**self.recent, **{key: self._recent(key, each) for key, each in new.items()}},
        )
        if LOSS not in new:
            return grown
        means, mean = self.mean.plus(new[LOSS])
        return replace(grown, steps=self.steps + len(x), smooth=self.smooth.plus(x, means), mean=mean)

    def _recent(self, key: Key, new: np.ndarray) -> np.ndarray:
        return np.append(self.recent.get(key, np.empty(0)), new)[-RECENT:]

    def of(self, name: str) -> dict[str, Line]:
        """A field's lines by layer group, in the order in which the groups appeared."""
        return {group: line for (field, group), line in self.lines.items() if field == name}

    def latest(self, name: str, group: str = "") -> np.ndarray:
        """The newest numbers of a field that are known, at most `RECENT`, oldest first."""
        found = self.recent.get((name, group), np.empty(0))
        return found[np.isfinite(found)]


@dataclass(frozen=True)
class Reading:
    """How far a file of records has been read."""

    history: History = field(default_factory=History)
    cursor: int = 0  # bytes
    before: bytes = b""  # what stands right before the cursor
    inode: int = 0
    whole: bool = False  # whether all has been read that was there
    size: int = 0  # bytes of the file

    @property
    def share(self) -> float:
        """How much has been read, in [0, 1]."""
        return 1.0 if self.whole or not self.size else min(1.0, self.cursor / self.size)


def read(path: Path) -> History:
    """All that a file of records says."""
    return read_on(path, Reading()).history


def read_on(path: Path, reading: Reading, seconds: float = float("inf")) -> Reading:
    """Read what is new in a file of records, for about so long. Starts again where it is another file than before.

    A UserError where it cannot be read.
    """
    check_plain(path)
    try:
        with path.open("rb") as file:
            facts = os.fstat(file.fileno())
            same = facts.st_ino == reading.inode and _same(file, reading)
            reading = replace(reading if same else Reading(), size=facts.st_size, inode=facts.st_ino)
            end = time.monotonic() + seconds
            for text in _blocks(file, reading.cursor):
                cursor, before = reading.cursor + len(text), (reading.before + text[-MARK:])[-MARK:]
                reading = replace(reading, history=reading.history.plus(parse(text)), cursor=cursor, before=before)
                if time.monotonic() > end and facts.st_size - cursor > CHUNK:
                    return replace(reading, whole=False)
    except FileNotFoundError:
        return Reading(whole=True)
    except OSError as error:  # a folder in its place, no permission, a disk that is gone
        raise damaged(path, error) from error
    return replace(reading, whole=True)


def _same(file: BinaryIO, reading: Reading) -> bool:
    file.seek(reading.cursor - len(reading.before))
    return file.read(len(reading.before)) == reading.before


def _blocks(file: BinaryIO, cursor: int) -> Iterator[bytes]:
    """Whole lines from a byte on; a half-written last one waits for the next call."""
    file.seek(cursor)
    while text := file.read(CHUNK) + file.readline():
        whole = text[: text.rfind(b"\n") + 1]
        if whole:
            yield whole
        if len(whole) < len(text):
            return


def sketch(path: Path) -> History:
    """The history of a long file at a glance: all epochs and events, the newest steps, and a few steps on the way."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        newest = _line(text, max(0, len(text) - NEWEST))
        some = {_line(text, int(at)) for at in np.linspace(0, newest, SAMPLES)}
        told = _starting(text, b'\n{"kind": "e')
        chosen = [text[at : text.find(b"\n", at) + 1] for at in sorted({*some, *told}) if at < newest]
        lines = b"".join(chosen) + text[newest : text.rfind(b"\n") + 1]
    return replace(History().plus(parse(lines)), unreadable=0)


def _line(text: mmap.mmap, at: int) -> int:
    """Where the line begins that a byte lies in."""
    return text.rfind(b"\n", 0, at) + 1


def _starting(text: mmap.mmap, beginning: bytes) -> Iterator[int]:
    at = text.find(beginning)
    while at >= 0:
        yield at + 1
        at = text.find(beginning, at + 1)
