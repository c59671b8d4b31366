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
from functools import lru_cache
from pathlib import Path

import psutil

from finetune_core import places

READY = b"ready\n"  # said once all is imported
PATIENCE = 5.0  # seconds in which it has forked
SETTLED = 5.0  # seconds that a studio has for itself before
ROOM = 3e9  # bytes of memory that must be free for it
FORKS = sys.platform == "linux"  # elsewhere a fork is not safe once so much is loaded

_lock = threading.Lock()
_ready: list[subprocess.Popen[bytes]] = []  # one at most


def keep() -> threading.Thread:
    """Keep one ready from now on, by a thread that lives as long as it, unless this machine is in want of memory."""
    keeper = threading.Thread(target=_keep, name="standby", daemon=True)
    keeper.start()
    return keeper


def take(run: Path, log: Path, variables: Mapping[str, str]) -> int | None:
    """A new worker's process id: it works on the run in this folder and prints into `log`. None where none stands by.

    Its environment is that of this process, with these `variables`.
    """
    with _lock:
        for idle in _ready:
            order = {"run": str(run), "log": str(log), "environment": {**os.environ, **variables}}
            if pid := _told(idle, json.dumps(order)):
                return pid
            idle.kill()
        _ready.clear()
        return None


def _told(idle: subprocess.Popen[bytes], order: str) -> int | None:
    """What it has forked; None where it was killed just before, or there is no memory."""
    assert idle.stdin
    assert idle.stdout
    with suppress(OSError, ValueError):
        idle.stdin.write(order.encode() + b"\n")
        idle.stdin.flush()
        heard, _, _ = select.select([idle.stdout], [], [], PATIENCE)
        return int(idle.stdout.readline()) if heard else None
    return None


def held() -> int:
    """The bytes of memory that the one that stands by holds; 0 where none does."""
    with _lock, suppress(psutil.Error):
        return sum(_memory(idle.pid) for idle in _ready)
    return 0


@lru_cache(maxsize=1)
def _memory(pid: int) -> int:
    """Asked once, since it takes 30 ms, and who waits takes no more."""
    return int(psutil.Process(pid).memory_full_info().uss)


def _keep() -> None:
    time.sleep(SETTLED)
    if not FORKS or psutil.virtual_memory().available < ROOM:
        return
    idle = subprocess.Popen(
        [sys.executable, "-m", "finetune_core.runs.work.idle", str(places.runs_dir())],
        cwd=places.ROOT,
        env={**os.environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert idle.stdout
    if idle.stdout.readline() != READY:
        return  # what is wrong the log of every run will say
    with _lock:
        _ready.append(idle)
    idle.wait()  # one that somebody killed is not wanted
    with _lock:
        _ready.clear()
