"""Images whose labels stand in a table, with a row for each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from finetune_core.errors import UnsaidError, UserError
from finetune_core.parts.sources.labels import LIKELY, Labels, read_labels
from finetune_core.parts.sources.lookup import Lookup
from finetune_core.parts.sources.samples import Samples, Trial, ordered
from finetune_core.parts.sources.split_names import TRAIN, part_in, words_of
from finetune_core.parts.sources.table_files import (
    TRIED,
    Row,
    TableFile,
    existing_table,
    looks_like_image,
    parted,
    read_table,
)
from finetune_core.parts.tasks import TASKS, Kind
from finetune_core.places import is_there
from finetune_core.wording import count, few, shown

IMAGE_WORDS = frozenset(
    {"id", "ids", "image", "images", "img", "file", "files", "filename", "path", "photo", "picture"}
)
ABOUT_ROWS = frozenset({"id", "index", "row", "split", "set", "subset", "fold", "is_valid", "is_test", "is_train"})
SIDES = (TRAIN, "valid", "test")  # of a split, as samples say it


@dataclass(frozen=True)
class Listing:
    """A table as it was understood: the rows whose images are there, and the columns that were read.

    `images` holds the image of each row; `split` is the column that says train or valid, if there is one.
    """

    table: TableFile
    images: tuple[Path, ...]
    image: str
    labels: Labels
    columns: tuple[str, ...]
    split: str = ""
    again: bool = False  # whether rows are left out that say the same of an image again
    notes: tuple[str, ...] = ()  # on what is left out, and the remarks
    remarks: tuple[str, ...] = ()  # on how it was understood


def list_table(
    path: str | Path, task: Kind, *, image: str = "", labels: str = "", separator: str = "", split: str = ""
) -> Samples:
    """The images that a table names, with their labels, as `read` understands it. Raises UserErrors."""
    return samples(read(path, task, image=image, labels=labels, separator=separator, split=split), task)


def samples(listing: Listing, task: Kind) -> Samples:
    """What a listing offers. A UserError where a class stands only among the images to measure on."""
    found = Samples(
        listing.images,
        listing.labels.values,
        tuple(map(shown, listing.labels.names)),
        fixed(listing) if listing.split else None,
        listing.table.path.parent,
        listing.notes,
        task,
        listing.remarks,
    )
    return ordered(replace(found, notes=(*found.notes, *_unlearned(found))))


def read(
    path: str | Path, task: Kind, *, image: str = "", labels: str = "", separator: str = "", split: str = ""
) -> Listing:
    """Read a table and find its images.

    `image` is the column with their paths (empty: the one that names most images), `labels` the columns with the
    labels, by comma (empty: all others). For single-label one column names the class; for multi-label either one
    column holds the tags with `separator` between them (empty: found by looking), or each column is a tag and says yes
    or no; for regression each column is a number. `split` names a column that says train or valid; where neither it nor
    the labels are named, one that says nothing else is taken. Raises UserErrors.
    """
    lookup = Lookup(existing_table(path).parent)
    table = read_table(path, lookup.names_image)
    where = _column(table, image) if image.strip() else _image_column(table, lookup)
    parting = _column(table, split) if split.strip() else _split_column(table, where)
    aside = parting if split.strip() or not labels.strip() else ""
    wanted, beside = _label_columns(table, labels, task, (where, aside))
    remarks = [*table.notes, *_chosen(wanted, beside, parting, aside, split)]
    table, images, gone = _with_images(table, lookup, where)
    rows = len(images)
    table, images = _each_once(table, images, [*wanted, *([aside] if aside else [])])
    try:
        found = read_labels(table, wanted, task, separator)
    except UserError as error:  # which rows that were left out may explain
        open_yet = not labels.strip() and len(wanted) + len(beside) > 1  # there are columns to choose among
        refusal = UnsaidError if open_yet else UserError
        raise refusal(error.what, " ".join(filter(None, (error.why, *table.notes, *gone))), error.hint) from error
    remarks += [*_looked_for(table, images, where), *_again(rows - len(images)), *found.remarks]
    notes = (*gone, *_elsewhere(table.path.parent, images), *lookup.notes, *found.notes, *remarks)
    return Listing(table, images, where, found, wanted, aside, rows > len(images), notes, tuple(remarks))


def tried(path: str | Path, most: int) -> Trial:
    """A table's columns and its first rows, before anything is understood of them. UserErrors."""
    table = read_table(path, Lookup(existing_table(path).parent).names_image)
    rows = tuple(tuple(_short(shown(cell)) for cell in row.cells) for row in table.rows[:most])
    delimiter = {" ": "spaces", "\t": "tabs"}.get(table.delimiter, table.delimiter)
    line = f"{count(len(table.rows), 'row')}, {count(len(table.columns), 'column')} parted by {delimiter}"
    return Trial(table.columns, rows, f"{line} in {table.encoding.upper()}.")


def _chosen(wanted: Sequence[str], beside: Sequence[str], parting: str, aside: str, split: str) -> Iterator[str]:
    """Remarks on columns that were chosen without being named."""
    if beside:
        yield f"Learned {'is' if len(wanted) == 1 else 'are'} {few(wanted)}; not learned: {few(beside)}."
    if aside and not split.strip():
        yield f"The column {aside} says what to train on and what to measure on."
    if parting and not aside:
        yield f"The column {parting} says train and valid, but is not named as the split column: chance splits."


def _again(rows: int) -> Iterator[str]:
    if rows:
        yield f"{count(rows, 'row says', 'rows say')} the same again and {'counts' if rows == 1 else 'count'} once."


def _column(table: TableFile, name: str) -> str:
    if name.strip() not in table.columns:
        raise UserError(
            f"The table has no column {name.strip()}.", f"Its columns: {few(table.columns)}.", "Name one of these."
        )
    return name.strip()


def _image_column(table: TableFile, lookup: Lookup) -> str:
    """The column that names most images among the first rows: by their ending, else by those that are there.

    Row numbers may lead to files that are called by number, too: of several that do alike, a name such as id or file
    decides, then which has a value of its own in each row. A UserError asks where that leaves two.
    """
    some = {name: table.column(name)[:TRIED] for name in table.columns if not _nameless(table, name)}
    for is_image in (looks_like_image, lookup.names_image):
        counts = {name: sum(map(is_image, cells)) for name, cells in some.items()}
        if most := max(counts.values()):
            return _decided([name for name in some if counts[name] == most], some)
    raise UserError(
        "The table names no image files.",
        f"In no column do the first rows end like an image or name one that is there; the columns are "
        f"{few(table.columns)}, the first row says {few(table.rows[0].cells)}.",
        "Lay the table beside the images or above their folders, or say which column holds their paths.",
    )


def _decided(names: Sequence[str], cells: Mapping[str, Sequence[str]]) -> str:
    """The one of several columns that names images, as far as that can be told."""
    called = [name for name in names if IMAGE_WORDS & {*words_of(name)}]
    distinct = [name for name in called or names if len({*cells[name]}) == len(cells[name])] or called or names
    if len(distinct) > 1 and not called:
        raise UserError(
            f"Which column names the images: {few(distinct)}?",
            "Each of them leads to images that are there.",
            "Say which (the image column, under More).",
        )
    return distinct[0]


def _nameless(table: TableFile, name: str) -> bool:
    """Whether a column of row numbers, as pandas and R write it, stands before others that have names."""
    numbered = name.startswith(("column ", "Unnamed: ")) and all(cell.isdecimal() for cell in table.column(name))
    return numbered and not all(each.startswith("column ") for each in table.columns)


def _split_column(table: TableFile, image: str) -> str:
    """A column in which every word says train or valid, and both are said."""
    for name in table.columns:
        parts = {part_in(name, cell) for cell in {*table.column(name)}}
        if name != image and TRAIN in parts and "" not in parts and len(parts) > 1:
            return name
    return ""


def _label_columns(
    table: TableFile, labels: str, task: Kind, taken: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns to learn, and those that are left out because one of them says by its name that it is the class."""
    if named := tuple(_column(table, name) for name in parted(labels)):
        return named, ()
    others = [name for name in table.columns if name not in taken and not _nameless(table, name)]
    others = [name for name in others if name.casefold() not in ABOUT_ROWS] or others
    if not others:
        raise UserError(
            f"{table.name} has no column with labels.",
            f"Its columns: {few(table.columns)}.",
            "Give it a column that says what is on each image.",
        )
    likely = [name for name in others if name.casefold() in LIKELY]
    wanted = (likely[0],) if TASKS[task].exclusive and len(likely) == 1 else tuple(others)
    return wanted, tuple(name for name in table.columns if name not in (*wanted, *taken))


def _with_images(table: TableFile, lookup: Lookup, where: str) -> tuple[TableFile, tuple[Path, ...], tuple[str, ...]]:
    """The rows whose image is there, those images, and notes on the other rows."""
    cells = table.column(where)
    found = lookup.found(cells)
    there = [(row, path) for row, path in zip(table.rows, found, strict=True) if path]
    if not there:
        raise _none_there(table, cells)
    rows, images = zip(*there, strict=True)
    gone = [(row.line, cell) for row, path, cell in zip(table.rows, found, cells, strict=True) if not path]
    return replace(table, rows=rows), images, tuple(_missing(table.path.parent, gone))


def _missing(folder: Path, gone: Sequence[tuple[int, str]]) -> Iterator[str]:
    """Notes on cells (line, text) that lead to no image."""
    other = [cell for _, cell in gone if cell and is_there(os.path.join(folder, cell), file=True)]
    known = {*other, ""}
    if rest := [cell for _, cell in gone if cell not in known]:
        verb = count(len(rest), "row names an image that is", "rows name images that are")
        yield f"{verb} not there: {few(map(_short, rest))}."
    if other:
        verb = count(len(other), "row names a file that is", "rows name files that are")
        yield f"{verb} no image by its ending: {few(map(_short, other))}."
    if empty := [line for line, cell in gone if not cell]:
        yield f"{count(len(empty), 'row names', 'rows name')} no image: row {few(empty)}."


def _elsewhere(folder: Path, images: Sequence[Path]) -> Iterator[str]:
    """A note on images outside the table's folder: right in one.s own table, but a stranger's can name any file."""
    inside = os.path.normpath(folder.absolute()) + os.sep
    places = (path for path in images if not os.path.normpath(path.absolute()).startswith(inside))
    if outside := list(dict.fromkeys(places)):
        verb = "image lies" if len(outside) == 1 else "images lie"
        yield (
            f"{len(outside):,} {verb} outside the table's folder, such as {shown(outside[0]):.200}. "
            "Look at them before you use a table that somebody else made."
        )


def _short(name: str) -> str:
    return name if len(name) <= 60 else f"{name[:59]}…"


def _looked_for(table: TableFile, images: Sequence[Path], where: str) -> Iterator[str]:
    """A remark on images that were found elsewhere than their cells say."""
    folder = table.path.parent
    if other := [each for each in zip(table.column(where), images, strict=True) if each[1] != folder / each[0]]:
        cell, path = other[0]
        place = shown(path.relative_to(folder) if path.is_relative_to(folder) else path)
        verb = count(len(other), "image was", "images were")
        yield f"{verb} found by looking, such as {shown(cell)} as {place}."


def _none_there(table: TableFile, cells: Sequence[str]) -> UserError:
    first = next((cell for cell in cells if cell), "")
    why = f"The first would be {shown(table.path.parent / first):.300}." if first else "The column is empty."
    hint = "Lay the table beside the images or above their folders, or say which column holds their paths."
    return UserError(f"None of the images in {table.name} is there.", why, hint)


def _each_once(table: TableFile, images: Sequence[Path], wanted: Sequence[str]) -> tuple[TableFile, tuple[Path, ...]]:
    """Without rows that say the same of an image again; a UserError where they say something else."""
    seen: dict[Path, Row] = {}
    places = [table.columns.index(name) for name in wanted]
    for row, path in zip(table.rows, images, strict=True):
        before = seen.setdefault(path, row)
        if any(before.cells[place] != row.cells[place] for place in places):
            raise UserError(
                f"An image stands in two rows: {shown(path.name)}.",
                f"Row {before.line} and row {row.line} say different things of it.",
                "Give each image one row.",
            )
    return replace(table, rows=tuple(seen.values())), tuple(seen)


def fixed(listing: Listing) -> tuple[str, ...]:
    """The side of each row by the split column; a test only where there are images to measure on besides."""
    aside, cells = listing.split, listing.table.column(listing.split)
    parts = tuple(part_in(aside, cell) for cell in cells)
    if "" in parts:
        row = listing.table.rows[parts.index("")]
        why = f"Row {row.line} says {cells[parts.index('')]!r:.40}; understood are train, val, test and such words."
        raise UserError(f"The column {aside} says something else than train or valid.", why, "Mend the table.")
    if len({part == TRAIN for part in parts}) < 2:
        raise UserError(f"The column {aside} puts all images on one side.", hint="It needs train and valid.")
    tested = "test" if {*parts} - {TRAIN, "test"} else "valid"
    return tuple({TRAIN: TRAIN, "test": tested}.get(part, "valid") for part in parts)


def _unlearned(found: Samples) -> Iterator[str]:
    """A note on names that only the training side of the table's own split has; a UserError on those it lacks."""
    if not found.fixed or not found.about.counted:
        return
    sides = [found.taking([i for i, part in enumerate(found.fixed) if part == side]).counts() for side in SIDES[:2]]
    unknown, unmeasured = ([name for name in found.classes if not side[name]] for side in sides)
    if unknown and found.about.exclusive:
        raise UserError(
            f"No training image shows {few(unknown)}.",
            "The table's split has them only among the images to measure on.",
            "Give some of their rows to training, or take the rows out.",
        )
    for names, words in ((unknown, "to learn from"), (unmeasured, "to measure on")):
        if names:
            yield f"By the table's own split there is no image {words} that shows {few(names)}."
