"""What a run learned from when it began: names and images, so that going on later learns from the same.

A folder renamed between stop and resume would swap what the network says, and an image more would draw another split,
in which images that were learned from are measured on. Neither shows in a loss.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from finetune_core.data.split import Split
from finetune_core.errors import UserError
from finetune_core.parts.sources.samples import Samples
from finetune_core.wording import count, few


@dataclass(frozen=True)
class Kept:
    """The names, and the images on either side by their paths below the data's root.

    Runs from before this was kept have no paths.
    """

    names: tuple[str, ...]
    train: tuple[str, ...] = ()
    valid: tuple[str, ...] = ()
    test: tuple[str, ...] = ()

    def check(self, samples: Samples) -> None:
        """A UserError where the names are others."""
        if samples.classes != self.names:
            raise _other_names(self.names, samples)

    def held(self, samples: Samples, left_out: Collection[int] = ()) -> tuple[Samples, Split, tuple[str, ...]]:
        """The images that are still there and no others, each on its side, and notes on what has changed since.

        Those of `left_out` were there then, too, and took no part.
        """
        there, sides = paths(samples, range(len(samples))), (self.train, self.valid, self.test)
        side = {path: number for number, some in enumerate(sides) for path in some}
        here = [index for index, path in enumerate(there) if path in side]
        where = np.array([side[there[index]] for index in here], np.int64)
        gone = sorted(set(side).difference(there))
        new = sorted({*there}.difference(side, (there[index] for index in left_out)))
        parts = Split(*(np.flatnonzero(where == number) for number in range(len(sides))))
        if not len(parts.train) or not len(parts.valid):
            raise UserError(
                "The images that the run learned from, or those that it was measured on, are gone.",
                f"It had {count(len(gone), 'image')} more, such as {few(gone, 1)}.",
                "Put them back, or start a new run from its weights.",
            )
        if len(here) < len(samples):
            samples = samples.taking(here) if gone or new else samples.part(here)
        return samples, parts, tuple(_changes(gone, new))


def kept(samples: Samples, parts: Split) -> Kept:
    """What to keep of the data that a run begins with."""
    return Kept(samples.classes, *(paths(samples, side) for side in parts.sides))


def paths(samples: Samples, which: Iterable[int]) -> tuple[str, ...]:
    """Some of the images, by their paths below the data's root."""
    return tuple(os.path.relpath(samples.paths[index], samples.root) for index in which)


def _changes(gone: list[str], new: list[str]) -> list[str]:
    notes = []
    if gone:
        verb = count(len(gone), "image is", "images are")
        notes.append(f"{verb} gone since the run began, such as {few(gone, 1)}: it goes on with the others.")
    if new:
        verb = count(len(new), "image is", "images are")
        notes.append(f"{verb} new since the run began, such as {few(new, 1)}: a run keeps to the images it began with.")
    return notes


def _other_names(names: tuple[str, ...], samples: Samples) -> UserError:
    what = samples.about.nouns
    gone, new = [n for n in names if n not in samples.classes], [n for n in samples.classes if n not in names]
    said = [f"gone: {few(gone)}"] * bool(gone) + [f"new: {few(new)}"] * bool(new) or ["they stand in another order"]
    return UserError(
        f"The {what} are not those that the run began with.",
        f"{'; '.join(said).capitalize()}. Going on, the network would say one for another.",
        "Put the data back as they were, or start a new run from its weights.",
    )
