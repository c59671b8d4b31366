"""The draft's images, kept by the server between reruns so that leafing through them is quick."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageOps

from finetune_core.data import cache, sheet
from finetune_core.data.chosen import arranged
from finetune_core.data.depth import Depth
from finetune_core.data.image import UnreadableError, is_deep, read_image
from finetune_core.data.split import Split
from finetune_core.errors import UserError
from finetune_core.parts import Source
from finetune_core.parts.sources.samples import Samples, Trial
from finetune_core.places import expanded, stamp
from finetune_core.recipe import Data
from finetune_core.records import Count

SOON = 500  # images of which one may wait until the range of deep ones is measured
KEPT = 4  # data sets whose lists are kept

_listed: dict[str, Samples] = {}
_tried: dict[str, Trial | None] = {}


def key(source: Source) -> str:
    """What a list of images depends on: the source, and when its folders last changed."""
    stamps: list[int] = []
    with contextlib.suppress(OSError, ValueError, UserError):  # what cannot be read is told by the source itself
        folder = expanded(getattr(source, "path", "") or "/nowhere")
        stamps.append(folder.stat().st_mtime_ns)
        stamps += [entry.stat().st_mtime_ns for entry in os.scandir(folder)]
    return f"{source.model_dump_json()}{hash(tuple(stamps))}"


def samples(source: Source, count: Count | None = None) -> Samples:
    """The source's images; Blooms draws itself on first use and reports (done, all). UserError where none are."""
    place = key(source)
    if place not in _listed:
        _keep(_listed, place, source.samples(count))
    return _listed[place]


def known(source: Source) -> bool:
    """Whether `samples` would answer at once."""
    return key(source) in _listed


def trial(source: Source, most: int) -> Trial | None:
    """What the source's rule makes of the first files or rows. UserErrors where it cannot be tried."""
    place = f"{key(source)}{most}"
    if place not in _tried:
        _keep(_tried, place, source.trial(most))
    return _tried[place]


def chosen(data: Data) -> tuple[Samples, Split]:
    """The images as they are mended and split. UserErrors where that cannot be."""
    return arranged(samples(data.source), data)


def class_count(data: Data, otherwise: int = 10) -> int:
    """How many classes there are, without drawing or complaining: `otherwise` where that cannot be told."""
    source = data.source
    try:
        listed = source.expected() if (source.drawn and not known(source)) or source.coming() else samples(source)
        return len(arranged(listed, data)[0].classes)
    except UserError:
        return otherwise


def depth(samples: Samples, paths: Iterable[Path | None]) -> Depth | None:
    """The range by which training reads these files, if any of them is deep: of large data sets once it is known."""
    if not _any_deep(tuple(paths)):
        return None
    return cache.depth_of(samples) if len(samples) <= SOON else cache.known_depth(samples)


@lru_cache(maxsize=256)
def _any_deep(paths: tuple[Path | None, ...]) -> bool:
    """Each file is opened for that, a millisecond and more; kept as long as the pictures of them are."""
    return any(path is not None and is_deep(path) for path in paths)


@lru_cache(maxsize=64)
def contact_sheet(
    paths: tuple[Path | None, ...],
    columns: int,
    side: int,
    background: sheet.Colour,
    captions: tuple[str, ...] = (),
    channels: int = 3,
    depth: Depth | None = None,
) -> bytes:
    """A contact sheet as JPEG bytes, its pictures as the model's reader sees them; None leaves a hole."""
    pictures = iter(sheet.thumbnails([path for path in paths if path is not None], side, channels, depth))
    tiles = [None if path is None else next(pictures) for path in paths]
    return sheet.jpeg(sheet.grid(tiles, columns, side=side, background=background, captions=captions))


@lru_cache(maxsize=16)
def tiles(
    paths: tuple[Path, ...], side: int, background: sheet.Colour, channels: int = 3, depth: Depth | None = None
) -> tuple[bytes, ...]:
    """Each picture by itself as JPEG bytes, as the model's reader sees it."""
    pictures = sheet.thumbnails(paths, side, channels, depth)
    return tuple(sheet.jpeg(sheet.grid([each], 1, side=side, background=background)) for each in pictures)


def thumbnail(path: Path, side: int, square: bool = True) -> bytes | None:
    """One picture as JPEG bytes, its short side so many px, or its middle as a square; None where it cannot be read."""
    return _thumbnail(path, side, square, stamp(path))


@lru_cache(maxsize=256)
def _thumbnail(path: Path, side: int, square: bool, when: object) -> bytes | None:
    try:
        picture = Image.fromarray(read_image(path, side))
    except UnreadableError:
        return None
    return sheet.jpeg(ImageOps.fit(picture, (side, side)) if square else picture)


def _keep(kept: dict, place: str, value: object) -> None:
    while len(kept) >= KEPT:
        kept.pop(next(iter(kept)))
    kept[place] = value
