"""Lessons on the page: guess, measure, see; left in the middle and found again."""

from html import unescape
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from finetune_core.lessons import Lesson, sheet
from finetune_core.lessons.base import NO_DIFFERENCE
from finetune_core.lessons.schedules import Momentum
from finetune_core.records import Trial
from finetune_core.runs import launch, store
from finetune_core.runs.store import Run
from pages.ui.teach import stage
from tests.pages.test_running import button, page, texts

ONE = Momentum()


def opened(**query: Any) -> AppTest:
    app = page("lessons", **query)
    assert not app.exception
    return app


def measured(guess: str, *means: float) -> Run:
    """A run that has measured it, as a worker would leave it."""
    run = store.create(ONE.recipe(), ONE.job(guess))
    for seed in range(5):
        for arm, mean in enumerate((*means, means[-1])):  # of Sutskever's as of Nesterov's
            run.append(Trial(arm, seed, {ONE.measure: mean + (seed * (arm + 2)) % 5 / 200}, [], [], [], 1.0))
    run.report(state="finished")
    return run


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """What was launched; nothing is really."""
    found: list[Run] = []
    monkeypatch.setattr(launch, "start", lambda run, *_: found.append(run))
    return found


def test_all_lessons_are_there_with_what_came_of_them() -> None:
    measured("", 0.2, 0.8, 0.9)
    said = texts(opened())
    for kind in Lesson.kinds().values():
        assert kind().question in said
    assert said.count("the claim shows here") == 1


def test_what_has_been_measured_and_cannot_be_read_is_measured_again(started: list[Run]) -> None:
    run = measured("", 0.2, 0.8, 0.9)
    run.records_file.unlink()
    run.records_file.mkdir()
    opened(lesson=ONE.kind).button(key="guess-2").click().run()
    assert started


def test_a_guess_begins_the_measuring(started: list[Run]) -> None:
    app = opened(lesson=ONE.kind)
    assert [each.value for each in app.title] == [ONE.question]
    app.button(key="guess-2").click().run()
    assert not app.exception
    [run] = started
    assert (run.job.lesson, run.job.guess) == (ONE.kind, ONE.arms[1].name)
    assert run.job.arms == ONE.arms
    run.report(state="queued")
    stage._begin(ONE, ONE.arms[0].name)
    assert started == [run], "an impatient second click begins nothing"


def test_a_class_guesses_by_a_show_of_hands(started: list[Run]) -> None:
    app = opened(lesson=ONE.kind)
    app.toggle(key="lesson-hands").set_value(True).run()
    assert app.button(key="lesson-next").disabled, "no hand, no guess"
    for number in (2, 2, 1, 2, 1, 4):
        app.button(key=f"guess-{number}").click().run()
    assert not app.exception
    assert not started, "hands are only counted"
    assert "3 hands" in app.button(key="guess-2").label
    app.button(key="lesson-back").click().run()
    assert "hand" not in app.button(key="guess-4").label
    app.button(key="lesson-next").click().run()
    [run] = started
    assert run.job.hands == {ONE.arms[1].name: 3, ONE.arms[0].name: 2}
    assert run.job.guess == ONE.arms[1].name
    for seed in range(5):
        for arm, mean in enumerate((0.2, 0.9, 0.3, 0.3)):
            run.append(Trial(arm, seed, {ONE.measure: mean + (seed * (arm + 2)) % 5 / 200}, [], [], [], 1.0))
    run.report(state="finished")
    app = opened(lesson=ONE.kind)
    assert "5 hands: **0\\.9** 3, **none** 2" in texts(app)
    app.button(key="lesson-next").click().run()
    assert "3 of 5 hands had it right.** Best: “0.9”." in texts(app)


def test_the_next_class_begins_without_a_hand(started: list[Run]) -> None:
    app = opened(lesson=ONE.kind)
    app.toggle(key="lesson-hands").set_value(True).run()
    app.button(key="guess-2").click().run()
    app.button(key="lesson-next").click().run()
    [run] = started
    run.report(state="finished")
    app.run()
    app.button(key="lesson-back").click().run()  # guess anew
    app.toggle(key="lesson-hands").set_value(True).run()
    assert "hand" not in app.button(key="guess-2").label
    assert app.button(key="lesson-next").disabled


def test_of_a_class_that_is_split_nothing_is_the_guess() -> None:
    assert ONE.job(hands={"none": 2, "0.9": 2}).guess == ""
    assert ONE.job(hands={"none": 2, "0.9": 1}).guess == "none"
    assert ONE.job("none").hands == {}


def test_the_answer_waits_until_it_is_asked_for() -> None:
    measured(ONE.arms[2].name, 0.2, 0.8, 0.9)
    app = opened(lesson=ONE.kind)
    assert "is better than" not in texts(app)
    assert "Your guess: **0\\.9, Nesterov**" in texts(app)
    app.button(key="lesson-next").click().run()
    assert not app.exception
    assert "is better than" in texts(app)
    assert "You guessed right" in texts(app)
    assert "The claim shows here" in texts(app)
    assert app.button(key="lesson-on").label == "Next lesson"
    app.button(key="lesson-back").click().run()
    assert app.button(key="guess-1").label.endswith(ONE.arms[0].name)
    app.button(key="lesson-back").click().run()
    assert "is better than" in texts(app), "back to what was measured"


@pytest.mark.parametrize(
    ("guess", "means", "words"),
    [
        (NO_DIFFERENCE, (0.8, 0.8, 0.8), "You guessed right"),
        (ONE.arms[0].name, (0.2, 0.9, 0.8), f"**You guessed** {ONE.arms[0].name}. Best: “0.9”."),
        (ONE.arms[0].name, (0.8, 0.8, 0.8), "It is a tie."),
        (ONE.arms[1].name, (0.2, 0.9, 0.9), "You guessed right"),
        ("", (0.9, 0.2, 0.3), "Here it is the other way round"),
    ],
)
def test_what_was_guessed_is_held_against_what_was_measured(guess: str, means: tuple[float, ...], words: str) -> None:
    measured(guess, *means)
    app = opened(lesson=ONE.kind)
    app.button(key="lesson-next").click().run()
    assert words in texts(app)


def test_what_went_wrong_is_said_and_can_be_tried_again(started: list[Run]) -> None:
    run = store.create(ONE.recipe(), ONE.job("x"))
    run.report(state="failed", error={"what": "The disk is full.", "why": "", "hint": ""})
    app = opened(lesson=ONE.kind)
    assert "The disk is full" in texts(app)
    button(app, "Try again").click().run()
    app.button(key="guess-1").click().run()
    assert len(started) == 1


def test_a_lesson_that_was_stopped_begins_anew() -> None:
    run = store.create(ONE.recipe(), ONE.job("x"))
    run.report(state="stopped")
    assert opened(lesson=ONE.kind).button(key="guess-1")


def test_a_lesson_that_is_none_shows_all() -> None:
    app = opened(lesson="<script>")
    assert "Lessons" in [each.value for each in app.title]


def test_a_sheet_for_every_lesson_says_what_differs() -> None:
    for kind in Lesson.kinds().values():
        text = unescape(sheet.page(kind(), None))
        assert all(arm.name in text for arm in kind().arms)
        assert all(question in text for question in (*kind().ask, kind().question, kind().claim, kind().further))
    text = sheet.page(ONE, measured("", 0.2, 0.8, 0.9))
    assert "Measured here" in text
    assert "20 seconds of training" in text
    assert "Optimizer: SGD (Sutskever)" in text
    assert "Optimizer: Nesterov: yes" in text
