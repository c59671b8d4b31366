"""Decoding once: every kind of image, damaged ones, a full disk, and being cancelled."""

import errno
import io
import os
import pickle
import shutil
import struct
import time
import zlib
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from finetune_core.data import cache
from finetune_core.data.cache import Decoded, check_readable, decoded
from finetune_core.data.image import UnreadableError, read_image
from finetune_core.errors import UserError
from finetune_core.parts.sources.folders import list_folder
from finetune_core.parts.sources.samples import Samples
from finetune_core.places import cache_dir

Usage = namedtuple("Usage", "total used free")
RED, BLUE = (255, 0, 0), (0, 0, 255)


def leftovers() -> list[Path]:
    return list((cache_dir() / "decoded").glob("*"))


def test_images_come_back_in_order_with_their_short_side(images: Path) -> None:
    samples = list_folder(images)
    heard: list[tuple[int, int]] = []
    made = decoded(samples, 24, count=lambda done, total: heard.append((done, total)))
    assert len(made) == len(samples) == 24
    assert heard[-1] == (24, 24)
    assert made.bad == ()
    for index, path in enumerate(samples.paths):
        assert made[index].shape == (24, 28, 3)
        assert made[index].dtype == np.uint8
        assert np.array_equal(made[index], read_image(path, 24))


def test_a_second_time_nothing_is_decoded(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = list_folder(images)
    first = decoded(samples, 24)
    monkeypatch.setattr(cache, "read_image", lambda *_: pytest.fail("decoded again"))
    assert np.array_equal(decoded(samples, 24)[5], first[5])
    moved = images.rename(images.with_name("moved"))
    shutil.copystat(moved, moved)
    assert np.array_equal(decoded(list_folder(moved), 24)[5], first[5])


def test_a_changed_image_or_side_is_decoded_anew(images: Path) -> None:
    samples = list_folder(images)
    before = decoded(samples, 24)[0].copy()
    Image.new("RGB", (30, 30), RED).save(samples.paths[0])
    assert not np.array_equal(decoded(samples, 24)[0], before)
    assert decoded(samples, 16)[0].shape == (16, 16, 3)


def test_a_damaged_cache_is_made_anew(images: Path) -> None:
    samples = list_folder(images)
    folder = decoded(samples, 24).folder
    with (folder / "pixels.bin").open("r+b") as file:
        file.truncate(100)
    assert len(decoded(samples, 24)[23]) == 24


def test_the_cache_travels_to_another_process(images: Path) -> None:
    made = decoded(list_folder(images), 24)
    copy: Decoded = pickle.loads(pickle.dumps(made))  # noqa: S301 - our own bytes
    assert np.array_equal(copy[3], made[3])


def encoded(image: Image.Image, kind: str, **options: Any) -> Image.Image:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return Image.open(io.BytesIO(file.getvalue()))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "I;16", "F"])
def test_white_is_white_in_every_mode(mode: str) -> None:
    white = Image.new("RGB", (40, 30), "white")
    if mode == "I;16":
        white = Image.fromarray(np.full((30, 40), 65535, np.uint16))
    image = encoded(white.convert(mode), "TIFF") if mode != "I;16" else encoded(white, "PNG")
    made = read_image(image, 30)
    assert made.shape == (30, 40, 3)
    assert made.min() > 250


def test_sixteen_bits_keep_their_shades() -> None:
    image = encoded(Image.fromarray(np.full((8, 8), 32768, np.uint16)), "PNG")
    assert abs(int(read_image(image, 8)[0, 0, 0]) - 128) <= 1


def test_what_is_transparent_becomes_white() -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert read_image(encoded(clear, "PNG"), 8).min() == 255
    palette = Image.new("P", (8, 8), 3)
    assert read_image(encoded(palette, "GIF", transparency=3), 8).min() == 255


def test_the_first_frame_stands_for_an_animation() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE)]
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        options = {"lossless": True} if kind == "WEBP" else {}
        image = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert read_image(image, 8)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_stand_upright(orientation: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (16, 24, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = encoded(Image.fromarray(pixels), "PNG", exif=exif)
    upright = ImageOps.exif_transpose(image)
    assert np.array_equal(read_image(image, 16), np.asarray(upright.convert("RGB")))


@pytest.mark.parametrize("size", [(1, 1), (1, 600), (600, 1), (3, 2), (2000, 20), (5000, 3000)])
def test_any_shape_gets_its_short_side_and_no_panorama_fills_the_disk(size: tuple[int, int]) -> None:
    made = read_image(Image.new("RGB", size, RED), 32)
    assert min(made.shape[:2]) == 32
    assert max(made.shape[:2]) <= 4 * 32
    assert made[0, 0].tolist() == [255, 0, 0]


def test_what_phones_write_is_read_upright(tmp_path: Path) -> None:
    """HEIC, held sideways: as the same picture is read from a JPEG."""
    picture = Image.radial_gradient("L").convert("RGB").resize((90, 60))
    picture.paste((250, 10, 10), (0, 0, 30, 20))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    picture.save(tmp_path / "a.heic", quality=95, exif=exif.tobytes())
    picture.save(tmp_path / "a.jpg", quality=95, exif=exif)
    one, other = (read_image(tmp_path / name, 40) for name in ("a.heic", "a.jpg"))
    assert one.shape == other.shape == (60, 40, 3)
    assert np.abs(one.astype(int) - other).mean() < 4
    (tmp_path / "cut.heic").write_bytes((tmp_path / "a.heic").read_bytes()[:300])
    with pytest.raises(UnreadableError):
        read_image(tmp_path / "cut.heic", 40)


def test_large_jpegs_are_scaled_well() -> None:
    ramp = np.linspace(0, 255, 2000).astype(np.uint8)
    image = encoded(Image.fromarray(np.broadcast_to(ramp[None, :, None], (1500, 2000, 3)).copy()), "JPEG", quality=95)
    row = read_image(image, 60)[30, :, 0].astype(int)
    assert len(row) == 80
    assert np.abs(row - np.linspace(0, 255, 80)).max() < 8


def chunk(tag: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))


def bomb() -> bytes:
    header = struct.pack(">IIBBBBB", 65000, 65000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b"")


def damaged_png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(file, "PNG")
    data = bytearray(file.getvalue())
    data[len(data) // 2] ^= 0xFF
    return bytes(data)


def cut_jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (300, 300), RED).save(file, "JPEG")
    return file.getvalue()[:700]


DAMAGED = {
    "empty.jpg": (b"", "empty"),
    "text.png": (b"hello", "not a JPEG"),
    "zeros.jpg": (b"\0" * 4096, "not a JPEG"),
    "cut.jpg": (cut_jpeg(), "damaged"),
    "flipped.png": (damaged_png(), "damaged"),
    "bomb.png": (bomb(), "pixels"),
}


@pytest.fixture
def with_damaged(images: Path) -> Samples:
    for name, (content, _) in DAMAGED.items():
        (images / "class_1" / name).write_bytes(content)
    return list_folder(images)


def test_damaged_images_stop_the_build_and_are_named(with_damaged: Samples) -> None:
    with pytest.raises(UserError, match="6 images of 30 cannot be read") as caught:
        decoded(with_damaged, 24)
    assert "class_1/bomb.png" in caught.value.why
    assert "1 more" in caught.value.why
    assert "unreadable: skip" in caught.value.hint
    [kept] = leftovers()
    assert len(Decoded(kept).bad) == 6, "what was read is kept, whole, for when they are left out"


def test_damaged_images_can_be_left_out(with_damaged: Samples) -> None:
    made = decoded(with_damaged, 24, "skip")
    reasons = {with_damaged.paths[index].name: reason for index, reason in made.bad}
    assert set(reasons) == set(DAMAGED)
    for name, (_, words) in DAMAGED.items():
        assert words in reasons[name]
    for index in set(range(30)) - {index for index, _ in made.bad}:
        assert made[index].shape == (24, 28, 3)
    with pytest.raises(IndexError):
        made[made.bad[0][0]]
    with pytest.raises(UserError, match="cannot be read"):
        decoded(with_damaged, 24, "stop")  # from the cache, too


def test_a_look_at_the_headers_finds_most_damage(with_damaged: Samples) -> None:
    found = {with_damaged.paths[index].name for index, _ in check_readable(with_damaged)}
    assert found == {"empty.jpg", "text.png", "zeros.jpg", "bomb.png"}
    assert check_readable(with_damaged, most=1) == ()


def test_nothing_readable_at_all_is_an_error_even_when_skipping(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png"):
        (tmp_path / "broken" / name).parent.mkdir(parents=True)
        (tmp_path / "broken" / name).write_bytes(b"no")
    with pytest.raises(UserError, match="2 images of 2"):
        decoded(list_folder(tmp_path / "broken"), 24, "skip")


def test_a_vanished_image_is_unreadable(images: Path) -> None:
    samples = list_folder(images)
    samples.paths[2].unlink()
    assert "No such file" in dict(decoded(samples, 24, "skip").bad)[2]


def test_an_uploaded_image_that_is_damaged_is_explained() -> None:
    with pytest.raises(UnreadableError, match="cannot be read"):
        read_image(Image.open(io.BytesIO(damaged_png())), 24)


def test_a_disk_without_room_is_told_before_the_work(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10, 9, 1))
    monkeypatch.setattr(cache, "read_image", lambda *_: pytest.fail("started to decode"))
    with pytest.raises(UserError, match="no room") as caught:
        decoded(list_folder(images), 24)
    assert "free" in caught.value.why
    assert "THAW_CACHE" in caught.value.hint
    assert leftovers() == []


def test_what_was_not_used_for_longest_gives_way(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, used, new = (decoded(list_folder(images), side) for side in (32, 40, 48))
    for age, each in ((300, old), (200, used), (100, new)):
        os.utime(each.folder, (time.time() - age,) * 2)
    assert decoded(list_folder(images), 32).folder == old.folder, "opening it counts as use"
    monkeypatch.setattr(cache, "LIMIT", cache.size() + 1000)
    newest = decoded(list_folder(images), 44)
    left = {folder for folder, _, _ in cache.kept()}
    assert newest.folder in left
    assert old.folder in left
    assert used.folder not in left
    assert used[0].shape, "who has it open goes on with it"
    assert cache.size() <= cache.LIMIT
    assert cache.clear() > 0
    assert not cache.size()
    assert decoded(list_folder(images), 32)[0].shape, "and they are decoded again"


def test_a_disk_that_fills_up_meanwhile_leaves_nothing_behind(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache, "_append", full)
    with pytest.raises(UserError, match="no room") as caught:
        decoded(list_folder(images), 24)
    assert "THAW_CACHE" in caught.value.hint
    assert leftovers() == []


def test_a_cache_that_is_a_file_is_told(images: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("THAW_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="no place") as caught:
        decoded(list_folder(images), 24)
    assert "THAW_CACHE" in caught.value.hint


def test_cancelling_leaves_nothing_behind(images: Path) -> None:
    def cancel(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decoded(list_folder(images), 24, count=cancel)
    assert leftovers() == []


def test_two_builders_at_once_agree(images: Path) -> None:
    samples = list_folder(images)

    def meanwhile(done: int, total: int) -> None:
        if done == 3:
            decoded(samples, 24)

    assert len(decoded(samples, 24, count=meanwhile)) == 24
    assert len(leftovers()) == 1


def test_what_killed_builds_left_is_swept_up(images: Path) -> None:
    old, young = (cache_dir() / "decoded" / name for name in (".building-old", ".building-young"))
    old.mkdir(parents=True)
    young.mkdir()
    os.utime(old, (0, 0))
    decoded(list_folder(images), 24)
    assert not old.exists()
    assert young.exists()
