"""What runs are called: after what was done, as people say, and never two of them the same."""

import time

import pytest

from finetune_core.export import card
from finetune_core.recipe import Recipe
from finetune_core.recipe.words import phase_words, run_words, thaw_words
from finetune_core.runs import store
from finetune_core.runs.shelf import naming, notes, summaries
from finetune_core.runs.shelf.apart import told_apart
from finetune_core.runs.shelf.notes import Notes
from finetune_core.runs.shelf.summaries import Summary
from finetune_core.runs.store import Status
from finetune_core.wording import LONGEST

NAMES = ("stem", "layer1", "layer2", "layer3", "layer4", "head")


def thawing(*groups: str) -> Recipe:
    return Recipe().with_value("phases.0.thaw", list(groups))


@pytest.mark.parametrize(
    ("thaw", "words"),
    [
        (("head",), "head only"),
        (("layer4", "head"), "last stage"),
        (("layer3", "layer4", "head"), "last two stages"),
        (("layer?", "head"), "all but stem"),
        (("layer2", "layer3", "layer4", "head"), "last three stages"),
        (("*",), "everything"),
        (NAMES, "everything"),
        ((), "nothing"),
        (("layer4",), "layer4"),
        (("stem", "head"), "stem + head"),
        (("stem", "layer1", "layer2", "head"), "stem … head"),
        (("block9", "head"), "head only"),  # what is not there trains nothing
    ],
)
def test_what_is_thawed_is_said_in_stages(thaw: tuple[str, ...], words: str) -> None:
    assert phase_words(thawing(*thaw).phases[0], NAMES) == words


def test_pieces_of_stages_are_groups_and_phases_are_counted() -> None:
    split = thawing("layer4.0", "layer4.1", "head").with_value("model.split", ["layer4"])
    assert thaw_words(split, (*NAMES[:4], "layer4.0", "layer4.1", "head")) == "last two groups"
    phases = [{"thaw": ["head"]}, {"thaw": ["layer4", "head"]}]
    assert thaw_words(Recipe().with_value("phases", phases), NAMES) == "2 phases: head → last stage"


def test_a_recipe_is_called_after_data_backbone_and_what_is_thawed() -> None:
    assert naming.of_recipe(Recipe()) == "Blooms · resnet10t · last two stages"
    named = Recipe(name="mine")
    assert (naming.of_recipe(named), naming.made(named)) == ("mine", "Blooms · resnet10t · last two stages")
    unknown = Recipe().with_value("model.backbone.architecture", "nothing_like_it")
    assert naming.of_recipe(unknown) == "Blooms · nothing_like_it · layer3 + layer4 + head"
    photos = Recipe().with_value("data.source", {"kind": "folder", "path": f"/somewhere/{'long ' * 30}"})
    assert run_words(photos).startswith("long long long")
    assert len(run_words(photos)) < 80


def test_a_name_of_a_person_is_heard_everywhere() -> None:
    run = store.create(Recipe())
    assert naming.title(run) == summaries.summary(run).title == card.title(run) == naming.made(run.recipe)
    assert naming.given(run) == ""
    notes.write(run, Notes("Mine"))
    assert naming.title(run) == naming.given(run) == summaries.summary(run).title == card.title(run) == "Mine"
    notes.write(run, Notes(" \n "))
    assert naming.title(run) == naming.made(run.recipe)
    run.notes_file.write_text("{")
    assert naming.title(run) == naming.made(run.recipe), "of damaged notes the list of runs tells"


def one(id: str, title: str, *details: str, at: str = "2026-11-30 22:55") -> Summary:
    started = time.mktime(time.strptime(at, "%Y-%m-%d %H:%M"))
    return Summary(id, status=Status(started=started), title=title, details=details)


def test_runs_of_one_name_are_told_apart_by_what_differs() -> None:
    runs = [one("c", "x", "rate 0.1", "SGD"), one("b", "x", "rate 0.2", "SGD"), one("a", "y", "rate 0.1", "SGD")]
    assert told_apart(runs) == {"a": "y", "b": "x · rate 0.2", "c": "x · rate 0.1"}


def test_else_by_when_they_began_and_then_by_number() -> None:
    later = "2026-12-01 09:05"
    runs = [one("d", "x", "rate 0.1", at=later), one("c", "x", "rate 0.1"), one("b", "x", "rate 0.1")]
    assert told_apart(runs) == {
        "b": "x · 30 Nov 22:55 · number 1",
        "c": "x · 30 Nov 22:55 · number 2",
        "d": "x · 01 Dec 09:05",
    }


def test_what_a_person_types_takes_no_other_run_its_name() -> None:
    runs = [one("c", "x", "rate 0.1"), one("b", "x", "rate 0.2"), one("a", "x · rate 0.1")]
    assert told_apart(runs) == {"a": "x · rate 0.1 · a", "b": "x · rate 0.2", "c": "x · rate 0.1 · c"}


def test_names_that_look_the_same_are_told_apart_too() -> None:
    runs = [one("c", "a  b", "rate 0.1"), one("b", "a b", "rate 0.2"), one("a", "a\u200e b\n", "rate 0.3")]
    assert told_apart(runs) == {"a": "a b · rate 0.3", "b": "a b · rate 0.2", "c": "a b · rate 0.1"}
    long = told_apart([one("b", "x" * 500 + "1", "rate 0.1"), one("a", "x" * 500 + "2", "rate 0.2")])
    assert [name[-10:] for name in long.values()] == [" · rate 0.1"[-10:], " · rate 0.2"[-10:]]
    assert max(map(len, long.values())) < LONGEST, "a page cuts none of them"


def test_no_two_of_a_thousand_are_called_the_same() -> None:
    runs = [one(str(number), "x", f"rate {number % 7}", f"seed {number % 5}") for number in range(1000)]
    assert len({*told_apart(runs).values()}) == 1000


def test_an_unreadable_run_has_its_id() -> None:
    run = store.create(Recipe())
    run.recipe_file.write_text("{")
    found = summaries.summary(run)
    assert told_apart([found, one("b", "x", "rate 1")])[run.id] == run.id
