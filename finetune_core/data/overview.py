"""What there is in a data set, counted: for the Data page and the terminal alike. No image is opened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finetune_core.data.split import Split
from finetune_core.parts.sources.samples import Samples
from finetune_core.parts.tasks import TASKS, Kind, Task
from finetune_core.wording import count


@dataclass(frozen=True)
class Share:
    """A class, tag or number, and how many images to learn from and to measure on have it."""

    name: str
    train: int
    valid: int


@dataclass(frozen=True)
class Overview:
    """The task, the images on either side of the split, the same for each name, and notes on what was left out."""

    task: Kind
    train: int
    valid: int
    names: tuple[Share, ...]
    notes: tuple[str, ...]
    test: int = 0

    @property
    def about(self) -> Task:
        """The task itself."""
        return TASKS[self.task]

    @property
    def images(self) -> int:
        """All images."""
        return self.train + self.valid + self.test

    def line(self) -> str:
        """One line for people."""
        there = self.about.there(len(self.names))
        tested = f", {self.test:,} for a test" if self.test else ""
        return f"{there}, {count(self.train, 'image')} to train on, {self.valid:,} to measure on{tested}."


def overview(samples: Samples, parts: Split) -> Overview:
    """Count the images of each name on both sides."""
    members = [samples.members(label) for label in range(len(samples.classes))]
    names = tuple(
        Share(name, *(len(np.intersect1d(some, part, assume_unique=True)) for part in (parts.train, parts.valid)))
        for name, some in zip(samples.classes, members, strict=True)
    )
    return Overview(samples.task, len(parts.train), len(parts.valid), names, samples.notes, len(parts.test))
