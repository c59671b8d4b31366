"""Data as they were mended by hand: only what was named moves, nothing is decoded again, and all can be taken back."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from finetune_core.data import cache, chosen
from finetune_core.data.kept import kept
from finetune_core.errors import UserError
from finetune_core.export import script
from finetune_core.parts.fixes import Fix, LeaveOut, Merge, Move, Relabel
from finetune_core.parts.sources import Folder
from finetune_core.recipe import Data, Recipe, loads
from finetune_core.training import session


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("apple", "bread", "corn"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(0, 255, (40, 50, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


def of(photos: Path, *fixes: Fix, **values: Any) -> Data:
    return Data(source=Folder(path=str(photos)), fixes=fixes, image_size=32, **values)


def sides(data: Data) -> dict[str, str]:
    """Each image with its class and side."""
    samples, parts = chosen.chosen(data)
    names = zip(("train", "valid", "test"), parts.sides, strict=True)
    return {samples.place(index): f"{samples.label_words(index)} {name}" for name, side in names for index in side}


def test_what_is_left_out_is_gone_and_nothing_else_moves(photos: Path) -> None:
    before = sides(of(photos))
    gone = [name for name in before if name.startswith("apple")][2:7]
    after = sides(of(photos, LeaveOut(images=tuple(gone))))
    assert after == {name: side for name, side in before.items() if name not in gone}


def test_a_class_without_an_image_left_is_none(photos: Path) -> None:
    before = sides(of(photos))
    out = LeaveOut(images=tuple(name for name in before if name.startswith("bread")))
    assert sides(of(photos, out)) == {name: side for name, side in before.items() if not name.startswith("bread")}
    (photos / "lone").mkdir()
    (photos / "apple/0.png").rename(photos / "lone/0.png")
    with pytest.raises(UserError, match="Too few images to split: lone"):
        sides(of(photos))
    assert len(chosen.chosen(of(photos, LeaveOut(images=("lone/0.png",))))[0].classes) == 3


def test_images_are_kept_on_a_side(photos: Path) -> None:
    before = sides(of(photos))
    moved = [next(name for name, side in before.items() if side == f"corn {which}") for which in ("train", "valid")]
    fixes = Move(images=(moved[0],), side="valid"), Move(images=(moved[1],), side="train")
    assert sides(of(photos, *fixes)) == {**before, moved[0]: "corn valid", moved[1]: "corn train"}
    aside = Move(images=(moved[0],), side="test")
    assert sides(of(photos, aside)) == {**before, moved[0]: "corn test"}


def test_images_are_relabelled_also_as_a_new_class_and_classes_merged(photos: Path) -> None:
    before = sides(of(photos))
    moved = {**before, "corn/3.png": before["corn/3.png"].replace("corn", "apple")}
    assert sides(of(photos, Relabel(images=("corn/3.png",), label="apple"))) == moved, "no image changes its side"
    news = Relabel(images=("corn/3.png", "apple/1.png"), label="berry")
    samples, _ = chosen.chosen(of(photos, news))
    assert samples.classes == ("apple", "berry", "bread", "corn")
    one, _ = chosen.chosen(of(photos, Merge(classes=("apple", "corn"), into="corn")))
    assert one.classes == ("bread", "corn")
    assert one.counts() == {"bread": 10, "corn": 20}


@pytest.mark.parametrize(
    ("fixes", "words"),
    [
        ((Merge(classes=("apple", "corn", "bread"), into="food"),), "Too few classes"),
        ((LeaveOut(images=tuple(f"apple/{n}.png" for n in range(9))),), "Too few images to split: apple"),
        (
            (Move(images=tuple(f"apple/{n}.png" for n in range(10)), side="valid"),),
            "None of the training images of apple",
        ),
    ],
)
def test_fixes_that_leave_too_little_are_refused_in_words(photos: Path, fixes: tuple[Fix, ...], words: str) -> None:
    with pytest.raises(UserError, match=words):
        chosen.chosen(of(photos, *fixes))


def test_images_that_are_gone_meanwhile_are_told(photos: Path) -> None:
    fix = LeaveOut(images=("apple/1.png", "apple/nowhere.png"))
    samples, _ = chosen.chosen(of(photos, fix))
    assert "1 image that was mended is not there: apple/nowhere.png." in samples.notes


def test_fixes_come_back_from_a_recipe_also_with_names_that_are_no_text(photos: Path) -> None:
    odd = photos / "apple" / (b"\xff odd\n'\".png".decode("utf-8", "surrogateescape"))
    (photos / "apple/0.png").rename(odd)
    samples, _ = chosen.chosen(of(photos))
    place = samples.place([path.name for path in samples.paths].index(odd.name))
    fix = chosen.leaving_out(samples, [[path.name for path in samples.paths].index(odd.name)])
    recipe = Recipe(data=of(photos, fix))
    again = loads(recipe.to_yaml()).data
    assert again.fixes == (fix,)
    assert place not in sides(again)
    assert len(sides(again)) == 29


def test_nothing_is_decoded_again_for_an_image_less(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = chosen.chosen(of(photos))
    all_of_them = cache.decoded(whole, 36)
    monkeypatch.setattr(cache, "_build", lambda *given: pytest.fail("decoded again"))
    some, _ = chosen.chosen(of(photos, LeaveOut(images=("apple/2.png", "corn/1.png"))))
    images = cache.decoded(some, 36)
    assert len(images) == len(some) == 28
    for index in range(len(some)):
        assert np.array_equal(images[index], all_of_them[whole.paths.index(some.paths[index])])


def test_a_broken_image_that_is_left_out_stops_nothing(photos: Path) -> None:
    (photos / "corn/4.png").write_bytes(b"nothing")
    whole, _ = chosen.chosen(of(photos))
    assert len(cache.filled(whole, 36).bad) == 1
    some, _ = chosen.chosen(of(photos, LeaveOut(images=("corn/4.png",))))
    assert not cache.decoded(some, 36, "stop").bad


def test_going_on_keeps_to_what_a_run_began_with(photos: Path) -> None:
    data = of(photos, LeaveOut(images=("apple/2.png",)), Relabel(images=("corn/3.png",), label="apple"), test_share=0.2)
    samples, parts = chosen.chosen(data)
    begun = kept(samples, parts)
    same, again, notes = chosen.again(data, begun)
    assert (same, notes) == (samples, ())
    assert all(np.array_equal(*pair) for pair in zip(parts.sides, again.sides, strict=True))
    Image.new("RGB", (40, 40)).save(photos / "apple" / "new.png")
    _, _, notes = chosen.again(data, begun)
    assert "1 image is new" in notes[0]


def test_a_run_trains_on_mended_data(photos: Path, tiny: Recipe) -> None:
    fixes = LeaveOut(images=("apple/2.png",)), Merge(classes=("apple", "corn"), into="food")
    made = session.prepare(tiny.replace(data=of(photos, *fixes)))
    assert made.targets.names == ("bread", "food")
    assert len(made.train) + len(made.valid) == 29


FIXED = {
    "left out": (LeaveOut(images=("apple/2.png", "corn/1.png")),),
    "a class left out": (LeaveOut(images=tuple(f"bread/{number}.png" for number in range(10))),),
    "moved": (Move(images=("apple/2.png",), side="valid"), Move(images=("apple/3.png",), side="train")),
    "relabelled": (Relabel(images=("apple/2.png", "bread/2.png"), label="corn"),),
    "a new class": (Relabel(images=("apple/2.png", "bread/2.png"), label="berry"),),
    "merged": (Merge(classes=("apple", "corn"), into="food"), Relabel(images=("corn/4.png",), label="bread")),
    "all of it": (
        Merge(classes=("apple", "corn"), into="food"),
        LeaveOut(images=("apple/5.png",)),
        Move(images=("bread/1.png", "bread/2.png"), side="valid"),
    ),
    "nothing": (),
}


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize(
    "values",
    [{}, {"fold": 2}, {"test_share": 0.2, "fold": 1}, {"group": r"(\d)\.png"}],
    ids=lambda values: "".join(values),
)
def test_the_script_mends_alike(photos: Path, name: str, values: dict[str, Any]) -> None:
    data = of(photos, *FIXED[name], split_seed=4, **values)
    samples, parts = chosen.chosen(data)
    names: dict[str, Any] = {}
    exec(script.data(Recipe(data=data), data.source.samples()), names)
    assert [Path(path) for path in names["paths"]] == list(samples.paths)
    assert names["labels"].tolist() == list(samples.labels)
    assert names["train"].tolist() == parts.train.tolist()
    assert names["valid"].tolist() == parts.valid.tolist()
    assert tuple(names["CLASSES"]) == samples.classes


def test_fixes_that_say_alike_become_one() -> None:
    some = chosen.with_fix((), LeaveOut(images=("a", "b")))
    some = chosen.with_fix(some, Move(images=("c",)))
    some = chosen.with_fix(some, LeaveOut(images=("b", "d")))
    assert some == (Move(images=("c",)), LeaveOut(images=("a", "b", "d")))


def test_what_was_said_later_of_an_image_holds() -> None:
    said: tuple[Fix, ...] = ()
    for fix in (Relabel(images=("x",), label="dog"), Relabel(images=("x",), label="cat")):
        said = chosen.with_fix(said, fix)
    said = chosen.with_fix(said, Relabel(images=("y",), label="dog"))
    assert [(fix.images, fix.label) for fix in said] == [(("x",), "dog"), (("x",), "cat"), (("y",), "dog")]


def test_a_class_left_out_counts_in_no_group(photos: Path) -> None:
    out = LeaveOut(images=tuple(f"bread/{number}.png" for number in range(10)))
    for seed in range(5):
        after = sides(of(photos, out, group=r"(\w+/\d)", split_seed=seed))
        assert len([name for name, side in after.items() if side == "corn valid"]) == 2


@pytest.mark.parametrize("fix", [Relabel(images=("corn/1.png",)), Merge(classes=("corn", "apple"))])
def test_a_fix_without_a_class_is_refused(photos: Path, fix: Fix) -> None:
    with pytest.raises(UserError, match="has no class"):
        sides(of(photos, fix))


def test_a_class_to_be_merged_that_is_not_there_is_told(photos: Path) -> None:
    samples, _ = chosen.chosen(of(photos, Merge(classes=("corn", "aple"), into="corn")))
    assert "1 class to be merged not there: aple." in samples.notes


def test_the_script_learns_from_no_test_image_whatever_is_mended(photos: Path) -> None:
    own = photos.parent / "own"
    for number, file in enumerate(sorted(photos.glob("*/*.png"))):
        target = own / ("train", "val", "test")[number % 3] / file.parent.name
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    out = next((own / "train/apple").iterdir()).relative_to(own).as_posix()
    data = of(own, LeaveOut(images=(out,)))
    _samples, parts = chosen.chosen(data)
    names: dict[str, Any] = {}
    exec(script.data(Recipe(data=data), data.source.samples()), names)
    assert names["train"].tolist() == parts.train.tolist()
    assert names["valid"].tolist() == parts.valid.tolist()
    assert len(parts.test) == 10
