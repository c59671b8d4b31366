"""Pictures that people bring to the page: written into a folder of theirs, a sub-folder for each class.

The folder is as any other that Thaw reads, and stays usable without it. Nothing in it is ever overwritten.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count as count_from
from pathlib import Path, PurePosixPath
from typing import IO

from finetune_core.errors import UserError
from finetune_core.parts.sources import ARCHIVES
from finetune_core.parts.sources.archives import take_out
from finetune_core.parts.sources.files import ENDINGS, below
from finetune_core.places import Place, expanded, replace_file, writing
from finetune_core.wording import count, few, shown

LONGEST = 120  # bytes of a name


@dataclass(frozen=True)
class Brought:
    """A file as a browser hands it over: its name, perhaps with the folders above it, and what it holds."""

    name: str
    file: IO[bytes]


@dataclass(frozen=True)
class Added:
    """How many images are new in each class, how many were there before, and notes on the rest."""

    new: dict[str, int]
    again: int = 0
    notes: tuple[str, ...] = ()

    def line(self) -> str:
        """One line for people."""
        said = [f"{count(sum(self.new.values()), 'image')} added ({few(f'{k}: {n}' for k, n in self.new.items())})."]
        if not self.new:
            said = ["Nothing was added."]
        if self.again:
            said.append(f"{count(self.again, 'image was', 'images were')} there already.")
        return " ".join((*said, *self.notes))


def add(folder: str, label: str, brought: Iterable[Brought]) -> Added:
    """Add pictures to a class of a collection; without a `label` the folder above each says its class.

    Archives are taken apart. UserErrors for a folder or a class that cannot be, or a disk that refuses.
    """
    root = _root(folder)
    if label.strip():
        class_name(label)
    pile = _Pile(root, label.strip())
    with writing("your pictures", place=Place(root, "")):
        for each in brought:
            if each.name.lower().endswith(ARCHIVES):
                pile.take_apart(each)
            elif each.name.lower().endswith(ENDINGS):
                pile.take(each.name, each.file)
            else:
                pile.left.append(each.name)
    return pile.added()


def class_name(label: str) -> str:
    """The folder for a class; a UserError for a name that cannot be one."""
    name = label.strip()
    odd = not name or name.startswith(".") or re.search(r"[/\\\0]", name) or not name.isprintable()
    if odd or len(os.fsencode(name)) > LONGEST:
        raise UserError(
            f"“{shown(label)[:80]}” cannot be a class.",
            "It becomes the name of a folder.",
            "Use letters, digits and spaces, and do not begin with a point.",
        )
    return name


def counts(folder: str) -> dict[str, int]:
    """Images that lie directly in each class of a collection so far; none where it cannot be read."""
    if not folder.strip():
        return {}
    try:
        root = expanded(folder)
        places = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
        return {
            shown(path.name): sum(each.name.lower().endswith(ENDINGS) for each in path.iterdir()) for path in places
        }
    except (OSError, ValueError, UserError):  # it is not there yet, or `add` will say what is wrong with it
        return {}


def _root(folder: str) -> Path:
    if not folder.strip():
        raise UserError("No folder is chosen.", "Your pictures need a place.", "Name a folder; it need not be there.")
    root = expanded(folder).absolute()
    if root.exists() and not root.is_dir():
        raise UserError(f"{shown(root)} is a file.", "A folder is needed.", "Name another one.")
    return root


class _Pile:
    """Pictures on their way into a collection."""

    def __init__(self, root: Path, label: str) -> None:
        self.root, self.label = root, label
        self.new: dict[str, int] = {}
        self.again = 0
        self.left: list[str] = []
        self.notes: list[str] = []
        self.seen: dict[Path, dict[int, list[Path]]] = {}  # what lies in each class, by its size

    def take(self, name: str, file: IO[bytes]) -> None:
        """Put one picture where it belongs; one that is there already is not put there again."""
        parts = PurePosixPath(name.replace("\\", "/")).parts
        label = self.label or (parts[-2] if len(parts) > 1 else "")
        if not label:
            self.left.append(name)
            return
        try:
            folder = self.root / class_name(label)
        except UserError:
            self.left.append(name)
            return
        data = file.read()
        alike = self._there(folder).setdefault(len(data), [])
        if any(path.read_bytes() == data for path in alike):
            self.again += 1
            return
        folder.mkdir(parents=True, exist_ok=True)
        alike.append(_write(folder, _safe(parts[-1]), data))
        self.new[label] = self.new.get(label, 0) + 1

    def take_apart(self, archive: Brought) -> None:
        """Put the pictures of an archive where they belong."""
        with tempfile.TemporaryDirectory(prefix="thaw-") as place:
            copy, folder = Path(place) / Path(archive.name).name, Path(place) / "images"
            with copy.open("wb") as file:
                shutil.copyfileobj(archive.file, file)
            self.notes += take_out(copy, folder).look
            for path in below(folder).images:
                with path.open("rb") as picture:
                    self.take(path.relative_to(folder).as_posix(), picture)

    def added(self) -> Added:
        """What came of it."""
        notes = list(self.notes)
        if self.left:
            why = "" if self.label else " Pictures without a class lie in no folder: say their class."
            notes.append(f"Left out: {few(map(shown, self.left), 2)}.{why}")
        return Added(self.new, self.again, tuple(notes))

    def _there(self, folder: Path) -> dict[int, list[Path]]:
        if folder not in self.seen:
            self.seen[folder] = {}
            for path in below(folder).images if folder.is_dir() else ():
                self.seen[folder].setdefault(path.stat().st_size, []).append(path)
        return self.seen[folder]


def _safe(name: str) -> str:
    """A file's name without what no disk takes; its ending stays."""
    ending = next(each for each in ENDINGS if name.lower().endswith(each))
    stem = "".join(letter if letter.isprintable() else "_" for letter in name[: -len(ending)]).lstrip(".-")
    short = os.fsencode(stem)[:LONGEST].decode("utf-8", "ignore")
    return f"{short or 'picture'}{ending}"


def _write(folder: Path, name: str, data: bytes) -> Path:
    """Write a new file of this name, or of the next that is free; never half of one."""
    path = folder / name
    for number in count_from(1):
        target = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        try:
            target.touch(exist_ok=False)  # it is ours now, whoever else adds pictures
        except FileExistsError:
            continue
        try:
            replace_file(target, lambda draft: draft.write_bytes(data))
        except OSError:
            target.unlink(missing_ok=True)
            raise
        break
    return target
