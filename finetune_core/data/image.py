"""Reading one image file, whatever it holds, as the small array that everything after it works on."""

from __future__ import annotations

import errno
import stat
import struct
import threading
import warnings
import zlib
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pillow_heif
from PIL import ExifTags, Image, UnidentifiedImageError

from finetune_core.data.depth import Depth, Range, eight_bit, extent, kind_of
from finetune_core.errors import UserError
from finetune_core.parts.sources import files
from finetune_core.wording import shown

FORMATS = tuple(files.FORMATS)  # what a file is counts, not what its name says
SHALLOW = (b"\xff\xd8", b"GIF8", b"BM", b"RIFF")  # how files begin that never hold more than 8 bits
PNG = b"\x89PNG\r\n\x1a\n"
MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # Pillow's words for so many channels
LARGE = 40_000_000  # pixels from which on images are decoded one after the other, to fill no memory side by side
MOST_IN_TEXT = 16_000_000  # values of a netpbm file in text, which Pillow reads one by one: ten seconds
HIGH = 2  # heights by width from which on Pillow scales otherwise
MAX_ASPECT = 4  # of longer images only the middle is kept, so that one panorama cannot fill the disk

pillow_heif.register_heif_opener()  # what phones write, which Pillow itself does not know

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


_decoding_large = threading.Lock()


class UnreadableError(UserError):
    """A file that is no image, or a damaged one; `why` says what is wrong with it."""


Picture = Path | BinaryIO | Image.Image
"""What can be read: a file by its path, an open one, or an image that Pillow has opened."""


def read_image(source: Picture, side: int, channels: int = 3, depth: Depth | None = None) -> np.ndarray:
    """An image as (H, W, channels) uint8, upright, its short side scaled to `side` px, at most 4:1 long.

    One channel is grey, three are RGB, both on white; four are RGB and alpha (255 is opaque). Of animations the first
    frame is taken. More than 8 bits become 8 by the range that `depth` says, else by the image's own. Raises
    UnreadableError.
    """
    try:
        if isinstance(source, Image.Image):
            return _small(source, side, MODES[channels], depth or Depth())
        with _opened(source) as image:
            return _small(image, side, MODES[channels], depth or Depth())
    except DAMAGED as error:
        raise _unreadable(source, error) from error


def read_size(path: Path) -> tuple[int, int]:
    """Width and height in px as the file's header tells them, without decoding it. Raises UnreadableError."""
    try:
        with _opened(path) as image:
            return image.size
    except DAMAGED as error:
        raise _unreadable(path, error) from error


def is_deep(path: Path) -> bool:
    """Whether a file holds more than 8 bits of one channel, by its header; False for what cannot be read.

    Most files tell by their first bytes that they do not, and are not read further.
    """
    try:
        if _shallow(path):
            return False
        with _opened(path) as image:
            return bool(kind_of(image.mode))
    except DAMAGED:
        return False


def deep_extent(path: Path) -> tuple[str, Range] | None:
    """The kind of pixels of a deep file, and the least and largest of them; None for any other."""
    if not is_deep(path):
        return None
    try:
        with _opened(path) as image:
            return kind_of(image.mode), extent(image)
    except DAMAGED:
        return None


def _shallow(path: Path) -> bool:
    _check_regular(path)
    with path.open("rb") as file:
        start = file.read(26)
    if start.startswith(PNG):
        return start[24:26] != b"\x10\x00"  # 16 bits of grey; of 16 bits of colour Pillow reads the upper 8
    return start.startswith(SHALLOW)


def _opened(source: Path | BinaryIO) -> Image.Image:
    if isinstance(source, Path):
        _check_regular(source)
    image = Image.open(source, formats=FORMATS)
    written_out = any(tile[0] == "ppm_plain" for tile in image.tile)
    if written_out and image.width * image.height * len(image.getbands()) > MOST_IN_TEXT:
        image.close()
        raise OSError(errno.EFBIG, "Its pixels are written out as text, of which so many take too long to read")
    return image


def _check_regular(path: Path) -> None:
    """A pipe or a device could be waited for, or read, for ever."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "It is no regular file")


def scaled_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Width and height that an image of this size gets in `read_image`."""
    width, height = size
    short = min(size)
    return min(round(width * side / short), MAX_ASPECT * side), min(round(height * side / short), MAX_ASPECT * side)


def _small(image: Image.Image, side: int, mode: str, depth: Depth) -> np.ndarray:
    _skip_detail(image, side)
    with _decoding_large if image.width * image.height > LARGE else nullcontext():
        image.load()  # here, for asking a PNG for its orientation loads it too, and would hide that it is damaged
        orientation = _orientation(image)
        full = _plain(image, depth)
        if orientation in UPRIGHT:
            full = full.transpose(UPRIGHT[orientation])
        if full.mode == "RGBA" != mode:
            full = Image.alpha_composite(Image.new("RGBA", full.size, "white"), full)
        small = _scaled(full.convert(mode), side)
    pixels = np.array(small)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _scaled(image: Image.Image, side: int) -> Image.Image:
    """The longest middle part, its short side so long. Scaled last, and rows first, as exported models do it.

    Of high images Pillow 13 would begin with the columns, and some pixels be one level apart.
    """
    size, (left, top, right, bottom) = scaled_size(image.size, side), _middle(image.size)
    if image.height <= HIGH * image.width:
        return image.resize(size, Image.Resampling.BICUBIC, (left, top, right, bottom), reducing_gap=2.0)
    flat = image.resize((size[0], image.height), Image.Resampling.BICUBIC)
    return flat.resize(size, Image.Resampling.BICUBIC, (0, top, size[0], bottom))


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


def _plain(image: Image.Image, depth: Depth) -> Image.Image:
    """The image in a mode that can be scaled smoothly: L, RGB, RGBA or CMYK."""
    if kind_of(image.mode):
        return eight_bit(image, depth)
    if image.has_transparency_data:
        return image.convert("RGBA")
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")


def _middle(size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box (left, top, right, bottom) of the longest middle part that is kept."""
    width, height = size
    w, h = min(width, MAX_ASPECT * height), min(height, MAX_ASPECT * width)
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def _unreadable(source: Picture, error: BaseException) -> UnreadableError:
    name = shown(source.name) if isinstance(source, Path) else "The image"
    return UnreadableError(f"{name} cannot be read.", _reason(source, error), "Open and save it anew, or remove it.")


def _reason(source: Picture, error: BaseException) -> str:
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
