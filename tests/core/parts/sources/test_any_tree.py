"""Trees by a small grammar: every image is listed once or named in a note, and the exported script lists the same."""

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from finetune_core.errors import UserError
from finetune_core.parts.codetext import importing
from finetune_core.parts.sources import FileNames, Folder, Source
from finetune_core.parts.sources.samples import Samples

FOLDERS = [
    "cat", "Dog", "class 10", "class 2", ".hidden", "@eaDir", "__MACOSX", "$RECYCLE.BIN", "album.jpg", "deep/er", "été",
]  # fmt: skip
PARTS = [("", ""), ("", ""), ("train", "val"), ("Training", "Testing"), ("seg_train", "seg_test"), ("day 1", "day 2")]
FILES = ["1.png", "2.JPG", "3.jfif", "x y.webp", "4.HEIC", "notes.txt", "README", ".hidden.png", "Thumbs.db", "[5].png"]
LINKS = ["", "..", "../..", ".", "gone.png", "../cat", "self", "/etc/hostname"]
PNG = "\x89PNG"


def images() -> bytes:
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        Image.new("RGB", (2, 2)).save(file.name)
        return Path(file.name).read_bytes()


ONE_PIXEL = images()

Trees = st.fixed_dictionaries(
    {
        "parts": st.sampled_from(PARTS),
        "classes": st.lists(
            st.tuples(st.sampled_from(FOLDERS), st.lists(st.sampled_from(FILES), max_size=5), st.sampled_from(LINKS)),
            min_size=1,
            max_size=5,
        ),
        "loose": st.lists(st.sampled_from(FILES), max_size=2),
        "linked": st.booleans(),
    }
)


def grow(root: Path, tree: dict[str, Any]) -> None:
    """The tree on disk."""
    for part in dict.fromkeys(tree["parts"]):
        for name, files, link in tree["classes"]:
            folder = root / part / name
            folder.mkdir(parents=True, exist_ok=True)
            for file in files:
                (folder / file).write_bytes(ONE_PIXEL)
            if link and not (folder / "link.png").is_symlink():
                (folder / "link.png").symlink_to("link.png" if link == "self" else link)
    for file in tree["loose"]:
        (root / file).write_bytes(ONE_PIXEL)
    if tree["linked"]:
        (root / "a link").symlink_to(next(root.iterdir()).name)


def listed(source: Source) -> Samples | None:
    """The images, as the source and its code list them; None where they are refused in words."""
    try:
        samples = source.samples()
    except UserError as error:
        return None if error.why else pytest.fail(f"{error} says no cause")
    told: dict[str, Any] = {}
    exec(importing(source.code(samples)), told)
    assert [Path(path) for path in told["paths"]] == [*samples.paths]
    assert np.array_equal(told["labels"], samples.labels)
    if samples.fixed:
        assert told["aside"] == [part == "valid" for part in samples.fixed]
    return samples


def real_images(root: Path) -> set[Path]:
    """Every image file below a folder that neither is hidden nor lies in a hidden or system folder."""
    found = set()
    for place, folders, files in os.walk(root):
        hidden = {".hidden", "@eaDir", "__MACOSX", "$RECYCLE.BIN"}
        folders[:] = [name for name in folders if name not in hidden]
        for name in files:
            if not name.startswith(".") and name.lower().endswith((".png", ".jpg", ".jfif", ".webp")):
                path = Path(place) / name
                found |= {path} if path.is_file() and not path.is_symlink() else set()
    return found


@settings(max_examples=150, deadline=None)
@given(tree=Trees)
@example(
    tree={
        "parts": ("", ""),
        "classes": [("cat", ["1.png"], ".."), ("Dog", ["1.png"], "../cat")],
        "loose": [],
        "linked": False,
    }
)
def test_every_image_is_listed_or_told_and_scripts_list_the_same(tree: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "data"
        root.mkdir()
        grow(root, tree)
        there = real_images(root)
        for classes in ("auto", "outer", "inner"):
            samples = listed(Folder(path=str(root), classes=classes))
            if samples is not None:
                shown = {path.resolve() for path in samples.paths}
                missing = {path for path in there if path.resolve() not in shown}
                assert not missing or samples.notes, missing
                assert len({*samples.paths}) == len(samples)
        named = listed(FileNames(path=str(root), pattern=r"(\d|x)"))
        if named is not None:
            assert {path.resolve() for path in named.paths} >= {path.resolve() for path in there}


def test_a_tree_deeper_than_pythons_stack_is_walked_through(tmp_path: Path) -> None:
    places = [tmp_path / "b", tmp_path / "a"]
    places += [tmp_path.joinpath("a", *["d"] * depth) for depth in range(1, 1101)]
    for place in places:  # one after the other, for mkdir itself recurses
        place.mkdir()
    for place in (*places[:2], places[-1]):
        (place / "1.png").write_bytes(ONE_PIXEL)
    try:
        assert Folder(path=str(tmp_path)).samples().counts() == {"a": 2, "b": 1}
    finally:
        for place in reversed(places):  # nothing that recurses could take it away again
            (place / "1.png").unlink(missing_ok=True)
            place.rmdir()
