"""A teacher's sheet for a lesson, to print: what it shows, how long it takes here, what to ask."""

from __future__ import annotations

from finetune_core.export import card
from finetune_core.export.card import Section
from finetune_core.lessons.base import ARTICLES, Lesson
from finetune_core.recipe.diff import in_words
from finetune_core.runs.shelf import naming
from finetune_core.runs.store import Run


def page(one: Lesson, run: Run | None) -> str:
    """As one HTML page; with what was measured, if a `run` has."""
    return card.page(one.title, sections(one, run))


def sections(one: Lesson, run: Run | None) -> list[Section]:
    """All that stands on it."""
    base = one.base()
    arms = [(arm.name, _changes(one, place)) for place, arm in enumerate(one.arms)]
    every = [
        Section("The question", (one.question, one.about())),
        Section(
            "What is tried", (f"{naming.of_recipe(base)}. {one.seeds} tries each.",), ("", "Differs in"), tuple(arms)
        ),
        Section("The claim", (one.claim, ARTICLES[one.article])),
    ]
    if run is not None:
        made = one.answer(run.records()[0])
        rows = tuple((each.name, each.said(one.score)) for each in made.results)
        took = sum(each.seconds for each in made.results)
        said = (*made.sentences, made.showed, f"On this machine it took {took:.0f} seconds of training.")
        every.append(Section("Measured here", said, ("", one.score.title), rows))
    every.append(Section("Questions for the class", tuple(f"- {question}" for question in one.ask)))
    every.append(Section("What to try next", (one.further,)))
    return every


def _changes(one: Lesson, place: int) -> str:
    """What an arm changes, in words."""
    arm, base = one.arms[place], one.base()
    said = [f"{what}: {value}" for what, _, value in in_words(base, arm.of(base))]
    said += [f"rate by the finder ({arm.pick.replace('_', ' ')}{', at every phase' if arm.again else ''})"] * bool(
        arm.pick
    )
    said += [f"{arm.members} networks answer together"] * (arm.members > 1)
    said += [f"{arm.views + 1} views of each image"] * bool(arm.views)
    said += [f"the gradient in {arm.gradients}"] * bool(arm.gradients)
    return "; ".join(said) or "nothing"
