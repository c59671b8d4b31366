"""What a lesson is: a question, arms to guess from, what is measured, and what the article claims. No torch.

A new lesson is one class in the module of its topic; command line, pages and the contract test take it from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from finetune_core.blooms.species import SPECIES as BLOOMS
from finetune_core.errors import UserError
from finetune_core.finder import versus
from finetune_core.finder.versus import Result, Word
from finetune_core.parts import Part
from finetune_core.parts.fixes import LeaveOut
from finetune_core.parts.tasks import Score
from finetune_core.recipe import Phase, Recipe
from finetune_core.recipe.arms import SCORE, Arm
from finetune_core.recipe.arms import measure as measured
from finetune_core.recipe.words import source_words
from finetune_core.runs.jobs import Experiment
from finetune_core.runs.store import Run

SIZE = 64  # px: small images, so that a lesson takes a minute
SPECIES = tuple(sorted(each.name for each in BLOOMS))  # its folders
OF_EACH = 100  # Blooms has so many images of each class
NO_DIFFERENCE = "No difference that one could tell"
ARTICLES = {
    "000": "Fine-tuning for flowers (article 000)",
    "001": "Fine-tuning in PyTorch (article 001)",
    "002": "Gradual unfreezing with milestones (article 002)",
    "003": "Learning rates with fastai (article 003)",
    "004": "Fine-tuning a pretrained model in PyTorch (article 004)",
}
WORDS: dict[Word, str] = {
    "shows": "The claim shows here.",
    "opposite": "Here it is the other way round.",
    "open": "The claim does not show here: the difference may be chance.",
}


class Lesson(Part):
    """One claim to guess about and to measure."""

    topic: ClassVar[str]
    question: ClassVar[str]
    article: ClassVar[str]  # its number
    claim: ClassVar[str]  # in our words
    arms: ClassVar[tuple[Arm, ...]]
    expected: ClassVar[tuple[tuple[str, str], ...]]  # pairs of arms, of which the first is claimed to be better
    measure: ClassVar[str] = SCORE
    ask: ClassVar[tuple[str, ...]]  # questions for a class
    further: ClassVar[str]  # what to try next
    seeds: ClassVar[int] = 3

    def base(self) -> Recipe:
        """What all arms have in common."""
        return blooms()

    @property
    def guesses(self) -> tuple[str, ...]:
        """What may be guessed."""
        return (*(arm.name for arm in self.arms), NO_DIFFERENCE)

    @property
    def score(self) -> Score:
        """What is measured."""
        return measured(self.measure, self.base().task)

    def recipe(self) -> Recipe:
        """The recipe of its run."""
        return self.base().replace(name=f"Lesson: {self.title}")

    def job(self, guess: str = "", seeds: int | None = None) -> Experiment:
        """The job that measures it."""
        return Experiment(
            arms=self.arms, measure=self.measure, seeds=seeds or self.seeds, lesson=self.kind, guess=guess
        )

    def answer(self, rows: Sequence[Mapping[str, Any]], guess: str = "") -> Answer:
        """What the records of its run say."""
        found = versus.results(rows, [arm.name for arm in self.arms], self.measure)
        best = versus.winners(found, self.score)
        truth = NO_DIFFERENCE if len(best) == len(found) else "".join(best[:1])
        guessed = guess == truth if guess and truth else None
        word = versus.claim(self.expected, found, self.score)
        sentences = [versus.pair(_named(found, one), _named(found, other), self.score) for one, other in self.expected]
        return Answer(tuple(found), tuple(sentences), word, f"{WORDS[word]} ({source_words(self.base())})", guessed)


@dataclass(frozen=True)
class Answer:
    """What was measured of each arm, a sentence for each pair of the claim, whether that shows, and the guess."""

    results: tuple[Result, ...]
    sentences: tuple[str, ...]
    word: Word
    showed: str
    guessed: bool | None


def of_run(run: Run) -> Lesson | None:
    """The lesson that a run measures; None of any other, and where its job cannot be read."""
    try:
        kind = Lesson.kinds().get(run.job_as(Experiment).lesson)
    except (UserError, TypeError):
        return None
    return kind() if kind else None


def blooms(train: int = 50, valid: int = 50, size: int = SIZE, **values: Any) -> Recipe:
    """Blooms with so many images of each class to learn from and to measure on, small, with some values changed."""
    share = valid / (train + valid)
    left_out = tuple(f"{name}/{number:03}.jpg" for name in SPECIES for number in range(train + valid, OF_EACH))
    fixes = [LeaveOut(images=left_out).model_dump(mode="json")] if left_out else []
    few = {"data.fixes": fixes, "data.valid_share": share, "data.image_size": size}
    return Recipe().with_values({**few, **{name.replace("__", "."): value for name, value in values.items()}})


def phase(
    *thaw: str, epochs: int = 6, rate: float = 3e-3, schedule: str = "one_cycle", **values: Any
) -> dict[str, Any]:
    """A phase as plain data."""
    made = Phase(thaw=thaw, epochs=epochs, learning_rate=rate, schedule={"kind": schedule}, **values)
    return made.model_dump(mode="json")


def head(epochs: int = 12, rate: float = 1e-2, schedule: str = "one_cycle", **values: Any) -> dict[str, Any]:
    """A phase of the head alone, on kept views, which takes next to no time."""
    return phase("head", epochs=epochs, rate=rate, schedule=schedule, views=2, **values)


def _named(found: Sequence[Result], name: str) -> Result:
    return next(each for each in found if each.name == name)
