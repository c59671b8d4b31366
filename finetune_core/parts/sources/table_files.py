"""Reading a table's file, whatever program wrote it: encoding, delimiter, header, and every row with its number.

What cannot be read right is refused in a sentence that names the row or the cause.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from finetune_core.errors import UserError
from finetune_core.parts import openings
from finetune_core.parts.sources.files import ENDINGS, FOREIGN, existing_file
from finetune_core.wording import few, shown

DELIMITERS = (",", ";", "\t", "|", " ")  # the first of equals is taken
LARGEST = 256 << 20  # bytes
LONGEST = 1 << 24  # letters of a cell: masks and embeddings are long
FIRST = "Write a header such as file,label and below it one row per image."
FEW = 20  # rows, whose images are looked for to tell delimiters
USUAL = frozenset(  # names of columns
    {"file", "files", "filename", "file_name", "image", "images", "image_id", "img", "path", "id", "name", "photo"}
)
PICTURES = (*ENDINGS, *sorted(FOREIGN))
TRIED = 200  # rows, by which delimiter and columns are told
SAVE = "Save it as CSV in UTF-8."
OURS = {openings.ZIP: "an Excel or another packed file"}  # words where a table is meant
MARKS = (  # of encodings, longest first, for the mark of UTF-16 begins that of UTF-32
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
csv.field_size_limit(LONGEST)  # of the whole process, and more than Python's own


@dataclass(frozen=True)
class Row:
    """One row of a file: the number of the line that it begins on, from 1, and its cells."""

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class TableFile:
    """A table as its file says it: columns by name, every row with a cell for each.

    `encoding`, `delimiter` and the number of filled rows `before` the first are what it takes to read it again; `notes`
    say what is unusual.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    encoding: str
    delimiter: str
    before: int
    notes: tuple[str, ...] = ()

    def column(self, name: str) -> tuple[str, ...]:
        """The cells of a column."""
        place = self.columns.index(name)
        return tuple(row.cells[place] for row in self.rows)

    @property
    def name(self) -> str:
        """What people call it."""
        return shown(self.path.name)


def read_table(path: str | Path, names_image: Callable[[str], bool]) -> TableFile:
    """Read a file; `names_image` says of a cell whether it means an image that is there. Raises UserErrors."""
    file = existing_table(path)
    text, encoding = _text(file)
    told = _told_delimiter(text)
    delimiter = told or _delimiter(text, names_image)
    rows = _rows(file, text, delimiter)[bool(told) :]
    begin, headed = _beginning(rows, names_image)
    body = rows[begin + headed :]
    kept = [row for row in body if not _comment(rows, row, names_image)]
    if not kept:
        why, hint = ("", "Write one row per image below the header.") if headed else ("The file is empty.", FIRST)
        raise UserError(f"The table {shown(file.name)} has no rows.", why, hint)
    columns = _columns(file, rows[begin] if headed else None, kept)
    return TableFile(
        file,
        columns,
        tuple(_fitted(file, row, columns) for row in kept),
        encoding,
        delimiter,
        before=begin + headed + bool(told),
        notes=tuple(_notes(text, encoding, headed, len(rows) - len(kept) - headed)),
    )


def existing_table(path: str | Path) -> Path:
    """A file that is there, as an absolute path; else a UserError that says why not."""
    return existing_file(path, "table", "Give the path of a CSV file.")


def parted(names: str) -> tuple[str, ...]:
    """Names of columns written with commas between; a name that holds one stands in quotation marks."""
    try:
        rows = list(csv.reader(io.StringIO(names, newline=""), skipinitialspace=True))
    except csv.Error as error:
        raise UserError(
            f"These are no names of columns: {shown(names):.200}.", f"{error}.", "Part them by commas."
        ) from error
    return tuple(cell.strip() for row in rows for cell in row if cell.strip())


def joined(names: Sequence[str]) -> str:
    """The same the other way round."""
    text = io.StringIO()
    csv.writer(text).writerow(names)
    return text.getvalue().removesuffix("\r\n")


def _text(file: Path) -> tuple[str, str]:
    """What stands in a file, and its encoding: as its mark says, else UTF-8, else what Windows writes in the West."""
    data = _bytes(file)
    if not (marked := _marked(data)):
        if what := openings.told(data[: openings.LENGTH]):
            raise UserError(f"{shown(file)} is no table.", f"It is {OURS.get(what, what)}.", SAVE)
        odd = sum(data.count(bytes([code])) for code in range(32) if code not in b"\t\n\r\f\v")
        if odd * 50 > len(data):
            raise UserError(f"The table {shown(file)} is no text.", "It holds bytes that no text has.", SAVE)
    for encoding in marked or ("utf-8", "cp1252", "latin-1"):
        try:
            return data.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    raise UserError(f"The table {shown(file)} is no text.", f"It is damaged {marked[0].upper()}.", "Save it as UTF-8.")


def _marked(data: bytes) -> tuple[str, ...]:
    """The encoding that a file is marked with; two bytes a letter also show by zeros in every other one."""
    for mark, encoding in MARKS:
        if data.startswith(mark):
            return (encoding,)
    even, odd = data[: 1 << 12 : 2].count(0), data[1 : 1 << 12 : 2].count(0)
    half = len(data[: 1 << 12]) // 4
    if half and (even > half or odd > half) and not (even and odd):
        return ("utf-16-be",) if even else ("utf-16-le",)
    return ()


def _bytes(file: Path) -> bytes:
    try:
        if file.stat().st_size > LARGEST:
            raise UserError(
                f"The table {shown(file)} is too large.",
                f"It has {file.stat().st_size >> 20} MB, {LARGEST >> 20} are read.",
                "Leave out columns that are not needed, or split it.",
            )
        return file.read_bytes()
    except OSError as error:
        raise UserError(
            f"The table {shown(file)} cannot be read.", f"{error.strerror}.", "Check its permissions."
        ) from error


def _told_delimiter(text: str) -> str:
    """The delimiter that a first line such as `sep=;` tells spreadsheets."""
    told = re.match(r'\ufeff?"?sep=(.)"?,*\s', text, re.IGNORECASE)
    return told[1] if told else ""


def _delimiter(text: str, names_image: Callable[[str], bool]) -> str:
    """The one that parts most rows so that images stand in cells of their own, and parts them alike."""
    try:
        parted = {each: list(islice(_records(text, each, strict=False), TRIED)) for each in DELIMITERS}
    except csv.Error:
        return DELIMITERS[0]  # the row that cannot be read is told when all are
    images = {each: _count(rows, looks_like_image) for each, rows in parted.items()}
    best = [each for each in DELIMITERS if images[each] == max(images.values())]
    if len(best) > 1 and images[best[0]]:  # a name that holds another delimiter: which of them is there?
        there = {each: _count(parted[each][:FEW], names_image) for each in best}
        best = [each for each in best if there[each] == max(there.values())]
    return max(best, key=lambda each: (*_alike(parted[each]), -_others_within(parted[each])))


def _count(rows: Sequence[Row], is_image: Callable[[str], bool]) -> int:
    """Rows in which an image stands beside something else."""
    return sum(len(row.cells) > 1 and any(map(is_image, row.cells)) for row in rows)


def _others_within(rows: Sequence[Row]) -> int:
    """How often names of images hold what may part cells: seldom, where cells are parted right."""
    cells = [cell for row in rows for cell in row.cells if looks_like_image(cell)]
    return sum(cell.count(each) for cell in cells for each in DELIMITERS[:-1])


def _alike(rows: Sequence[Row]) -> tuple[bool, float]:
    """Whether most rows have several cells, and the share of those that have as many as most."""
    width, alike = max(_widths(rows).items(), key=lambda each: each[1], default=(0, 0))
    return width > 1, alike / max(1, len(rows))


def _records(text: str, delimiter: str, strict: bool) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=strict)
    line = 1
    for cells in reader:
        yield Row(line, tuple(cell.strip() for cell in cells))
        line = reader.line_num + 1


def _rows(file: Path, text: str, delimiter: str) -> list[Row]:
    """All rows but empty ones, without what is empty at the end of each."""
    rows: list[Row] = []
    line = 1
    try:
        for row in _records(text, delimiter, strict=True):
            line = row.line + 1 + "".join(row.cells).count("\n")
            if any(row.cells):
                rows.append(row)
    except csv.Error as error:
        raise UserError(f"Row {line} of {shown(file.name)} cannot be read.", *_cause(str(error))) from error
    return rows


def _cause(error: str) -> tuple[str, str]:
    if "limit" in error:
        return f"A cell has more than {LONGEST:,} letters.", "Leave that column out, or close a quotation mark."
    if "unexpected end" in error:
        return "A quotation mark opens in it that is never closed.", "Close it, or take it out."
    if "expected after" in error:
        return "Something stands behind a closing quotation mark.", "Write quotation marks within a cell twice."
    return f"{error.capitalize()}.", "Mend the row."


def _beginning(rows: Sequence[Row], is_image: Callable[[str], bool]) -> tuple[int, bool]:
    """How many comments stand first, and whether a header comes after them."""
    begin = 0
    while begin < len(rows) and (_comment(rows, rows[begin], is_image) or _above(rows[begin : begin + 2])):
        begin += 1
    return begin, begin < len(rows) and not _says_data(rows[begin], rows[begin + 1 : begin + TRIED], is_image)


def _says_data(first: Row, rows: Sequence[Row], is_image: Callable[[str], bool]) -> bool:
    """Whether a first row is no header: it names an image, or says what rows below say in the same column."""
    if any(map(looks_like_image, first.cells)):
        return True
    for place, cell in enumerate(first.cells):
        if cell and any(cell == row.cells[place] for row in rows if place < len(row.cells)):
            return True
    usual = any(cell.casefold() in USUAL for cell in first.cells)  # nothing has to be looked for
    return not usual and any(map(is_image, first.cells))


def looks_like_image(cell: str) -> bool:
    """Whether a cell ends like an image file, one that Thaw can read or another."""
    return cell.lower().endswith(PICTURES)


def _above(two: Sequence[Row]) -> bool:
    """Whether the first of two rows is a comment above a header, though it has as many cells."""
    if len(two) < 2 or not two[0].cells[0].startswith("#"):
        return False
    return not any(map(looks_like_image, (*two[0].cells, *two[1].cells))) and two[1].cells[0].casefold() in USUAL


def _comment(rows: Sequence[Row], row: Row, is_image: Callable[[str], bool]) -> bool:
    """Whether a row is a comment: it begins with #, has not as many cells as others, and names no image."""
    if not row.cells[0].startswith("#") or _filled(row) == _width(rows):
        return False
    return not any(looks_like_image(cell) or is_image(cell) for cell in row.cells)


def _width(rows: Sequence[Row]) -> int:
    return _widths(rows[:TRIED]).most_common(1)[0][0]


def _widths(rows: Sequence[Row]) -> Counter[int]:
    """How often there are so many cells, comments aside."""
    filled = [row for row in rows if any(row.cells)]
    return Counter(map(_filled, [row for row in filled if row.cells[0][:1] != "#"] or filled))


def _columns(file: Path, header: Row | None, rows: Sequence[Row]) -> tuple[str, ...]:
    """The columns' names; by number where they have none."""
    if header is None:
        return tuple(f"column {number}" for number in range(1, max(map(_filled, rows)) + 1))
    cells = header.cells[: _filled(header)]
    if all(_filled(row) == len(cells) + 1 for row in rows):  # R writes names of rows, and none above them
        cells = ("", *cells)
    names = tuple(cell.lstrip("# ").strip() or f"column {number}" for number, cell in enumerate(cells, start=1))
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        what = f"Two columns of {shown(file.name)} have the same name: {few(twice)}."
        raise UserError(what, hint="Give each a name of its own.")
    return names


def _filled(row: Row) -> int:
    """The number of its cells without the empty ones at its end."""
    return max(number for number, cell in enumerate(row.cells, start=1) if cell)


def _fitted(file: Path, row: Row, columns: Sequence[str]) -> Row:
    """With a cell for each column."""
    if (count := _filled(row)) > len(columns):
        raise UserError(
            f"Row {row.line} of {shown(file.name)} has {count} cells, but there are {len(columns)} columns.",
            f"It says {few(row.cells)}; the columns are {few(columns)}.",
            "Put quotation marks around text that holds the delimiter, or mend the row.",
        )
    return Row(row.line, (*row.cells, *[""] * len(columns))[: len(columns)])


def _notes(text: str, encoding: str, headed: bool, comments: int) -> Iterator[str]:
    if encoding in ("cp1252", "latin-1"):
        word = next(word for word in re.findall(r"[^\s,;|]+", text) if not word.isascii())
        yield f"The table is not in UTF-8: it is read as Windows writes text in the West, such as {shown(word)}."
    if not headed:
        yield "The table has no header: its columns are called column 1, column 2 and so on."
    if comments:
        yield f"Left out: {comments} comment {'line' if comments == 1 else 'lines'} with # in front."
