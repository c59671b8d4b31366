"""Pictures that people bring land in a folder of theirs, each once, under names that a disk takes."""

import errno
import io
import threading
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from finetune_core.data import collecting
from finetune_core.data.collecting import Brought, add, counts
from finetune_core.errors import UserError
from finetune_core.parts.sources import Folder


def picture(colour: int, ending: str = "png") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (30, 30), (colour, 10, 10)).save(file, {"png": "PNG", "jpg": "JPEG"}[ending])
    return file.getvalue()


def brought(**files: bytes) -> list[Brought]:
    return [Brought(name, io.BytesIO(data)) for name, data in files.items()]


def test_pictures_of_a_class_are_added_once_and_never_overwrite(tmp_path: Path) -> None:
    folder = str(tmp_path / "mine")
    some = {"1.png": picture(1), "2.PNG": picture(2), "notes.txt": b"x"}
    first = add(folder, "mug", brought(**some))
    assert (first.new, first.again) == ({"mug": 2}, 0)
    assert "Left out: notes.txt." in first.line()
    second = add(folder, "mug", brought(**{**some, "1.png": picture(3)}))
    assert (second.new, second.again) == ({"mug": 1}, 1)
    names = sorted(path.name for path in (tmp_path / "mine/mug").iterdir())
    assert names == ["1-2.png", "1.png", "2.png"]
    assert (tmp_path / "mine/mug/1.png").read_bytes() == picture(1)
    add(folder, "cup", brought(**{"x.png": picture(9)}))
    assert counts(folder) == {"cup": 1, "mug": 3}
    assert Folder(path=folder).samples().classes == ("cup", "mug")


def test_a_folder_tells_the_classes_of_what_lies_in_it(tmp_path: Path) -> None:
    found = add(
        str(tmp_path / "mine"),
        "",
        brought(**{"pets/cat/1.png": picture(1), "pets\\dog\\1.png": picture(2), "loose.png": picture(3)}),
    )
    assert found.new == {"cat": 1, "dog": 1}
    assert "say their class" in found.line()


def test_an_archive_is_taken_apart(tmp_path: Path) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in ("cat/1.png", "dog/1.png", "../../evil.png"):
            archive.writestr(name, picture(len(name)))
    found = add(str(tmp_path / "mine"), "", brought(**{"pets.zip": data.getvalue()}))
    assert found.new == {"cat": 1} | ({"dog": 1} if "dog" in found.new else {})
    assert any("lead" in note for note in found.notes)
    assert not [*tmp_path.parent.glob("*evil.png"), *tmp_path.glob("*evil.png")]


@pytest.mark.parametrize("label", ["../up", "a/b", ".hidden", "a\nb", "x" * 300, "..", "a\\b"])
def test_names_that_are_no_class_are_refused(tmp_path: Path, label: str) -> None:
    with pytest.raises(UserError, match="cannot be a class"):
        add(str(tmp_path / "mine"), label, brought(**{"1.png": picture(1)}))
    assert not (tmp_path / "mine").exists()


def test_an_odd_folder_in_the_midst_stops_nothing(tmp_path: Path) -> None:
    names = ("a/1.png", "bad\u200bname/1.png", "e/1.png")
    found = add(str(tmp_path / "mine"), "", brought(**{name: picture(n) for n, name in enumerate(names)}))
    assert found.new == {"a": 1, "e": 1}
    assert "Left out" in found.line()


def test_a_disk_that_refuses_leaves_no_empty_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(collecting, "replace_file", full)
    with pytest.raises(UserError, match="no room for your pictures"):
        add(str(tmp_path / "mine"), "mug", brought(**{"1.png": picture(1)}))
    assert not [*(tmp_path / "mine/mug").iterdir()]


@pytest.mark.parametrize("folder", ["x" * 300, "/proc/1/root", "/nowhere", "~nobody/x", ""])
def test_a_place_that_cannot_be_looked_at_has_no_pictures(folder: str) -> None:
    assert counts(folder) == {}


@pytest.mark.parametrize(
    "name",
    [
        "画" * 90 + ".jpg",
        ".jpg",
        "../../evil.png",
        "/etc/evil.png",
        "a\nb\x00.png",
        "-rf.png",
        ".hidden.png",
        "x" * 300 + ".png",
        "画像 🙂.png",
    ],
)
def test_any_name_becomes_one_that_a_disk_takes(tmp_path: Path, name: str) -> None:
    add(str(tmp_path / "mine"), "mug", brought(**{name: picture(1)}))
    [file] = (tmp_path / "mine/mug").iterdir()
    assert file.read_bytes() == picture(1)
    assert not file.name.startswith((".", "-"))
    assert file.suffix in (".png", ".jpg")


def test_a_place_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for folder, words in (
        ("", "No folder"),
        (str(tmp_path / "file"), "is a file"),
        ("/proc/nowhere", "cannot be written"),
    ):
        with pytest.raises(UserError, match=words):
            add(folder, "mug", brought(**{"1.png": picture(1)}))


def test_two_tabs_at_once_lose_nothing(tmp_path: Path) -> None:
    def bring(number: int) -> None:
        add(str(tmp_path / "mine"), "mug", brought(**{"camera.jpg": picture(number, "jpg")}))

    threads = [threading.Thread(target=bring, args=(20 * number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({path.read_bytes() for path in (tmp_path / "mine/mug").iterdir()}) == 10
