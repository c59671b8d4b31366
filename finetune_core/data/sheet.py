"""Many small pictures as one: contact sheets and grids of draws, as a single JPEG that a browser shows at once."""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from finetune_core.data.depth import Depth
from finetune_core.data.image import UnreadableError, read_image

MISSING = (150, 158, 170)
FIELD = 12  # px, of the board that stands for transparency
WORKERS = 4
LONGEST = 100  # letters of a caption that are looked at
LARGE, SMALL, LEAST = 6, 9, 11  # a caption's letters: a sixth to a ninth of a tile, of so many px at least
BAND = 1.3  # times their height is the band that they stand on
Colour = tuple[int, int, int]


def thumbnail(path: Path, side: int, channels: int = 3, depth: Depth | None = None) -> Image.Image:
    """A square of `side` px from the middle of an image file, as the model sees it; grey if unreadable."""
    try:
        pixels = read_image(path, side, channels, depth)
    except UnreadableError:
        return Image.new("RGB", (side, side), MISSING)
    height, width = pixels.shape[:2]
    top, left = (height - side) // 2, (width - side) // 2
    middle = pixels[top : top + side, left : left + side]
    return Image.fromarray(middle[..., 0] if channels == 1 else middle)


def thumbnails(paths: Sequence[Path], side: int, channels: int = 3, depth: Depth | None = None) -> list[Image.Image]:
    """Squares of many files, read side by side."""
    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(lambda path: thumbnail(path, side, channels, depth), paths))


def grid(
    tiles: Sequence[Image.Image | None],
    columns: int,
    *,
    side: int,
    gap: int = 6,
    background: Colour = (255, 255, 255),
    captions: Sequence[str] = (),
) -> Image.Image:
    """Tiles in rows of `columns`, each fitted into side × side px; None leaves a hole, captions lie on the tiles."""
    rows = max(1, -(-len(tiles) // columns))
    sheet = Image.new("RGB", (columns * (side + gap) - gap, rows * (side + gap) - gap), background)
    for place, tile in enumerate(tiles):
        if tile is None:
            continue
        left, top = place % columns * (side + gap), place // columns * (side + gap)
        fitted = _opaque(tile if tile.size == (side, side) else ImageOps.fit(tile, (side, side)), background)
        if place < len(captions) and captions[place]:
            fitted = _captioned(fitted, captions[place])
        sheet.paste(fitted, (left, top), _rounded(side))
    return sheet


def _opaque(tile: Image.Image, background: Colour) -> Image.Image:
    """In colour, and a faint chequerboard where it is transparent."""
    if tile.mode != "RGBA":
        return tile.convert("RGB")
    fields = (np.indices((tile.height, tile.width)) // FIELD).sum(0, keepdims=True).transpose(1, 2, 0) % 2
    board = np.where(fields, background, np.add(background, np.subtract(MISSING, background) * 0.15))
    return Image.composite(tile.convert("RGB"), Image.fromarray(board.astype(np.uint8)), tile.getchannel("A"))


def jpeg(image: Image.Image) -> bytes:
    """The picture as JPEG bytes."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=87)
    return file.getvalue()


def _rounded(side: int) -> Image.Image:
    mask = Image.new("L", (side * 2, side * 2), 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, side * 2 - 1, side * 2 - 1), side // 9, fill=255)
    return mask.resize((side, side), Image.Resampling.LANCZOS)


def _captioned(tile: Image.Image, text: str) -> Image.Image:
    side = tile.width
    font, text = _fitting(text[:LONGEST], side)
    height = max(int(side * 0.2), round(font.size * BAND))
    band = Image.new("L", tile.size, 0)
    ImageDraw.Draw(band).rectangle((0, side - height, side, side), fill=150)
    result = Image.composite(Image.new("RGB", tile.size, (12, 18, 26)), tile, band)
    ImageDraw.Draw(result).text((8, side - height / 2), text, font=font, fill="white", anchor="lm")
    return result


def _fitting(text: str, side: int) -> tuple[ImageFont.FreeTypeFont, str]:
    """A caption as large as it fits on a tile, since a phone shows a third of it; cut short where none does."""
    room = side - 14
    for size in range(side // LARGE, max(LEAST, side // SMALL), -1):
        font = _font(size)
        if font.getlength(text) <= room:
            return font, text
    font = _font(max(LEAST, side // SMALL))
    while len(text) > 4 and font.getlength(text) > room:
        text = text[:-2].rstrip("…") + "…"
    return font, text


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # it is wherever Pillow has freetype, as its wheels have
    return font
