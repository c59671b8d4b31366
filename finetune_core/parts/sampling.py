"""Sampling: which training images an epoch sees, and how often each."""

from __future__ import annotations

import inspect
from typing import ClassVar

import numpy as np

from finetune_core.errors import UserError
from finetune_core.parts.base import Part
from finetune_core.parts.tasks import TASKS, Kind


class Sampling(Part):
    """Which training images an epoch sees, and how often each."""

    def order(self, images: np.ndarray, labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """The images of an epoch, as many as there are: indices into `labels`, which has one for every image.

        Where an image comes more than once, its n-th time is written as its index + n × len(labels).
        """
        raise NotImplementedError

    def check(self, task: Kind) -> None:
        """A UserError where it does not fit the task."""

    def code(self) -> tuple[str, str]:
        """For a script: a function that it needs, if any, and the order of `train` as an expression of `generator`."""
        raise NotImplementedError


class Once(Sampling):
    """Every image once an epoch, in random order."""

    kind: ClassVar[str] = "once"
    title: ClassVar[str] = "Each once"

    def order(self, images: np.ndarray, labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """A permutation."""
        return generator.permutation(images)

    def code(self) -> tuple[str, str]:
        """numpy's own."""
        return "", "generator.permutation(train)"


class Balanced(Sampling):
    """As many images of each class: of rare classes the same ones several times, of others only some an epoch.

    The other way to help rare classes is to let their images weigh more in the loss, by class weights; not both.
    """

    kind: ClassVar[str] = "balanced"
    title: ClassVar[str] = "Classes alike"

    def order(self, images: np.ndarray, labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Each class as often; no image comes again before all of its class have come."""
        return balanced(images, labels, generator)

    def check(self, task: Kind) -> None:
        """Only where each image has one class."""
        if not TASKS[task].exclusive:
            raise UserError(
                "Sampling classes alike does not fit the data.",
                "Its images have tags or numbers, not one class each.",
                "Let each image come once.",
            )

    def code(self) -> tuple[str, str]:
        """The function at hand."""
        return inspect.getsource(balanced), "balanced(train, labels, generator)"


def balanced(images, labels, generator):  # type: ignore[no-untyped-def]
    """As many images as there are, alike from every class; the n-th time of one as its index + n * len(labels)."""
    classes = generator.permutation(np.unique(labels[images]))
    drawn = []
    for number, label in enumerate(classes):
        members = images[labels[images] == label]
        count = len(images) // len(classes) + (number < len(images) % len(classes))
        turns = [generator.permutation(members) + turn * len(labels) for turn in range(-(-count // len(members)))]
        drawn.append(np.concatenate([*turns, members[:0]])[:count])
    return generator.permutation(np.concatenate(drawn))
