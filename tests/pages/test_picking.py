"""The catalogue: filtered, clicked in its chart or ticked in its list, with milliseconds that a worker takes."""

import time
from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from finetune_core.finder import probes
from finetune_core.network import catalogue
from finetune_core.recipe import Recipe
from finetune_core.runs import launch, store
from finetune_core.runs.jobs import Measure
from finetune_core.training import costs, timing
from pages.ui.kit import shell
from pages.ui.layers import picking
from tests.pages.conftest import draft, pieces, saved, tell
from tests.pages.test_costing import FOUND
from tests.pages.test_running import texts

Open = Callable[[str], AppTest]


def opened(open_page: Open) -> AppTest:
    app = open_page("layers")
    app.button(key="change-backbone").click().run()
    assert not app.exception
    return app


def use(app: AppTest):
    return app.button(key="use-backbone")


def test_the_list_opens_without_the_page_behind_it_being_drawn_anew(
    open_page: Open, tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tiny)
    app = open_page("layers")
    monkeypatch.setattr(shell, "page", lambda *_, **__: pytest.fail("it was drawn"))
    app.button(key="change-backbone").click()
    assert use(pieces(app)).disabled


def test_a_click_on_a_point_chooses_and_a_button_takes_it(open_page: Open, tiny: Recipe) -> None:
    saved(tiny)
    app = opened(open_page)
    assert use(app).disabled
    tell(app, "thaw_chart", "picked", {"x": 11.7, "y": 69.8, "means": "torchvision/resnet18"})
    assert use(app).label == "Use resnet18"
    use(app).click().run()
    assert not app.exception
    assert (draft().model.backbone.kind, draft().model.backbone.architecture) == ("torchvision", "resnet18")
    assert not app.dataframe, "and the dialog is over"


def test_the_dialog_stays_while_the_page_is_drawn_anew(open_page: Open, tiny: Recipe) -> None:
    saved(tiny)
    app = opened(open_page)
    app.run()
    assert len(app.dataframe[0].value) == len(catalogue.GOOD_FIRST)


def test_filters_hold_for_list_and_chart(open_page: Open, tiny: Recipe) -> None:
    saved(tiny)
    app = opened(open_page)
    assert "Good first choices of 1,3" in texts(app)
    assert "timm publishes no accuracy for them" in texts(app)
    assert "ImageNet (%)" not in app.dataframe[0].value, "of these timm networks none is published"
    app.multiselect(key="backbone-families").set_value(["ResNet"]).run()
    table = app.dataframe[0].value
    assert set(table["Family"]) == {"ResNet"}
    assert set(table["Library"]) == {"timm", "torchvision"}
    assert f"{len(table)} networks" in texts(app)
    assert table.set_index(["Library", "Name"])["ImageNet (%)"]["torchvision", "resnet18"] == pytest.approx(69.758)


def test_a_point_that_a_filter_takes_away_is_no_choice(open_page: Open, tiny: Recipe) -> None:
    saved(tiny)
    app = opened(open_page)
    tell(app, "thaw_chart", "picked", {"x": 11.7, "y": 69.8, "means": "torchvision/resnet18"})
    app.multiselect(key="backbone-families").set_value(["ConvNeXt"]).run()
    assert use(app).disabled


def test_what_is_listed_is_timed_without_being_asked(
    open_page: Open, tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = saved(tiny)
    costs.keep(recipe, FOUND)
    monkeypatch.setattr(probes, "on", lambda: True)
    probes.keep(recipe, recipe.model.backbone, probes.Probed("timm", "test_resnet", 0.5, 0.1, 24, 1.0, 1.0, 100, 1.0))
    opened(open_page)
    (run,) = store.list_runs(probes.runs_dir(), job=Measure.kind)
    assert set(run.job.backbones) == {f"timm/{name}" for name in catalogue.GOOD_FIRST}
    end = time.monotonic() + 240
    while run.status.active and not timing.known(recipe):
        assert time.monotonic() < end
        time.sleep(0.2)
    launch.stop(run, wait=True)
    app = opened(open_page)
    assert app.dataframe[0].value["Time here (ms)"].notna().any()


def test_a_thousand_rows_take_a_moment(tiny: Recipe) -> None:
    saved(tiny)
    everything = catalogue.search("")
    picking._values(tiny, everything)
    begun = time.process_time()
    assert len(picking._values(tiny, everything)) > 1000
    assert time.process_time() - begun < 0.5
