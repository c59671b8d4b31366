"""Rows of numbers that were worked out once, kept beside the decoded images: what frozen layers give for each image.

A store is a folder: `about.json` names the rows' shape, `rows.bin` holds them one after the other, `sums.bin` a
checksum of each. A row counts as there if its checksum fits, so it does not matter who was killed, or who wrote the
same at the same time. Everything may be deleted any time; nothing is mapped, so that a shortened file is missed rows
and no crash.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from finetune_core.data.cache import DRAFT
from finetune_core.places import FULL, REFUSED, cache_dir, forget_folders, publish, write_whole

LIMIT = 20 << 30  # bytes of all stores together; the ones that were not used for longest give way
SPARE = 1 << 30  # bytes of disk that are left free
TRIES = 3  # to open a store that others may take away meanwhile
ABOUT, FILES = "about.json", ("rows.bin", "sums.bin")
NONE = 0  # the checksum of a row that is not there


def stores_dir() -> Path:
    """Where all stores are."""
    return cache_dir() / "features"


class NoRoomError(Exception):
    """Rows cannot be kept; says why in words."""


class Rows:
    """So many rows of so many bytes each. Raises NoRoomError where there is no place for them."""

    def __init__(self, key: str, count: int, size: int, more: int = 0) -> None:
        """Open the store of this key, or make it where there is none, if as many `more` of its size have room, too."""
        self.count, self.size, self._more = count, size, more
        self.folder = stores_dir() / key
        self._known = np.zeros(count, bool)  # rows whose checksum has been seen to fit
        self._about = json.dumps({"rows": count, "bytes": size})
        with _keeping():
            for _ in range(TRIES):
                with suppress(FileNotFoundError):  # there is none, or another process has let it give way just now
                    self._open()
                    return
                self._make()
            self._open()

    def _open(self) -> None:
        if _text(self.folder / ABOUT) != self._about:
            raise FileNotFoundError(errno.ENOENT, "no store of this shape")
        os.utime(self.folder / ABOUT)  # used now
        self._rows, self._sums = (_File(self.folder / name) for name in FILES)

    def _make(self) -> None:
        """Make the store beside its place and put it there; another process may be quicker."""
        forget_folders(stores_dir(), DRAFT)
        make_room((1 + self._more) * self.count * (self.size + 4), but=self.folder)
        draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=stores_dir()))
        try:
            for name in FILES:
                (draft / name).touch()
            write_whole(draft / ABOUT, self._about)
            # In this order: what another process puts there while this one looks is whole, and is not to be removed
            if self.folder.exists() and not self._whole():
                shutil.rmtree(self.folder, ignore_errors=True)
            publish(draft, self.folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _whole(self) -> bool:
        return all((self.folder / name).exists() for name in FILES) and _text(self.folder / ABOUT) == self._about

    def missing(self) -> np.ndarray:
        """The places of the rows that are not there, or damaged."""
        unknown = np.flatnonzero(~self._known)
        self._look(unknown)
        return unknown[~self._known[unknown]]

    def get(self, places: np.ndarray) -> np.ndarray | None:
        """Rows as bytes, (n, size) uint8; None where one of them is missing or damaged."""
        self._look(places[~self._known[places]])
        if not self._known[places].all():
            return None
        found = np.empty((len(places), self.size), np.uint8)
        for row, place in zip(found, places, strict=True):
            if self._rows.read_into(row, int(place) * self.size) < self.size:
                self._known[place] = False
                return None
        return found

    def put(self, places: np.ndarray, rows: np.ndarray) -> None:
        """Keep rows, (n, size) uint8."""
        if _free() < SPARE:
            raise NoRoomError(f"{_free() / 1e9:.1f} GB of disk are free.")
        with _keeping():
            for place, row in zip(places, rows, strict=True):
                self._rows.write(row, int(place) * self.size)
                self._sums.write(_sum(row), int(place) * 4)
        self._known[places] = True

    def _look(self, places: np.ndarray) -> None:
        """See which of these rows are there by now."""
        if not len(places):
            return
        sums, row = np.zeros(self.count, np.uint32), np.empty(self.size, np.uint8)
        self._sums.read_into(sums.view(np.uint8), 0)
        for place in places[sums[places] != NONE]:
            whole = self._rows.read_into(row, int(place) * self.size) == self.size
            self._known[place] = whole and _sum(row)[0] == sums[place]


class _File:
    """A file that is read and written at places."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("r+b", buffering=0)

    def read_into(self, target: np.ndarray, offset: int) -> int:
        """Fill a buffer; returns how many bytes there were."""
        self._file.seek(offset)
        return self._file.readinto(target.data) or 0

    def write(self, values: np.ndarray, offset: int) -> None:
        """Write all of them."""
        left = memoryview(np.ascontiguousarray(values).view(np.uint8).data)
        self._file.seek(offset)
        while left:
            left = left[self._file.write(left) :]


def _sum(row: np.ndarray) -> np.ndarray:
    return np.array([zlib.crc32(row.data) or 1], np.uint32)


def _text(path: Path) -> str:
    with suppress(OSError, ValueError):
        return path.read_text(encoding="utf-8")
    return ""


@contextmanager
def _keeping() -> Iterator[None]:
    """Turn the refusal of a disk into a NoRoomError."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL + REFUSED:
            raise NoRoomError(f"{stores_dir()} cannot be written: {(error.strerror or 'refused').lower()}.") from error
        raise


def make_room(needed: int, but: Path | None = None) -> None:
    """Let stores give way, those not used for longest first, until `needed` more bytes fit. Raises NoRoomError."""
    if needed > LIMIT:
        raise NoRoomError(f"They need {needed / 1e9:.1f} GB, and at most {LIMIT / 1e9:.0f} GB are kept.")
    stores_dir().mkdir(parents=True, exist_ok=True)
    stores = sorted((used_last, size, folder) for folder, size, used_last in kept() if folder != but)
    total = sum(size for _, size, _ in stores)
    while stores and (total + needed > LIMIT or _free() < needed + SPARE):
        _, size, folder = stores.pop(0)
        shutil.rmtree(folder, ignore_errors=True)
        total -= size
    if (free := _free()) < needed + SPARE:
        raise NoRoomError(f"They need {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB of disk are free.")


def size() -> int:
    """Bytes of all stores on disk."""
    return sum(each for _, each, _ in kept())


def clear() -> int:
    """Delete all stores; returns the bytes that this freed. What a run still uses it works out anew."""
    freed = size()
    shutil.rmtree(stores_dir(), ignore_errors=True)
    return freed - size()


def kept() -> Iterator[tuple[Path, int, float]]:
    """Each store that there is: its folder, its bytes on disk, and when it was used last."""
    with suppress(OSError):
        for folder in stores_dir().glob("[!.]*"):
            with suppress(OSError):  # gone meanwhile
                size = sum(each.stat().st_blocks * 512 for each in folder.iterdir())
                yield folder, size, _used_last(folder)


def _used_last(folder: Path) -> float:
    about = folder / ABOUT
    return (about if about.exists() else folder).stat().st_mtime


def _free() -> int:
    return shutil.disk_usage(stores_dir()).free
