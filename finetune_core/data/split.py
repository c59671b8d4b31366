"""Which images are learned from and which are kept aside to measure on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from finetune_core.errors import Mend, UserError
from finetune_core.parts.fixes import LeaveOut, Side
from finetune_core.parts.sources.samples import Samples
from finetune_core.patterns import Pattern
from finetune_core.recipe import Data
from finetune_core.wording import few

LEAST = 2  # images on either side, where they have no classes
ORDER: tuple[Side, ...] = ("train", "valid", "test")
NOWHERE, VALID, TEST = -1, 1, 2


@dataclass(frozen=True)
class Split:
    """Indices into the samples, sorted, int64; no image is in two of them. Of `test` nothing is chosen by."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def sides(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All three."""
        return self.train, self.valid, self.test

    def without(self, bad: Collection[int]) -> Split:
        """The same split with some images left out; the others stay where they are."""
        gone = np.fromiter(bad, np.int64, len(bad))
        return Split(*(np.setdiff1d(side, gone) for side in self.sides))


def split(
    samples: Samples,
    how: Data,
    gone: Collection[int] = (),
    sides: Mapping[int, Side] = MappingProxyType({}),
    mended: Samples | None = None,
) -> Split:
    """Put `how.valid_share` of each class aside, at least one image and never all; the data's own split goes first.

    The images that are `gone` are on no side, those of `sides` on the side that they are given, and `mended` has the
    classes after some were changed by hand: no other image moves for any of it. Before all, `how.test_share` of each
    class is put aside for a test. Images with tags or numbers are drawn from all of them, and images of one group stay
    together. The same images, shares and seed give the same split on every machine. A UserError names classes with one
    image, or says that there is no such fold.
    """
    mended = mended or samples
    where = _own(samples) if samples.fixed is not None else _by_chance(samples, how, gone, mended)
    for index, side in sides.items():
        where[index] = ORDER.index(side)
    where[[*gone]] = NOWHERE
    parts = Split(*(np.flatnonzero(where == number) for number in range(len(ORDER))))
    changed = gone or sides or mended is not samples
    return _checked(mended, parts, "Take back a fix, or add images.") if changed else parts


def _own(samples: Samples) -> np.ndarray:
    return np.array([ORDER.index(side) for side in samples.fixed or ()], np.int64)


def _by_chance(samples: Samples, how: Data, gone: Collection[int], mended: Samples) -> np.ndarray:
    folds = max(1, round(1 / how.valid_share))
    if how.fold >= folds:
        raise UserError(
            f"There is no fold {how.fold}.",
            f"With a validation share of {how.valid_share:.0%} there are {folds}, counted from 0.",
            "Choose one of them, or a smaller share.",
        )
    groups = group_names(samples, how.group)
    if groups:
        return _together(samples, groups, how, gone)
    where = np.zeros(len(samples), np.int64)
    if not samples.about.exclusive:
        _cut(np.random.default_rng(how.split_seed).permutation(len(samples)), where, how, LEAST)
        return where
    left = np.setdiff1d(np.arange(len(samples)), [*gone])
    counts = np.bincount(np.asarray(mended.labels)[left], minlength=len(mended.classes))
    if single := [name for name, count in zip(mended.classes, counts, strict=True) if count < 2]:
        raise _too_small(single, mended, left, how)
    labels = np.asarray(samples.labels)
    for label in range(len(samples.classes)):
        members = np.flatnonzero(labels == label)
        # A generator per class, so that images added to one class do not reshuffle the others.
        _cut(np.random.default_rng([how.split_seed, label]).permutation(members), where, how, 1)
    return where


def _cut(order: np.ndarray, where: np.ndarray, how: Data, least: int) -> None:
    """Give images in random order their side: those for the test stand last, of the others the fold to measure on."""
    if len(order) < 2 * least:
        if least > 1:
            raise UserError(f"Too few images to split: {len(order)}.", f"It takes at least {2 * least}.", "Add images.")
        return
    tested = min(round(len(order) * how.test_share), len(order) - 2 * least)
    rest = len(order) - tested
    aside = min(max(round(rest * how.valid_share), least), rest - least)
    start = min(how.fold * aside, rest - aside)
    where[order[start : start + aside]] = VALID
    where[order[rest:]] = TEST


def group_names(samples: Samples, pattern: str) -> tuple[str, ...] | None:
    """The group of each image, by the source or by a pattern for its path; an image without a match stands alone."""
    if samples.groups is not None or not pattern:
        return samples.groups
    search = Pattern(pattern, "Mend the group pattern.")
    names = []
    for index in range(len(samples)):
        place = samples.place(index)
        found = search.search(place)
        names.append("\0".join(found.groups("") or (found[0],)) if found else f"\0{place}")
    return tuple(names)


def _together(samples: Samples, groups: Sequence[str], how: Data, gone: Collection[int]) -> np.ndarray:
    """Whole groups on either side, so that of each class about the share is aside; those that are gone do not count.

    A group goes where it fits: aside as long as none of its classes has its share there, and each has something left.
    """
    numbers: dict[str, int] = {}
    group = np.array([numbers.setdefault(name, len(numbers)) for name in groups])
    if len(numbers) < 2:
        raise UserError(
            "All images are of one group.", "Groups stay on one side of the split.", "Mend the group pattern."
        )
    classes = np.asarray(samples.labels) if samples.about.exclusive else np.zeros(len(samples), np.int64)
    table = np.zeros((len(numbers), int(classes.max()) + 1), np.int64)  # images of each group and class
    left_over = np.setdiff1d(np.arange(len(samples)), [*gone])
    np.add.at(table, (group[left_over], classes[left_over]), 1)
    order = np.random.default_rng([how.split_seed, len(ORDER)]).permutation(len(numbers))
    side, left = np.zeros(len(numbers), np.int64), table.sum(0)
    for number, share in ((TEST, how.test_share), (VALID, how.valid_share)):
        if number == TEST and not share:
            continue
        wanted = np.maximum(np.round(left * share), 1)
        aside = np.zeros_like(wanted)
        for each in np.roll(order, -how.fold * max(1, round(len(order) * share))) if number == VALID else order:
            if side[each] or not table[each].any():
                continue
            has = table[each] > 0
            fits = (aside[has] + table[each][has] <= np.maximum(wanted[has], 1)) | (aside[has] == 0)
            if fits.all() and (left[has] - table[each][has] > 0).all():
                side[each] = number
                aside = aside + table[each]
                left = left - table[each]
    if not (side == VALID).any():
        raise UserError(
            "The groups cannot be split.",
            "Each of them holds all images of some class, so that nothing is left to learn it from.",
            "Let groups be smaller, or split without them.",
        )
    return side[group]


def readable(samples: Samples, parts: Split, bad: Collection[int]) -> Split:
    """The split without the images that cannot be read.

    A UserError where nothing is left to learn from, nothing to measure on, or nothing to learn a class or tag from.
    """
    hint = "Open and save those that cannot be read anew, or put others in their place."
    return _checked(samples, parts.without(bad), hint, parts) if len(bad) else parts


def _checked(samples: Samples, left: Split, hint: str, before: Split | None = None) -> Split:
    for side, images in (("training", left.train), ("validation", left.valid)):
        if not len(images):
            raise _nothing_left(f"the {side} images", hint)
    if samples.about.counted:
        had, has = (None if each is None else _shown(samples, each.train) for each in (before, left))
        lost = [
            name
            for label, name in enumerate(samples.classes)
            if has is not None and not has[label] and (had is None or had[label])
        ]
        if lost:
            raise _nothing_left(f"the training images of {few(lost)}", hint)
    return left


def _shown(samples: Samples, images: np.ndarray) -> np.ndarray:
    """How many of some images show each class or tag."""
    labels = np.asarray(samples.labels)[images]
    if samples.about.exclusive:
        return np.bincount(labels, minlength=len(samples.classes))
    return np.array([len(samples.about.members(labels, label)) for label in range(len(samples.classes))])


def _nothing_left(which: str, hint: str) -> UserError:
    return UserError(f"None of {which} is left.", "Without them there is nothing to go by.", hint)


def _too_small(names: list[str], samples: Samples, left: np.ndarray, how: Data) -> UserError:
    lone = [index for index in left.tolist() if samples.label_words(index) in names]
    out = LeaveOut(images=tuple(samples.place(index) for index in lone))
    fixes = [fix.model_dump(mode="json") for fix in (*how.fixes, out)]
    return UserError(
        f"Too few images to split: {few(names)}.",
        "Each class needs at least two images, one to learn from and one to measure on.",
        "Add images to the class, or leave it out.",
        [Mend("Leave it out" if len(names) == 1 else "Leave them out", "data.fixes", fixes)] if lone else (),
    )
