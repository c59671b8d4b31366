"""The code that lists a table's images as Thaw does; see `code` for what it defines."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping

from finetune_core.parts.codetext import bracketed, joined, listed
from finetune_core.parts.sources import files
from finetune_core.parts.sources.code import called, names, rule
from finetune_core.parts.sources.labels import QUOTED, YES
from finetune_core.parts.sources.samples import Samples
from finetune_core.parts.sources.table_files import LONGEST
from finetune_core.parts.sources.tables import SIDES, Listing, fixed


def of_table(samples: Samples, listing: Listing) -> str:
    """The rows of a table whose images are there."""
    return joined(
        f"DATA = Path({str(listing.table.path.parent)!r})\n{names(called(samples, listing.labels.names))}",
        rule(files.kind),
        "\n".join([*_reading(listing), *_rows(listing, samples.about.exclusive), *HOW[listing.labels.how](listing)]),
        "\n".join(_aside(listing)),
    )


def _reading(listing: Listing) -> Iterator[str]:
    """The file as rows, by the names of their columns."""
    table = listing.table
    yield listed("COLUMNS", table.columns)
    if any(len(cell) > 1 << 17 for row in table.rows for cell in row.cells):
        yield f"csv.field_size_limit({LONGEST})  # for long cells"
    yield f'with open(DATA / {table.path.name!r}, newline="", encoding={table.encoding!r}) as file:'
    yield f"    rows = list(csv.reader(file, delimiter={table.delimiter!r}, skipinitialspace=True))"
    yield "rows = [[cell.strip() for cell in row] for row in rows]"
    yield f"rows = [row for row in rows if any(row)]{f'[{table.before}:]' if table.before else ''}"
    yield 'rows = [dict(zip(COLUMNS, [*row, *[""] * len(COLUMNS)])) for row in rows]  # short ones end in empty cells'


def _rows(listing: Listing, exclusive: bool) -> Iterator[str]:
    """Each row with its image."""
    yield from _paths(listing)
    yield 'rows = [(path, row) for path, row in rows if kind(path) == "image"]'
    if listing.again:
        yield "once = {path: (path, row) for path, row in reversed(rows)}"
        yield "rows = [row for row in rows if once[row[0]] is row]  # each image once"
    if exclusive:
        yield f"rows.sort(key=lambda row: CLASSES.index(row[1][{listing.columns[0]!r}]))  # class by class"
    yield "paths = [path for path, row in rows]"


def _paths(listing: Listing) -> Iterator[str]:
    """The path that a cell means: what stands there, perhaps between two other pieces, or by a list of all."""
    column, folder = f"row[{listing.image!r}]", listing.table.path.parent
    cells = listing.table.column(listing.image)
    places = [os.path.relpath(path, folder) if path.is_relative_to(folder) else str(path) for path in listing.images]
    slashed = [cell.replace("\\", "/") for cell in cells]
    before, found, behind = places[0].partition(slashed[0])
    if all(folder / cell == path for cell, path in zip(cells, listing.images, strict=True)):
        yield f"rows = [(DATA / {column}, row) for row in rows]"
    elif found and all(f"{before}{cell}{behind}" == place for cell, place in zip(slashed, places, strict=True)):
        cell = column if slashed == [*cells] else f'{column}.replace("\\\\", "/")'
        path = " + ".join([repr(before)] * bool(before) + [cell] + [repr(behind)] * bool(behind))
        yield f"rows = [(DATA / ({path}), row) for row in rows]"
    else:
        pairs = [f"{cell!r}: {place!r}" for cell, place in zip(cells, places, strict=True)]
        yield bracketed("IMAGES = {", pairs, "}")
        yield f"rows = [(DATA / IMAGES[{column}], row) for row in rows if {column} in IMAGES]"


TAGGED = "labels = np.array([[tag in tags for tag in TAGS] for tags in found], np.float32)"


def _classes(listing: Listing) -> Iterator[str]:
    yield f"labels = np.array([CLASSES.index(row[{listing.columns[0]!r}]) for path, row in rows])"


def _tags(listing: Listing) -> Iterator[str]:
    split = repr(listing.labels.separator) if listing.labels.separator else ""
    yield f"found = [{{tag.strip() for tag in row[{listing.columns[0]!r}].split({split})}} for path, row in rows]"
    yield TAGGED


def _list(listing: Listing) -> Iterator[str]:
    yield f"cells = [row[{listing.columns[0]!r}] for path, row in rows]"
    yield f"quoted = [[one or other for one, other in re.findall({QUOTED!r}, cell)] for cell in cells]"
    yield 'plain = [cell.strip("[](){} ").split(",") for cell in cells]'
    yield "found = [{tag.strip() for tag in one or other} for one, other in zip(quoted, plain)]"
    yield TAGGED


def _marks(listing: Listing) -> Iterator[str]:
    yes = sorted(cell for cell in _cells(listing) if cell.lower() in YES)
    yield f"labels = np.array([[row[tag] in {yes!r} for tag in TAGS] for path, row in rows], np.float32)"


def _numbers(listing: Listing) -> Iterator[str]:
    columns = [listing.table.column(name) for name in listing.columns]
    read = {
        cell: value
        for cells, values in zip(columns, zip(*listing.labels.values, strict=True), strict=True)
        for cell, value in zip(cells, values, strict=True)
    }
    value = "float(row[name])"
    if not all(map(_plain, read.items())):  # written otherwise than Python writes numbers
        yield bracketed("VALUES = {", [f"{cell!r}: {number!r}" for cell, number in read.items()], "}")
        value = "VALUES[row[name]]"
    yield f"labels = np.array([[{value} for name in NUMBERS] for path, row in rows])"


def _plain(pair: tuple[str, float]) -> bool:
    """Whether Python reads a cell as the same number."""
    try:
        return float(pair[0]) == pair[1]
    except ValueError:
        return False


def _cells(listing: Listing) -> set[str]:
    return {cell for name in listing.columns for cell in listing.table.column(name)}


HOW: Mapping[str, Callable[[Listing], Iterator[str]]] = {
    "class": _classes,
    "tags": _tags,
    "list": _list,
    "marks": _marks,
    "numbers": _numbers,
}


def _aside(listing: Listing) -> Iterator[str]:
    if listing.split:
        numbers = {
            cell: SIDES.index(side)
            for cell, side in zip(listing.table.column(listing.split), fixed(listing), strict=True)
        }
        yield f"PARTS = {numbers!r}  # 0: learned from, 1: measured on, 2: for a test"
        yield f"aside = [PARTS[row[{listing.split!r}]] for path, row in rows]"
