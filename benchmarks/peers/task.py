"""What one process is to do, and how it tells what came of it: the same for Thaw and for each peer.

A process gets its task as a file and prints lines of JSON; whatever else it prints is not listened to. Without torch.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ARCHITECTURE = "mobilenetv2_100"
LEARNS = {  # which weights learn, by how their names begin
    "head": ("classifier.",),
    "stage": ("blocks.6.", "conv_head.", "bn2.", "classifier."),
    "all": ("",),
}
READ, STEPPED = "read", "stepped"  # marks on the way: the recipe is read, the first step is done
LEAST_SCALE = 0.6  # of an image's area that a random crop keeps
RATE = 1e-3

Labelled = tuple[tuple[str, int], ...]
"""Images by their paths, each with its class."""


@dataclass(frozen=True)
class Task:
    """One piece of work on certain images and weights.

    `work` is speed (of training steps), epochs (whole ones, measured on the validation images too), finder or accuracy.
    `options` are what a peer is asked to do otherwise than by its habit.
    """

    work: str
    learns: str
    train: Labelled
    valid: Labelled
    classes: int
    photos: str
    weights: str
    device: str
    scratch: str
    epochs: int = 1
    rates: int = 100  # that the finder tries
    size: int = 160
    batch: int = 32
    workers: int = 2
    options: tuple[str, ...] = ()

    def save(self, file: Path) -> None:
        """Write it for another process."""
        file.write_text(json.dumps(asdict(self)), encoding="utf-8")

    def learning(self, parameter: str) -> bool:
        """Whether a parameter of this name learns."""
        return parameter.startswith(LEARNS[self.learns])


def given() -> Task:
    """The task whose file was named on the command line."""
    return Task(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))


def say(**found: Any) -> None:
    """Tell the one who asked."""
    print(json.dumps(found), flush=True)


class Pace:
    """Images per second of training steps: whole epochs, from the first image asked for to the end of the last step.

    So nothing that a loader does ahead is left out. Of several epochs the first is not counted.
    """

    def __init__(self, epochs: int) -> None:
        self.first, self.images, self.seconds, self.last = int(epochs > 1), 0, 0.0, 0.0

    def begin(self) -> None:
        """An epoch begins."""
        self.last = time.perf_counter()

    def tick(self, epoch: int, images: int) -> None:
        """A step has ended."""
        now = time.perf_counter()
        self.add(epoch, images, now - self.last)
        self.last = now

    def add(self, epoch: int, images: int, seconds: float) -> None:
        """A step took so long."""
        if epoch >= self.first:
            self.images += images
            self.seconds += seconds

    def tell(self) -> None:
        """Say it."""
        say(value=self.images / self.seconds)


def cpu_seconds(work: Callable[[], object]) -> float:
    """What some work takes of the processor, in this process and in those that it starts and ends."""
    before = sum(os.times()[:4])
    work()
    gc.collect()  # loaders' processes are waited for, and so counted, when their iterator goes
    return sum(os.times()[:4]) - before
