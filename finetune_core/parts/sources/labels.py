"""What the columns of a table say about its images: one class, tags, or numbers, as people write them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from finetune_core.errors import UserError
from finetune_core.parts.numbers import Scale
from finetune_core.parts.sources.samples import natural
from finetune_core.parts.sources.table_files import TableFile
from finetune_core.parts.tasks import NUMBERS, ONE_CLASS, TAGS
from finetune_core.wording import count, few, shown

YES = frozenset({"1", "1.0", "true", "yes", "y", "t", "x", "+", "ja", "oui", "si", "wahr"})
NO = frozenset({"0", "0.0", "false", "no", "n", "f", "-", "nein", "non", "falsch"})
PLAIN = frozenset({"0", "1", "0.0", "1.0", "true", "false", "yes", "no"})  # what makes a single column that of one tag
SEPARATORS = {";": "semicolons", "|": "bars", ",": "commas", " ": "blanks"}  # between tags; the first that is there
LIKELY = frozenset({"label", "labels", "class", "classes", "category", "target", "species", "klass", "y"})
BRACKETED = re.compile(r"[\[({].*[\])}]", re.DOTALL)
MISSING = frozenset({"na", "n/a", "nan", "null", "none", "nil", "?", "#n/a", "#ref!", "#value!", "#name?", "unknown"})
QUOTED = r"""'([^']*)'|"([^"]*)\""""
DECIMAL = re.compile(r"\D?(\d+,(\d{1,2}|\d{4,})|0\d*,\d{3}|\d{4,},\d{3})")  # with a comma that parts no thousands


@dataclass(frozen=True)
class Labels:
    """The names, a label for each row, and how the cells were read: class, list, tags, marks or numbers."""

    names: tuple[str, ...]
    values: tuple[Any, ...]
    how: str
    separator: str = ""
    notes: tuple[str, ...] = ()  # on what deserves a look
    remarks: tuple[str, ...] = ()  # on how they were read


Reader = Callable[[TableFile, Sequence[str], str], Labels]


def read_labels(table: TableFile, columns: Sequence[str], task: str, separator: str = "") -> Labels:
    """The labels that some columns hold for a task. UserErrors name the row or the column that does not do."""
    return READERS[task](table, columns, separator)


def _classes(table: TableFile, columns: Sequence[str], separator: str) -> Labels:
    if len(columns) > 1:
        why = f"There are {len(columns)}: {few(columns)}."
        likely = [name for name in columns if name.casefold() in LIKELY]
        hint = f"Say which one, perhaps {likely[0]}." if likely else "Say which one, or choose another kind of label."
        raise UserError("One column must name the class.", why, hint)
    cells = table.column(columns[0])
    if empty := [row.line for row, cell in zip(table.rows, cells, strict=True) if not cell]:
        rows = f"Row {empty[0]} has" if len(empty) == 1 else f"{len(empty)} rows have"
        why = f"They are rows {few(empty)}." if len(empty) > 1 else ""
        raise UserError(
            f"{rows} no class in {columns[0]}.",
            why,
            "Fill them in, take the rows out, or learn tags, of which an image may have none.",
        )
    names = sorted(set(cells), key=natural)
    if len(names) < 2:
        hint = "Add rows of a second class, or learn another column."
        raise UserError(f"There is only one class: {shown(names[0])}.", "Telling apart needs at least two.", hint)
    number = {name: index for index, name in enumerate(names)}
    return Labels(tuple(names), tuple(number[cell] for cell in cells), "class", notes=tuple(_doubts(names, cells)))


def _doubts(names: Sequence[str], cells: Sequence[str]) -> Iterator[str]:
    """Notes on classes that may be none, or one: as programs write what is missing, and in other capitals."""
    for name in names:
        if name.casefold() in MISSING:
            rows = count(cells.count(name), "row", "rows")
            yield f"{name} is learned as a class ({rows}). If it means that nothing is known, take these rows out."
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(unicodedata.normalize("NFKC", name).casefold(), []).append(name)
    for several in alike.values():
        if len(several) > 1:
            yield f"{few(several)} are {len(several)} classes, for they are not written alike."


def _tags(table: TableFile, columns: Sequence[str], separator: str) -> Labels:
    cells = table.column(columns[0])
    if len(columns) > 1 or (any(cells) and all(cell.lower() in PLAIN for cell in cells if cell)):
        return _marked(table, columns)
    if not separator and any(map(BRACKETED.fullmatch, cells)):
        return _named(columns[0], [listed_tags(cell) for cell in cells], "list")
    found = separator or _separator(cells)
    tags = [{tag.strip() for tag in cell.split(found or None)} - {""} for cell in cells]
    remarks = (
        (f"The tags in {columns[0]} are read with {SEPARATORS[found]} between them.",) if found != separator else ()
    )
    return replace(_named(columns[0], tags, "tags"), separator=found, remarks=remarks)


def _separator(cells: Sequence[str]) -> str:
    """What stands in most cells; a blank only where nothing else does, since tags may hold blanks."""
    often = {each: sum(each in cell for cell in cells) for each in SEPARATORS}
    blanks = often.pop(" ")
    found = max(often, key=often.__getitem__)
    return found if often[found] else " " * bool(blanks)


def listed_tags(cell: str) -> set[str]:
    """The tags of a list as programs print it: in brackets, with commas or quotation marks."""
    quoted = [one or other for one, other in re.findall(QUOTED, cell)]
    return {tag.strip() for tag in quoted or cell.strip("[](){} ").split(",")} - {""}


def _named(column: str, tags: Sequence[set[str]], how: str) -> Labels:
    names = sorted(set().union(*tags), key=natural)
    if not names:
        raise UserError(f"The column {column} holds no tags.", hint="Say which column holds them.")
    return Labels(tuple(names), tuple(tuple(float(name in each) for name in names) for each in tags), how)


def _marked(table: TableFile, columns: Sequence[str]) -> Labels:
    """A column for each tag, which says of every image whether it has it."""
    marks = []
    for name in columns:
        cells = [cell.lower() for cell in table.column(name)]
        spared = not {*cells} & NO  # only what is there is marked, the rest left empty
        for row, cell in zip(table.rows, cells, strict=True):
            if not (cell in YES or cell in NO or (spared and not cell)):
                why = f"{name} says {cell!r:.40} in row {row.line}; a column per tag says 1 where it is there, else 0."
                hint = "Mend the values, or name only the columns of tags; one column may also hold all tags."
                raise UserError(f"The columns {few(columns)} are not tags.", why, hint)
        marks.append([float(cell in YES) for cell in cells])
    return Labels(tuple(columns), tuple(zip(*marks, strict=True)), "marks")


def _numbers(table: TableFile, columns: Sequence[str], separator: str) -> Labels:
    found = {name: _column_numbers(table, name) for name in columns}
    commas = [name for name in columns if _decimal_comma(table.column(name))]
    remarks = (f"In {few(commas)} a comma stands before the decimals.",) if commas else ()
    return Labels(tuple(columns), tuple(zip(*found.values(), strict=True)), "numbers", remarks=remarks)


def _column_numbers(table: TableFile, name: str) -> list[float]:
    cells, numbers = table.column(name), []
    commas = _decimal_comma(cells)
    for row, cell in zip(table.rows, cells, strict=True):
        try:
            numbers.append(float(Scale().read(cell.replace(",", ".") if commas else cell)))
        except UserError as error:
            hint = "Mend the table, or name only the columns with numbers."
            raise UserError(f"{name} is no number in row {row.line}: {cell!r:.40}.", error.what, hint) from error
    return numbers


def _decimal_comma(cells: Sequence[str]) -> bool:
    """Whether the commas of a column stand before decimals: some cell leaves no doubt, and none has a point."""
    return any(map(DECIMAL.fullmatch, cells)) and not any("." in cell for cell in cells)


READERS: Mapping[str, Reader] = {ONE_CLASS.key: _classes, TAGS.key: _tags, NUMBERS.key: _numbers}
