"""Reading one image file, whatever it holds, as the small array that everything after it works on."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from finetune_core.errors import UserError
from finetune_core.parts.sources import files
from finetune_core.places import shown

FORMATS = tuple(files.FORMATS)  # what a file is counts, not what its name says
MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # Pillow's words for so many channels
MAX_ASPECT = 4  # of longer images only the middle is kept, so that one panorama cannot fill the disk

# Between this limit and twice as much Pillow warns on the terminal and reads the image; beyond, it refuses.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

# What Pillow raises on damaged files; it documents OSError alone.
DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    EOFError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnreadableError(UserError):
    """A file that is no image, or a damaged one; `why` says what is wrong with it."""


def read_image(source: Path | Image.Image, side: int, channels: int = 3) -> np.ndarray:
    """An image as (H, W, channels) uint8, upright, its short side scaled to `side` px, at most 4:1 long.

    One channel is grey, three are RGB, both on white; four are RGB and alpha (255 is opaque). Of animations the first
    frame is taken, and 16 bits become 8. Raises UnreadableError.
    """
    try:
        if isinstance(source, Image.Image):
            return _small(source, side, MODES[channels])
        with Image.open(source, formats=FORMATS) as image:
            return _small(image, side, MODES[channels])
    except DAMAGED as error:
        raise _unreadable(source, error) from error


def read_size(path: Path) -> tuple[int, int]:
    """Width and height in px as the file's header tells them, without decoding it. Raises UnreadableError."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.size
    except DAMAGED as error:
        raise _unreadable(path, error) from error


def scaled_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Width and height that an image of this size gets in `read_image`, before it is turned upright."""
    width, height = size
    short = min(size)
    return min(round(width * side / short), MAX_ASPECT * side), min(round(height * side / short), MAX_ASPECT * side)


def _small(image: Image.Image, side: int, mode: str) -> np.ndarray:
    _skip_detail(image, side)
    image.load()  # here, for asking a PNG for its orientation loads it too, and would hide that it is damaged
    orientation = _orientation(image)
    full = _plain(image)
    small = full.resize(
        scaled_size(full.size, side), Image.Resampling.BICUBIC, box=_middle(full.size), reducing_gap=2.0
    )
    if orientation in UPRIGHT:
        small = small.transpose(UPRIGHT[orientation])
    if small.mode == "RGBA" != mode:
        white = Image.new("RGBA", small.size, "white")
        white.alpha_composite(small)
        small = white
    pixels = np.array(small.convert(mode))
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except DAMAGED:
        return 1  # cameras and editors write all kinds of things there; the pixels may still be fine


def _skip_detail(image: Image.Image, side: int) -> None:
    """Let a JPEG decode at a half, a quarter or an eighth of its size where twice what is needed remains."""
    share = 2 * side / min(image.size)
    if share < 1:
        image.draft(None, (round(image.width * share), round(image.height * share)))


def _plain(image: Image.Image) -> Image.Image:
    """The image in a mode that can be scaled smoothly: L, RGB, RGBA or CMYK."""
    if image.mode.startswith(("I", "F")):
        return _eight_bit(image)
    if image.has_transparency_data:
        return image.convert("RGBA")
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    values = np.nan_to_num(np.asarray(image, np.float32))
    top = float(values.max(initial=0))
    if image.mode.startswith("I;16"):
        white = 65535.0
    else:  # 32 bits say nothing about their range: the smallest usual one that holds the values
        white = next((usual for usual in (1.0, 255.0, 65535.0) if top <= usual), top)
    return Image.fromarray((values.clip(0, white) * (255 / white)).round().astype(np.uint8))


def _middle(size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The box (left, top, right, bottom) of the longest middle part that is kept."""
    width, height = size
    w, h = min(width, MAX_ASPECT * height), min(height, MAX_ASPECT * width)
    left, top = (width - w) / 2, (height - h) / 2
    return left, top, left + w, top + h


def _unreadable(source: Path | Image.Image, error: BaseException) -> UnreadableError:
    name = shown(source.name) if isinstance(source, Path) else "The image"
    return UnreadableError(f"{name} cannot be read.", _reason(source, error), "Open and save it anew, or remove it.")


def _reason(source: Path | Image.Image, error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):
        empty = isinstance(source, Path) and source.stat().st_size == 0
        return "The file is empty." if empty else f"It is not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image."
    if isinstance(error, Image.DecompressionBombError):
        return "It claims to have more pixels than any photo; decoding it could fill the memory."
    if isinstance(error, MemoryError):
        return "It is too large for the memory."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}."
    text = " ".join(str(error).split())
    return f"It is damaged: {text[:1].lower()}{text[1:120]}." if text else "It is damaged."
