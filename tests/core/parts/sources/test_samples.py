"""Listing a folder of images: what is found, in which order, and what is said about folders that do not fit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from finetune_core.errors import UserError
from finetune_core.parts.sources import Blooms, Folder
from finetune_core.parts.sources.folders import list_folder
from finetune_core.parts.sources.samples import natural
from finetune_core.wording import shown


def put(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path, "PNG")
    return root


def test_classes_come_in_natural_order_and_images_by_path(tmp_path: Path) -> None:
    put(tmp_path, "class 10/a.png", "class 2/z.PNG", "class 2/deep/er/b.jpeg", "class 2/a.tiff", "Alpha/1.webp")
    samples = list_folder(tmp_path)
    assert samples.classes == ("Alpha", "class 2", "class 10")
    assert [samples.name(i) for i in range(len(samples))] == [
        "Alpha/1.webp",
        "class 2/a.tiff",
        "class 2/deep/er/b.jpeg",
        "class 2/z.PNG",
        "class 10/a.png",
    ]
    assert samples.labels == (0, 1, 1, 1, 2)
    assert samples.fixed is None
    assert samples.counts() == {"Alpha": 1, "class 2": 3, "class 10": 1}


def test_what_is_hidden_or_no_image_is_ignored(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/1.png", "a/.hidden.png", ".c/1.png", "__MACOSX/1.png", "a/._1.png")
    (tmp_path / "a/notes.txt").write_text("hello")
    (tmp_path / "a/folder.jpg").mkdir()
    assert len(list_folder(tmp_path)) == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_links_are_followed_but_not_in_circles_and_pipes_are_left_alone(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/1.png", "elsewhere/.keep.png")
    put(tmp_path.parent / "outside", "x.png")
    (tmp_path / "a/loop").symlink_to("..")
    (tmp_path / "a/broken.png").symlink_to("gone.png")
    (tmp_path / "a/more").symlink_to(tmp_path.parent / "outside")
    os.mkfifo(tmp_path / "a/pipe.jpg")
    assert [path.name for path in list_folder(tmp_path).paths] == ["1.png", "x.png", "1.png"]


def test_empty_classes_and_loose_images_are_noted(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/1.png", "loose.png")
    (tmp_path / "empty").mkdir()
    samples = list_folder(tmp_path)
    assert samples.classes == ("a", "b")
    assert any("empty" in note for note in samples.notes)
    assert any("loose.png" in note for note in samples.notes)


@pytest.mark.parametrize("valid", ["val", "valid", "validation", "test", "Val"])
def test_train_and_validation_folders_are_the_split(tmp_path: Path, valid: str) -> None:
    put(tmp_path, "train/a/1.png", "train/b/1.png", f"{valid}/a/2.png", f"{valid}/b/2.png")
    samples = list_folder(tmp_path)
    assert samples.classes == ("a", "b")
    assert samples.fixed == ("train", "valid", "train", "valid")


def test_a_test_folder_beside_a_validation_folder_stays_a_test(tmp_path: Path) -> None:
    put(tmp_path, *(f"{part}/{name}/1.png" for part in ("train", "val", "test") for name in "ab"))
    samples = list_folder(tmp_path)
    assert samples.fixed == ("train", "valid", "test") * 2
    assert samples.notes == ()


def test_a_home_folder_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(put(tmp_path, "photos/a/1.png", "photos/b/1.png")))
    assert len(list_folder("~/photos")) == 2


@pytest.mark.parametrize(
    ("files", "folder", "says"),
    [
        ((), "", "No folder is chosen"),
        ((), "   ", "No folder is chosen"),
        ((), "{}/nowhere", "There is no folder"),
        ((), "{}/null\0byte", "folder"),
        ((), "~no_such_person/photos", "leads nowhere"),
        (("file.png",), "{}/file.png", "is a file"),
        ((), "{}", "no images"),
        (("1.png", "2.png"), "{}", "no classes"),
        (("a/1.png", "a/2.png"), "{}", "only one class: a"),
        (("data/a/1.png", "data/b/2.png"), "{}", "only one class: data"),
        (("train/a/1.png", "train/b/1.png", "val/a/2.png"), "{}", "different classes"),
        (("train/a/1.png", "val/a/2.png"), "{}", "only one class: a"),
    ],
)
def test_a_folder_that_does_not_fit_is_explained(
    tmp_path: Path, files: tuple[str, ...], folder: str, says: str
) -> None:
    put(tmp_path, *files)
    with pytest.raises(UserError, match=says) as caught:
        list_folder(folder.format(tmp_path))
    assert caught.value.why
    assert caught.value.hint


def test_one_folder_too_high_is_told(tmp_path: Path) -> None:
    put(tmp_path, "data/a/1.png", "data/b/2.png")
    with pytest.raises(UserError) as caught:
        list_folder(tmp_path)
    assert str(tmp_path / "data") in caught.value.hint


def test_names_that_are_not_unicode_can_be_shown(tmp_path: Path) -> None:
    try:
        put(tmp_path, os.fsdecode(b"bad_\xff/1.png"), "b/new\nline.png")
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    samples = list_folder(tmp_path)
    assert samples.classes == ("b", r"bad_\xff")
    assert samples.name(0) == r"b/new\nline.png"
    assert shown(samples.paths[1]).encode().isascii()


def test_natural_order_takes_any_name() -> None:
    names = ["0", "-1", "nan", "10", "9", "²", "٣", "", "a1b"]
    assert sorted(names, key=natural)


def test_listing_and_splitting_need_no_torch() -> None:
    code = "import sys, finetune_core.data.preview, finetune_core.data.loader; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_blooms_is_drawn_into_the_cache_and_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def ensure(folder: Path, progress: object) -> Path:
        drawn.append(folder)
        return put(folder, "aster/1.png", "daisy/1.png")

    monkeypatch.setattr("finetune_core.blooms.ensure", ensure)
    assert Blooms().samples().classes == ("aster", "daisy")
    assert drawn == [tmp_path / "cache" / "blooms-v1"]


def test_blooms_leads_to_its_files_once_they_are_there(blooms: None) -> None:
    assert Blooms().expected() == Blooms().samples()
    assert all(path.is_file() for path in Blooms().expected().paths)


def test_blooms_without_a_place_to_draw_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("THAW_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="no place for the sample images"):
        Blooms().samples()


def test_a_chosen_folder_is_listed(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/1.png")
    assert len(Folder(path=str(tmp_path)).samples()) == 2
