"""Sampling: which training images an epoch sees, and how often each."""

from __future__ import annotations

import inspect
from typing import ClassVar

import numpy as np

from finetune_core.errors import UserError
from finetune_core.parts.base import Part, knob
from finetune_core.parts.tasks import TASKS, Kind


class Sampling(Part):
    """Which training images an epoch sees, and how often each; whether one may come again in it."""

    repeats: ClassVar[bool] = False

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
    repeats: ClassVar[bool] = True

    def order(self, images: np.ndarray, labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Each class as often; no image comes again before all of its class have come."""
        return balanced(images, labels, generator)

    def check(self, task: Kind) -> None:
        """Only where each image has one class."""
        _check_classes(task, "Sampling classes alike")

    def code(self) -> tuple[str, str]:
        """The function at hand."""
        return inspect.getsource(balanced), "balanced(train, labels, generator)"


class InGroups(Sampling):
    """Some images of a class always together, each once an epoch: batches of a few classes with several images each.

    What triplets need (P classes × K images; Hermans et al. 2017): a batch of 32 holds 8 classes by 4 images.
    """

    kind: ClassVar[str] = "groups"
    title: ClassVar[str] = "In groups"
    together: int = knob(
        4, "Together", "Images of a class that follow each other; a batch should be a multiple of it.", low=2, high=64
    )

    def order(self, images: np.ndarray, labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Whole groups in random order, then what is left of each class."""
        return in_groups(images, labels, generator, self.together)

    def check(self, task: Kind) -> None:
        """Only where each image has one class."""
        _check_classes(task, "Sampling in groups of a class")

    def code(self) -> tuple[str, str]:
        """The function at hand."""
        return inspect.getsource(in_groups), f"in_groups(train, labels, generator, {self.together})"


def _check_classes(task: Kind, what: str) -> None:
    if not TASKS[task].exclusive:
        why, hint = "Its images have tags or numbers, not one class each.", "Let each image come once."
        raise UserError(f"{what} does not fit the data.", why, hint)


def in_groups(images, labels, generator, together):  # type: ignore[no-untyped-def]
    """Every image once, so many of a class at a time in random order; what is left of the classes comes last."""
    groups, left = [], []
    for label in np.unique(labels[images]):
        members = generator.permutation(images[labels[images] == label])
        whole = len(members) // together * together
        groups.extend(members[:whole].reshape(-1, together))
        left.append(members[whole:])
    groups = [groups[place] for place in generator.permutation(len(groups))]
    return np.concatenate([*groups, generator.permutation(np.concatenate(left))])


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
