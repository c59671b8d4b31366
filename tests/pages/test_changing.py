"""Change, beside the progress of a running run: what it offers, asks for and says."""

import os

import psutil
import pytest
from streamlit.testing.v1 import AppTest

from finetune_core.errors import UserError
from finetune_core.recipe import Phase, Recipe
from finetune_core.recipe.changes import Made, parsed
from finetune_core.records import Step
from finetune_core.runs import launch, store
from pages.ui.run import changing

NAMES = ("stem", "layer1", "layer2", "layer3", "layer4", "head")


@pytest.fixture
def running() -> store.Run:
    """A run in its second epoch, as far as this process, which stands in for its worker, can tell."""
    run = store.create(Recipe(phases=(Phase(epochs=5),)))
    for step in range(13):
        run.append(Step(step, step // 10, 0, 2.0, dict.fromkeys(NAMES, 0.0) | {"head": 3e-3}, 1, {"head": 1}, 9, 9, 1))
    run.claim(psutil.Process(os.getpid()))
    run.report(state="running", step=13, steps=50, epoch=1, epochs=5, epoch_steps=10)
    return run


def page(open_page, run: store.Run) -> AppTest:
    app = open_page("runs")
    app.query_params["run"] = run.id
    app = app.switch_page("pages/views/run.py").run()
    assert not app.exception
    return app


def asked(run: store.Run) -> list:
    return [row for _, row in run.wanted_changes()]


def words(app: AppTest) -> str:
    return "\n".join(each.value for each in (*app.markdown, *app.caption)).replace("\\", "")


@pytest.mark.parametrize(
    ("key", "change", "told"),
    [
        ("change-rate-0.5", "rate x0.5", "Rate halved: 0.003 to 0.0015"),
        ("change-epochs-2", "epochs +2", "Epochs changed: 5 to 7"),
        ("change-epochs-end", "epochs 2", "The phase ends with this epoch"),
        ("change-group-layer4", "thaw layer4", "Thawed: layer4 at 0.0003"),
    ],
)
def test_a_click_asks_for_a_change_and_says_what_will_come(
    open_page, running, key: str, change: str, told: str
) -> None:
    app = page(open_page, running)
    app.button(key=f"{key}:0").click().run()
    assert not app.exception
    assert asked(running) == [parsed(change).model_dump(mode="json")]
    assert told in words(app)


def test_what_does_not_fit_is_said_and_not_asked_for(open_page, running) -> None:
    app = page(open_page, running)
    app.button(key="change-group-head:0").click().run()
    assert "Nothing would train" in words(app)
    assert not asked(running)


def test_it_shows_the_phase_as_it_has_been_changed(open_page, running) -> None:
    made = Made(step=12, phase=0, values={"learning_rate": 1e-4, "epochs": 8, "thaw": ["layer4", "head"]})
    running.keep_change({"wish": 99, **made.saved()})
    app = page(open_page, running)
    assert "peak 0.0001" in words(app)
    assert "2 of 8 begun" in words(app)
    app.button(key="change-group-layer4:0").click().run()
    assert asked(running) == [parsed("freeze layer4").model_dump(mode="json")]


def test_a_click_counts_once_however_often_streamlit_calls_back(running) -> None:
    for _ in range(3):
        changing._ask(running, parsed("rate x0.5"), 0)
    assert len(asked(running)) == 1
    changing._ask(running, parsed("rate x0.5"), 1)
    assert len(asked(running)) == 2


@pytest.mark.parametrize("state", ["starting", "preparing", "stopping"])
def test_nothing_is_offered_or_taken_before_it_runs_or_while_it_stops(open_page, running, state: str) -> None:
    running.ask("stop") if state == "stopping" else running.report(state=state)
    assert not [each for each in page(open_page, running).button if str(each.key).startswith("change-")]
    with pytest.raises(UserError, match="cannot be changed now"):
        launch.change(running, parsed("rate x0.5").model_dump(mode="json"))
    assert not asked(running)


def test_a_paused_run_can_be_changed(open_page, running) -> None:
    running.report(state="paused")
    app = page(open_page, running).button(key="change-rate-0.5:0").click().run()
    assert len(asked(running)) == 1
    app = app.button(key="change-rate-0.5:1").click().run()
    assert not app.exception
    assert len(asked(running)) == 2
    assert "peak 0.00075" in words(app)
    for span in ("0.003 to 0.0015", "0.0015 to 0.00075"):
        assert words(app).count(f"Asked, before the next step: Rate halved: {span}") == 1
    (first, _), _ = running.wanted_changes()
    running.keep_change({"wish": first, **Made(step=13, phase=0, values={"learning_rate": 1.5e-3}).saved()})
    later = words(app.run())
    assert ("peak 0.00075" in later, "0.003 to" in later) == (True, False)


def test_what_was_asked_for_is_read_once_for_all_buttons(open_page, running, monkeypatch) -> None:
    reads, asked_changes = [], store.Run.asked_changes
    monkeypatch.setattr(store.Run, "asked_changes", lambda run: reads.append(run.id) or asked_changes(run))
    page(open_page, running)
    assert len(reads) == 1, "not for each of these"


def test_nothing_is_offered_once_a_run_is_over(open_page, running) -> None:
    running.report(state="finished")
    assert not [each for each in page(open_page, running).button if str(each.key).startswith("change-")]
