"""The scout on Model & layers: a real worker tries backbones, and one of them is taken."""

import time

import pytest
from streamlit.testing.v1 import AppTest

from finetune_core import figures
from finetune_core.finder import probes
from finetune_core.recipe import Recipe
from finetune_core.records import Probed
from finetune_core.runs import launch, store
from tests.pages.conftest import draft, saved
from tests.pages.test_running import button, page, texts


@pytest.fixture
def few(tiny: Recipe) -> Recipe:
    """A draft with few images and the bundled weights, everything else as it comes."""
    return saved(
        tiny.with_value("model", Recipe().model.model_dump(mode="json")).with_value("phases.0.multipliers", {})
    )


def opened() -> AppTest:
    app = page("layers")
    app.session_state["scout"] = True
    app.run()
    assert not app.exception
    return app


def test_what_is_at_hand_is_tried_and_told_and_another_can_be_chosen(few: Recipe) -> None:
    app = opened()
    assert app.multiselect(key="scout-names").value == ["timm/resnet10t"]
    button(app, "Try them").click().run()
    (run,) = store.list_runs(probes.runs_dir(asked=True), job="scout")
    assert "Stop" in [each.label for each in app.button]
    end = time.monotonic() + 120
    while run.status.active and time.monotonic() < end:
        time.sleep(0.2)
    assert run.status.state == "finished", run.log_tail()
    app.run()
    (table,) = [each.value for each in app.dataframe if "Backbone" in each.value]
    assert table["Backbone"].tolist() == ["resnet10t"]
    assert "100.0%" in table["Accuracy"][0]
    assert draft() == few


def test_what_must_be_downloaded_is_said_before(few: Recipe) -> None:
    app = opened()
    names = app.multiselect(key="scout-names")
    names.set_value([*names.value, "timm/resnet18"]).run()
    assert "1 set of weights is not on this machine yet" in texts(app)


def test_a_scout_can_be_stopped(few: Recipe) -> None:
    app = opened()
    button(app, "Try them").click().run()
    button(app, "Stop").click().run()
    (run,) = store.list_runs(probes.runs_dir(asked=True), job="scout")
    end = time.monotonic() + 60
    while run.status.active and time.monotonic() < end:
        time.sleep(0.2)
    assert not run.status.active
    with pytest.raises(launch.UserError):
        launch.stop(run)


def test_the_chart_marks_the_chosen_one_and_leaves_room_for_names() -> None:
    found = [
        Probed("timm", name, 0.5 + number / 10, 0.03, 100, 5.0 * (number + 1), 9.0, 10, 1.0)
        for number, name in enumerate("ab")
    ]
    figure = figures.scouted(found, Recipe().task.score, "b")
    (points,) = figure.data
    assert points.marker.color[0] != points.marker.color[1]
    assert figure.layout.xaxis.range[0] < 0.699 < 1 < figure.layout.xaxis.range[1]
