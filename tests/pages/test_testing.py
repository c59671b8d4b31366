"""The test of a finished run: by a button, once, and what further looks are worth is said."""

from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.work.worker import work
from tests.pages.test_running import button, page, texts


def test_test_images_are_measured_by_a_button_and_looks_are_counted(tiny: Recipe) -> None:
    run = store.create(tiny.with_value("data.test_share", 0.3).with_value("phases.0.epochs", 1))
    assert work(run) == 0
    app = page("run", run=run.id, tab="Scores")
    label = next(each.label for each in app.button if each.label.startswith("Measure on"))
    button(app, label).click().run()
    for _ in range(20):
        if run.tests():
            break
        app.run()
    app.run()
    assert not app.exception
    [first] = run.tests()
    assert f"{recipe_score(run, first)}" in texts(app)
    assert "no test any more" not in texts(app)
    button(app, "Look again").click().run()
    for _ in range(20):
        if len(run.tests()) > 1:
            break
        app.run()
    app.run()
    assert "look 2: chosen by, it is no test any more" in texts(app)


def test_two_tabs_look_once(tiny: Recipe) -> None:
    run = store.create(tiny.with_value("data.test_share", 0.3).with_value("phases.0.epochs", 1))
    assert work(run) == 0
    tabs = [page("run", run=run.id, tab="Scores") for _ in range(2)]
    label = next(each.label for each in tabs[0].button if each.label.startswith("Measure on"))
    button(tabs[0], label).click().run()
    for _ in range(20):
        for each in tabs:
            each.run()
        if run.tests():
            break
    for each in (*tabs, *tabs):
        each.run()
        assert not each.exception
    assert len(run.tests()) == 1


def recipe_score(run: store.Run, look: dict) -> str:
    score = run.recipe.task.score
    return f"**{score.shown(look['scores'][score.key])}**"


def test_without_test_images_there_is_no_button(tiny: Recipe) -> None:
    run = store.create(tiny.with_value("phases.0.epochs", 1))
    assert work(run) == 0
    app = page("run", run=run.id, tab="Scores")
    assert not [each for each in app.button if each.label.startswith("Measure on")]
