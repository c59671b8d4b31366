"""What people bring: tables, folders and patterns as other programs write them. Each went wrong once, or might have."""

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, features

from finetune_core.errors import UserError
from finetune_core.parts.codetext import importing
from finetune_core.parts.sources import Folder, Table
from finetune_core.parts.sources.file_names import list_names
from finetune_core.parts.sources.folders import list_folder
from finetune_core.parts.sources.samples import Samples
from finetune_core.parts.sources.tables import list_table


def put(root: Path, *names: str, format: str = "PNG") -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path, format)
    return root


def junk(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"not an image")
    return root


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """0.png to 3.png, and the same below img."""
    return put(tmp_path, *(f"{place}{number}.png" for place in ("", "img/") for number in range(4)))


CLASSES = ["cat", "dog", "cat", "dog"]


def of_table(folder: Path, text: str | bytes, task: str = "single_label", **how: str) -> Samples:
    file = folder / "labels.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list_table(file, task, **how)


def rows(form: str, header: str = "file,label\n") -> str:
    return header + "".join(form.format(i=i, label=label) for i, label in enumerate(CLASSES))


# --- tables ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        rows("{i}.png|{label}\n", "file|label\n"),
        rows("{i}.png;{label}\n", "file;label, all\n"),
        rows("{i}.png\t{label}\n", "file\tlabel\n"),
        rows("{i}.png {label}\n", "file label\n"),
        rows("{i}.png,{label},\n"),
        rows("{i}.png,{label},,\n", "file,label,,\n"),
        rows("img\\{i}.png,{label}\n"),
        rows("./img/{i}.png,{label}\n"),
        rows("{i},{label}\n", "id,label\n"),
        rows("C:\\Users\\me\\photos\\img\\{i}.png,{label}\n"),
        rows("/home/me/img/{i}.png,{label}\n"),
        rows("{i}.PNG,{label}\n"),
        rows("{i}.png;{label}\n", "sep=;\nfile;label\n"),
        rows('"{i}.png","{label}"\r\n', '\ufeff"file","label"\r\n'),
        rows("{i}.png,{label}\r", "file,label\r"),
        rows("{i}.png,{label}\n").encode("utf-16"),
        rows("{i}.png,{label}\n").encode("utf-16-le"),
        rows("{i}.png,{label}\n").encode("utf-32"),
        rows("{i}.png,{label}\n", "# from a tool\n\n# version 2, 2024\nfile,label\n"),
        rows("{i}.png,{label}\n", "#file,label\n"),
        rows("{i}.png,{label}\n", ""),
        rows("{i},{label}\n", ""),
        rows("\n{i}.png,{label}\n# a remark\n"),
        rows("{i}.png,{label}\n") + "1.png,dog\n",
        rows("{i},{i}.png,{label}\n", ",file,label\n"),
        rows("{i}.png,7,{label}\n", "file,weight,label\n"),
        "".join(f"{label},{i},img/{i}.png\n" for i, label in enumerate(CLASSES)).join(["label,,file\n", ""]),
        rows("{i}.png,{label},x\n", "file,label,Unnamed: 0\n").replace(",x", ",7"),
        "id,label\n" + "".join(f"{i},{label}\n" for i, label in enumerate(CLASSES)),
        '"","id","y"\n' + "".join(f'"{9 - i}",{i},"{label}"\n' for i, label in enumerate(CLASSES)),
        '"id" "y"\n' + "".join(f'"{9 - i}" {i} "{label}"\n' for i, label in enumerate(CLASSES)),
        ",id,label\n" + "".join(f"{3 - i},{i},{label}\n" for i, label in enumerate(CLASSES)),
        rows("{i}.png,{label}," + "7" * 200_000 + "\n", "file,label,mask\n"),
    ],
)
def test_a_table_is_read_as_it_was_meant(images: Path, text: str | bytes) -> None:
    samples = of_table(images, text)
    assert samples.classes == ("cat", "dog")
    assert [path.stem for path in samples.paths] == ["0", "2", "1", "3"]
    assert samples.labels == (0, 0, 1, 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no rows. The file is empty"),
        ("file,label\n", "has no rows"),
        ("file,label\n0.png,cat\n1.png\n2.png,dog\n", "Row 3 has no class in label"),
        ("file,label\n0.png,cat,black\n1.png,dog\n", "Row 2 of labels.csv has 3 cells, but there are 2 columns"),
        (
            'file,label\n0.png,cat\n"1.png,dog\n2.png,cat\n',
            "Row 3 of labels.csv cannot be read. A quotation mark opens",
        ),
        ('file,label\n0.png,"cat"s\n1.png,dog\n', "Row 2 of labels.csv cannot be read. Something stands behind"),
        ("file,label\n0.png,cat\n0.png,dog\n", "Row 2 and row 3 say different things"),
        ("file,label\n7.png,cat\n8.png,dog\n", "None of the images in labels.csv is there"),
        ("name,label\na,cat\nb,dog\n", "The table names no image files"),
        (b"PK\x03\x04" + bytes(100), "an Excel"),
        (bytes(range(256)) * 4, "no text"),
        ("file,label,split\n0.png,cat,train\n1.png,dog,val\n2.png,cat,val\n", "No training image shows dog"),
        ("file,label,when\n0.png,cat,train\n1.png,dog,soon\n", "Row 3 says 'soon'"),
    ],
)
def test_a_table_that_cannot_be_read_right_names_the_row_or_the_cause(
    images: Path, text: str | bytes, says: str
) -> None:
    how = {"split": "when"} if "when" in str(text) else {}
    with pytest.raises(UserError, match=says) as caught:
        of_table(images, text, **how)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("label,file\ncat,0.png\ndog\ncat,2.png\ndog,3.png\n", "1 row names no image: row 3."),
        ("file,label\n,cat\n0.png,cat\n1.png,dog\n", "1 row names no image: row 2."),
        (
            "file,label\n0.png,cat\n1.png,dog\n" + "x" * 300 + ".png,dog\n",
            "1 row names an image that is not there: xxx",
        ),
        (
            "file,label\n0.png,cat\n1.png,dog\n../../etc/passwd.png,dog\n9\0.png,cat\n",
            "2 rows name images that are not",
        ),
        ("file,label\n0.png,cat\n1.png,dog\nlabels.csv,dog\n", "1 row names a file that is no image by its ending"),
        (rows("{i}.png,{label}\n", ""), "has no header"),
        (rows("img\\{i}.png,{label}\n"), "4 images were found by looking, such as img\\0.png as img/0.png"),
        ("file,label\n0.png,caf\xe9\n1.png,dog\n".encode("cp1252"), "as Windows writes text in the West, such as café"),
        ("file,label,set\n0.png,a,train\n1.png,b,train\n2.png,a,Test\n", "The column set says what to train on"),
        ("file,label,set\n0.png,a,train\n1.png,b,train\n2.png,a,Test\n", "no image to measure on that shows b"),
        ("file,label\n0.png,cat\n1.png,dog\n1.png,dog\n", "1 row says the same again"),
        ("file,label\n0.png,cat\n1.png,NA\n2.png,NA\n", "NA is learned as a class (2 rows)"),
        ("file,label\n0.png,cat\n1.png,Cat\n2.png,dog\n", "Cat, cat are 2 classes"),
        ("0.heic,cat\n1.png,dog\n2.png,cat\n", "1 row names an image that is not there: 0.heic"),
        ("7,cat\n1,dog\n2,cat\n", "1 row names an image that is not there: 7"),
        ("0;cat\n1.png;dog\n2.png;cat\n", "has no header"),
        ("file,label,is_valid\n0.png,a,False\n1.png,b,False\n2.png,a,True\n", "The column is_valid says what"),
        ("file,label,age\n0.png,cat,3\n1.png,dog,4\n", "Learned is label; not learned: age."),
    ],
)
def test_what_a_table_leaves_out_or_means_is_said(images: Path, text: str | bytes, note: str) -> None:
    assert any(note in each for each in of_table(images, text).notes)


def test_an_image_that_is_gone_does_not_lead_to_another_of_its_name(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "a/2.png", "b/3.png")
    samples = of_table(tmp_path, "file,label\na/1.png,x\na/2.png,y\nb/1.png,y\nb/3.png,y\n")
    assert len(samples) == 3
    with pytest.raises(UserError, match="cannot be told which image 1 means"):
        of_table(put(tmp_path, "b/1.png"), "id,label\n1,x\n2,y\n")


@pytest.mark.parametrize("ending", ["", ".png"])
@pytest.mark.parametrize("folder", ["images", "data/photos", "train"])
def test_images_in_a_folder_beside_the_table_are_found(tmp_path: Path, ending: str, folder: str) -> None:
    put(tmp_path, f"{folder}/x1.png", f"{folder}/x2.png")
    samples = of_table(tmp_path, f"image_id,label\nx1{ending},cat\nx2{ending},dog\n")
    assert [path.parent for path in samples.paths] == [tmp_path / folder] * 2
    assert any("found by looking" in note for note in samples.remarks)


@pytest.mark.parametrize(
    ("column", "names", "labels"),
    [
        (["cat;dog", "cat", "dog;owl", ""], "cat dog owl", ["110", "100", "011", "000"]),
        (['"cat, dog"', "cat", '"dog,owl"', ""], "cat dog owl", ["110", "100", "011", "000"]),
        (["big cat|dog", "big cat", "dog|owl", ""], "big_cat dog owl", ["110", "100", "011", "000"]),
        (["cat dog", "cat", "dog  owl", ""], "cat dog owl", ["110", "100", "011", "000"]),
        (["\"['cat', 'dog']\"", "['cat']", "\"['dog', 'owl']\"", "[]"], "cat dog owl", ["110", "100", "011", "000"]),
        (['"[""cat"", ""dog""]"', "[cat]", '"{dog, owl}"', "()"], "cat dog owl", ["110", "100", "011", "000"]),
        (["1", "0", "1", "0"], "tags", ["1", "0", "1", "0"]),
        (["True", "no", "YES", "False"], "tags", ["1", "0", "1", "0"]),
    ],
)
def test_tags_in_one_column_are_read_as_they_were_meant(
    images: Path, column: list[str], names: str, labels: list[str]
) -> None:
    samples = of_table(images, "file,tags\n" + "".join(f"{i}.png,{c}\n" for i, c in enumerate(column)), "multi_label")
    assert samples.classes == tuple(name.replace("_", " ") for name in names.split())
    assert samples.labels == tuple(tuple(float(mark) for mark in label) for label in labels)


@pytest.mark.parametrize("marks", [("1", "0"), ("True", "False"), ("x", ""), ("Yes", "No"), ("1.0", "0.0")])
def test_a_column_per_tag_says_yes_or_no_in_many_words(images: Path, marks: tuple[str, str]) -> None:
    yes, no = marks
    text = f"file,cat,dog\n0.png,{yes},{no}\n1.png,{no},{yes}\n2.png,{yes},{yes}\n"
    assert of_table(images, text, "multi_label").labels == ((1, 0), (0, 1), (1, 1))


def test_numbers_with_a_decimal_comma_are_numbers(images: Path) -> None:
    samples = of_table(images, "file;age;size\n0.png;1,5;2\n1.png;\N{MINUS SIGN}2;1e3\n", "regression")
    assert samples.labels == ((1.5, 2.0), (-2.0, 1000.0))
    assert any("comma" in note for note in samples.remarks)


def test_numbers_are_read_as_in_fields_and_scripts_read_the_same(images: Path) -> None:
    text = "file;size\n0.png;1 234\n1.png;\N{MINUS SIGN}2\n2.png;1e-3\n"
    assert of_table(images, text, "regression").labels == ((1234.0,), (-2.0,), (0.001,))
    source = Table(path=str(images / "labels.csv"), task="regression")
    told: dict[str, Any] = {}
    exec(importing(source.code(source.samples())), told)
    assert told["labels"].tolist() == [[1234.0], [-2.0], [0.001]]


def test_a_column_with_points_has_commas_between_thousands(images: Path) -> None:
    text = "file;size\n0.png;1,250.5\n1.png;0,5\n"
    assert of_table(images, text, "regression").labels == ((1250.5,), (0.5,))


@pytest.mark.parametrize("cell", ["1_0", "12,500", "many", "nan", "1e999", "0x1F"])
def test_what_is_no_number_or_two_is_refused_with_its_row(images: Path, cell: str) -> None:
    with pytest.raises(UserError, match=f"size is no number in row 2: '{cell}'") as caught:
        of_table(images, f"file;size\n0.png;{cell}\n1.png;3\n", "regression")
    assert caught.value.why


def test_an_image_on_both_sides_of_a_split_is_refused(images: Path) -> None:
    text = "file,label,part\n0.png,a,train\n1.png,b,train\n2.png,a,test\n3.png,b,test\n0.png,a,test\n"
    with pytest.raises(UserError, match="Row 2 and row 6 say different things"):
        of_table(images, text)


def test_a_split_column_is_taken_where_no_columns_are_named_else_told_of(images: Path) -> None:
    text = "file,label,part\n0.png,a,train\n1.png,b,train\n2.png,a,test\n3.png,b,test\n"
    assert of_table(images, text).fixed == ("train", "valid", "train", "valid")
    named = of_table(images, text, labels="label")
    assert named.fixed is None
    assert any("chance splits" in note for note in named.remarks)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_told_of(tmp_path: Path) -> None:
    put(tmp_path, "train/a/1.png", "train/b/1.png", "val/a/1.png", "secret/1.png")
    (tmp_path / "secret").chmod(0)
    (tmp_path / "train/b").chmod(0)
    for look in (lambda: list_folder(tmp_path), lambda: of_table(tmp_path, "id,label\n1,a\n2,b\n")):
        with pytest.raises(UserError, match="cannot be read"):
            look()


def test_which_of_two_columns_names_the_images_is_asked_or_told_by_its_name(images: Path) -> None:
    ages = "".join(f"{3 - i},{i}\n" for i in range(4))
    samples = of_table(images, f"age,id\n{ages}", "regression")
    assert samples.classes == ("age",)
    assert [path.name for path in samples.paths] == ["0.png", "1.png", "2.png", "3.png"]
    with pytest.raises(UserError, match="Which column names the images: age, size"):
        of_table(images, f"age,size\n{ages}", "regression")


def test_numbers_and_tags_leave_out_what_is_about_rows(images: Path) -> None:
    text = "file,id,age,split\n0.png,7,3,train\n1.png,8,4,train\n2.png,9,5,test\n"
    assert of_table(images, text, "regression").classes == ("age",)


# --- folders ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("learned", "measured"),
    [
        ("Training", "Testing"),
        ("train", "dev"),
        ("train", "eval"),
        ("train_set", "test_set"),
        ("seg_train", "seg_test"),
        ("training", "validation"),
        ("train", "valid_set"),
        ("TRAIN", "Val"),
        ("train2017", "val2017"),
        ("trainset", "testset"),
        ("TrainImages", "Holdout-Images"),
        ("seg_train/seg_train", "seg_test/seg_test"),
    ],
)
def test_folders_for_training_and_validation_are_told_by_their_names(
    tmp_path: Path, learned: str, measured: str
) -> None:
    put(tmp_path, *(f"{part}/{name}/1.png" for part in (learned, measured) for name in ("cat", "dog")))
    samples = list_folder(tmp_path)
    assert samples.classes == ("cat", "dog")
    assert samples.fixed == ("train", "valid", "train", "valid")


def test_classes_that_are_called_like_parts_stay_classes(tmp_path: Path) -> None:
    put(tmp_path, *(f"{name}/1.png" for name in ("train", "test tube", "bus")))
    assert list_folder(tmp_path).classes == ("bus", "test tube", "train")


def test_a_folder_to_learn_from_beside_others_is_learned_from_alone(tmp_path: Path) -> None:
    put(tmp_path, "train/a/1.png", "train/b/1.png", "unlabeled/1.png")
    samples = list_folder(tmp_path)
    assert (samples.classes, samples.fixed) == (("a", "b"), None)
    assert any("unlabeled" in note for note in samples.notes)
    assert list_folder(tmp_path, "outer").classes == ("train", "unlabeled")


def test_folders_of_the_same_folders_are_a_question_with_two_answers(tmp_path: Path) -> None:
    put(tmp_path, *(f"day {day}/{name}/{day}.png" for day in (1, 2) for name in ("cat", "dog")), "day 1/owl/1.png")
    with pytest.raises(UserError, match=r"What are the classes in .*: day 1, day 2, or cat, dog\?") as caught:
        list_folder(tmp_path)
    assert [(mend.title, mend.value) for mend in caught.value.mends] == [
        ("day 1, day 2", "outer"),
        ("cat, dog", "inner"),
    ]
    assert list_folder(tmp_path, "outer").classes == ("day 1", "day 2")
    inner = list_folder(tmp_path, "inner")
    assert inner.classes == ("cat", "dog", "owl")
    assert inner.fixed is None
    assert [inner.name(index) for index in range(2)] == ["day 1/cat/1.png", "day 2/cat/2.png"]


def test_a_test_folder_without_classes_cannot_be_measured_on(tmp_path: Path) -> None:
    put(tmp_path, "train/a/1.png", "train/b/1.png", "test/1.png", "test/2.png")
    samples = list_folder(tmp_path)
    assert (samples.classes, samples.fixed) == (("a", "b"), None)
    assert any("test" in note for note in samples.notes)
    with pytest.raises(UserError, match="train have no classes"):
        list_folder(put(tmp_path / "flat", "train/1.png", "test/2.png"))


@pytest.mark.parametrize(
    "name",
    ["@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", ".ipynb_checkpoints", "__MACOSX", "lost+found"],
)
def test_what_systems_put_into_folders_is_no_class_and_no_image(tmp_path: Path, name: str) -> None:
    put(tmp_path, "a/1.png", "b/1.png", f"{name}/x.png", f"a/{name}/1.png/thumb.jpg", f"b/deep/{name}/y.png")
    junk(tmp_path, "a/Thumbs.db", "b/.DS_Store")
    samples = list_folder(tmp_path)
    assert (samples.classes, len(samples)) == (("a", "b"), 2)
    assert "5 hidden or system files and folders" in samples.remarks[0]


def test_formats_are_taken_where_they_can_be_read_else_named_and_counted(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/1.ppm")
    put(tmp_path, "a/1.jfif", "b/1.JPE", format="JPEG")
    junk(tmp_path, *(f"a/{number}.NEF" for number in range(3)), "b/1.cr2", "b/1.nef", "b/notes.txt", "b/README")
    put(tmp_path, "a/1.HEIC", format="HEIF")
    if avif := features.check("avif"):
        put(tmp_path, "b/1.avif", format="AVIF")
    samples = list_folder(tmp_path)
    assert len(samples) == 5 + avif
    assert "Left out: 4 .nef, 1 .cr2." in samples.notes[0]
    assert samples.notes[1] == "Left out: 1 file without an ending (README)."
    assert samples.remarks == ("Passed over, being no images: 1 .txt.",)


def test_broken_links_and_loops_are_counted_and_no_image_comes_twice_in_a_class(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/1.png", "b/more/2.png")
    (tmp_path / "a/loop").symlink_to("..")
    (tmp_path / "b/again").symlink_to("more")
    (tmp_path / "b/self").symlink_to("self")
    (tmp_path / "a/broken.png").symlink_to("gone.png")
    (tmp_path / "link to a").symlink_to("a")
    samples = list_folder(tmp_path)
    assert samples.classes == ("a", "b")
    assert [samples.name(index) for index in range(len(samples))] == ["a/1.png", "b/1.png", "b/more/2.png"]
    assert "3 links to folders that are there already" in samples.notes[-1]
    assert "1 link that leads nowhere, or pipe (broken.png)" in samples.notes[-1]


def test_folders_that_link_to_each_other_are_walked_through_once(tmp_path: Path) -> None:
    """Twelve folders, each with links to all others: every way through them would be 12! ways."""
    folders = [put(tmp_path, f"data/x/{number}/{number}.png") / f"data/x/{number}" for number in range(12)]
    for one in folders:
        for other in folders:
            if one != other:
                (one / f"to {other.name}").symlink_to(other)
    put(tmp_path, "data/y/1.png")
    assert list_folder(tmp_path / "data").counts() == {"x": 12, "y": 1}


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", [r"^(.*)_\d+.jpg$", r"(.+)_\d+\.jpg$", r"([^/]+)_\d+.jpg$", r"^(.+)_\d+$"])
def test_a_pattern_may_hold_the_ending(tmp_path: Path, pattern: str) -> None:
    put(tmp_path, *(f"{name}_{number}.jpg" for name in ("cat", "dog") for number in range(3)), format="JPEG")
    samples = list_names(tmp_path, pattern)
    assert samples.classes == ("cat", "dog")
    assert len(samples) == 6
    assert bool(samples.notes) == ("jpg" in pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"((?:a{1,1000}){1,1000})b",
        r"(\w+)\d{1000000000}",
        "(" * 5000,
        "(a",
        r"(\p{L}+)",
        "(a){e}",
        "([[:alpha:]]+)",
        "(((a{900}){900}){900})",
    ],
)
def test_a_pattern_that_would_take_for_ever_or_all_memory_is_refused(tmp_path: Path, pattern: str) -> None:
    put(tmp_path, "a" * 200 + ".png", "b.png")
    with pytest.raises(UserError):
        list_names(tmp_path, pattern)


def test_the_classes_of_names_that_cannot_be_printed_are_told_apart(tmp_path: Path) -> None:
    try:
        put(tmp_path, os.fsdecode(b"a\xff_1.png"), "b_1.png")
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    assert list_names(tmp_path, "(.+)_").classes == (r"a\xff", "b")


@pytest.mark.parametrize("way", ['"{}"', "'{}'", "file://{}", " {} ", "FILE://{}"])
def test_paths_as_they_are_copied_from_elsewhere_are_understood(tmp_path: Path, way: str) -> None:
    root = tmp_path / "my pets"
    put(root, "a/1.png", "b/1.png")
    path = way.format(str(root).replace(" ", "%20") if "://" in way else root)
    assert list_folder(path).classes == ("a", "b")
    assert Folder(path=path).missing() == ""
