"""Tables by a small grammar: what is read is what was written, or a sentence names the row. Scripts read the same."""

import csv
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from finetune_core.errors import UserError
from finetune_core.parts.codetext import importing
from finetune_core.parts.sources import Table
from finetune_core.parts.sources.samples import Samples

NAMES = [
    "x1.png", "x2.jpg", "IMG 3.PNG", "sub/x4.png", "sub/deep/x 5.jpeg", "c,omma.png", "semi;colon.jpg", "q'uote.png",
    "ba|r.png", "#7.png", "=1+1.png", "10.webp", "a.b.c.tif", "été.png",
]  # fmt: skip
LABELS = ["cat", "dog", "big dog", "0", "01", "NaN", "a,b", 'say "hi"', "x;y", "-1", "#1", "naïve"]


@dataclass(frozen=True)
class Written:
    """A table, and what it says: the label of each image, and the line of a row that is not right."""

    data: bytes
    said: dict[str, str]
    wrong: int = 0


@st.composite
def tables(draw: Any) -> Written:
    names = draw(st.lists(st.sampled_from(NAMES), min_size=2, max_size=8, unique=True))
    labels = draw(st.lists(st.sampled_from(LABELS), min_size=len(names), max_size=len(names)).filter(_differ))
    style = draw(st.sampled_from(["posix", "windows", "dot", "bare", "other machine"]))
    header = draw(st.booleans())
    first = draw(st.booleans())  # whether the image comes first
    more = draw(st.sampled_from([0, 0, 1, 2]))  # empty cells behind each row
    cells = [
        _ordered(_cell(name, style), label, first) + [""] * more for name, label in zip(names, labels, strict=True)
    ]
    wrong = draw(st.sampled_from(["", "", "", "short", "long"])) if header and not more else ""
    where = draw(st.integers(0, len(cells) - 1))
    if wrong:
        cells[where] = [*cells[where], "extra"] if wrong == "long" else cells[where][:1]
    rows = [_ordered("file", "label", first)] * header + cells
    ends = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    delimiter = draw(st.sampled_from(",;\t|"))
    lines = _lines(rows, delimiter, draw(st.booleans()), ends)
    above = draw(st.lists(st.sampled_from(["", "# a remark", "# made 2024"]), max_size=2))
    between = draw(st.integers(0, len(lines) - 1))
    lines[between:between] = draw(st.sampled_from([[], [], [ends]])) if between else []
    told = [f"sep={delimiter}{ends}"] if not above and draw(st.booleans()) else []
    text = "".join([*told, *(line + ends for line in above), *lines])
    line = _line_of(lines, cells, header, where, len(above) + len(told), between, ends) if wrong else 0
    return Written(text.encode(draw(_encoding(text))), dict(zip(names, labels, strict=True)), line)


def _differ(labels: list[str]) -> bool:
    return len(set(labels)) > 1


def _ordered(name: str, label: str, first: bool) -> list[str]:
    return [name, label] if first else [label, name]


def _cell(name: str, style: str) -> str:
    return {
        "posix": name,
        "windows": name.replace("/", "\\"),
        "dot": f"./{name}",
        "bare": name.rpartition("/")[2],
        "other machine": f"/home/me/photos/{name}",
    }[style]


def _lines(rows: list[list[str]], delimiter: str, quoted: bool, ends: str) -> list[str]:
    lines = []
    for row in rows:
        file = io.StringIO()
        how = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
        csv.writer(file, delimiter=delimiter, lineterminator=ends, quoting=how).writerow(row)
        lines.append(file.getvalue())
    return lines


def _line_of(
    lines: list[str], cells: list[list[str]], header: bool, where: int, above: int, between: int, ends: str
) -> int:
    place = header + where
    blank = len(lines) > len(cells) + header and between <= place
    return above + place + blank + 1


def _encoding(text: str) -> st.SearchStrategy[str]:
    usual = ["utf-8", "utf-8-sig", "utf-16"]
    return st.sampled_from([*usual, "cp1252"] if not text.isascii() else usual)


def images(folder: Path) -> None:
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(folder / name)


def _tried(source: Table) -> tuple[Samples | None, str]:
    """The images, or the words with which they are refused."""
    try:
        return source.samples(), ""
    except UserError as error:
        return None, str(error)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written=tables())
@example(written=Written(b"file,label\n#7.png,cat\nx1.png,dog\n", {"#7.png": "cat", "x1.png": "dog"}))
@example(written=Written(b"label,file\n#1,#7.png\ndog,x1.png\n", {"#7.png": "#1", "x1.png": "dog"}))
@example(written=Written(b"a,b;/home/me/x1.png\ncat;/home/me/c,omma.png\n", {"x1.png": "a,b", "c,omma.png": "cat"}))
def test_what_is_read_is_what_was_written_or_the_row_is_named(written: Written) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        images(folder)
        (folder / "labels.csv").write_bytes(written.data)
        source = Table(path=str(folder / "labels.csv"))
        samples, refused = _tried(source)
        if samples is None:
            assert f"row {written.wrong}" in refused.lower() or "comment line" in refused, (refused, written)
            return
        read = {path: samples.label_words(index) for index, path in enumerate(samples.paths)}
        want = {folder / name: label for name, label in written.said.items()}
        if written.wrong:  # a row without a label's or an image's cell
            assert len(want) - len(read) == 1
            assert any(f"row {written.wrong}" in note or "comment line" in note for note in samples.notes), (
                samples.notes
            )
        else:
            assert read == want
        assert read.items() <= want.items()
        told: dict[str, Any] = {}
        exec(importing(source.code(samples)), told)
        assert told["paths"] == [*samples.paths]
        assert np.array_equal(told["labels"], samples.labels)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=300) | st.text(alphabet="a1.,;|\t\n\r\"'#= \\/png\0é", max_size=200).map(str.encode))
@example(data=b'"' * 1000)
@example(data=b"a,b\n" * 3 + b'"' + b"x" * 200_000)
@example(data=b"\xff\xfe")
@example(data=b"sep=")
@example(data=b",\n,\n")
def test_any_bytes_are_read_or_refused_in_words(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        images(folder)
        (folder / "labels.csv").write_bytes(data)
        for task in ("single_label", "multi_label", "regression"):
            samples, refused = _tried(Table(path=str(folder / "labels.csv"), task=task))
            assert samples or refused
