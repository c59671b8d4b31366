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
from finetune_core.parts.fixes import LeaveOut, Move
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

    def job(self, guess: str = "", seeds: int | None = None, hands: Mapping[str, int] | None = None) -> Experiment:
        """The job that measures it; of a show of `hands` (how many for which guess) what most expect is the guess."""
        first, second = (*sorted((hands or {}).values(), reverse=True), 0, 0)[:2]
        most = "".join(name for name, count in (hands or {}).items() if count == first > second)
        return Experiment(
            arms=self.arms,
            measure=self.measure,
            seeds=seeds or self.seeds,
            lesson=self.kind,
            guess=most if hands else guess,
            hands=dict(hands or {}),
        )

    def answer(
        self, rows: Sequence[Mapping[str, Any]], guess: str = "", hands: Mapping[str, int] | None = None
    ) -> Answer:
        """What the records of its run say."""
        found = versus.results(rows, [arm.name for arm in self.arms], self.measure)
        best, pairs = versus.winners(found, self.score, self.expected), len(self.expected)
        right = [NO_DIFFERENCE] if len(best) == len(found) else best
        guessed = guess in right if guess and best else None
        word = versus.claim(self.expected, found, self.score)
        by = {each.name: each for each in found}
        sentences = tuple(versus.pair(by[one], by[other], self.score, pairs) for one, other in self.expected)
        showed = f"{WORDS[word]} Measured on {source_words(self.base())}."
        hit = sum((hands or {}).get(name, 0) for name in right) if best else 0
        return Answer(tuple(found), sentences, word, showed, guessed, tuple(best), hit)


@dataclass(frozen=True)
class Answer:
    """What was measured of each arm, a sentence for each pair of the claim, whether that shows, and the guess.

    `best` are the best arm and those that cannot be told from it; `hands` how many of a class guessed right.
    """

    results: tuple[Result, ...]
    sentences: tuple[str, ...]
    word: Word
    showed: str
    guessed: bool | None
    best: tuple[str, ...]
    hands: int = 0


def of_run(run: Run) -> Lesson | None:
    """The lesson that a run measures as it is today; None of any other, and where it cannot be read."""
    try:
        job = run.job_as(Experiment)
        kind = Lesson.kinds().get(job.lesson)
        one = kind() if kind else None
        return one if one and job == one.job(job.guess, job.seeds, job.hands) and run.recipe == one.recipe() else None
    except (UserError, TypeError):
        return None


def blooms(train: int | Mapping[str, int] = 50, valid: int = 50, phases: Sequence[Any] = ()) -> Recipe:
    """Blooms, small: so many images of each class (or by class) to learn from, and to measure on, in these phases."""
    counts = train if isinstance(train, Mapping) else dict.fromkeys(SPECIES, train)
    fixes = [
        Move(images=_images(dict.fromkeys(SPECIES, range(valid))), side="valid"),
        Move(images=_images({name: range(valid, valid + count) for name, count in counts.items()}), side="train"),
        LeaveOut(images=_images({name: range(valid + count, OF_EACH) for name, count in counts.items()})),
    ]
    made = {"data.fixes": [each.model_dump(mode="json") for each in fixes if each.images], "data.image_size": SIZE}
    return Recipe().with_values({**made, **({"phases": list(phases)} if phases else {})})


def _images(which: Mapping[str, range]) -> tuple[str, ...]:
    return tuple(f"{name}/{number:03}.jpg" for name, numbers in which.items() for number in numbers)


def phase(
    *thaw: str, epochs: int = 6, rate: float = 3e-3, schedule: str = "one_cycle", **values: Any
) -> dict[str, Any]:
    """A phase as plain data."""
    made = Phase(thaw=thaw, epochs=epochs, learning_rate=rate, schedule={"kind": schedule}, **values)
    return made.model_dump(mode="json")


def head(epochs: int = 12, rate: float = 1e-2, schedule: str = "one_cycle", **values: Any) -> dict[str, Any]:
    """A phase of the head alone, on kept views, which takes next to no time."""
    return phase("head", epochs=epochs, rate=rate, schedule=schedule, views=2, **values)
