"""A worker that has imported PyTorch already and waits for a run: what is launched then begins at once.

The studio keeps one, as long as there is memory for it and nothing else has taken it; it knows of a run what comes down
its standard input, and ends when that closes, so that it never outlives a studio that was killed. Whoever finds none
starts a worker as always, only some seconds slower.
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

READY = b"ready\n"  # said when it waits, and when it has heard
PATIENCE = 2.0  # seconds for that
SETTLED = 5.0  # seconds that a studio has for itself before
ROOM = 3e9  # bytes of memory that must be free for it

_lock = threading.Lock()
_waiting: list[subprocess.Popen[bytes]] = []  # one at most


def keep() -> threading.Thread:
    """Keep one ready from now on, by a thread that lives as long as this process, unless it is in want of memory."""
    keeper = threading.Thread(target=_keep, name="standby", daemon=True)
    keeper.start()
    return keeper


def take(run: Path, log: Path, variables: Mapping[str, str]) -> int | None:
    """Give the run in this folder to the one that waits, and its process id back; None where none does.

    It takes over these environment `variables` first, and prints into `log` from then on.
    """
    with _lock:
        if not _waiting:
            return None
        worker = _waiting.pop()
    order = {"run": str(run), "log": str(log), "variables": {**variables}}
    if _told(worker, json.dumps(order)):
        return worker.pid
    worker.kill()
    return None


def _told(worker: subprocess.Popen[bytes], order: str) -> bool:
    """Whether it has heard, and not been killed just before."""
    assert worker.stdin
    assert worker.stdout
    try:
        with worker.stdin:
            worker.stdin.write(order.encode() + b"\n")
        heard, _, _ = select.select([worker.stdout], [], [], PATIENCE)
        return bool(heard) and worker.stdout.readline() == READY
    except OSError:
        return False


def held() -> int:
    """The bytes of memory that the one that waits holds for itself; 0 where none does."""
    with _lock, suppress(psutil.Error):
        return sum(_memory(worker.pid) for worker in _waiting)
    return 0


@lru_cache(maxsize=1)
def _memory(pid: int) -> int:
    """Asked once, since it takes 30 ms, and who waits takes no more."""
    return int(psutil.Process(pid).memory_full_info().uss)


def _keep() -> None:
    """Start one, and the next when that has ended: by its run, for nobody trains well beside an import."""
    time.sleep(SETTLED)
    used = True
    while used and psutil.virtual_memory().available > ROOM:
        worker = _begun()
        if worker.stdout is None or worker.stdout.readline() != READY:
            return  # what is wrong the log of every run will say
        with _lock:
            _waiting.append(worker)
        worker.wait()
        with _lock:
            used = worker not in _waiting  # one that somebody killed is not wanted
            _waiting[:] = []


def _begun() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "finetune_core.runs.work.idle", str(places.runs_dir())],
        cwd=places.ROOT,
        env={**os.environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
