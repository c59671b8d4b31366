"""Images whose labels stand elsewhere than in a folder's name: in a table, or in the file's own name."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from finetune_core.errors import UserError
from finetune_core.parts.sources.folders import EXTENSIONS, VALID, existing_folder, images_below
from finetune_core.parts.sources.samples import Samples, natural
from finetune_core.parts.tasks import NUMBERS, ONE_CLASS, TAGS, Kind
from finetune_core.places import expanded, shown

SAID = 5  # examples named in an error or note
SPLIT_WORDS = {"train": "train", "training": "train", **dict.fromkeys(VALID, "valid")}


def list_table(
    path: str | Path, task: Kind, *, image: str = "", labels: str = "", separator: str = "", split: str = ""
) -> Samples:
    """The images that a CSV table names, with their labels.

    `image` is the column with their paths, relative to the table (empty: the first whose values look like image
    files); `labels` the columns with the labels, by comma (empty: all others). For single-label one column names the
    class; for multi-label either one column holds the tags with `separator` between them, or each column is a tag and
    holds 0 or 1; for regression each column is a number. `split` names a column that says train or valid. Raises
    UserErrors.
    """
    file = _existing(path)
    table = _read(file)
    where, wanted, aside = _columns(table, image, labels, split)
    if not wanted:
        raise UserError(f"{shown(file.name)} has no column with labels.", f"Its columns: {_few(table.columns)}.")
    table, notes = _with_images(table, file, where)
    names, values = READERS[task](table, wanted, separator)
    paths = tuple(file.parent / name for name in table[where])
    fixed = None if aside is None else _fixed(table, aside)
    return ordered(Samples(paths, values, names, fixed, file.parent, notes, task))


class Columns(NamedTuple):
    """Which columns of a table are read."""

    image: str
    labels: list[str]
    split: str | None


def columns(path: str | Path, image: str = "", labels: str = "", split: str = "") -> Columns:
    """The columns that `list_table` reads. Raises UserErrors."""
    return _columns(_read(_existing(path)), image, labels, split)


def delimiter(file: Path) -> str:
    """What stands between the columns, as pandas finds it: from the first line."""
    with file.open(encoding="utf-8-sig", newline="") as lines:
        return csv.Sniffer().sniff(lines.readline()).delimiter


def list_names(folder: str | Path, pattern: str) -> Samples:
    r"""All images below a folder; the class of each is what the pattern's group finds in the file's name (seed 003).

    `pattern` is a regular expression with one group, such as `^(.+)_\d+` for `great_pyrenees_17.jpg`; files that it
    does not fit are left out, with a note. Raises UserErrors.
    """
    root = existing_folder(folder)
    found = labelled(images_below(root), pattern)
    fitting = {path: label for path, label in found.items() if label}
    if not fitting:
        some = next(iter(found), None)
        why = f"It fits none of {len(found)} images, such as {shown(some.name)}." if some else "There are no images."
        raise UserError(f"No class was found in the names of the files in {shown(root)}.", why, "Mend the pattern.")
    classes = sorted(set(fitting.values()), key=natural)
    if len(classes) == 1:
        raise UserError(f"There is only one class: {shown(classes[0])}.", "Telling apart needs at least two.")
    number = {name: index for index, name in enumerate(classes)}
    left = [path.name for path in found if path not in fitting]
    notes = (f"The pattern does not fit {len(left)} images, which are left out: {_few(left)}.",) if left else ()
    labels = tuple(number[label] for label in fitting.values())
    return ordered(Samples(tuple(fitting), labels, tuple(map(shown, classes)), None, root, notes))


def labelled(paths: Iterable[Path], pattern: str) -> dict[Path, str]:
    """What a pattern finds in each file's name without its ending, empty where it does not fit."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"{pattern} is not a regular expression.", f"{error}.".capitalize(), "Mend it.") from error
    if compiled.groups != 1:
        why = f"It has {compiled.groups} groups."
        raise UserError(f"The pattern {pattern} needs one group.", why, r"Put the class in brackets: ^(.+)_\d+$")
    found = {path: compiled.search(path.stem) for path in paths}
    return {path: (match and match[1]) or "" for path, match in found.items()}


def ordered(samples: Samples) -> Samples:
    """Class by class where each image has one class, as everywhere."""
    if not samples.about.exclusive:
        return samples
    order = np.argsort(np.asarray(samples.labels), kind="stable")
    return samples.taking(order.tolist())


def _existing(path: str | Path) -> Path:
    if not str(path).strip():
        raise UserError("No table is chosen.", "The path is empty.", "Give the path of a CSV file.")
    file = expanded(path).absolute()
    if not file.is_file():
        why = "It is a folder." if file.is_dir() else "It does not exist on the machine that Thaw runs on."
        raise UserError(f"There is no table {shown(file)}.", why, "Give the path of a CSV file.")
    return file


def _read(file: Path) -> pd.DataFrame:
    try:
        # sep None: commas, semicolons and tabs are told apart; all as text, for 007 is a name and not 7.
        table = pd.read_csv(file, sep=None, engine="python", dtype=str, keep_default_na=False, skipinitialspace=True)
    except (OSError, ValueError, UnicodeError) as error:  # pandas' own errors are ValueErrors
        why = f"{str(error).splitlines()[0].rstrip('.')}."
        raise UserError(f"The table {shown(file)} cannot be read.", why, "Save it as CSV in UTF-8.") from error
    table.columns = [str(name).strip() for name in table.columns]
    if table.empty:
        raise UserError(f"The table {shown(file)} has no rows.", hint="Write one row per image below the header.")
    if len(set(table.columns)) < len(table.columns):
        raise UserError(f"Two columns of {shown(file.name)} have the same name.", hint="Give each a name of its own.")
    return table.apply(lambda column: column.str.strip())


def _columns(table: pd.DataFrame, image: str, labels: str, split: str) -> Columns:
    where = _column(table, image) if image.strip() else _image_column(table)
    aside = _column(table, split) if split.strip() else None
    others = [name for name in table.columns if name not in (where, aside)]
    return Columns(where, [_column(table, name) for name in labels.split(",") if name.strip()] or others, aside)


def _column(table: pd.DataFrame, name: str) -> str:
    if name.strip() not in table.columns:
        raise UserError(f"The table has no column {name.strip()}.", f"Its columns: {_few(table.columns)}.")
    return name.strip()


def _image_column(table: pd.DataFrame) -> str:
    for name in table.columns:
        if Path(table[name].iloc[0]).suffix.lower() in EXTENSIONS:
            return str(name)
    why = f"No value in the first row ends like an image file; the columns are {_few(table.columns)}."
    raise UserError("The table names no image files.", why, "Say which column holds their paths.")


def _with_images(table: pd.DataFrame, file: Path, where: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The rows whose image is there, and a note on the others."""
    there = np.array([(file.parent / name).is_file() if name else False for name in table[where]])
    if not there.any():
        example = shown(file.parent / table[where].iloc[0])
        raise UserError(f"None of the images in {shown(file.name)} is there.", f"The first would be {example}.")
    missing = [shown(name) for name in table[where][~there]]
    notes = (f"{len(missing)} rows name images that are not there: {_few(missing)}.",) if missing else ()
    kept = table[there]
    if doubled := kept[where][kept[where].duplicated()].tolist():
        raise UserError(f"An image stands in two rows: {shown(doubled[0])}.", hint="Give each image one row.")
    return kept, notes


def _fixed(table: pd.DataFrame, aside: str) -> tuple[str, ...]:
    words = [SPLIT_WORDS.get(word.casefold()) for word in table[aside]]
    if None in words:
        strange = table[aside].iloc[words.index(None)]
        known = ", ".join(SPLIT_WORDS)
        raise UserError(f"The column {aside} says {strange!r:.40}.", f"Understood are {known}.", "Mend the table.")
    parts = tuple(word for word in words if word)
    if len(set(parts)) < 2:
        raise UserError(f"The column {aside} puts all images on one side.", hint="It needs train and valid.")
    return parts


def _classes(table: pd.DataFrame, columns: Sequence[str], separator: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    if len(columns) > 1:
        why = f"There are {len(columns)}: {_few(columns)}."
        raise UserError("One column must name the class.", why, "Say which one, or choose another kind of label.")
    values = table[columns[0]]
    if (empty := int((values == "").sum())) > 0:
        raise UserError(f"{empty} rows have no class in {columns[0]}.", hint="Fill them in, or take the rows out.")
    names = sorted(set(values), key=natural)
    if len(names) < 2:
        raise UserError(f"There is only one class: {shown(names[0])}.", "Telling apart needs at least two.")
    number = {name: index for index, name in enumerate(names)}
    return tuple(map(shown, names)), tuple(number[value] for value in values)


Rows = tuple[tuple[float, ...], ...]


def _tags(table: pd.DataFrame, columns: Sequence[str], separator: str) -> tuple[tuple[str, ...], Rows]:
    if len(columns) > 1:
        numbers = _numeric(table, columns)
        if not np.isin(numbers, (0.0, 1.0)).all():
            why = "A column per tag holds 1 where the image has it, else 0."
            hint = "Mend the values, or give one column that holds all tags."
            raise UserError(f"The columns {_few(columns)} are not tags.", why, hint)
        return tuple(map(shown, columns)), tuple(map(tuple, numbers.tolist()))
    cells = [{tag.strip() for tag in cell.split(separator or " ") if tag.strip()} for cell in table[columns[0]]]
    names = sorted(set().union(*cells), key=natural)
    if not names:
        raise UserError(f"The column {columns[0]} holds no tags.", hint="Say which column holds them.")
    return tuple(map(shown, names)), tuple(tuple(float(name in cell) for name in names) for cell in cells)


def _numbers(table: pd.DataFrame, columns: Sequence[str], separator: str) -> tuple[tuple[str, ...], Rows]:
    return tuple(map(shown, columns)), tuple(map(tuple, _numeric(table, columns).tolist()))


def _numeric(table: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    found = table[list(columns)].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    if not np.isfinite(found).all():
        row, column = np.argwhere(~np.isfinite(found))[0]
        value = table[columns[column]].iloc[row]
        what = f"{columns[column]} is no number in row {table.index[row] + 2}: {value!r:.40}."
        raise UserError(what, hint="Mend the table, or name only the columns with numbers.")
    return found


READERS: dict[str, Callable[[pd.DataFrame, Sequence[str], str], tuple[tuple[str, ...], Any]]] = {
    ONE_CLASS.key: _classes,
    TAGS.key: _tags,
    NUMBERS.key: _numbers,
}


def _few(names: Iterable[object]) -> str:
    listed: Mapping[str, None] = dict.fromkeys(shown(str(name)) for name in names)
    more = f" and {len(listed) - SAID} more" if len(listed) > SAID else ""
    return ", ".join([*listed][:SAID]) + more
