"""Starting from what a run has learned, on pages: thaw more, the finder's start, the choice on the model page."""

import json

import pytest

from finetune_core import places
from finetune_core.parts.backbones import Checkpoint
from finetune_core.recipe import Phase, Recipe
from finetune_core.recipe.changes import Made
from finetune_core.records import Find, Suggestions
from finetune_core.runs import launch, store
from finetune_core.runs.jobs import RangeTest
from tests.pages.conftest import draft


def button(app, label: str):
    return next(button for button in app.button if button.label == label)


def learned(recipe: Recipe, *files: str) -> store.Run:
    """A finished run as far as its files' names go."""
    run = store.create(recipe)
    for name in files:
        (run.path / "checkpoints" / f"{name}.safetensors").touch()
    run.report(state="finished")
    return run


def searched(recipe: Recipe, low: float) -> store.Run:
    run = store.create(recipe, RangeTest())
    for step in range(30):
        run.append(Find(step, 1e-7 * 10 ** (step * 8 / 29), 2.5 - step / 30, 2.5 - step / 30))
    run.append(Suggestions(low, None, None))
    run.report(state="finished")
    return run


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[store.Run]:
    runs: list[store.Run] = []
    monkeypatch.setattr(launch, "start", runs.append)
    return runs


def from_(run: store.Run, name: str) -> Checkpoint:
    return Checkpoint(path=str(run.weights[name]))


def test_thaw_more_takes_the_trained_weights_along(open_page):
    run = learned(Recipe(phases=(Phase(),)), "best")
    app = open_page("runs")
    app.query_params["run"] = run.id
    app = app.switch_page("pages/views/run.py").run()
    button(app, "Thaw more").click().run()
    assert not app.exception
    assert not (places.runs_dir() / "draft.yaml").exists(), "shown before it is taken"
    table = app.table[-1].value
    assert list(table["This run"])[1:] == ["5", "frozen", "0.003"]
    assert list(table["Next stage"])[1:] == ["3", "3e-5", "0.0003"]
    assert table["Next stage"].iloc[0].startswith("best")
    button(app, "Take the next stage").click().run()
    assert not app.exception
    assert draft().model.backbone.weights == from_(run, "best")
    [stage] = draft().phases
    assert (stage.thaw, stage.learning_rate, stage.epochs) == (("layer4", "head"), 3e-4, 3)


def test_thaw_more_starts_from_what_was_changed_on_the_way_and_knows_its_end(open_page):
    run = learned(Recipe(phases=(Phase(),)), "best")
    change = Made(step=0, phase=0, values={"thaw": ["*"], "learning_rate": 1e-2})
    run.changes_file.write_text(json.dumps(change.saved()) + "\n")
    app = open_page("runs")
    app.query_params["run"] = run.id
    app = app.switch_page("pages/views/run.py").run()
    button(app, "Thaw more").click().run()
    assert any("Everything is thawed already" in text.value for text in app.markdown)
    button(app, "Take the next stage").click().run()
    [stage] = draft().phases
    assert (stage.thaw, stage.learning_rate) == (("*",), 1e-3)


def test_the_finder_starts_where_a_phase_ended(open_page, started):
    phases = (Phase(), Phase(thaw=("*",)))
    run = learned(Recipe(phases=phases), "best", "phase-1")
    learned(Recipe().with_value("model.head", {"kind": "mlp"}), "best")
    app = open_page("rate")
    choice = app.selectbox(key="find-start")
    assert [words.partition(",")[0] for words in choice.options] == [
        "The recipe's own weights",
        "best",
        "end of phase 1",
    ], "only runs with the same backbone and head"
    choice.set_value(str(run.weights["end of phase 1"])).run()
    button(app, "Find the rate").click().run()
    assert not app.exception
    (search,) = started
    assert search.recipe.model.backbone.weights == from_(run, "end of phase 1")
    assert not (places.runs_dir() / "draft.yaml").exists(), "the draft keeps its own"


def test_curves_of_different_starts_are_told_apart(open_page):
    run = learned(Recipe(), "best")
    searched(Recipe(), 1e-3)
    searched(Recipe().with_value("model.backbone.weights", from_(run, "best").model_dump()), 1e-5)
    app = open_page("rate")
    assert button(app, "Steepest: 0.001"), "the one from the recipe's own weights comes first"
    app.selectbox(key="find-start").set_value(str(run.best)).run()
    assert not app.exception
    assert button(app, "Steepest: 1e-5")


def test_a_run_is_chosen_as_the_weights_of_the_model(open_page):
    run = learned(Recipe(), "best")
    app = open_page("layers")
    app.button_group(key="kind:model.backbone.weights").set_value("checkpoint").run()
    assert not app.exception
    field = app.selectbox(key="field:model.backbone.weights.path")
    field.set_value(str(run.best)).run()
    assert not app.exception
    assert draft().model.backbone.weights == from_(run, "best")
