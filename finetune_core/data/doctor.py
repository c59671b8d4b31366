"""A look at a data set's health before anything is trained on it. No torch, and no image is decoded in full."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from finetune_core.parts.sources.samples import Samples

WORKERS = 8
UNEVEN = 5.0  # the largest class may be this many times the smallest before it is worth a word
FEW = 10  # images in a class


@dataclass(frozen=True)
class Examined:
    """What the files' headers say: sides[i] = (width, height) in px, (0, 0) where the file cannot be read."""

    sides: tuple[tuple[int, int], ...]
    reasons: dict[int, str]


@dataclass(frozen=True)
class Finding:
    """Something to know about the data; `images` are the indices that it is about."""

    title: str
    text: str
    images: tuple[int, ...] = ()


def examine(samples: Samples, progress: Callable[[int, int], None] | None = None) -> Examined:
    """Read every file's header, and the whole file where it is small enough to cost nothing."""
    sides, reasons = [], {}
    with ThreadPoolExecutor(WORKERS) as pool:
        for index, (size, reason) in enumerate(pool.map(_look, samples.paths)):
            sides.append(size)
            if reason:
                reasons[index] = reason
            if progress is not None:
                progress(index + 1, len(samples.paths))
    return Examined(tuple(sides), reasons)


def findings(samples: Samples, examined: Examined, image_size: int) -> list[Finding]:
    """What deserves a word: unreadable files, images smaller than the model's input, uneven and tiny classes."""
    found = [
        _unreadable(samples, examined),
        _small(examined, image_size),
        _uneven(samples),
        _few(samples),
    ]
    return [finding for finding in found if finding is not None]


def _look(path: Path) -> tuple[tuple[int, int], str]:
    try:
        with Image.open(path) as image:
            size = image.size
            image.verify()  # headers and checksums; truncated pixels show only when an image is decoded
    except Image.DecompressionBombError:
        return (0, 0), "too many pixels to be opened safely"
    except (OSError, ValueError, SyntaxError) as error:
        return (0, 0), "not an image" if isinstance(error, Image.UnidentifiedImageError) else str(error)[:120]
    return size, ""


def _unreadable(samples: Samples, examined: Examined) -> Finding | None:
    bad = tuple(examined.reasons)
    if not bad:
        return None
    names = ", ".join(f"{samples.paths[index].name} ({examined.reasons[index]})" for index in bad[:3])
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    return Finding(
        f"{_counted(len(bad), 'file')} cannot be read",
        f"{names}{more}. Mend or remove them, or leave them out (under More).",
        bad,
    )


def _small(examined: Examined, image_size: int) -> Finding | None:
    small = tuple(index for index, size in enumerate(examined.sides) if 0 < min(size) < image_size)
    if not small:
        return None
    text = f"Their shorter side is below {image_size} px, so the model sees them enlarged and soft."
    return Finding(f"{_counted(len(small), 'image')} smaller than the model's input", text, small)


def _uneven(samples: Samples) -> Finding | None:
    if not samples.about.exclusive:
        return None  # tags are rare by nature, and numbers have no classes
    counts = np.array([*samples.counts().values()])
    if counts.min() == 0 or counts.max() / counts.min() < UNEVEN:
        return None
    large, small = samples.classes[int(counts.argmax())], samples.classes[int(counts.argmin())]
    text = f"{large} has {counts.max()} images, {small} only {counts.min()}: a model may neglect the rare classes."
    return Finding("The classes are uneven", text)


def _few(samples: Samples) -> Finding | None:
    if not samples.about.counted:
        return None
    rare = [name for name, count in samples.counts().items() if count < FEW]
    if not rare:
        return None
    shown = ", ".join(rare[:4]) + (" …" if len(rare) > 4 else "")
    text = f"{shown}: fewer than {FEW} images each, so the validation result of these will jump about."
    what = samples.about.there(len(rare))
    return Finding(f"{what} with few images", text)


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
