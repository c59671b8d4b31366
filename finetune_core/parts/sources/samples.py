"""What a source offers: image files, their labels, and the names of the classes."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from finetune_core.parts.tasks import ONE_CLASS, TASKS, Kind, Task
from finetune_core.wording import shown


@dataclass(frozen=True)
class Samples:
    """Images with their labels, in a fixed order: class by class where each has one class.

    `classes` are the classes, tags or numbers. In a single-label task `labels` index into them, else each label holds
    a value for each (0 or 1 for tags). `fixed` says "train" or "valid" per image where the data bring their own split;
    `root` is the folder that all paths lie under; `notes` are sentences about what was left out and how
    the rest was understood; those among them that are only good to know are `remarks`.
    """

    paths: tuple[Path, ...]
    labels: tuple[int, ...] | tuple[tuple[float, ...], ...]
    classes: tuple[str, ...]
    fixed: tuple[str, ...] | None = None
    root: Path = field(default_factory=Path)
    notes: tuple[str, ...] = ()
    task: Kind = ONE_CLASS.key
    remarks: tuple[str, ...] = ()

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
        labels: Any = tuple(self.labels[index] for index in indices)
        fixed = self.fixed and tuple(self.fixed[index] for index in indices)
        return replace(self, paths=tuple(self.paths[index] for index in indices), labels=labels, fixed=fixed)

    def name(self, index: int) -> str:
        """An image's path below `root`, safe to print."""
        return shown(os.path.relpath(self.paths[index], self.root))


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
