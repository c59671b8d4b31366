"""What a run's page says beside its charts: alarms with what to do, and the board, epoch by epoch."""

from dataclasses import asdict
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from finetune_core.errors import Mend
from finetune_core.recipe import Recipe
from finetune_core.records import Alarm, Epoch, Guess
from finetune_core.runs import store
from tests.conftest import paint
from tests.pages.conftest import draft, saved
from tests.pages.test_running import page, texts, trained

HOT = Alarm(
    "alarm",
    20,
    "The learning rate is too high. The loss rose from 1 to 3.",
    "ceiling",
    "warn",
    "The learning rate is too high",
    "Begin again.",
    Mend("Set the rate to 0.0003", "phases.0.learning_rate", 3e-4),
)


def opened(run: store.Run, tab: str = "Charts") -> AppTest:
    app = page("run", run=run.id, tab=tab)
    assert not app.exception
    return app


def labels(app: AppTest) -> list[str]:
    return [button.label for button in app.button]


def test_an_alarm_says_what_to_do_and_offers_the_change_in_the_draft():
    run = trained(saved(Recipe()))
    run.append(HOT)
    app = opened(run)
    assert texts(app).count("The learning rate is too high") == 1, "neither twice in the card nor among the notes"
    assert "The loss rose from 1 to 3" in texts(app)
    assert "Begin again" in texts(app)
    mend = next(button for button in app.button if button.label == "Set the rate to 0.0003 in the draft")
    app = mend.click().run()
    assert draft().phases[0].learning_rate == 3e-4
    assert not any("in the draft" in label for label in labels(app)), "the draft is another experiment now"
    assert "Begin again" in texts(app)


def test_of_another_draft_an_alarm_offers_nothing():
    run = trained(Recipe())
    run.append(HOT)
    saved(Recipe().with_value("phases.0.epochs", 7))
    assert not any("in the draft" in label for label in labels(opened(run)))


def test_alarms_stand_newest_first_the_last_word_of_each():
    run = trained(saved(Recipe()))
    run.append(Alarm("alarm", 10, "Old. x", "overfitting", "warn", "Old"))
    run.append(HOT)
    run.append(Alarm("alarm", 40, "New. x", "overfitting", "ok", "New <b>"))
    said = texts(opened(run))
    assert "**Old**" not in said
    assert said.index("New") < said.index("too high")
    assert "New \\<b\\>" in said


@pytest.fixture
def boarded(tmp_path: Path) -> store.Run:
    """A run of three epochs with a board of two images, of which one is gone."""
    files = sorted(paint(tmp_path / "photos").glob("*/*.png"))
    run = trained(saved(Recipe()), epochs=0)
    losses = {"train_loss": 1.0, "train_score": 0.5, "valid_loss": 1.1, "valid_score": 0.5}
    for number, (first, second) in enumerate([("rose", "rose"), ("rose", "tu_lip"), ("tu_lip", "rose")]):
        board = [
            Guess(str(files[0]), "rose", [(first, 0.75), ("other", 0.25)], first == "rose"),
            Guess("/nowhere/x.png", "tu_lip", [(second, 0.6), ("other", 0.4)], second == "tu_lip"),
        ]
        place = {"epoch": number, "phase": 0, "step": 10 * (number + 1), "best": True, "seconds": 1.0}
        run.append(Epoch(**place, **losses, scores={"accuracy": 0.5}, by_name={}, board=board))
    return run


def test_the_board_shows_the_newest_guesses_and_how_they_came(boarded: store.Run):
    app = opened(boarded, "Guesses")
    said = texts(app)
    assert "after epoch 3. 0 of 2 right." in said
    assert "**tu\\_lip, 75.0%**" in said
    assert "is rose" in said
    assert ":green[●]:green[●]:red[○]" in said, "the first image"
    assert ":red[○]:green[●]:red[○]" in said, "the second"


def test_the_slider_goes_back_and_follows_again(boarded: store.Run):
    app = opened(boarded, "Guesses")
    app = app.slider(key=f"board-epoch:{boarded.id}").set_value(2).run()
    assert "after epoch 2. 2 of 2 right." in texts(app)
    boarded.append(Epoch(**{**last_epoch(boarded), "epoch": 3, "step": 40}))
    assert "after epoch 2." in texts(app.run())
    app = app.slider(key=f"board-epoch:{boarded.id}").set_value(4).run()
    boarded.append(Epoch(**{**last_epoch(boarded), "epoch": 4, "step": 50}))
    assert "after epoch 5." in texts(app.run())


def last_epoch(run: store.Run) -> dict:
    row = [row for row in run.records()[0] if row["kind"] == "epoch"][-1]
    return {name: value for name, value in row.items() if name != "kind"}


def test_an_earlier_run_has_no_board_and_says_so():
    assert "made before" in texts(opened(trained(saved(Recipe())), "Guesses"))
    assert "first epoch has to end" in texts(opened(trained(saved(Recipe()), epochs=0), "Guesses"))


def test_numbers_are_near_or_far(tmp_path: Path):
    recipe = saved(Recipe().with_value("data.source", {"kind": "table", "path": "x.csv", "task": "regression"}))
    run = trained(recipe, epochs=0)
    losses = {"train_loss": 1.0, "train_score": 0.5, "valid_loss": 1.1, "valid_score": 0.5}
    for number, value in enumerate([41.0, 27.5]):
        board = [asdict(Guess("x.png", "age 25", [("age", value)], None))]
        place = {"epoch": number, "phase": 0, "step": 10, "best": True, "seconds": 1.0}
        run.append(Epoch(**place, **losses, scores={"mae": 0.5}, by_name={}, board=board))
    said = texts(opened(run, "Guesses"))
    assert "**age 27.5**" in said
    assert "age 41 → age 27.5" in said
    assert "dots" not in said, "numbers are near or far"
