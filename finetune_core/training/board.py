"""The board: a few validation images, the same after every epoch, and what the network says of them by then.

The pass over the validation images has the outputs already, so the board costs no forward pass of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

import numpy as np
import torch

from finetune_core.parts.sources.samples import Samples
from finetune_core.parts.tasks import Targets
from finetune_core.records import Guess

IMAGES = 12
ANSWERS = 3  # likeliest names of each image that are kept


@dataclass(frozen=True)
class Board:
    """Some validation images: their places among all of them, rising, their files and their labels."""

    places: tuple[int, ...] = ()
    files: tuple[str, ...] = ()
    truths: tuple[str, ...] = ()
    labels: tuple[Any, ...] = ()

    def guesses(self, targets: Targets, outputs: np.ndarray) -> list[Guess]:
        """What the outputs (images, names) float32 for all validation images say of those on the board."""
        about, wanted = targets.about, targets.encoded(self.labels)
        values = about.meaning(targets, torch.from_numpy(outputs[list(self.places)]))
        return [
            Guess(file, truth, about.answers(targets, value, ANSWERS), about.right(targets, value, label))
            for file, truth, value, label in zip(self.files, self.truths, values, wanted, strict=True)
        ]


def board(samples: Samples, valid: np.ndarray, seed: int) -> Board:
    """Images for the board out of the validation images, whose indices are `valid`; the same ones for one seed."""
    labels = np.asarray([samples.labels[index] for index in valid])
    places = sorted(_drawn(samples, labels, seed))
    indices = [int(valid[place]) for place in places]
    return Board(
        tuple(places),
        tuple(str(samples.paths[index]) for index in indices),
        tuple(samples.label_words(index) for index in indices),
        tuple(samples.labels[index] for index in indices),
    )


def _drawn(samples: Samples, labels: np.ndarray, seed: int) -> Sequence[int]:
    """Places drawn by taking turns: an image of each name, in random order, until there are enough."""
    random = np.random.default_rng(seed)
    names = random.permutation(len(samples.classes))[:IMAGES]
    piles = [random.permutation(samples.about.members(labels, int(name))) for name in names]
    piles.append(random.permutation(len(labels)))  # images without a tag, and where there are few names
    return list(dict.fromkeys(map(int, chain.from_iterable(_turns(piles)))))[:IMAGES]


def _turns(piles: Sequence[np.ndarray]) -> Iterator[list[int]]:
    """The first of each pile, then the second of each, as far as there are any."""
    for turn in zip_longest(*piles):
        yield [place for place in turn if place is not None]
