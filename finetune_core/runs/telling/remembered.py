"""Histories of long runs, kept in the cache folder: a million records are read once, and not again after a restart.

A file for each run, a megabyte at most. What is missing, damaged, or of another version of Thaw is read anew.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from finetune_core import places
from finetune_core.runs.telling.history import History, Reading
from finetune_core.runs.telling.lines import Line, Mean

LONG = 1 << 24  # bytes; shorter files are read again in no time
VERSION = 1


def remember(path: Path, reading: Reading) -> None:
    """Keep how far a file of records has been read; what cannot be kept will be read again."""
    history = reading.history
    lines = [history.smooth, *history.lines.values()]
    facts = {
        "version": VERSION,
        "cursor": reading.cursor,
        "before": reading.before.hex(),
        "inode": reading.inode,
        "keys": list(history.lines),
        "lines": [(len(line.x), line.width) for line in lines],
        "recent": [history.recent[key].tolist() for key in history.lines],
        "mean": vars(history.mean),
        "history": {name: getattr(history, name) for name in ("steps", "epochs", "best", "events", "unreadable")},
    }
    file = _file(path)
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        points = {axis: np.concatenate([getattr(line, axis) for line in lines]) for axis in ("x", "y")}
        places.replace_file(file, lambda draft: _write(draft, np.array(json.dumps(facts)), points))


def remembered(path: Path) -> Reading:
    """How far a file of records was read; the start where nothing is kept."""
    try:
        with np.load(_file(path), allow_pickle=False) as kept:
            facts = json.loads(str(kept["facts"]))
            return _restored(facts, kept["x"], kept["y"]) if facts["version"] == VERSION else Reading()
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile):  # a cache: it is made anew
        return Reading()


def _restored(facts: dict[str, Any], x: np.ndarray, y: np.ndarray) -> Reading:
    ends = np.cumsum([count for count, _ in facts["lines"]])[:-1]
    parts = zip(np.split(x, ends), np.split(y, ends), facts["lines"], strict=True)
    smooth, *lines = [Line(across, up, width) for across, up, (_, width) in parts]
    keys = [(name, group) for name, group in facts["keys"]]
    told: Any = {name: tuple(each) if isinstance(each, list) else each for name, each in facts["history"].items()}
    history = replace(
        History(**told),
        lines=dict(zip(keys, lines, strict=True)),
        recent={key: np.array(each) for key, each in zip(keys, facts["recent"], strict=True)},
        smooth=smooth,
        mean=Mean(**facts["mean"]),
    )
    return Reading(history, facts["cursor"], bytes.fromhex(facts["before"]), facts["inode"])


def _write(draft: Path, facts: np.ndarray, points: dict[str, np.ndarray]) -> None:
    with draft.open("wb") as file:
        np.savez(file, facts=facts, x=points["x"], y=points["y"])


def _file(path: Path) -> Path:
    name = hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:32]
    return places.cache_dir() / "histories" / f"{name}.npz"
