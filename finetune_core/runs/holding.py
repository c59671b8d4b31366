"""Who works on a run: one process at a time, which holds an exclusive lock on the folder for its life.

The lock decides, and the system lets go of it however the process ends. Who holds it is written beside it, so that
others can tell whether it still lives: on this machine by process id and start time (ids are used again, and a killed
worker may stay a zombie), on another one by a sign of life in the file's time stamp.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from finetune_core import places
from finetune_core.errors import UserError
from finetune_core.runs.folder import Folder, read_json

PATIENCE = 2.0  # seconds for a worker that is just leaving
QUEUE_LOCK, QUEUE_PATIENCE = ".queue.lock", 30.0  # seconds that somebody waits for it; it is held for milliseconds
PULSE = 5.0  # seconds between two signs of life
START_LOCK = "start.lock"
SAFETENSORS = ".tmp??????"  # how the library names what it is writing; here nobody else writes
SILENCE = 120.0  # seconds without one, after which a worker on another machine counts as gone


def living(folder: Folder) -> int | None:
    """The id of the process at work, on whatever machine; None where there is none, or none that can be told."""
    return living_in(folder.owner_file)


def living_in(file: Path) -> int | None:
    """The same of the process that a file names."""
    if here := process_in(file):
        return here.pid
    try:
        owner = read_json(file) or {}
        heard = owner["host"] != _host() and time.time() - file.stat().st_mtime < SILENCE
        return int(owner["pid"]) if heard else None
    except (KeyError, TypeError, ValueError, OSError, UserError):
        return None


def process(folder: Folder) -> psutil.Process | None:
    """The process at work, if it is one of this machine: on no other may anybody act, whatever its id."""
    return process_in(folder.owner_file)


def process_in(file: Path) -> psutil.Process | None:
    """The same of the process that a file names."""
    try:
        owner = read_json(file) or {}
        if owner.get("host", _host()) != _host():
            return None
        found = psutil.Process(owner["pid"])
        same = abs(found.create_time() - owner["create_time"]) < 1.0
        return found if same and found.status() != psutil.STATUS_ZOMBIE else None
    except (KeyError, TypeError, ValueError, OSError, UserError, psutil.Error):
        return None


def host(folder: Folder) -> str:
    """The machine of the process that was named last, as that calls itself."""
    with suppress(UserError):
        return str((read_json(folder.owner_file) or {}).get("host", _host()))
    return _host()


def name_worker(folder: Folder, process: psutil.Process) -> None:
    """Write down that this process, on this machine, works on the run."""
    folder.write_json(folder.owner_file, described(process))


def described(process: psutil.Process) -> dict[str, Any]:
    """What tells a process of this machine from all others, for a file that `living_in` reads."""
    return {"pid": process.pid, "create_time": process.create_time(), "host": _host()}


@contextmanager
def starting(folder: Folder) -> Iterator[None]:
    """Only one process at a time may start a worker; a UserError where there is one already."""
    with _lock(folder, START_LOCK):
        if pid := living(folder):
            raise taken(folder, pid)
        yield


def being_started(folder: Folder) -> bool:
    """Whether somebody is just starting a worker, which has no name yet.

    Of two who ask in the same moment one may meet the other, and take it for a starter until it asks again.
    """
    if not (file := folder.path / START_LOCK).exists():
        return False
    try:
        with FileLock(file, timeout=0, mode=0o666):
            return False
    except Timeout:
        return True
    except (OSError, NotImplementedError):  # a folder that may only be read
        return False


def await_start(folder: Folder) -> None:
    """Wait until whoever is just starting a worker has named it: a forked one is at work before its name is written."""
    if (folder.path / START_LOCK).exists():
        with suppress(UserError), _lock(folder, START_LOCK):  # one that is stuck keeps nobody from working
            pass


@contextmanager
def held(folder: Folder) -> Iterator[bool]:
    """Hold the run for this process, and give signs of life; a UserError where another one holds it.

    A process that was started by the holder, as torchrun's are, works under its lock. Yields whether it is its own.
    """
    if _under_holder(folder):
        yield False
        return
    with _lock(folder, folder.lock_file.name):
        with folder.writing():
            forget_drafts(folder)
            name_worker(folder, psutil.Process())
        over = threading.Event()
        threading.Thread(target=_pulse, args=(folder, over), daemon=True).start()
        try:
            yield True
        finally:
            over.set()
            with suppress(OSError):  # on a disk that refuses, the name of a process that is gone does no harm
                folder.owner_file.unlink(missing_ok=True)  # the process may go on with something else


def forget_drafts(folder: Folder) -> None:
    """Take away the half-written files of killed workers."""
    places.forget_drafts(folder.path)
    places.forget_drafts(folder.checkpoints, SAFETENSORS)


@contextmanager
def queue_locked(runs: Path) -> Iterator[None]:
    """The queue of a runs folder for oneself. UserErrors where it cannot be had or the disk refuses."""
    with places.writing("the queue", place=places.Place(runs, "THAW_RUNS")):
        runs.mkdir(parents=True, exist_ok=True)
        lock = FileLock(runs / QUEUE_LOCK, timeout=QUEUE_PATIENCE, mode=0o666)
        try:
            lock.acquire()
        except Timeout as error:
            why = f"Another process has held {runs / QUEUE_LOCK} for {QUEUE_PATIENCE:.0f} seconds."
            raise UserError("The queue is in use.", why, "Try again.") from error
        try:
            yield
        finally:
            lock.release()


def taken(folder: Folder, pid: int | None = None) -> UserError:
    """The words for a run that another process works on."""
    who = f"Process {pid or living(folder) or 'unknown'} has it."
    return UserError(f"The run {folder.path.name} is already being worked on.", who, "Stop it first.")


def _under_holder(folder: Folder) -> bool:
    """Whether torchrun has started this process for the one that holds the run."""
    holder = process(folder) if "TORCHELASTIC_RUN_ID" in os.environ else None
    return holder is not None and holder in psutil.Process().parents()


@contextmanager
def _lock(folder: Folder, name: str) -> Iterator[None]:
    lock = FileLock(folder.path / name, timeout=PATIENCE, mode=0o666)
    try:
        lock.acquire()
    except Timeout as error:
        raise taken(folder) from error
    except (OSError, NotImplementedError) as error:
        why = f"{getattr(error, 'strerror', None) or error}.".replace("..", ".")
        raise UserError(f"{folder.path} cannot be written.", why, "Free some space, or see who may write.") from error
    try:
        yield
    finally:
        lock.release()


def _pulse(folder: Folder, over: threading.Event) -> None:
    while not over.wait(PULSE):
        with suppress(OSError):  # a disk that is full or gone for a moment
            os.utime(folder.owner_file)


def _host() -> str:
    return socket.gethostname()
