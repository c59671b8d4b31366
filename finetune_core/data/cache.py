"""Images decoded once: reading a JPEG costs more than augmenting it, so each is read a single time and kept small.

The cache is a flat file of pixels and a table of shapes per set of image files and side. It may be deleted any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar

import numpy as np

from finetune_core.data.depth import Depth, Range
from finetune_core.data.image import UnreadableError, deep_extent, read_image, read_size, scaled_size
from finetune_core.errors import UserError
from finetune_core.parts.sources.samples import Samples
from finetune_core.places import cache_dir, forget_folders, no_room, publish, write_whole, writing
from finetune_core.records import Count
from finetune_core.wording import count, few

VERSION = 4  # of what the cached pixels look like: raise it whenever `read_image` changes
LIMIT = 50 << 30  # bytes of all decoded images together; those that were not used for longest give way
SPARE = 64 << 20  # bytes of disk that a build leaves free
SLICE = 32  # files whose beginnings are looked at in one go: of each alone, waking a thread would cost more
DRAFT = ".building-"  # how folders begin that are being built

Given = TypeVar("Given")
Found = TypeVar("Found")


class Decoded:
    """Images as uint8 arrays in one memory-mapped file, in the order of the samples; may be sent to a process.

    `bad` lists (index, reason) of images that could not be read; those are not to be asked for. `depth` is the range
    that deep ones were read by.
    """

    def __init__(self, folder: Path, places: Sequence[int] | None = None) -> None:
        """Open what `decoded` wrote, of it some `places`. Raises OSError or ValueError where it is incomplete."""
        self.folder, self.places = folder, places
        self._shapes: np.ndarray = np.load(folder / "shapes.npy", allow_pickle=False)
        self._ends = np.cumsum(self._shapes.prod(axis=1))
        pixels = folder / "pixels.bin"
        # A plain view: slicing np.memmap objects costs several times as much. An empty file cannot be mapped.
        mapped = np.memmap(pixels, np.uint8, "r") if pixels.stat().st_size else np.empty(0, np.uint8)
        self._pixels = mapped.view(np.ndarray)
        if len(self._pixels) != self._ends[-1]:
            raise ValueError(f"{folder} is incomplete")
        notes: dict[str, str] = json.loads((folder / "bad.json").read_text(encoding="utf-8"))
        self.bad: tuple[tuple[int, str], ...] = tuple((int(index), reason) for index, reason in notes.items())
        self.depth = Depth.restored(json.loads((folder / "depth.json").read_text(encoding="utf-8")))
        if places is not None:
            reasons, taken = dict(self.bad), np.asarray(places, np.int64)
            self.bad = tuple((new, reasons[old]) for new, old in enumerate(places) if old in reasons)
            self._shapes, self._ends = self._shapes[taken], self._ends[taken]

    def taking(self, places: Sequence[int]) -> Decoded:
        """Some of them, in this order."""
        return Decoded(self.folder, places)

    @property
    def name(self) -> str:
        """Stands for these images as they are, in their order."""
        own = self.folder.name
        return own if self.places is None else f"{own}-{hashlib.sha256(repr(self.places).encode()).hexdigest()[:16]}"

    def __len__(self) -> int:
        """Number of samples, the unreadable ones included."""
        return len(self._shapes)

    def __getitem__(self, index: int) -> np.ndarray:
        """One image, (H, W, channels) uint8, read-only."""
        shape, end = self._shapes[index], self._ends[index]
        if not shape.any():
            raise IndexError(f"image {index} could not be read; see `bad`")
        return self._pixels[end - shape.prod() : end].reshape(shape)

    def __reduce__(self) -> tuple[Any, ...]:
        return Decoded, (self.folder, self.places)


def decoded(
    samples: Samples,
    side: int,
    unreadable: Literal["stop", "skip"] = "stop",
    count: Count | None = None,
    channels: int = 3,
) -> Decoded:
    """The samples' images with a short side of `side` px, from the cache or decoded now by a pool of threads.

    `count` hears (done, total) and may raise to cancel; nothing half done stays behind. Raises UserErrors for
    unreadable images (unless they are skipped), for a disk without room and for a cache that cannot be written.
    """
    images = filled(samples, side, count, channels)
    _check(samples, images.bad, unreadable)
    return images


def filled(samples: Samples, side: int, count: Count | None = None, channels: int = 3) -> Decoded:
    """The same, whatever cannot be read: `bad` says which images and why."""
    return known(samples, side, channels) or _build(samples, side, channels, count or (lambda done, total: None))


def known(samples: Samples, side: int, channels: int = 3) -> Decoded | None:
    """The samples' images where they have been decoded before, alone or with those that are left out by hand."""
    found = _open(_folder(samples, side, channels))
    if found is None and samples.whole:
        everything = known(samples.whole, side, channels)
        return None if everything is None else everything.taking(samples.places)
    return found


def depth_of(samples: Samples, count: Count | None = None) -> Depth:
    """The range by which all deep images of the samples are read, measured once and kept.

    It looks at the beginning of every file, and into those that may be deep, of which `count` hears. Images that are
    left out by hand count: others do not look otherwise for it.
    """
    samples = samples.whole or samples
    return known_depth(samples) or _measure(samples, count or (lambda done, total: None))


def known_depth(samples: Samples) -> Depth | None:
    """The same where it has been measured before."""
    try:
        return Depth.restored(json.loads(_depth_file(samples.whole or samples).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, AttributeError, LookupError):  # a cache: what is damaged is made anew
        return None


def _depth_file(samples: Samples) -> Path:
    return cache_dir() / "depths" / f"{_key(samples)}.json"


def _measure(samples: Samples, count: Count) -> Depth:
    slices = [samples.paths[start : start + SLICE] for start in range(0, len(samples), SLICE)]
    extents: list[tuple[str, Range]] = []
    for number, found in enumerate(_ahead(_extents, slices), start=1):
        extents += found
        if found:
            count(min(number * SLICE, len(samples)), len(samples))
    depth, file = Depth.together(extents), _depth_file(samples)
    with writing("the range of the images' values"):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(asdict(depth)))
    return depth


def _extents(paths: Sequence[Path]) -> list[tuple[str, Range]]:
    return [found for path in paths if (found := deep_extent(path))]


def check_readable(samples: Samples, most: int | None = None) -> tuple[tuple[int, str], ...]:
    """(index, reason) of images whose header cannot be read, looking at `most` of them, evenly spread (else at all).

    Quick, since nothing is decoded; damage further inside a file goes unseen.
    """
    bad = []
    for index in _spread(len(samples), most):
        try:
            read_size(samples.paths[index])
        except UnreadableError as error:
            bad.append((index, error.why))
    return tuple(bad)


def _folder(samples: Samples, side: int, channels: int) -> Path:
    return _all() / _key(samples, side, channels)


def _all() -> Path:
    return cache_dir() / "decoded"


def _key(samples: Samples, *form: int) -> str:
    """Changes when a file is added, removed, renamed or rewritten, but not when the whole folder moves."""
    digest = hashlib.sha256(f"{VERSION} {form}".encode())
    for path in samples.paths:
        try:
            stat = path.stat()
            state = f"{stat.st_size} {stat.st_mtime_ns}"
        except OSError:
            state = "gone"
        digest.update(b"\0" + os.fsencode(os.path.relpath(path, samples.root)) + b"\0" + state.encode())
    return digest.hexdigest()[:32]


def _open(folder: Path) -> Decoded | None:
    if not folder.is_dir():
        return None
    try:
        found = Decoded(folder)
        with suppress(OSError):
            os.utime(folder)  # used just now
        return found
    except (OSError, ValueError, EOFError, AttributeError, IndexError, TypeError):  # damaged: make it anew
        shutil.rmtree(folder, ignore_errors=True)
        return None


def _build(samples: Samples, side: int, channels: int, count: Count) -> Decoded:
    folder = _folder(samples, side, channels)
    needed = _estimate(samples, side) * channels
    with writing("the decoded images", needed):
        folder.parent.mkdir(parents=True, exist_ok=True)
        _make_room(needed)
        if shutil.disk_usage(folder.parent).free < needed + SPARE:
            raise no_room("the decoded images", needed)
        forget_folders(folder.parent, DRAFT)
        draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=folder.parent))
        try:
            depth = depth_of(samples, count)
            bad = _decode_all(samples, partial(read_image, side=side, channels=channels, depth=depth), draft, count)
            (draft / "bad.json").write_text(json.dumps(bad), encoding="utf-8")
            (draft / "depth.json").write_text(json.dumps(asdict(depth)), encoding="utf-8")
            publish(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return Decoded(folder)


def _make_room(needed: int) -> None:
    """Let images that were decoded for others give way, those not used for longest first, until so many bytes fit."""
    there = sorted((used, size, folder) for folder, size, used in kept())
    total = sum(size for _, size, _ in there)
    for _, size, folder in there:
        if total + needed <= LIMIT and shutil.disk_usage(_all()).free >= needed + SPARE:
            return
        shutil.rmtree(folder, ignore_errors=True)
        total -= size


def kept() -> Iterator[tuple[Path, int, float]]:
    """Each data set that was decoded: its folder, its bytes, and when it was used last."""
    with suppress(OSError):
        for folder in _all().glob("[!.]*"):
            with suppress(OSError):  # gone meanwhile
                yield folder, sum(each.stat().st_size for each in folder.iterdir()), folder.stat().st_mtime


def size() -> int:
    """Bytes of all decoded images on disk."""
    return sum(each for _, each, _ in kept())


def clear() -> int:
    """Delete all of them; returns the bytes that this freed. They are decoded again when they are needed."""
    freed = size()
    for folder, _, _ in kept():
        shutil.rmtree(folder, ignore_errors=True)
    return freed - size()


def _decode_all(samples: Samples, read: Callable[[Path], np.ndarray], draft: Path, count: Count) -> dict[int, str]:
    """Write pixels.bin and shapes.npy, and return the reason per unreadable image."""
    shapes, bad = np.zeros((len(samples), 3), np.int64), {}
    with (draft / "pixels.bin").open("wb") as file:
        for index, image in enumerate(_ahead(partial(_attempt, read), samples.paths)):
            if isinstance(image, UnreadableError):
                bad[index] = image.why
            else:
                shapes[index] = image.shape
                _append(file, image)
            count(index + 1, len(samples))
    np.save(draft / "shapes.npy", shapes)
    return bad


def _append(file: BinaryIO, image: np.ndarray) -> None:
    file.write(np.ascontiguousarray(image).data)


def _attempt(read: Callable[[Path], np.ndarray], path: Path) -> np.ndarray | UnreadableError:
    try:
        return read(path)
    except UnreadableError as error:
        return error


def _ahead(look: Callable[[Given], Found], things: Sequence[Given]) -> Iterator[Found]:
    """What is seen in each thing, in order, by threads never more than a few of them ahead."""
    threads = min(8, os.cpu_count() or 1)
    waiting: deque[Future[Found]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for thing in things:
            waiting.append(pool.submit(look, thing))
            if len(waiting) > 4 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _check(samples: Samples, bad: Sequence[tuple[int, str]], unreadable: Literal["stop", "skip"]) -> None:
    if not bad or (unreadable == "skip" and len(bad) < len(samples)):
        return
    names = few((f"{samples.name(index)} ({reason.rstrip('.')})" for index, reason in bad), between="; ")
    hint = "Mend or remove them" + (
        "." if unreadable == "skip" else ", or set `data.unreadable: skip` to leave them out."
    )
    raise UserError(f"{count(len(bad), 'image')} of {len(samples)} cannot be read.", f"{names}.", hint)


def _estimate(samples: Samples, side: int, looked_at: int = 64) -> int:
    """Pixels that the cache will hold, from the headers of some images spread over the set."""
    sizes = []
    for index in _spread(len(samples), looked_at):
        try:
            width, height = scaled_size(read_size(samples.paths[index]), side)
        except UnreadableError:
            continue
        sizes.append(width * height)
    return round(len(samples) * sum(sizes) / max(len(sizes), 1))


def _spread(count: int, most: int | None) -> range:
    return range(0, count, max(1, -(-count // most)) if most else 1)
