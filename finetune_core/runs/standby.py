"""A process with PyTorch imported that stands by, and makes the worker of each run by a fork: so a run begins at once.

The studio keeps one, if there is memory for it. It knows of a run what comes down its standard input, and ends when
that closes, so that it never outlives a studio that was killed. Whoever finds none starts a worker as always, only some
seconds slower.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from finetune_core import places

READY = b"ready\n"  # said once all is imported
PATIENCE = 5.0  # seconds in which it has forked
SETTLED = 5.0  # seconds that a studio has for itself before
ROOM = 3e9  # bytes of memory that must be free for it
FORKS = sys.platform == "linux"  # elsewhere a fork is not safe once so much is loaded

_lock = threading.Lock()


@dataclass(frozen=True)
class Idle:
    """The process that stands by, the memory it holds before its first fork, and the code that it has imported."""

    process: subprocess.Popen[bytes]
    memory: int
    code: float


_ready: list[Idle] = []  # one at most


def keep() -> threading.Thread:
    """Keep one ready from now on, by a thread that lives as long as it, unless this machine is in want of memory."""
    keeper = threading.Thread(target=_keep, name="standby", daemon=True)
    keeper.start()
    return keeper


def take(run: Path, log: Path, variables: Mapping[str, str]) -> int | None:
    """A new worker's process id: it works on the run in this folder and prints into `log`. None where none stands by.

    Its environment is that of this process, with these `variables`.
    """
    order = {"run": str(run), "log": str(log), "environment": {**os.environ, **variables}}
    with _lock:
        for idle in _ready:
            current = idle.code == _code()
            if pid := _told(idle.process, json.dumps(order)) if current else None:
                return pid
            _end(idle.process)
            if not current:
                keep()  # another one, with the code as it is now
        _ready.clear()
        return None


def held() -> int:
    """The bytes of memory that the one that stands by holds; 0 where none does."""
    return sum(idle.memory for idle in _ready)


def _told(process: subprocess.Popen[bytes], order: str) -> int | None:
    """What it has forked; None where it was killed just before, or there is no memory."""
    assert process.stdin
    assert process.stdout
    with suppress(OSError):
        line = order.encode() + b"\n"
        for start in range(0, len(line), select.PIPE_BUF):  # so much goes in at once or not at all, and never waits
            if not select.select([], [process.stdin], [], PATIENCE)[1]:
                return None
            os.write(process.stdin.fileno(), line[start : start + select.PIPE_BUF])
        heard, _, _ = select.select([process.stdout], [], [], PATIENCE)
        return int(process.stdout.readline() or 0) if heard else None
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill it, and what it may have forked too late: that cannot say so any more, and ends."""
    process.kill()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):  # it was not to be written to
            pipe.close()  # type: ignore[union-attr]


def _keep() -> None:
    time.sleep(SETTLED)
    if not FORKS or psutil.virtual_memory().available < ROOM:
        return
    code = _code()
    process = subprocess.Popen(
        [sys.executable, "-m", "finetune_core.runs.work.idle", str(places.runs_dir())],
        cwd=places.ROOT,
        env={**os.environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout
    if process.stdout.readline() != READY:
        return  # what is wrong the log of every run will say
    with suppress(psutil.Error):
        idle = Idle(process, int(psutil.Process(process.pid).memory_full_info().uss), code)
        with _lock:
            _ready.append(idle)
        process.wait()  # one that somebody killed is not wanted
        with _lock:
            _ready[:] = [each for each in _ready if each is not idle]


def _code() -> float:
    """When a file of the core was changed last."""
    return max(path.stat().st_mtime for path in (places.ROOT / "finetune_core").rglob("*.py"))
