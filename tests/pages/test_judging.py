"""Where a run is wrong about tags and numbers, what is kept with its model, and two runs picture by picture."""

import pytest
from streamlit.testing.v1 import AppTest

from finetune_core.recipe import Recipe
from finetune_core.recipe.arms import Arm
from finetune_core.records import Trial
from finetune_core.runs import launch, store
from finetune_core.runs.jobs import Experiment
from finetune_core.runs.states import fitted
from finetune_core.runs.store import Run
from finetune_core.runs.work.worker import work
from finetune_core.understand.agreement import agreement
from finetune_core.understand.tags import tagged
from tests.pages.test_running import button, page, texts
from tests.pages.test_runs import ticking

Sources = dict[str, dict[str, str]]


def trained(recipe: Recipe) -> Run:
    run = store.create(recipe.with_value("phases.0.epochs", 1))
    assert work(run) == 0
    return run


@pytest.fixture
def of_tags(tiny: Recipe, sources: Sources) -> Run:
    return trained(tiny.with_value("data.source", sources["multi_label"]).with_value("training.loss", {"kind": "bce"}))


def open_run(run: Run) -> AppTest:
    app = page("run", run=run.id, tab="Mistakes")
    assert not app.exception
    return app


def metrics(app: AppTest) -> dict[str, str]:
    return {each.label: each.value for each in app.metric}


def test_a_threshold_is_chosen_for_a_tag_and_kept_with_the_model(of_tags: Run) -> None:
    app, found = open_run(of_tags), tagged(of_tags)
    app.selectbox(key=f"tag:{of_tags.id}").set_value(1).run()
    bar = app.text_input(key=f"threshold:{of_tags.id}:1")
    assert bar.value == "0.5"
    bar.set_value("0.000001").run()
    assert metrics(app)["Found of its images"] == "100.0%", "all are found"
    share = found.wanted[:, 1].mean()
    assert metrics(app)["Right of those found"] == f"{share:.1%}"
    button(app, "Best F1").click().run()
    assert not app.exception
    assert metrics(app)["F1"] == f"{found.counts(1, found.best(1)).f1:.1%}"
    app.session_state["all-tags"] = True
    app.run()
    button(app, "Take the best F1 of every tag").click().run()
    button(app, "Keep these thresholds with the model").click().run()
    assert not app.exception
    kept = fitted.load(of_tags)
    assert kept is not None
    assert kept.thresholds == pytest.approx([found.best(tag) for tag in range(len(found.names))])
    app = open_run(of_tags)
    shown = float(app.text_input(key=f"threshold:{of_tags.id}:0").value)
    assert shown == pytest.approx(found.best(0), rel=1e-3), "a reload keeps it"


def test_pictures_of_a_tag_can_be_left_out(of_tags: Run) -> None:
    app = open_run(of_tags)
    app.button_group(key=f"mistakes:{of_tags.id}").set_value("near").run()
    next(each for each in app.button if each.label == "Leave out").click().run()
    assert not app.exception
    assert "Left out" in texts(app)
    assert not [each for each in app.button if each.label.startswith("Relabel")]


def test_numbers_show_how_far_off_they_are(tiny: Recipe, sources: Sources) -> None:
    run = trained(tiny.with_value("data.source", sources["regression"]).with_value("training.loss", {"kind": "l1"}))
    app = open_run(run)
    best = run.epochs()[-1]["scores"]["mae"]
    assert metrics(app)["Mean error"] == f"{best:.4g}"
    for which in ("worst", "highest", "lowest"):
        app.button_group(key=f"mistakes:{run.id}").set_value(which).run()
        assert not app.exception
    assert "On the whole it guesses" in texts(app)


def test_a_temperature_is_kept_and_forgotten(tiny: Recipe) -> None:
    run = trained(tiny)
    app = open_run(run)
    app.session_state["each-class"] = True
    app.run()
    next(each for each in app.button if each.label.startswith("Keep the temperature")).click().run()
    assert not app.exception
    assert "Kept with the model: temperature" in texts(app)
    assert fitted.load(run) is not None
    button(app, "Forget it").click().run()
    assert fitted.load(run) is None


def test_a_damaged_file_is_said_on_the_page(of_tags: Run) -> None:
    of_tags.fitted_file.write_text("{", "utf-8")
    app = page("run", run=of_tags.id, tab="Mistakes")
    assert not app.exception
    assert "is damaged" in texts(app)


def test_two_runs_are_shown_picture_by_picture(tiny: Recipe) -> None:
    one, other = (trained(tiny.with_value("training.seed", seed)) for seed in (0, 1))
    app = ticking(page("runs"), one.id, other.id)
    app.session_state["agreeing"] = True
    app.run()
    assert not app.exception
    found = agreement(one, other)
    assert f"They say the same of {found.share:.0%}" in texts(app)
    for which, places in found.groups.items():
        app.button_group(key="agree-group").set_value(which).run()
        assert not app.exception
        assert len(app.get("image")) == min(12, len(places))


def test_recipes_of_runs_are_trained_again_with_several_seeds(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Run] = []
    monkeypatch.setattr(launch, "start", lambda run, *_: started.append(run))
    one, other = (trained(tiny.with_value("phases.0.learning_rate", rate)) for rate in (1e-3, 1e-4))
    app = ticking(page("runs"), one.id, other.id)
    button(app, "Train each again with 5 seeds").click().run()
    assert not app.exception
    [made] = started
    assert made.job.seeds == 5
    assert [arm.of(made.recipe).phases[0].learning_rate for arm in made.job.arms] == [1e-3, 1e-4]
    twin = trained(one.recipe)
    same = ticking(page("runs"), one.id, twin.id)
    button(same, "Train each again with 5 seeds").click().run()
    assert "Two of the recipes are the same" in texts(same)
    assert len(started) == 1


def test_an_experiment_shows_its_arms_as_far_as_they_are(tiny: Recipe) -> None:
    run = store.create(tiny, Experiment(arms=(Arm(name="a"), Arm(name="b", views=1)), seeds=2))
    run.report(state="stopped")
    assert not page("run", run=run.id).exception
    for seed in range(2):
        for arm in range(2):
            run.append(Trial(arm, seed, {"score": 0.5 + arm / 5 + seed / 100}, [], [], [], 1.0, images=100))
    app = page("run", run=run.id)
    assert not app.exception
    assert "“b” is better than “a”" in texts(app)
