"""Labels from tables and from file names: real files, and every mistake that a person makes with them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from finetune_core.data.split import split
from finetune_core.errors import UserError
from finetune_core.parts import Source
from finetune_core.parts.sources import FileNames, Table, table_files
from finetune_core.parts.sources.file_names import list_names
from finetune_core.parts.sources.tables import list_table
from finetune_core.recipe import Data
from tests.conftest import paint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six small images, some of them a level below."""
    for number in range(6):
        path = tmp_path / ("more" if number % 2 else "") / f"pic{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (40 * number, 0, 0)).save(path)
    return tmp_path


def write(folder: Path, header: str, *rows: str) -> Path:
    places = ["pic0.png", "more/pic1.png", "pic2.png", "more/pic3.png", "pic4.png", "more/pic5.png"]
    lines = [header, *(f"{place},{row}" for place, row in zip(places, rows, strict=False))]
    file = folder / "labels.csv"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def test_classes_come_in_natural_order_and_class_by_class(folder: Path) -> None:
    file = write(folder, "file,kind", "class 10", "class 2", "class 10", "class 2", "class 2", "class 10")
    samples = list_table(file, "single_label")
    assert samples.classes == ("class 2", "class 10")
    assert samples.labels == (0, 0, 0, 1, 1, 1)
    assert [path.name for path in samples.paths] == [f"pic{n}.png" for n in (1, 3, 4, 0, 2, 5)]
    assert samples.counts() == {"class 2": 3, "class 10": 3}


@pytest.mark.parametrize("one_column", [True, False], ids=["one column", "a column each"])
def test_tags_in_one_column_or_in_a_column_each(folder: Path, one_column: bool) -> None:
    rows = ["red round", "red", "", "round", "red", "round"]
    if one_column:
        file = write(folder, "file,tags", *rows)
    else:
        file = write(folder, "file,red,round", *(f"{int('red' in row)},{int('round' in row)}" for row in rows))
    samples = list_table(file, "multi_label")
    assert samples.classes == ("red", "round")
    assert samples.labels == ((1, 1), (1, 0), (0, 0), (0, 1), (1, 0), (0, 1))
    assert samples.members(1).tolist() == [0, 3, 5]
    assert [samples.label_words(index) for index in range(3)] == ["red, round", "red", "no tag"]


def test_numbers_semicolons_and_a_split_of_the_tables_own(folder: Path) -> None:
    file = folder / "labels.csv"
    file.write_text(
        "where;age;weight;part\npic0.png;3;1.5;train\nmore/pic1.png;4;2;Val\npic2.png;5;-1e2;training\n",
        encoding="utf-8",
    )
    samples = list_table(file, "regression", split="part")
    assert samples.classes == ("age", "weight")
    assert samples.labels == ((3.0, 1.5), (4.0, 2.0), (5.0, -100.0))
    assert samples.label_words(2) == "age 5, weight -100"
    parts = split(samples, Data(valid_share=0.5, split_seed=0))
    assert (parts.train.tolist(), parts.valid.tolist()) == ([0, 2], [1])


def test_images_with_numbers_are_split_by_chance_and_always_alike(folder: Path) -> None:
    samples = list_table(write(folder, "file,age", *"123456"), "regression")
    one, again, other = (
        split(samples, Data(valid_share=0.3, split_seed=1)),
        split(samples, Data(valid_share=0.3, split_seed=1)),
        split(samples, Data(valid_share=0.3, split_seed=2)),
    )
    assert len(one.valid) == 2
    assert np.array_equal(one.valid, again.valid)
    assert sorted([*one.train, *one.valid]) == list(range(6))
    assert {tuple(split(samples, Data(valid_share=0.3, split_seed=seed)).valid) for seed in range(9)} > {
        tuple(one.valid)
    }
    assert len(other.train) == 4


def test_rows_without_a_file_are_told(folder: Path) -> None:
    file = write(folder, "file,kind", "a", "b", "a")
    file.write_text(file.read_text(encoding="utf-8") + "\ngone.png,b\n", encoding="utf-8")
    assert "gone.png" in list_table(file, "single_label").notes[0]


@pytest.mark.parametrize(
    ("header", "rows", "task", "options", "words"),
    [
        ("file,kind", ["a", "a"], "single_label", {}, "only one class"),
        ("file,kind", ["a", ""], "single_label", {}, "Row 3 has no class in kind"),
        ("file,kind,more", ["a,b", "b,c"], "single_label", {}, "One column must name the class"),
        ("file,kind", ["a", "b"], "single_label", {"labels": "sort"}, "no column sort"),
        ("file,kind", ["a", "b"], "single_label", {"image": "kind"}, "None of the images"),
        ("name,kind", [], "single_label", {}, "no rows"),
        ("file,age", ["3", "old"], "regression", {}, "age is no number in row 3: 'old'"),
        ("file,age", ["3", "inf"], "regression", {}, "age is no number in row 3"),
        ("file,a,b", ["1,0", "2,0"], "multi_label", {}, "are not tags"),
        ("file,tags", ["", ""], "multi_label", {}, "holds no tags"),
        ("file,age,part", ["3,train", "4,later"], "regression", {"split": "part"}, "says 'later'"),
        ("file,age,part", ["3,train", "4,train"], "regression", {"split": "part"}, "on one side"),
        ("file,age,age ", ["3,1", "4,1"], "regression", {}, "the same name"),
    ],
)
def test_a_mistake_in_a_table_is_told_in_words(folder, header, rows, task, options, words) -> None:
    file = write(folder, header, *rows)
    with pytest.raises(UserError, match=words):
        list_table(file, task, **options)


def test_no_table_a_folder_and_a_picture_are_refused(folder: Path) -> None:
    for path, words in (("", "No table"), (folder, "no table"), (folder / "none.csv", "no table")):
        with pytest.raises(UserError, match=words):
            list_table(path, "single_label")
    with pytest.raises(UserError):
        list_table(folder / "pic0.png", "single_label")


def test_classes_in_file_names(folder: Path) -> None:
    for name in ("great_pyrenees_17", "pug_2", "pug_10", "odd"):
        Image.new("RGB", (8, 8)).save(folder / "more" / f"{name}.jpg")
    samples = list_names(folder / "more", r"^(.+)_\d+$")
    assert samples.classes == ("great_pyrenees", "pug")
    assert samples.labels == (0, 1, 1)
    assert "4 images" in samples.notes[0]
    assert "odd.jpg" in samples.notes[0]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(", "regular expression"),
        ("pic", "one group"),
        ("(x)(y)", "2 groups"),
        ("(z+)", "fits none"),
        ("(pic)", "one class"),
    ],
)
def test_a_pattern_that_does_not_do_is_refused(folder: Path, pattern: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        list_names(folder, pattern)


def test_the_parts_list_what_the_functions_list(folder: Path) -> None:
    file = write(folder, "file,age", *"123456")
    table: Source = Table(path=str(file), task="regression")
    assert table.task_kind == "regression"
    assert table.samples().labels == list_table(file, "regression").labels
    assert FileNames(path=str(folder), pattern=r"pic(\d)").samples().classes == tuple("012345")


def test_images_outside_the_tables_folder_are_told(tmp_path: Path) -> None:
    paint(tmp_path / "elsewhere", per_class=2)
    paint(tmp_path / "here" / "photos", per_class=2)
    rows = [f"{path},{path.parent.name}" for path in sorted((tmp_path / "elsewhere").rglob("*.png"))]
    inside = [f"photos/class_0/../class_{n}/0.png,class_{n}" for n in range(3)]
    (tmp_path / "here" / "labels.csv").write_text("\n".join(["file,class", *rows, *inside]))
    notes = " ".join(Table(path=str(tmp_path / "here" / "labels.csv")).samples().notes)
    assert "6 images lie outside the table's folder, such as" in notes
    (tmp_path / "here" / "labels.csv").write_text("\n".join(["file,class", *inside]))
    assert "outside" not in " ".join(Table(path=str(tmp_path / "here" / "labels.csv")).samples().notes)


def test_names_of_columns_may_hold_commas(tmp_path: Path) -> None:
    names = ("a, b", 'say "x"', "plain", "two\nlines")
    assert table_files.parted(table_files.joined(names)) == names
    assert table_files.parted(" one ,two,, ") == ("one", "two")
    for number in range(4):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
    rows = "\n".join(f"{number}.png,{number % 2}" for number in range(4))
    (tmp_path / "t.csv").write_text('file,"kind, in short"\n' + rows)
    found = list_table(tmp_path / "t.csv", "single_label", labels=table_files.joined(["kind, in short"]))
    assert found.classes == ("0", "1")
