"""Finding the image that a cell of a table means, where it is not written as its path from the table's folder.

People write ids without an ending, backslashes, names of files in a folder beside, and paths of other machines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from finetune_core.errors import UserError
from finetune_core.parts.sources.files import ENDINGS, IMAGE, below, kind
from finetune_core.wording import shown

MOST = 500_000  # images below a table's folder that are looked at
DEEPEST = 12  # folders that a path may lose


class Lookup:
    """The images that the cells of one table may mean."""

    def __init__(self, folder: Path) -> None:
        """Of a table in this folder, which is walked through only where a cell is no path."""
        self.folder = folder

    def names_image(self, cell: str) -> bool:
        """Whether a single cell means an image that is there, however it is written."""
        if self._direct(cell):
            return True
        steps = _steps(cell)
        return any(self._near(steps[number:]) for number in range(min(DEEPEST, len(steps))))

    def found(self, cells: Sequence[str]) -> list[Path | None]:
        """The image of each cell, None where there is none. A UserError where a cell may mean several."""
        direct = [self._direct(cell) for cell in cells]
        if all(direct):
            return direct
        steps = [_steps(cell) for cell in cells]
        for number in range(min(DEEPEST, max(map(len, steps)))):
            # All lose equally many folders from their front, and only where no image is found with them: that the
            # image of one row is gone must not lead to another of its name.
            near = [self._near(each[number:]) for each in steps]
            if any(near) or (any(direct) and not number):
                return [path or self._one(cell, found) for path, cell, found in zip(direct, cells, near, strict=True)]
        return direct

    def _direct(self, cell: str) -> Path | None:
        """The path itself, from the table's folder."""
        for text in dict.fromkeys((cell, cell.replace("\\", "/"))) if cell.lower().endswith(ENDINGS) else ():
            if kind(path := self.folder / text) == IMAGE:
                return path
        return None

    def _near(self, steps: Sequence[str]) -> list[Path]:
        """Images whose path ends in these steps: with the same capitals if there are such, and nearest to the table."""
        found = self._index.get("/".join(steps).casefold(), [])
        alike = [path for path in found if steps[-1] in (path.name, path.stem)] or found
        least = min((len(path.parts) for path in alike), default=0)
        return [path for path in alike if len(path.parts) == least]

    def _one(self, cell: str, found: Sequence[Path]) -> Path | None:
        if len(found) > 1:
            names = " and ".join(shown(path.relative_to(self.folder)) for path in found[:2])
            hint = "Write the path of each image in full, from the table's folder."
            raise UserError(f"It cannot be told which image {shown(cell)} means.", f"There are {names}.", hint)
        return found[0] if found else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What was not looked at."""
        cut = "_index" in self.__dict__ and len(self._below) == MOST
        return (f"Only {MOST:,} images below the table's folder were looked at.",) if cut else ()

    @cached_property
    def _below(self) -> tuple[Path, ...]:
        return below(self.folder).images[:MOST]

    @cached_property
    def _index(self) -> dict[str, list[Path]]:
        """The images below the folder by every end of their paths, with and without the file's ending."""
        index: dict[str, list[Path]] = {}
        for path in self._below:
            for key in _ends(path.relative_to(self.folder)):
                index.setdefault(key.casefold(), []).append(path)
        return index


def _steps(cell: str) -> list[str]:
    """A path's folders and its file's name; a drive, the root and dots say nothing on this machine."""
    steps = [step for step in cell.replace("\\", "/").split("/") if step not in ("", ".")]
    return steps[1:] if len(steps) > 1 and steps[0].endswith(":") else steps


def _ends(path: Path) -> Iterator[str]:
    for name in dict.fromkeys((path, path.with_suffix(""))):
        for number in range(len(name.parts)):
            yield "/".join(name.parts[number:])
