"""Every lesson: its words, its arms, which differ only where it says, and an answer that is made of numbers alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetune_core.data.chosen import arranged
from finetune_core.lessons import ARTICLES, Lesson
from finetune_core.lessons.base import NO_DIFFERENCE, OF_EACH, SPECIES, WORDS
from finetune_core.parts.sources.samples import Samples
from finetune_core.recipe import Recipe
from finetune_core.records import Trial
from finetune_core.runs import preflight

NAMED = [(place, f"{name}/{number:03}.jpg") for place, name in enumerate(SPECIES) for number in range(OF_EACH)]
LISTED = Samples(tuple(Path(name) for _, name in NAMED), tuple(place for place, _ in NAMED), SPECIES)  # Blooms, undrawn
LESSONS = [kind() for kind in Lesson.kinds().values()]
every = pytest.mark.parametrize("one", LESSONS, ids=lambda one: one.kind)


def leaves(tree: Any, path: str = "") -> dict[str, Any]:
    """Plain data as values by dotted path."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
    if items is None:
        return {path: tree}
    found = {path: len(tree)} if isinstance(tree, list) else {}
    for key, value in items:
        found |= leaves(value, f"{path}.{key}".removeprefix("."))
    return found


def differing(one: Recipe, other: Recipe) -> set[str]:
    before, after = (leaves(each.model_dump(mode="json")) for each in (one, other))
    return {path for path in {*before, *after} if before.get(path) != after.get(path)}


def rows(one: Lesson, values: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Records as if each arm had reached these values, seed by seed."""
    names = [arm.name for arm in one.arms]
    made = (
        Trial(names.index(name), seed, {one.measure: value}, [], [], [], 1.0)
        for name, some in values.items()
        for seed, value in enumerate(some)
    )
    return [{"kind": each.kind, **vars(each)} for each in made]


@every
def test_it_says_what_it_asks_and_what_is_claimed(one: Lesson) -> None:
    assert one.article in ARTICLES
    assert one.question.endswith("?")
    assert all(question.endswith(("?", ".")) for question in one.ask)
    assert one.ask
    for text in (one.title, one.about(), one.claim, one.further):
        assert text.strip() == text != ""
    names = [arm.name for arm in one.arms]
    assert len({*names}) == len(names) >= 2
    assert one.guesses == (*names, NO_DIFFERENCE)
    assert one.expected
    assert {name for pair in one.expected for name in pair} <= {*names}
    assert all(better != worse for better, worse in one.expected)
    assert one.job().prepared(one.recipe()) == one.recipe()


@every
def test_arms_differ_only_where_it_says(one: Lesson) -> None:
    base = one.base()
    for arm in one.arms:
        apart = differing(base, arm.of(base))
        said = tuple(arm.changes)
        assert all(path.startswith(said) for path in apart) if said else not apart, arm.name
        assert apart or not said, f"{arm.name} changes nothing"
    ways = [(arm.of(base), arm.pick, arm.again, arm.members, arm.views, arm.gradients) for arm in one.arms]
    assert all(way not in ways[:place] for place, way in enumerate(ways)), "two arms are the same"


@every
def test_each_arm_can_run(one: Lesson) -> None:
    for arm in one.arms:
        found = preflight.findings(arm.of(one.base()))
        assert not [each.title for each in found if each.error], arm.name


@every
def test_the_answer_turns_round_with_the_numbers(one: Lesson) -> None:
    names = [arm.name for arm in one.arms]
    good, bad = (
        ([0.1, 0.11, 0.12], [0.5, 0.51, 0.53]) if one.score.lower_is_better else ([0.9, 0.91, 0.93], [0.5, 0.51, 0.52])
    )
    better, worse = one.expected[0]
    # a chain: whatever is claimed to be better gets better values
    order = sorted(names, key=lambda name: sum((name == a) - (name == b) for a, b in one.expected))
    steps = [
        [bad[seed] + (good[seed] - bad[seed]) * place / (len(names) - 1) for seed in range(3)]
        for place in range(len(names))
    ]
    shown = dict(zip(order, steps, strict=True))
    made = one.answer(rows(one, shown), order[-1])
    assert made.word == "shows", made.sentences
    assert made.showed.startswith(WORDS["shows"])
    assert made.guessed is True
    assert f"“{better}” is better than “{worse}”" in made.sentences[0]
    turned = {**shown, better: shown[worse], worse: shown[better]}
    made = one.answer(rows(one, turned), NO_DIFFERENCE)
    assert made.word == "opposite"
    assert made.guessed is False
    assert f"“{worse}” is better than “{better}”" in made.sentences[0]
    noise = {name: [0.5, 0.6, 0.4][place % 3 :] + [0.5, 0.6, 0.4][: place % 3] for place, name in enumerate(names)}
    made = one.answer(rows(one, noise), NO_DIFFERENCE)
    assert made.word == "open"
    assert made.guessed is True
    assert "not distinguishable" in made.sentences[0]


@every
def test_nothing_is_said_before_there_is_anything(one: Lesson) -> None:
    made = one.answer([])
    assert made.word == "open"
    assert made.guessed is None


@every
def test_it_has_the_images_that_it_names(one: Lesson) -> None:
    samples, parts = arranged(LISTED, one.base().data)
    labels = np.asarray(samples.labels)
    learned, measured = (np.bincount(labels[side], minlength=12) for side in (parts.train, parts.valid))
    assert len({*measured.tolist()}) == 1, "as many of each class to measure on"
    wanted = {4, 60} if one.kind == "class-weights" else {int(learned[0])}
    assert {*learned.tolist()} == wanted
    said = {"how-much-of-few": 60, "how-much-of-many": 600}
    assert learned.sum() == said.get(one.kind, learned.sum())


@every
def test_its_fixes_name_images_that_are_there(one: Lesson) -> None:
    there = {f"{species}/{number:03}.jpg" for species in SPECIES for number in range(OF_EACH)}
    assert {name for fix in one.base().data.fixes for name in fix.images} <= there
