"""Which images are learned from and which are kept aside to measure on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from finetune_core.errors import UserError
from finetune_core.parts.sources.samples import Samples
from finetune_core.wording import few

LEAST = 2  # images on either side, where they have no classes


@dataclass(frozen=True)
class Split:
    """Indices into the samples, sorted, int64; no image is in both."""

    train: np.ndarray
    valid: np.ndarray

    def without(self, bad: Collection[int]) -> Split:
        """The same split with some images left out; the others stay where they are."""
        gone = np.fromiter(bad, np.int64, len(bad))
        return Split(np.setdiff1d(self.train, gone), np.setdiff1d(self.valid, gone))


def split(samples: Samples, share: float, seed: int) -> Split:
    """Put `share` (0 to 1) of each class aside, at least one image and never all; the data's own split goes first.

    Images with tags or numbers are drawn from all of them. The same images, share and seed give the same split on
    every machine. A UserError names classes with one image.
    """
    if samples.fixed is not None:
        aside = np.asarray(samples.fixed) == "valid"
        return Split(np.flatnonzero(~aside), np.flatnonzero(aside))
    if not samples.about.exclusive:
        return _drawn(len(samples), share, seed)
    labels = np.asarray(samples.labels)
    single = [name for name, count in samples.counts().items() if count < 2]
    if single:
        raise _too_small(single)
    aside = np.zeros(len(samples), dtype=bool)
    for label in range(len(samples.classes)):
        members = np.flatnonzero(labels == label)
        count = min(max(round(len(members) * share), 1), len(members) - 1)
        # A generator per class, so that images added to one class do not reshuffle the others.
        aside[np.random.default_rng([seed, label]).permutation(members)[:count]] = True
    return Split(np.flatnonzero(~aside), np.flatnonzero(aside))


def readable(samples: Samples, parts: Split, bad: Collection[int]) -> Split:
    """The split without the images that cannot be read.

    A UserError where nothing is left to learn from, nothing to measure on, or nothing to learn a class or tag from.
    """
    left = parts.without(bad)
    for side, images in (("training", left.train), ("validation", left.valid)):
        if not len(images):
            raise _all_unreadable(f"the {side} images")
    if samples.about.counted:
        sets = [samples.members(label) for label in range(len(samples.classes))]
        lost = [
            name
            for name, members in zip(samples.classes, sets, strict=True)
            if np.isin(parts.train, members).any() and not np.isin(left.train, members).any()
        ]
        if lost:
            raise _all_unreadable(f"the training images of {few(lost)}")
    return left


def _all_unreadable(which: str) -> UserError:
    return UserError(
        f"None of {which} can be read.",
        "Without them there is nothing to go by: `data.unreadable: skip` leaves out single images only.",
        "Open and save them anew, or put others in their place.",
    )


def _drawn(count: int, share: float, seed: int) -> Split:
    """A share of all images, at least two to either side: a spread cannot be told from one."""
    if count < 2 * LEAST:
        raise UserError(f"Too few images to split: {count}.", f"It takes at least {2 * LEAST}.", "Add images.")
    order = np.random.default_rng(seed).permutation(count)
    aside = min(max(round(count * share), LEAST), count - LEAST)
    return Split(np.sort(order[aside:]), np.sort(order[:aside]))


def _too_small(names: list[str]) -> UserError:
    return UserError(
        f"Too few images to split: {few(names)}.",
        "Each class needs at least two images, one to learn from and one to measure on.",
        "Add images to the class, or take its folder away.",
    )
