"""Images of more than 8 bits as 8: which values are black and white, one range for all images of a data set.

Files of 16 bits often hold 12, floats lie in 0..1 or -1..1 or anywhere, and nothing in the file says so. A range of its
own for each image would show the same tissue in different greys; so the range is that of all images together, apart for
16 bits, 32 bits and floats.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

USUAL = (1.0, 255.0, 1023.0, 4095.0, 16383.0, 65535.0)  # whites: of floats, and of 8, 10, 12, 14 and 16 bits
BLOCK = 1 << 20  # pixels that are worked on at once, so that large images need little memory

Range = tuple[float, float]
"""The values that become black and white, or the least and the largest of some."""

NOTHING: Range = (math.inf, -math.inf)


@dataclass(frozen=True)
class Depth:
    """The range of each kind of deep pixels in a data set, None where it has none: an image then has its own."""

    int16: Range | None = None
    int32: Range | None = None
    float32: Range | None = None

    @classmethod
    def together(cls, extents: Iterable[tuple[str, Range]]) -> Depth:
        """That of images of which kind and extent are known."""
        found: dict[str, Range] = {}
        for kind, (least, largest) in extents:
            low, high = found.get(kind, NOTHING)
            found[kind] = (min(low, least), max(high, largest))
        return cls(**{kind: fitting(*extent) for kind, extent in found.items()})

    @classmethod
    def restored(cls, saved: dict[str, list[float] | None]) -> Depth:
        """From plain data."""
        return cls(**{kind: (pair[0], pair[1]) for kind, pair in saved.items() if pair})


UP_TO_16_BITS = Depth(int16=(0.0, 65535.0))  # of runs from before data sets had ranges


def kind_of(mode: str) -> str:
    """Which kind of deep pixels Pillow means by a mode; empty for 8 bits and less."""
    return "int16" if mode.startswith("I;16") else {"I": "int32", "F": "float32"}.get(mode, "")


def fitting(least: float, largest: float) -> Range:
    """The range for values of this extent: the smallest usual one of which more than half is used, else their own."""
    if least > largest:  # there are none
        return 0.0, 1.0
    if -1 <= least < -0.5 and largest <= 1:
        return -1.0, 1.0
    black = min(least, 0.0)
    white = next((usual for usual in USUAL if usual / 2 < largest <= usual), largest)
    return (black, white) if white > black else (black, black + 1)


def extent(image: Image.Image) -> Range:
    """The least and the largest value of a deep image; what is no number, or infinite, does not count."""
    least, largest = NOTHING
    for rows in _blocks(np.asarray(image)):
        known = rows[np.isfinite(rows)]
        if known.size:
            least, largest = min(least, float(known.min())), max(largest, float(known.max()))
    return least, largest


def eight_bit(image: Image.Image, depth: Depth) -> Image.Image:
    """A deep image in grey, from black to white by the data set's range, or its own; what is no number is black."""
    black, white = getattr(depth, kind_of(image.mode)) or fitting(*extent(image))
    values = np.asarray(image)
    grey = np.empty(values.shape, np.uint8)
    for rows, into in zip(_blocks(values), _blocks(grey), strict=True):
        known = np.nan_to_num(rows.astype(np.float64), nan=black).clip(black, white)
        into[:] = ((known - black) * (255 / (white - black))).round()
    return Image.fromarray(grey)


def _blocks(values: np.ndarray) -> list[np.ndarray]:
    step = max(1, BLOCK // values.shape[1])
    return [values[start : start + step] for start in range(0, len(values), step)]
