"""The draft's images, kept by the server between reruns so that leafing through them is quick."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from finetune_core.data import cache, sheet
from finetune_core.data.depth import Depth
from finetune_core.data.image import is_deep
from finetune_core.errors import UserError
from finetune_core.parts import Source
from finetune_core.parts.sources.samples import Samples
from finetune_core.places import expanded
from finetune_core.records import Count

SOON = 500  # images of which one may wait until the range of deep ones is measured
KEPT = 4  # data sets whose lists are kept

_listed: dict[str, Samples] = {}


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


def class_count(source: Source, otherwise: int = 10) -> int:
    """How many classes there are, without drawing or complaining: `otherwise` where that cannot be told."""
    try:
        return len((samples(source) if source.own or known(source) else source.expected()).classes)
    except UserError:
        return otherwise


def depth(samples: Samples, paths: Iterable[Path | None]) -> Depth | None:
    """The range by which training reads these files, if any of them is deep: of large data sets once it is known."""
    if not any(path is not None and is_deep(path) for path in paths):
        return None
    return cache.depth_of(samples) if len(samples) <= SOON else cache.known_depth(samples)


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


def _keep(kept: dict, place: str, value: object) -> None:
    while len(kept) >= KEPT:
        kept.pop(next(iter(kept)))
    kept[place] = value
