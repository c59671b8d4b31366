"""What a file is by its first bytes: as real programs write them, and nothing where it may be a table."""

import bz2
import gzip
import io
import json
import lzma
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from finetune_core.errors import UserError
from finetune_core.parts import openings
from finetune_core.parts.backbones import weight_files
from finetune_core.parts.sources.table_files import read_table


def picture(form: str) -> Callable[[Path], object]:
    return lambda path: Image.new("RGB", (8, 8)).save(path, form)


def of_bytes(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.xml", "a")


def tarred(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("a"), io.BytesIO())


def database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("create table a (b)")


WRITTEN: dict[str, tuple[Callable[[Path], object], str]] = {
    **{form: (picture(form), "a picture") for form in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "AVIF")},
    "PDF": (picture("PDF"), "a PDF"),
    "zip": (zipped, openings.ZIP),
    "tar": (tarred, openings.TAR),
    "gzip": (of_bytes(gzip.compress(b"a")), openings.PACKED),
    "bzip2": (of_bytes(bz2.compress(b"a")), openings.PACKED),
    "xz": (of_bytes(lzma.compress(b"a")), openings.PACKED),
    "database": (database, "a database"),
    "NumPy": (lambda path: np.save(path.open("wb"), np.ones(3)), "a NumPy array"),
    "JSON": (of_bytes(json.dumps({"file_name": "0.png"}).encode()), openings.JSON),
    "JSON, indented": (of_bytes(json.dumps([{"file_name": "0.png"}], indent=4).encode()), openings.JSON),
    "a page": (of_bytes(b"\n<!DOCTYPE html><html><body>404</body></html>"), openings.PAGE),
    "XML": (of_bytes(b'<?xml version="1.0"?><Error/>'), openings.XML),
    "a pointer": (of_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n"), openings.POINTER),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_neither_a_table_nor_weights(kind: str, tmp_path: Path) -> None:
    write, what = WRITTEN[kind]
    write(path := tmp_path / "file")
    assert openings.told(path.read_bytes()[: openings.LENGTH]) == what
    words = "zip archive" if what == openings.ZIP else what
    with pytest.raises(UserError, match=f"It is (a )?{words}") as caught:
        weight_files.opened(path)
    assert caught.value.hint
    with pytest.raises(UserError, match="is no table. It is " + ("an Excel" if what == openings.ZIP else what)):
        read_table(path, lambda _: False)


@pytest.mark.parametrize(
    "text",
    [
        "file,label\n0.png,cat\n",
        "BMI,file\n20,0.png\n",
        '"file","label"\n',
        "{a},0.png\n",
        "[],0.png\n['cat'],1.png\n",
        '["cat"],0.png\n',
        "<none>,0.png\n",
        "version,file\n",
        "MM,II\n",
        "",
    ],
)
def test_what_may_be_a_table_is_none_of_them(text: str) -> None:
    assert openings.told(text.encode()) == ""
    assert openings.told(text.encode("utf-8-sig")) == ""


def test_what_there_is_to_say_is_of_kinds_that_there_are() -> None:
    assert {*weight_files.HINTS, *weight_files.MORE} <= openings.KINDS.keys()
