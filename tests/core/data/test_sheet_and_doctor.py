"""Contact sheets and the look at a data set's health."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from finetune_core.data import cache, doctor, sheet
from finetune_core.data.cache import decoded
from finetune_core.errors import UserError
from finetune_core.findings import Finding
from finetune_core.parts.sources import Folder
from finetune_core.parts.sources.folders import list_folder
from finetune_core.recipe import Data, Recipe


def test_a_thumbnail_of_a_broken_file_is_grey(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"no")
    assert sheet.thumbnail(tmp_path / "x.jpg", 20).getpixel((5, 5)) == sheet.MISSING


def test_a_thumbnail_follows_the_camera_orientation(tmp_path: Path) -> None:
    image = Image.new("RGB", (60, 60), "white")
    image.paste("red", (0, 0, 60, 30))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    image.save(tmp_path / "x.jpg", exif=exif, quality=95)
    red, green, _ = sheet.thumbnail(tmp_path / "x.jpg", 20).getpixel((10, 17))
    assert red > 200
    assert green < 60


def test_a_grid_has_rows_holes_and_the_page_colour() -> None:
    tiles = [Image.new("RGB", (10, 10), "red"), None, Image.new("RGB", (30, 10), "blue")]
    picture = sheet.grid(tiles, 2, side=40, gap=4, background=(1, 2, 3), captions=("a long caption",))
    assert picture.size == (84, 84)
    assert picture.getpixel((20, 10)) == (255, 0, 0)
    assert picture.getpixel((64, 20)) == (1, 2, 3)
    assert picture.getpixel((20, 64)) == (0, 0, 255)
    assert sheet.jpeg(picture)[:2] == b"\xff\xd8"


def test_what_is_transparent_shows_a_board_and_grey_is_grey() -> None:
    clear = Image.new("RGBA", (24, 24), (255, 0, 0, 0))
    clear.paste((0, 0, 255, 255), (12, 0, 24, 24))
    board = sheet.grid([clear, Image.new("L", (24, 24), 77)], 2, side=24, gap=0)
    assert board.getpixel((6, 4)) != board.getpixel((6, 16)), "fields"
    assert min(board.getpixel((6, 4))) > 200, "near the page, and none of the colour beneath"
    assert board.getpixel((20, 12)) == (0, 0, 255)
    assert board.getpixel((36, 12)) == (77, 77, 77)


def looked_at(folder: Path, size: int = 32, **values: Any) -> list[Finding]:
    data = Data(source=Folder(path=str(folder)), image_size=size, **values)
    return doctor.full(Recipe(data=data))


def test_the_doctor_finds_nothing_in_sound_data(images: Path) -> None:
    assert [finding.title for finding in looked_at(images)] == ["3 classes with few images"]


def test_the_doctor_finds_broken_small_uneven_and_few(images: Path) -> None:
    (images / "class_0" / "broken.png").write_bytes(b"not a picture")
    for number in range(60):
        Image.effect_noise((60, 60), 90).save(images / "class_1" / f"more{number}.png")
    heard: list[tuple[int, int]] = []
    data = Data(source=Folder(path=str(images)), image_size=64)
    found = doctor.full(Recipe(data=data), count=lambda done, total: heard.append((done, total)))
    assert [finding.title for finding in found] == [
        "1 file cannot be read",
        "The classes are uneven",
        "2 classes with few images",
        "84 images smaller than the model's input",
    ]
    everything = len(data.source.samples())
    assert (everything, everything) in heard, "all files were read"
    assert heard[-1] == (everything - 1, everything - 1), "all but the broken one were held against each other"


def test_the_doctor_sees_what_training_will_stop_at(images: Path) -> None:
    """A JPEG that was cut off has a sound header: only who decodes it knows."""
    Image.effect_noise((200, 200), 60).save(images / "class_0" / "whole.jpg")
    cut = images / "class_0" / "cut.jpg"
    cut.write_bytes((images / "class_0" / "whole.jpg").read_bytes()[:3000])
    assert Image.open(cut).size == (200, 200)
    samples = list_folder(images)
    [finding, *_] = looked_at(images)
    assert (finding.level, finding.title) == ("warn", "1 file cannot be read")
    assert [samples.paths[index] for index in finding.images] == [cut]
    with pytest.raises(UserError, match=r"1 image of 26 cannot be read.*cut\.jpg"):
        decoded(samples, 32)


def test_what_the_doctor_has_read_is_not_read_again(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = list_folder(images)
    doctor.examine(samples, 32)
    monkeypatch.setattr(cache, "read_image", lambda *_: pytest.fail("decoded again"))
    assert len(decoded(samples, 32)) == len(samples)


@pytest.mark.timeout(60)
def test_a_caption_of_a_thousand_tags_is_cut_at_once() -> None:
    """Letter by letter it took a page of eight such images 43 seconds, and this one for ever."""
    tile = Image.new("RGB", (96, 96))
    long, short = ("x" * length for length in (1_000_000, 1_000))
    assert sheet.jpeg(sheet.grid([tile], 1, side=96, captions=[long])) == sheet.jpeg(
        sheet.grid([tile], 1, side=96, captions=[short])
    )
