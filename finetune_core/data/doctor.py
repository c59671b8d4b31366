"""A look at a data set's health before anything is trained on it. No torch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from finetune_core.data import cache
from finetune_core.data.image import UnreadableError, read_size
from finetune_core.findings import Finding
from finetune_core.records import Count
from finetune_core.wording import count, few

if TYPE_CHECKING:
    from finetune_core.parts.sources.samples import Samples

WORKERS = 8
UNEVEN = 5.0  # the largest class may be this many times the smallest before it is worth a word
FEW = 10  # images in a class


@dataclass(frozen=True)
class Examined:
    """What reading the files shows: sides[i] = (width, height) in px, (0, 0) where the file cannot be read; and why."""

    sides: tuple[tuple[int, int], ...]
    reasons: dict[int, str]


def examine(samples: Samples, side: int, channels: int = 3, count: Count | None = None) -> Examined:
    """Read every image as training does, into the very cache that training reads from: what is said here is true.

    `side` is the short side in px at which images are kept. UserErrors for a disk without room.
    """
    reasons = dict(cache.filled(samples, side, count, channels).bad)
    with ThreadPoolExecutor(WORKERS) as pool:
        sides = tuple(pool.map(_size, samples.paths))
    return Examined(tuple((0, 0) if index in reasons else size for index, size in enumerate(sides)), reasons)


def findings(samples: Samples, examined: Examined, image_size: int) -> list[Finding]:
    """What deserves a word: unreadable files, images smaller than the model's input, uneven and tiny classes."""
    looked_at = (_unreadable(samples, examined), _small(examined, image_size), _uneven(samples), _few(samples))
    found = [finding for finding in looked_at if finding]
    even = "the classes are even, " if samples.about.exclusive else ""
    return found or [Finding("ok", "Sound", f"Every file can be read, {even}the images are large enough.")]


def _size(path: Path) -> tuple[int, int]:
    try:
        return read_size(path)
    except UnreadableError:
        return (0, 0)


def _unreadable(samples: Samples, examined: Examined) -> Finding | None:
    bad = tuple(examined.reasons)
    if not bad:
        return None
    names = few((f"{samples.name(index)} ({examined.reasons[index].rstrip('.')})" for index in bad), 3)
    text = f"{names}. Mend or remove them, or leave them out (under More)."
    return Finding("warn", f"{count(len(bad), 'file')} cannot be read", text, images=bad)


def _small(examined: Examined, image_size: int) -> Finding | None:
    small = tuple(index for index, size in enumerate(examined.sides) if 0 < min(size) < image_size)
    if not small:
        return None
    text = f"Their shorter side is below {image_size} px, so the model sees them enlarged and soft."
    title = f"{count(len(small), 'image')} smaller than the model's input"
    return Finding("warn", title, text, images=small)


def _uneven(samples: Samples) -> Finding | None:
    if not samples.about.exclusive:
        return None  # tags are rare by nature, and numbers have no classes
    counts = np.array([*samples.counts().values()])
    if counts.min() == 0 or counts.max() / counts.min() < UNEVEN:
        return None
    large, small = samples.classes[int(counts.argmax())], samples.classes[int(counts.argmin())]
    text = f"{large} has {counts.max()} images, {small} only {counts.min()}: a model may neglect the rare classes."
    return Finding("warn", "The classes are uneven", text)


def _few(samples: Samples) -> Finding | None:
    if not samples.about.counted:
        return None
    rare = [name for name, count in samples.counts().items() if count < FEW]
    if not rare:
        return None
    text = f"{few(rare)}: fewer than {FEW} images each, so the validation result of these will jump about."
    what = samples.about.there(len(rare))
    return Finding("warn", f"{what} with few images", text)
