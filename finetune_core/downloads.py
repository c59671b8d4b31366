"""Downloads: with progress, going on where they broke off, and never waiting long for a network that is not there."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from finetune_core import places
from finetune_core.errors import UserError
from finetune_core.records import Count

PATIENCE = 4.0  # seconds until the first answer; a person waits for a card, not for retries
STALL = 20.0  # seconds without a byte in the middle of a download
CHUNK = 1 << 18  # bytes
OFTEN = 0.2  # seconds between two words on how far it is
TREE = "tree"
PART, MARK = ".part", ".mark"  # what has arrived so far, and by what the server knows the file again


Making = Callable[[Path, Path], None]


class NotPublishedError(Exception):
    """The server answers, but has no such file."""


class _NothingMoreError(Exception):
    """The server has nothing beyond what was asked to go on from."""


def fetch(url: str, target: Path, hear: Count, *, what: str, place: places.Place | None = None, hint: str = "") -> Path:
    """The file behind `url`, downloaded to `target` unless it lies there; `hear` is told (bytes done, all).

    What arrived before a connection broke off stays beside it, and the next time goes on from there, where the server
    still has the same file. `what` it is and a `hint` go into UserErrors: within PATIENCE seconds without a network.
    NotPublishedError where the server has no such file.
    """
    if places.is_there(str(target), file=True):
        return target
    name = target.name
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise _offline(what, name, "The network is switched off by HF_HUB_OFFLINE.", hint)
    try:
        with places.writing(f"{what} {name}", place=place):
            target.parent.mkdir(parents=True, exist_ok=True)
            with alone(target, lambda: hear(*_so_far(target))):
                if not target.is_file():
                    _go_on(url, target, hear, what, hint)
    except (OSError, HTTPException) as error:
        raise UserError(f"The download of {name} broke off.", f"{error}.", f"Try again. {hint}".strip()) from error
    return target


@contextmanager
def alone(target: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a target that other processes may make, too; `waiting` is called again and again until they are done.

    The lock lies among our own files, whoever's folder the target is in. `waiting` may raise to give up.
    """
    locks = places.cache_dir() / "locks"
    with places.writing("a lock"):
        locks.mkdir(parents=True, exist_ok=True)
    lock = FileLock(locks / f"{hashlib.sha256(os.fsencode(target.absolute())).hexdigest()[:32]}.lock")
    while True:
        try:
            lock.acquire(timeout=OFTEN)
            break
        except Timeout:
            waiting()
    try:
        yield
    finally:
        lock.release()


def laid_out(folder: Path, said: str, needed: int | None, waiting: Callable[[], None], make: Making) -> Path:
    """A folder that is made once, of what is downloaded; one that is there is taken as it is.

    `make` gets a folder for downloads, which stay until all is laid out, and an empty one, in which it lays out what
    the folder shall hold under the name of TREE. A second process waits. UserErrors for a full disk.
    """
    if folder.is_dir():
        return folder
    kept, made = folder.with_name(f".{folder.name}-files"), f".{folder.name}-made-"
    with places.writing(said, needed), alone(folder, waiting):
        if folder.is_dir():
            return folder
        kept.mkdir(parents=True, exist_ok=True)
        places.forget_folders(folder.parent, made)
        with tempfile.TemporaryDirectory(prefix=made, dir=folder.parent, ignore_cleanup_errors=True) as place:
            make(kept, Path(place))
            places.publish(Path(place) / TREE, folder)
    shutil.rmtree(kept, ignore_errors=True)
    return folder


def _so_far(target: Path) -> tuple[int, int]:
    """What another process has of it, of which only the bytes so far are known."""
    part = target.with_name(f".{target.name}{PART}")
    done = part.stat().st_size if part.is_file() else 0
    return done, max(1, 2 * done)


def _go_on(url: str, target: Path, hear: Count, what: str, hint: str) -> None:
    """Download what is missing; the file gets its name when it is whole."""
    part, mark = (target.with_name(f".{target.name}{ending}") for ending in (PART, MARK))
    known = mark.read_text("utf-8") if mark.is_file() and part.is_file() else ""
    start = part.stat().st_size if known else 0
    headers = {"Range": f"bytes={start}-", "If-Range": known} if start else {}
    try:
        opened = _answer(url, headers, what, target.name, hint)
    except _NothingMoreError:  # all of it had arrived, but for its name; or the file has become shorter
        part.unlink(missing_ok=True)
        start, opened = 0, _answer(url, {}, what, target.name, hint)
    with opened as answer:
        if answer.status != 206:  # the whole file again, for it has changed, or the server cannot go on
            start = 0
        tag = _tag(answer.headers)
        if start == 0:  # what is old goes before its mark is another's
            part.unlink(missing_ok=True)
            mark.write_text(tag, "utf-8")  # empty where nobody could say whether it is still the same
        total = start + int(answer.headers.get("Content-Length") or 0)
        try:
            _copy(answer, part, start, total, hear)
        except BaseException:
            if not tag:
                part.unlink(missing_ok=True)
                mark.unlink(missing_ok=True)
            raise
    part.replace(target)
    mark.unlink(missing_ok=True)


def _tag(headers: Any) -> str:
    """What a server says of a file that changes when the file does; weak tags do not."""
    tag = str(headers.get("ETag") or "")
    return tag if tag and not tag.startswith("W/") else str(headers.get("Last-Modified") or "")


def _copy(answer: Any, part: Path, start: int, total: int, hear: Count) -> None:
    done, told = start, 0.0
    with part.open("ab" if start else "wb") as file:
        while chunk := answer.read(CHUNK):
            file.write(chunk)
            done += len(chunk)
            if time.monotonic() - told > OFTEN:
                told = time.monotonic()
                hear(done, max(done, total))
    if total > start and done != total:
        raise OSError(f"{done} of {total} bytes arrived")


def _answer(url: str, headers: dict[str, str], what: str, name: str, hint: str) -> Any:
    """An open response. In a thread, because looking up a host name obeys no timeout."""
    outcome: list[Any] = []

    def ask() -> None:
        try:
            outcome.append(urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=STALL))
        except (OSError, HTTPException) as error:
            outcome.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    answer = outcome[0] if outcome else TimeoutError(f"no answer within {PATIENCE:.0f} seconds")
    host = url.split("/")[2]
    if isinstance(answer, urllib.error.HTTPError):
        if answer.code == 416:
            raise _NothingMoreError from answer
        if answer.code in (401, 403, 404, 410):  # the hub answers 401 for repositories that do not exist
            raise NotPublishedError(f"{url}: {answer.code}") from answer
        raise _offline(what, name, f"{host} answers {answer.code} {answer.reason}.", hint) from answer
    if isinstance(answer, Exception):
        raise _offline(what, name, f"{host} cannot be reached ({getattr(answer, 'reason', answer)}).", hint) from answer
    return answer


def _offline(what: str, name: str, why: str, hint: str) -> UserError:
    said = f"{what[0].upper()}{what[1:]} {name} could not be downloaded."
    return UserError(said, why, f"Without a network: {hint}" if hint else "Try again where there is a network.")
