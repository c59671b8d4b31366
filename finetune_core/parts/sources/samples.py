"""What a source offers: image files, their labels, and the names of the classes."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from finetune_core.parts.tasks import ONE_CLASS, TASKS, Kind, Task
from finetune_core.wording import shown


@dataclass(frozen=True)
class Samples:
    """Images with their labels, in a fixed order: class by class where each has one class.

    `classes` are the classes, tags or numbers. In a single-label task `labels` index into them, else each label holds
    a value for each (0 or 1 for tags). `fixed` says "train", "valid" or "test" per image where the data bring their
    own split; `root` is the folder that all paths lie under; `notes` are sentences about what was left out and how
    the rest was understood; those among them that are only good to know are `remarks`. Of images that were left out
    by hand, `whole` knows all, and `places` where the others stand there.
    """

    paths: tuple[Path, ...]
    labels: tuple[int, ...] | tuple[tuple[float, ...], ...]
    classes: tuple[str, ...]
    fixed: tuple[str, ...] | None = None
    root: Path = field(default_factory=Path)
    notes: tuple[str, ...] = ()
    task: Kind = ONE_CLASS.key
    remarks: tuple[str, ...] = ()
    groups: tuple[str, ...] | None = None  # of images that belong on one side of a split, such as those of one patient
    whole: Samples | None = None
    places: tuple[int, ...] = ()

    @property
    def about(self) -> Task:
        """What the labels are."""
        return TASKS[self.task]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.paths)

    def members(self, label: int) -> np.ndarray:
        """Indices of the images that have this class or tag."""
        return self.about.members(np.asarray(self.labels), label)

    def counts(self) -> dict[str, int]:
        """Images per class or tag, by name."""
        return {name: len(self.members(label)) for label, name in enumerate(self.classes)}

    def label_words(self, index: int) -> str:
        """An image's label in words."""
        return self.about.words(self.classes, self.labels[index])

    def taking(self, indices: Sequence[int]) -> Samples:
        """Only these images, in this order."""

        def some(values: Any) -> Any:
            return values and tuple(values[index] for index in indices)

        taken = {name: some(getattr(self, name)) for name in ("paths", "labels", "fixed", "groups", "places")}
        return replace(self, **taken)

    def part(self, indices: Sequence[int]) -> Samples:
        """The same of images that go on being read with all others: from one cache, deep ones by one range."""
        everything = replace(self, places=tuple(range(len(self)))) if self.whole is None else self
        return replace(everything.taking(indices), whole=self.whole or self)

    def place(self, index: int) -> str:
        r"""An image's path below `root` as recipes write it: with /, and \xff for bytes that are no UTF-8."""
        path = Path(os.path.relpath(self.paths[index], self.root)).as_posix()
        return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")

    def name(self, index: int) -> str:
        """An image's path below `root`, safe to print."""
        return shown(os.path.relpath(self.paths[index], self.root))


class Trial(NamedTuple):
    """What a source's rule makes of its first files or rows, for eyes: a table, and what it comes to in a sentence."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    line: str


def ordered(samples: Samples) -> Samples:
    """Class by class where each image has one class, as everywhere."""
    if not samples.about.exclusive:
        return samples
    order = np.argsort(np.asarray(samples.labels), kind="stable")
    return samples.taking(order.tolist())


def natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key that puts "class 2" before "class 10"; upper and lower case stand together."""
    runs = re.split(r"(\d+)", name.casefold())
    return [(1, int(run), "") if run.isdecimal() else (0, 0, run) for run in runs], name
