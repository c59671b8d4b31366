"""Many pictures at once: chosen by guess, in any order, and several views of each image."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.store import Run
from finetune_core.runs.work.worker import work
from finetune_core.understand.evaluate import evaluate
from tests.pages.test_running import page, texts, wait_until

Sources = dict[str, dict[str, str]]


def trained(recipe: Recipe) -> Run:
    run = store.create(recipe.with_value("phases.0.epochs", 1))
    assert work(run) == 0
    return run


def looked_at(run: Run, folder: Path) -> AppTest:
    app = page("run", run=run.id, tab="Try an image")
    app.button_group(key=f"try:{run.id}").set_value("many").run()
    app.text_input(key=f"many:{run.id}").set_value(str(folder)).run()
    app.button(key="many-go").click().run()
    wait_until(lambda: app.run().dataframe)
    assert not app.exception
    return app


def test_a_table_is_sorted_and_filtered(tiny: Recipe, images: Path) -> None:
    app = looked_at(trained(tiny), images)
    sure = app.dataframe[0].value["Sure"]
    assert sure.is_monotonic_increasing
    app.selectbox(key="many-order").set_value("Surest first").run()
    assert app.dataframe[0].value["Sure"].is_monotonic_decreasing
    app.selectbox(key="many-order").set_value("By file name").run()
    assert app.dataframe[0].value["File"].is_monotonic_increasing
    guesses = app.dataframe[0].value["Guess"].value_counts()
    if len(guesses) > 1:
        app.selectbox(key="many-guess").set_value(guesses.index[0]).run()
        assert set(app.dataframe[0].value["Guess"]) == {guesses.index[0]}
        assert len(app.dataframe[0].value) == guesses.iloc[0]


def test_numbers_are_sorted_by_their_size(tiny: Recipe, sources: Sources, images: Path) -> None:
    loss = {"kind": "l1"}
    run = trained(tiny.with_value("data.source", sources["regression"]).with_value("training.loss", loss))
    app = looked_at(run, images)
    assert app.selectbox(key="many-order").value == "number, largest first"
    found = app.dataframe[0].value["Guess"].str.removeprefix("number ").astype(float)
    assert found.is_monotonic_decreasing
    assert not [each for each in app.selectbox if each.key == "many-guess"]


@pytest.mark.parametrize("drawn", [True, False])
def test_several_views_are_measured_by_a_button(tiny: Recipe, drawn: bool) -> None:
    flips = [{"kind": "horizontal_flip", "chance": 0.5}] if drawn else []
    run = trained(tiny.with_value("augment", flips))
    app = page("run", run=run.id, tab="Scores")
    assert app.button(key="views").disabled == (not drawn)
    if not drawn:
        return
    app.button(key="views").click().run()
    wait_until(lambda: "Answers elsewhere" in texts(app.run()))
    assert not app.exception
    accuracy = evaluate(run, "valid", views=4).found.scores["accuracy"]
    assert f"{accuracy:.1%}" in texts(app)
    assert "one view" in texts(app)


def test_they_are_labelled_by_a_click(tiny: Recipe, images: Path) -> None:
    app = looked_at(trained(tiny), images)
    app.button(key="many-label").click().run()
    assert not app.exception
    assert "Label pictures" in [each.value for each in app.title]


def test_a_recipe_is_taken_from_its_tab(tiny: Recipe) -> None:
    app = page("run", run=trained(tiny).id, tab="Recipe")
    next(each for each in app.button if each.label == "Use this recipe").click().run()
    assert not app.exception
    assert "Train" in [each.value for each in app.title]
