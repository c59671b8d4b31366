"""Files that are no pictures, want to fill the memory or to be waited for: everyone who reads says the same, soon."""

import io
import os
import struct
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from finetune_core.data import cache, doctor, sheet
from finetune_core.data.image import UnreadableError, deep_extent, read_image, read_size
from finetune_core.parts.sources.samples import Samples

SECONDS = 20.0
SOUND = Image.radial_gradient("L").resize((40, 30)).convert("RGB")


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *more: bytes, rows: bytes = b"", bits: int = 8) -> bytes:
    """A grey PNG that says it has this size, whatever its pixels are."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def encoded(form: str, **options: object) -> bytes:
    file = io.BytesIO()
    SOUND.save(file, form, **options)
    return file.getvalue()


def frames(form: str) -> bytes:
    return encoded(form, save_all=True, append_images=[SOUND.rotate(10 * turn) for turn in range(1, 30)])


REFUSED: dict[str, Callable[[], bytes]] = {
    "empty.jpg": lambda: b"",
    "text.png": lambda: b"hello",
    "page.jpg": lambda: b"<html><img></html>",
    "icon.jpg": lambda: encoded("ICO"),
    "targa.png": lambda: encoded("TGA"),
    "paintbrush.jpg": lambda: encoded("PCX"),
    "cut.jpg": lambda: encoded("JPEG")[:300],
    "bomb.png": lambda: png(30_000, 30_000),
    "bomb16.png": lambda: png(30_000, 30_000, bits=16),
    "text bomb.png": lambda: png(
        40, 30, chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(64 << 20))), rows=bytes(31 * 40)
    ),
    "text.pgm": lambda: b"P2 8000 8000 255 " + b"7 " * 64_000_000,
    "no rows.png": lambda: png(2000, 2000),
}
READ: dict[str, Callable[[], bytes]] = {
    "jpeg.png": lambda: encoded("JPEG"),
    "short text.pgm": lambda: b"P2 100 100 255 " + b"7 " * 10_000,
    "bitmap.jpg": lambda: encoded("PPM"),
    "moving.gif": lambda: frames("GIF"),
    "moving.webp": lambda: frames("WEBP"),
    "moving.png": lambda: frames("PNG"),
    "pages.tif": lambda: frames("TIFF"),
    "large.png": lambda: png(9000, 9000, rows=bytes(9001 * 9000)),
    "large16.png": lambda: png(7000, 7000, rows=bytes(14001 * 7000), bits=16),
}


def soon(look: Callable[[], object]) -> list[object]:
    """What it gives or raises, within the limit: a pipe would be waited for to the end of all days."""
    seen: list[object] = []

    def run() -> None:
        try:
            seen.append(look())
        except UnreadableError as error:
            seen.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert not thread.is_alive(), "it hangs"
    assert seen, "it raised what nobody expects"
    return seen


def grey(picture: object) -> bool:
    assert isinstance(picture, Image.Image)
    return picture.getcolors() == [(32 * 32, sheet.MISSING)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in {**REFUSED, **READ}.items():
        (tmp_path / name).write_bytes(content())
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "folder.jpg").mkdir()
    return tmp_path


def test_all_who_read_say_the_same(folder: Path) -> None:
    names = [*REFUSED, "pipe.jpg", "loop.jpg", "folder.jpg", "gone.jpg", *READ]
    samples = Samples(tuple(folder / name for name in names), (0,) * len(names), ("x",), None, folder)
    [examined] = soon(lambda: doctor.examine(samples, 32))
    assert isinstance(examined, doctor.Examined)
    for index, path in enumerate(samples.paths):
        [read] = soon(lambda path=path: read_image(path, 32))  # type: ignore[misc]
        [shown] = soon(lambda path=path: sheet.thumbnail(path, 32))  # type: ignore[misc]
        soon(lambda path=path: read_size(path))  # type: ignore[misc]
        soon(lambda path=path: deep_extent(path))  # type: ignore[misc]
        assert (path.name in READ) == isinstance(read, np.ndarray) == (index not in examined.reasons), path.name
        assert grey(shown) == isinstance(read, UnreadableError)
        if isinstance(read, UnreadableError):
            assert read.why == examined.reasons[index]
            assert read.why.endswith(".")
    found = cache.known(samples, 32)
    assert found
    assert [index for index, _ in found.bad] == list(range(len(names) - len(READ)))


def test_of_what_moves_the_first_frame_is_taken(folder: Path) -> None:
    for name in ("moving.gif", "moving.png", "pages.tif"):
        first = read_image(folder / name, 30)[..., 0].astype(int)
        assert np.abs(first - np.asarray(SOUND)[..., 0]).max() <= 2
