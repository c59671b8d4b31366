"""Labels given by hand: a table that any program reads, written whole each time, and nothing of a person's lost."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from finetune_core.data import labelling
from finetune_core.errors import UserError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Pictures with every name that a disk takes."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.png", 'b, "two".png', "sub/ü c.png", "-d.png", "e;f.png"):
        Image.new("RGB", (20, 20)).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_labels_are_a_table_that_trains(photos: Path) -> None:
    bench = labelling.read(str(photos))
    assert len(bench.images) == len(bench.left) == 5
    for number, name in enumerate(bench.images):
        labelling.give(photos, {name: ("cup", " hat,  red ")[number % 2]})
    bench = labelling.read(str(photos))
    assert not bench.left
    assert bench.counts == {"cup": 3, "hat, red": 2}
    samples = bench.source.samples()
    assert samples.classes == ("cup", "hat, red")
    assert {samples.place(index): samples.label_words(index) for index in range(5)} == dict(bench.labels)
    with (photos / "labels.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 5


def test_what_is_given_is_taken_back(photos: Path) -> None:
    before = labelling.give(photos, {"a.png": "cup"})
    labelling.give(photos, {"-d.png": "hat"})
    assert labelling.give(photos, before) == {"a.png": "cup"}
    assert dict(labelling.read(str(photos)).labels) == {"-d.png": "hat"}
    gone = labelling.give(photos, {"a.png": "hat", "-d.png": "cup"})
    labelling.give(photos, gone)
    assert dict(labelling.read(str(photos)).labels) == {"-d.png": "hat"}


def test_names_that_no_table_holds_are_told_and_all_others_are_there(photos: Path) -> None:
    for name in ("Screenshot 9.41.00\u202fAM.png", "caf\u00a0e.png", "two\nlines.png", " edge.png"):
        Image.new("RGB", (20, 20)).save(photos / name)
    bench = labelling.read(str(photos))
    assert sorted(bench.left_out) == [" edge.png", "two\nlines.png"]
    assert len(bench.images) == 7
    labelling.give(photos, dict.fromkeys(bench.images, "cup"))
    labelling.give(photos, {"a.png": "hat", "-d.png": "hat"})
    assert {*bench.source.samples().paths} == {photos / name for name in bench.images}


def test_a_list_of_what_is_to_be_labelled_stays_one(photos: Path) -> None:
    """Saved by a spreadsheet, too, which puts a mark in front."""
    (photos / "labels.csv").write_bytes("\ufefffile,label\na.png,\n-d.png,hat\n".encode())
    labelling.give(photos, {"e;f.png": "cup"})
    text = (photos / "labels.csv").read_text("utf-8")
    assert text.splitlines() == ["file,label", "a.png,", "-d.png,hat", "e;f.png,cup"]
    assert dict(labelling.read(str(photos)).labels) == {"-d.png": "hat", "e;f.png": "cup"}


def test_two_processes_lose_no_label(photos: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from finetune_core.data import labelling\n"
        "for number in range(100): labelling.give(Path(sys.argv[1]), {f'{sys.argv[2]}{number}.png': 'cup'})"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, str(photos), name]) for name in "xy"]
    assert [each.wait() for each in both] == [0, 0]
    assert len(labelling.read(str(photos)).labels) == 200


def test_what_others_wrote_meanwhile_stays(photos: Path) -> None:
    labelling.give(photos, {"a.png": "cup"})
    with (photos / "labels.csv").open("a", encoding="utf-8") as file:
        file.write("gone.png,cup\n-d.png,hat\n")
    labelling.give(photos, {"e;f.png": "hat"})
    assert labelling.read(str(photos)).labels == {"a.png": "cup", "gone.png": "cup", "-d.png": "hat", "e;f.png": "hat"}
    assert labelling.read(str(photos)).counts == {"cup": 1, "hat": 2}, "a picture that is gone is not counted"


@pytest.mark.parametrize(
    "text",
    [
        "file,label,who\na.png,cup,me\n",
        "file,label\na.png,cup\na.png,hat\n",
        "image;class\na.png;cup\n",
        'file,label\n"a',
        "\0\xff",
    ],
)
def test_another_table_of_that_name_is_not_touched(photos: Path, text: str) -> None:
    (photos / "labels.csv").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match="another table"):
        labelling.read(str(photos))
    with pytest.raises(UserError, match="another table"):
        labelling.give(photos, {"a.png": "cup"})
    assert (photos / "labels.csv").read_text(encoding="latin-1") == text


@pytest.mark.parametrize("label", ["\0", "a\x1bb", "x" * 101])
def test_what_no_label_can_be_is_told(photos: Path, label: str) -> None:
    with pytest.raises(UserError, match="cannot be a label"):
        labelling.give(photos, {"a.png": label})
    assert not (photos / "labels.csv").exists()


def test_a_folder_that_may_not_be_written_is_told(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labelling.give(photos, {"a.png": "cup"})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(labelling, "replace_file", full)
    with pytest.raises(UserError, match=r"no room|space"):
        labelling.give(photos, {"-d.png": "hat"})
    assert dict(labelling.read(str(photos)).labels) == {"a.png": "cup"}


def test_no_pictures_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no pictures"):
        labelling.read(str(tmp_path))
