"""Two runs picture by picture: where both are right, where one alone is, and where they say different things."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from finetune_core.parts.tasks import NUMBERS, ONE_CLASS, TAGS, THRESHOLD, Targets, sigmoid, softmax
from finetune_core.runs.states import fitted
from finetune_core.runs.states.predictions import Predictions
from finetune_core.runs.store import Run
from finetune_core.understand.compare import common


@dataclass(frozen=True)
class Agreement:
    """What two runs said of the images that both were measured on.

    `words` are the answers (first, second) of each image and `truth` its label; `said` (2, N) tells answers apart, by a
    number each; `right` (2, N) says whether they are, None for numbers; `apart` (N,) how much they differ: in
    probability, or in the numbers' own spread. `notes` say what stands between the runs.
    """

    images: tuple[str, ...]
    truth: tuple[str, ...]
    words: tuple[tuple[str, str], ...]
    said: np.ndarray
    right: np.ndarray | None
    apart: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Of images of which both say the same."""
        return float((self.said[0] == self.said[1]).mean())

    @property
    def kappa(self) -> float:
        """Cohen's kappa (1960): agreement beyond what chance would give; NaN where chance alone gives all of it."""
        shares = [np.bincount(each, minlength=int(self.said.max()) + 1) / len(each) for each in self.said]
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
    """Of two runs, by the thresholds that are kept with them. A UserError where they cannot be compared."""
    targets, kept, notes = common((one, other))
    own = [fitted.applied(run, targets[run.id]) for run in (one, other)]
    return replace(of_kept(own, [kept[run.id] for run in (one, other)]), notes=tuple(notes))


def of_kept(targets: list[Targets], kept: list[Predictions]) -> Agreement:
    """The same of kept answers to the same images in the same order."""
    return _OF[targets[0].task](targets, kept)


def _one_class(targets: list[Targets], kept: list[Predictions]) -> Agreement:
    names, wanted = targets[0].names, kept[0].wanted.astype(np.int64)
    shares = [softmax(each.outputs.astype(np.float64)) for each in kept]
    guess = np.array([each.argmax(1) for each in shares])
    words = tuple((names[a], names[b]) for a, b in guess.T)
    apart = abs(shares[0] - shares[1]).max(1)
    return Agreement(kept[0].images, _truth(targets, kept), words, guess, guess == wanted, apart)


def _tags(targets: list[Targets], kept: list[Predictions]) -> Agreement:
    shares = [sigmoid(each.outputs.astype(np.float64)) for each in kept]
    seen = np.array([each.outputs >= own.bars for own, each in zip(targets, kept, strict=True)])
    wanted = kept[0].wanted >= THRESHOLD
    spell = lambda rows: [TAGS.words(targets[0].names, row) for row in rows]  # noqa: E731
    words = tuple(zip(*map(spell, seen), strict=True))
    _, said = np.unique(seen.reshape(-1, seen.shape[2]), axis=0, return_inverse=True)
    right, apart = (seen == wanted).all(2), abs(shares[0] - shares[1]).max(1)
    return Agreement(kept[0].images, _truth(targets, kept), words, said.reshape(2, -1), right, apart)


def _numbers(targets: list[Targets], kept: list[Predictions]) -> Agreement:
    said = [[NUMBERS.spelled(own, row) for row in each.outputs] for own, each in zip(targets, kept, strict=True)]
    one, other = (own.in_units(each.outputs) for own, each in zip(targets, kept, strict=True))
    apart = (abs(one - other) / np.asarray(targets[0].std)).max(1)
    words, none = tuple(zip(*said, strict=True)), np.zeros((2, 0), np.int64)
    return Agreement(kept[0].images, _truth(targets, kept), words, none, None, apart)


def _truth(targets: list[Targets], kept: list[Predictions]) -> tuple[str, ...]:
    return tuple(targets[0].about.spelled(targets[0], each) for each in kept[0].wanted)


_OF = {ONE_CLASS.key: _one_class, TAGS.key: _tags, NUMBERS.key: _numbers}
