"""The doctor: what is planted is found, sound data are left in peace, and a fix settles what it was for."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from finetune_core.data import alike, cache, chosen, doctor
from finetune_core.findings import Finding
from finetune_core.parts.sources import Folder
from finetune_core.recipe import Data, Recipe
from finetune_core.runs import preflight
from tests.conftest import SHARED


def photo(seed: int, size: tuple[int, int] = (160, 120), near: int = 0) -> Image.Image:
    """A picture of its own for each seed; `near` gives another shot of the same."""
    rng, moved = random.Random(seed), random.Random(seed * 1000 + near)
    image = Image.new("RGB", size, tuple(rng.randrange(256) for _ in range(3)))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, r = rng.randrange(size[0]), rng.randrange(size[1]), rng.randint(8, 40)
        x, y = x + moved.randint(0, 7) * bool(near), y + moved.randint(0, 7) * bool(near)
        draw.ellipse([x - r, y - r, x + r, y + r], fill=tuple(rng.randrange(256) for _ in range(3)))
    return image


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for place, name in enumerate(("cup", "hat", "pen")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(20):
            photo(100 * place + number).save(tmp_path / "photos" / name / f"{chr(97 + number)}.png")
    return tmp_path / "photos"


def recipe(photos: Path, **values: Any) -> Recipe:
    return Recipe(data=Data(source=Folder(path=str(photos)), image_size=64, **values))


def found(wanted: Recipe) -> list[Finding]:
    return doctor.full(wanted)


def titles(wanted: Recipe) -> list[str]:
    return [each.title for each in found(wanted)]


def sided(photos: Path, side: str, name: str) -> Path:
    """The first image of a class on this side."""
    samples, parts = chosen.chosen(recipe(photos).data)
    index = next(i for i in getattr(parts, side) if samples.label_words(i) == name)
    return samples.paths[index]


def mended(wanted: Recipe, title: str, number: int = 0) -> Recipe:
    """The recipe after a click on a finding."""
    finding = next(each for each in found(wanted) if title in each.title)
    mend = finding.mends[number]
    return wanted.with_value(mend.path, mend.value)


def test_sound_photos_are_left_in_peace(photos: Path) -> None:
    [only] = found(recipe(photos))
    assert (only.level, only.title) == ("ok", "Sound")


def as_it_is(image: Image.Image, file: Path) -> None:
    image.save(file.with_suffix(".png"))


def poor(image: Image.Image, file: Path) -> None:
    image.save(file.with_suffix(".jpg"), quality=20)


def halved(image: Image.Image, file: Path) -> None:
    image.resize((image.width // 2, image.height // 2)).save(file.with_suffix(".jpg"), quality=85)


def larger(image: Image.Image, file: Path) -> None:
    image.resize((image.width * 2, image.height * 2)).save(file.with_suffix(".webp"), quality=70)


@pytest.mark.parametrize("copy", [as_it_is, poor, halved, larger])
def test_a_copy_on_the_other_side_is_a_leak_and_can_be_mended_in_two_ways(photos: Path, copy: Any) -> None:
    original = sided(photos, "valid", "hat")
    wanted = recipe(photos)
    copy(Image.open(original), original.with_name("zz"))
    samples, parts = chosen.chosen(wanted.data)
    valid = [samples.name(index) for index in parts.valid]
    if f"hat/{original.name}" not in valid or any("zz" in name for name in valid):
        wanted = recipe(photos, fixes=({"kind": "move", "images": [f"hat/{original.name}"], "side": "valid"},))
    [leak] = [each for each in found(wanted) if each.level == "ask"]
    assert leak.title == "1 picture is learned from and measured on"
    assert {samples.paths[index].stem for index in leak.images} == {original.stem, "zz"}
    for number in range(2):
        assert titles(mended(wanted, "learned from and measured on", number))[0] in (
            "Sound",
            "1 picture is there more than once",
        )


def test_a_picture_under_two_labels_is_told_and_left_out(photos: Path) -> None:
    wanted = recipe(photos)
    for name in ("zy", "zz"):
        Image.open(photos / "cup/b.png").save(photos / "cup" / f"{name}.png")
    Image.open(photos / "cup/b.png").save(photos / "pen" / "zz.png")
    first = found(wanted)[0]
    assert (first.level, first.title) == ("ask", "1 picture stands under two labels")
    assert "(cup, pen)" in first.text
    left = mended(wanted, "two labels")
    assert [fix.images for fix in left.data.fixes] == [("pen/zz.png",)], "most of them say cup"
    assert not [title for title in titles(left) if "two labels" in title]


def test_where_labels_are_even_all_of_them_are_left_out(photos: Path) -> None:
    Image.open(photos / "cup/b.png").save(photos / "pen" / "zz.png")
    left = mended(recipe(photos), "two labels")
    assert [fix.images for fix in left.data.fixes] == [("cup/b.png", "pen/zz.png")]


def test_copies_on_one_side_count_double_and_the_largest_stays(photos: Path) -> None:
    train = sided(photos, "train", "hat")
    halved(Image.open(train), train.with_name("zz"))
    wanted = recipe(photos, fixes=({"kind": "move", "images": ["hat/zz.jpg", f"hat/{train.name}"], "side": "train"},))
    assert "1 picture is there more than once" in titles(wanted)
    left = mended(wanted, "more than once")
    assert left.data.fixes[-1].images == ("hat/zz.jpg",)


def test_bursts_that_are_split_are_told_and_kept_together(tmp_path: Path) -> None:
    for place, name in enumerate(("cup", "hat")):
        (tmp_path / "shots" / name).mkdir(parents=True)
        for thing in range(8):
            for shot in range(4):
                picture = photo(1000 * place + thing, near=shot + 1)
                picture.save(tmp_path / "shots" / name / f"{name}{thing}_{shot}.png")
    wanted = recipe(tmp_path / "shots")
    first = found(wanted)[0]
    assert "bursts are split between training and validation" in first.title
    whole = mended(wanted, "bursts")
    assert "bursts" not in " ".join(titles(whole))
    samples, parts = chosen.chosen(whole.data)
    sides = [{samples.place(index).rpartition("_")[0] for index in side} for side in parts.sides]
    assert sides[1]
    assert not sides[0] & sides[1]


def test_names_that_only_number_a_class_are_no_bursts(photos: Path) -> None:
    for folder in photos.iterdir():
        for number, file in enumerate(sorted(folder.iterdir())):
            file.rename(folder / f"{folder.name}_{number}.png")
    assert titles(recipe(photos)) == ["Sound"]


def test_a_rare_class_is_told_with_a_click_that_weighs_it(photos: Path) -> None:
    for file in sorted((photos / "pen").iterdir())[2:]:
        file.unlink()
    wanted = recipe(photos)
    assert {"The classes are uneven", "1 class with few images"} <= {*titles(wanted)}
    weighed = mended(wanted, "uneven")
    assert weighed.training.loss.balance == "inverse"
    [uneven] = [each for each in found(weighed) if "uneven" in each.title]
    assert not uneven.mends
    assert "weighs them more" in uneven.text


def test_a_class_that_nothing_measures_asks(photos: Path) -> None:
    all_of_pen = [f"pen/{file.name}" for file in (photos / "pen").iterdir()]
    wanted = recipe(photos, fixes=({"kind": "move", "images": all_of_pen, "side": "train"},))
    assert ("ask", "1 class without validation images") in [(each.level, each.title) for each in found(wanted)]


def test_a_broken_file_is_left_out_by_a_click(photos: Path) -> None:
    (photos / "pen/a.png").write_bytes(b"nothing")
    left = mended(recipe(photos), "cannot be read")
    assert titles(left) == ["Sound"]
    assert left.data.fixes[0].images == ("pen/a.png",)


def test_small_images_suggest_another_size(photos: Path) -> None:
    assert mended(recipe(photos).with_value("data.image_size", 224), "smaller").data.image_size == 96


def test_plain_and_blank_pictures_are_copies_only_of_the_same(tmp_path: Path) -> None:
    for name, colours in (("dark", range(10, 50, 4)), ("pale", range(200, 240, 4))):
        (tmp_path / "plain" / name).mkdir(parents=True)
        for grey in colours:
            Image.new("RGB", (60, 60), (grey,) * 3).save(tmp_path / "plain" / name / f"{grey}.png")
    assert titles(recipe(tmp_path / "plain")) == ["20 images smaller than the model's input"]
    Image.new("RGB", (60, 60), (30,) * 3).save(tmp_path / "plain" / "dark" / "again.png")
    assert "1 picture" in titles(recipe(tmp_path / "plain"))[0]


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_transparent_images_are_looked_at_alike(photos: Path, channels: int) -> None:
    Image.open(photos / "cup/b.png").save(photos / "pen" / "zz.png")
    assert "1 picture stands under two labels" in titles(recipe(photos, channels=channels))


def test_what_was_found_is_kept_and_damage_is_made_anew(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = recipe(photos)
    samples, _ = chosen.chosen(wanted.data)
    side = wanted.data.side
    assert doctor.known(samples, side) is None
    first = doctor.examine(samples, side)
    assert doctor.known(samples, side) == first
    [file] = cache.filled(samples, side).folder.glob("examined.json")
    for harm in (b"", b"[1, {}]", b"[0" + file.read_bytes()[2:], file.read_bytes()[:-30]):
        file.write_bytes(harm)
        assert doctor.examine(samples, side) == first
    monkeypatch.setattr(alike, "looks", lambda *given: pytest.fail("looked again"))
    assert doctor.examine(samples, side) == first


def test_preflight_asks_only_about_what_was_looked_at(photos: Path) -> None:
    Image.open(photos / "cup/b.png").save(photos / "pen" / "zz.png")
    wanted = recipe(photos)

    def asks() -> list[str]:
        return [each.title for each in preflight.findings(wanted) if each.level == "ask"]

    assert asks() == []
    found(wanted)
    assert asks() == ["1 picture stands under two labels"]


def test_the_quick_search_finds_what_the_plain_one_finds() -> None:
    """Copies of each picture lie near it, pictures far apart: so everything with everything gives the same groups."""
    rng = np.random.default_rng(3)
    pictures = rng.uniform(60, 200, (60, alike.SIDE, alike.SIDE, 3))
    looks = np.repeat(pictures, 3, 0) + rng.normal(0, 1, (180, alike.SIDE, alike.SIDE, 3))
    looks = looks[rng.permutation(180)].clip(0, 255).astype(np.uint8)
    flat = looks.reshape(180, -1).astype(float)
    apart = np.sqrt(np.square(flat[:, None] - flat[None]).mean(2)) <= alike.NEAR
    plain = {tuple(np.flatnonzero(row).tolist()) for row in apart}
    assert set(alike.copies(looks)) == plain
    assert len(plain) == 60


@pytest.mark.timeout(60)
def test_many_shots_of_one_scene_take_no_time_and_a_defect_is_no_copy(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scene = rng.uniform(60, 200, (alike.SIDE, alike.SIDE, 3))
    looks = (scene + rng.normal(0, 1, (20_000, alike.SIDE, alike.SIDE, 3))).clip(0, 255).astype(np.uint8)
    looks[7, 4:6, 4:6] = 0
    [group] = alike.copies(looks)
    assert len(group) == 19_999
    assert 7 not in group


@pytest.mark.skipif(not SHARED.exists(), reason="the photos in ../shared are not here")
def test_clean_photos_give_no_finding_of_weight() -> None:
    assert not [each for each in found(recipe(SHARED / "data/clothing10")) if each.level == "ask"]


def test_parts_and_mirror_images_are_told_from_other_pictures() -> None:
    whole = photo(3).resize((200, 160))
    pixels = np.asarray(whole)
    parts = {
        "a part": whole.crop((12, 20, 192, 160)),
        "a corner": whole.crop((0, 0, 164, 132)),
        "mirrored": ImageOps.mirror(whole),
        "a mirrored part": ImageOps.mirror(whole.crop((10, 8, 190, 152))),
        "brighter": whole.point(lambda value: min(255, value * 6 // 5 + 10)),
        "smaller": whole.resize((100, 80)),
    }
    for what, part in parts.items():
        assert alike.cut_out(pixels, np.asarray(part)), what
        assert alike.cut_out(np.asarray(part), pixels), what
    for other in range(4, 24):
        assert not alike.cut_out(pixels, np.asarray(photo(other).resize((200, 160))))
    flat = np.full((60, 60, 3), 120, np.uint8)
    assert not alike.cut_out(pixels, flat)


def test_twins_that_a_backbone_has_seen_count_as_copies(photos: Path) -> None:
    wanted = recipe(photos)
    samples, parts = chosen.chosen(wanted.data)
    examined = doctor.examine(samples, wanted.data.side)
    assert not examined.copies
    train, valid = int(parts.train[0]), int(parts.valid[0])
    twins = [(samples.place(train), samples.place(valid)), ("gone.png", samples.place(train))]
    told = doctor.findings(wanted, samples, parts, examined, (), twins)
    leak = next(each for each in told if "learned from and measured on" in each.title)
    assert {*leak.images} == {train, valid}
    both = examined.joined([(0, 1), (2, 3), (1, 2)])
    assert both.copies == ((0, 1, 2, 3),)
