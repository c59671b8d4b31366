"""Labels that a person gives to pictures, one after the other: a table beside them that any program can read.

The table is written anew after each label, as a whole; pictures are never touched.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from finetune_core import downloads
from finetune_core.errors import UserError
from finetune_core.parts.sources import Table
from finetune_core.parts.sources.files import below
from finetune_core.parts.sources.folders import existing_folder
from finetune_core.places import Place, replace_file, writing
from finetune_core.wording import shown

TABLE = "labels.csv"
COLUMNS = ("file", "label")
LONGEST = 100  # letters of a label

ODD = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]|^\s|\s$")  # what a table does not hold, or does not give back


@dataclass(frozen=True)
class Bench:
    """Pictures below a folder, by their paths there with / between, and the labels that some of them have."""

    folder: Path
    images: tuple[str, ...]
    labels: Mapping[str, str]
    left_out: tuple[str, ...] = ()  # by their names, which no table gives back

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels that were given, in the order in which each came first."""
        return tuple(dict.fromkeys(self.labels.values()))

    @property
    def left(self) -> tuple[str, ...]:
        """Pictures without a label."""
        return tuple(name for name in self.images if name not in self.labels)

    @property
    def counts(self) -> Counter[str]:
        """Pictures of each class, of those that are still there."""
        return Counter(self.labels[name] for name in self.images if name in self.labels)

    @property
    def ready(self) -> bool:
        """Whether there is something to learn from: two classes with two pictures each."""
        return sum(number > 1 for number in self.counts.values()) > 1

    @property
    def source(self) -> Table:
        """What trains on them."""
        return Table(path=str(self.folder / TABLE), image=COLUMNS[0], labels=COLUMNS[1])


def read(folder: str) -> Bench:
    """The pictures of a folder with the labels so far. UserErrors for a folder without pictures, or another table."""
    root = existing_folder(folder)
    names = [path.relative_to(root).as_posix() for path in below(root).images]
    images = tuple(name for name in names if not ODD.search(name))
    if not images:
        raise UserError(f"There are no pictures in {shown(root)}.", "Nothing can be labelled.", "Name another folder.")
    given = {name: label for name, label in _labels(root).items() if label}
    return Bench(root, images, given, tuple(name for name in names if ODD.search(name)))


def give(folder: Path, labels: Mapping[str, str]) -> dict[str, str]:
    """Give pictures labels, "" takes one away; returns what they were, which given again takes it back. UserErrors."""
    wanted = {name: checked(label) if label else "" for name, label in labels.items()}
    with downloads.alone(folder / TABLE, lambda: None):  # another tab, or another studio
        known = _labels(folder)
        before = {name: known.get(name, "") for name in wanted}
        found = {name: label for name, label in known.items() if name not in wanted}  # the newest stand last
        found |= {name: label for name, label in wanted.items() if label}
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([COLUMNS, *found.items()])
        with writing("your labels", place=Place(folder, "")):
            replace_file(folder / TABLE, lambda draft: draft.write_text(text.getvalue(), "utf-8"), lasting=True)
    return before


def checked(label: str) -> str:
    """A label that can stand in a table and on a button; a UserError for another."""
    tidy = " ".join(label.split())
    if not tidy or ODD.search(tidy) or len(tidy) > LONGEST:
        why = f"A label has 1 to {LONGEST} letters that can be printed."
        raise UserError(f"“{shown(label)[:80]}” cannot be a label.", why, "Choose another name.")
    return tidy


def _labels(folder: Path) -> dict[str, str]:
    """What the table says. A UserError where it is none of these."""
    file = folder / TABLE
    try:
        rows = list(csv.reader(io.StringIO(file.read_text(encoding="utf-8-sig"), newline=""), strict=True))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, csv.Error) as error:
        raise _other(file, f"It cannot be read: {error}.") from error
    rows = [row for row in rows if row]
    if not rows or tuple(rows[0]) != COLUMNS or any(len(row) != len(COLUMNS) for row in rows):
        raise _other(file, "Labels that are given here stand in a table with the columns file and label.")
    if twice := [name for name, number in Counter(name for name, _ in rows[1:]).items() if number > 1]:
        raise _other(file, f"It says something of {shown(twice[0])} more than once.")
    return dict(rows[1:])


def _other(file: Path, why: str) -> UserError:
    what = f"There is another table called {TABLE} beside these pictures."
    return UserError(what, why, f"Give {shown(file)} another name, or train on it as it is (Data, from a table).")
