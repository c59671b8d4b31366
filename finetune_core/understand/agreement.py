"""Two runs picture by picture: where both are right, where one alone is, and where they say different things."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import numpy as np

from finetune_core.parts.tasks import NUMBERS, ONE_CLASS, TAGS, THRESHOLD, Targets, softmax
from finetune_core.runs.states.predictions import Predictions
from finetune_core.runs.store import Run
from finetune_core.understand.compare import common


@dataclass(frozen=True)
class Agreement:
    """What two runs said of the images that both were measured on.

    `words` are the answers (first, second) of each image and `truth` its label; `right` (2, N) says whether, None for
    numbers; `apart` (N,) how much the answers differ: in probability, or in the numbers' own spread.
    """

    images: tuple[str, ...]
    truth: tuple[str, ...]
    words: tuple[tuple[str, str], ...]
    right: np.ndarray | None
    apart: np.ndarray

    @property
    def share(self) -> float:
        """Of images of which both say the same."""
        return sum(one == other for one, other in self.words) / len(self.words)

    @property
    def kappa(self) -> float:
        """Cohen's kappa (1960): agreement beyond what chance would give; NaN where chance alone gives all of it."""
        place = {word: place for place, word in enumerate(dict.fromkeys(chain.from_iterable(self.words)))}
        said = ([place[word] for word in words] for words in zip(*self.words, strict=True))
        shares = [np.bincount(each, minlength=len(place)) / len(self.words) for each in said]
        chance = float(shares[0] @ shares[1])
        return (self.share - chance) / (1 - chance) if chance < 1 else np.nan

    @property
    def groups(self) -> dict[str, np.ndarray]:
        """Images of which the first run alone is right, the second, neither, both; of numbers all in one, `apart`.

        Those of which the runs say the most different things come first.
        """
        order = np.argsort(-self.apart, kind="stable")
        if self.right is None:
            return {"apart": order}
        one, other = self.right
        found = {"first": one & ~other, "second": other & ~one, "neither": ~one & ~other, "both": one & other}
        return {key: order[which[order]] for key, which in found.items()}


def agreement(one: Run, other: Run) -> Agreement:
    """Of two runs. A UserError where they cannot be compared; see `compare`."""
    targets, kept, _ = common((one, other))
    return of_kept([targets[run.id] for run in (one, other)], [kept[run.id] for run in (one, other)])


def of_kept(targets: list[Targets], kept: list[Predictions]) -> Agreement:
    """The same of kept answers to the same images in the same order."""
    return _OF[targets[0].task](targets, kept)


def _one_class(targets: list[Targets], kept: list[Predictions]) -> Agreement:
    names, wanted = targets[0].names, kept[0].wanted.astype(np.int64)
    shares = [softmax(each.outputs.astype(np.float64)) for each in kept]
    guess = np.array([each.argmax(1) for each in shares])
    words = tuple((names[a], names[b]) for a, b in guess.T)
    apart = abs(shares[0] - shares[1]).max(1)
    return Agreement(kept[0].images, _truth(targets, kept), words, guess == wanted, apart)


def _tags(targets: list[Targets], kept: list[Predictions]) -> Agreement:
    with np.errstate(over="ignore"):
        shares = [1 / (1 + np.exp(-each.outputs.astype(np.float64))) for each in kept]
    said, wanted = np.array([each >= THRESHOLD for each in shares]), kept[0].wanted >= THRESHOLD
    spell = lambda rows: [TAGS.words(targets[0].names, row) for row in rows]  # noqa: E731
    words = tuple(zip(*map(spell, said), strict=True))
    right = (said == wanted).all(2)
    apart = abs(shares[0] - shares[1]).max(1)
    return Agreement(kept[0].images, _truth(targets, kept), words, right, apart)


def _numbers(targets: list[Targets], kept: list[Predictions]) -> Agreement:
    said = [[NUMBERS.spelled(own, row) for row in each.outputs] for own, each in zip(targets, kept, strict=True)]
    one, other = (o.outputs * np.asarray(t.std) + np.asarray(t.mean) for t, o in zip(targets, kept, strict=True))
    apart = (abs(one - other) / np.asarray(targets[0].std)).max(1)
    return Agreement(kept[0].images, _truth(targets, kept), tuple(zip(*said, strict=True)), None, apart)


def _truth(targets: list[Targets], kept: list[Predictions]) -> tuple[str, ...]:
    return tuple(targets[0].about.spelled(targets[0], each) for each in kept[0].wanted)


_OF = {ONE_CLASS.key: _one_class, TAGS.key: _tags, NUMBERS.key: _numbers}
