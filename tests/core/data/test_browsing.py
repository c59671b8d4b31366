"""Looking for a folder: what lies in it, in words where that cannot be told, and never longer than people wait."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from finetune_core import places
from finetune_core.data import browsing
from finetune_core.errors import UserError


def put(root: Path, *names: str) -> None:
    for name in names:
        place = root / name
        (place if name.endswith("/") else place.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            place.touch()


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Folders below `asleep` answer when the test is over."""
    wake, asked, scan, is_dir = threading.Event(), [], os.scandir, Path.is_dir

    def waiting(path: str | Path) -> None:
        if Path(path).name == "asleep":
            asked.append(str(path))
            wake.wait()

    monkeypatch.setattr(os, "scandir", lambda path: (waiting(path), scan(path))[1])
    monkeypatch.setattr(Path, "is_dir", lambda path: (waiting(path), is_dir(path))[1])
    yield asked
    wake.set()


def test_folders_in_natural_order_and_the_files_that_are_wanted(tmp_path: Path) -> None:
    put(tmp_path, "day 10/", "day 2/", "Day 1/", ".hidden/", "@eaDir/", "b.CSV", "a.csv", "c.txt", ".d.csv", "1.jpg")
    found = browsing.look(tmp_path, (".csv",))
    assert found.folders == ["Day 1", "day 2", "day 10"]
    assert found.files == ["a.csv", "b.CSV"]
    assert found.here.words() == "3 folders, 1 image"
    assert browsing.look(tmp_path).files == []


def test_it_is_said_how_much_lies_directly_in_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browsing, "COUNTED", 20)
    put(tmp_path, "empty/", "pets/cat/", "pets/1.jpg", "pets/.2.jpg", "pets/readme.md")
    put(tmp_path, *(f"many/{number}.png" for number in range(30)), *(f"text/{number}.txt" for number in range(30)))
    found = browsing.look(tmp_path)
    assert dict(zip(found.folders, found.words(found.folders), strict=True)) == {
        "empty": "no images",
        "pets": "1 folder, 1 image",
        "many": "20 images or more",
        "text": "no images so far",
    }


def test_of_a_huge_folder_so_many_are_shown_and_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browsing, "MOST", 50)
    put(tmp_path, *(f"{number}/" for number in range(60)))
    found = browsing.look(tmp_path)
    assert len(found.folders) == 50
    assert found.here.words() == "50 folders or more"


def test_a_hundred_thousand_folders_are_listed(tmp_path: Path) -> None:
    for number in range(100_000):
        (tmp_path / f"scene {number}").mkdir()
    found = browsing.look(tmp_path, patience=60)
    assert len(found.folders) == 100_000
    assert found.folders[:3] == ["scene 0", "scene 1", "scene 2"]


def test_a_folder_that_cannot_be_read_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "file.txt", "locked/", "pets/")
    with pytest.raises(UserError, match="gone is not there any more"):
        browsing.look(tmp_path / "gone")
    with pytest.raises(UserError, match=r"file\.txt is no folder"):
        browsing.look(tmp_path / "file.txt")
    with pytest.raises(UserError, match="cannot be read"):
        browsing.look(Path("a\0b"))
    scan = os.scandir

    def locked(path: str | Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", locked)  # root may read everything
    with pytest.raises(UserError, match="Permission denied"):
        browsing.look(tmp_path / "locked")
    found = browsing.look(tmp_path)
    assert found.words(found.folders) == ["cannot be read", "no images"]


def test_links_lead_on_but_not_round_in_circles(tmp_path: Path) -> None:
    put(tmp_path, "pets/cat/", "else/where/", "label.csv")
    for name, target in {
        "up": tmp_path,
        "other": tmp_path / "else",
        "self": tmp_path / "pets" / "self",
        "nowhere": tmp_path / "gone",
        "text": tmp_path / "label.csv",
    }.items():
        (tmp_path / "pets" / name).symlink_to(target)
    assert browsing.look(tmp_path / "pets").folders == ["cat", "other", "up"]
    assert browsing.look(tmp_path / "pets" / "other").folder == tmp_path / "pets" / "other"
    back = browsing.look(tmp_path / "pets" / "up")
    assert back.folder == tmp_path.resolve(), "the way there does not grow with each round"
    assert "pets" in back.folders


def test_names_that_no_page_could_print_are_found_and_counted(tmp_path: Path) -> None:
    try:
        put(tmp_path, os.fsdecode(b"caf\xe9/1.jpg"), "*a* _b_ :red[c]/", "two\nlines/")
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    found = browsing.look(tmp_path)
    assert {*found.folders} == {os.fsdecode(b"caf\xe9"), "*a* _b_ :red[c]", "two\nlines"}
    assert "1 image" in found.words(found.folders)


def test_a_drive_that_does_not_answer_is_waited_for_a_moment_and_asked_once(tmp_path: Path, asleep: list[str]) -> None:
    put(tmp_path, "asleep/", "pets/1.jpg")
    begun = time.monotonic()
    for _ in range(3):
        with pytest.raises(UserError, match="does not answer"):
            browsing.look(tmp_path / "asleep", patience=0.2)
    assert asleep == [str(tmp_path / "asleep")], "threads do not pile up"
    found = browsing.look(tmp_path)
    assert found.folders == ["asleep", "pets"]
    assert found.words(["pets", "asleep"]) == ["1 image", ""]
    assert browsing.beginning(str(tmp_path / "asleep")) == Path.home()
    assert time.monotonic() - begun < 5


def test_two_tabs_that_look_at_a_slow_folder_at_once_both_see_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "pets/", "a.csv")
    scan, found = os.scandir, dict[tuple[str, ...], browsing.Listing]()
    monkeypatch.setattr(os, "scandir", lambda path: (time.sleep(0.3), scan(path))[1])
    wishes = [(), (".csv",), (".txt",)]
    tabs = [
        threading.Thread(target=lambda wish=wish: found.update({wish: browsing.look(tmp_path, wish)}))
        for wish in wishes
    ]
    for tab in tabs:
        tab.start()
    for tab in tabs:
        tab.join()
    assert [found[wish].files for wish in wishes] == [[], ["a.csv"], []]
    assert {tuple(each.folders) for each in found.values()} == {("pets",)}


def test_a_link_to_a_drive_that_does_not_answer_hides_nothing(tmp_path: Path, asleep: list[str]) -> None:
    put(tmp_path, "pets/", "drive/")
    (tmp_path / "asleep").symlink_to(tmp_path / "drive")
    assert browsing.look(tmp_path).folders == ["asleep", "drive", "pets"]


def test_it_begins_where_something_was_named_or_found_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    put(tmp_path, "pets/cat/", "tables/a.csv")
    assert browsing.beginning("") == tmp_path
    browsing.remember("~/pets")
    assert browsing.beginning("") == tmp_path / "pets"
    assert browsing.beginning(f'"{tmp_path}/tables/a.csv"') == tmp_path / "tables", "of a file, where it lies"
    assert browsing.beginning(str(tmp_path / "pets" / "gone" / "further")) == tmp_path / "pets"
    assert browsing.beginning("a\0b") == Path.cwd()
    for odd in ("~nobody/x", "/gone/for/good"):
        assert browsing.beginning(odd) == tmp_path / "pets"
    (tmp_path / "pets" / "cat").rmdir()
    (tmp_path / "pets").rmdir()
    assert browsing.beginning("") == tmp_path


def test_the_last_ones_are_kept_in_the_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, *(f"{number}/" for number in range(9)), "tables/a.csv")
    for number in (*range(9), 3):
        browsing.remember(str(tmp_path / str(number)))
    browsing.remember(str(tmp_path / "tables" / "a.csv"))
    browsing.remember(str(tmp_path / "gone" / "for" / "good"))
    browsing.remember("")
    assert [path.name for path in browsing.last()] == ["tables", "3", "8", "7", "6", "5"]
    assert (places.runs_dir() / "folders.json").is_file()
    assert {"last", "home", "work"} <= {spot.kind for spot in browsing.spots()}
    for damage in ("", "{", '{"a": 1}', "[1, null]"):
        (places.runs_dir() / "folders.json").write_text(damage)
        assert browsing.last() == []
    monkeypatch.setenv("THAW_RUNS", "/proc/nothing")
    with pytest.raises(UserError, match="no place for the folders that were used last"):
        browsing.remember(str(tmp_path))
