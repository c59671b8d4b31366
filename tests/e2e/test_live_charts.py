"""Charts in a real browser: new points arrive in place, zoom stays, a click on the finder's curve takes the rate."""

from collections.abc import Iterator

import psutil
import pytest
from playwright.sync_api import Browser, Page, expect

from finetune_core.recipe import Recipe
from finetune_core.records import Find, Step, Suggestions
from finetune_core.runs import store
from finetune_core.runs.jobs import RangeTest

pytestmark = pytest.mark.e2e

POINTS = "() => document.querySelector('.js-plotly-plot')._fullData[0].x.length"
RANGE = "() => document.querySelector('.js-plotly-plot').layout.xaxis.range"


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """A tab of its own: on a deep link Streamlit first looks for itself in wrong places, which is no complaint here."""
    context = browser.new_context(viewport={"width": 1440, "height": 1100})
    made = context.new_page()
    made.set_default_timeout(60_000)
    yield made
    context.close()


def grow(run: store.Run, start: int, end: int) -> None:
    for step in range(start, end):
        rates = {"stem": 0.0, "head": 1e-3}
        run.append(Step(step, step // 30, 0, 2.5 / (step + 1), rates, 1.0, {"head": 1.0}, 180.0, 900.0, step * 0.1))
    run.report(state="running", step=end, steps=150, epochs=5)


def test_zoom_survives_new_points(studio, tab):
    head_only = Recipe().with_value("phases.0.multipliers", {}).with_value("phases.0.thaw", ["head"])
    run = store.create(head_only, runs=studio.runs)
    run.claim(psutil.Process())  # the test is the worker
    grow(run, 0, 40)
    tab.goto(f"{studio.url}/run?run={run.id}")
    chart = tab.locator(".js-plotly-plot .nsewdrag").first
    chart.wait_for()
    tab.evaluate("document.querySelector('.js-plotly-plot').dataset.mark = 'same'")
    box = chart.bounding_box()
    tab.mouse.move(box["x"] + 30, box["y"] + 60)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 200, box["y"] + 62, steps=4)
    tab.mouse.up()
    tab.wait_for_function("() => document.querySelector('.js-plotly-plot').layout.xaxis.range[1] < 100")
    zoomed = tab.evaluate(RANGE)
    for end in (60, 80):
        grow(run, end - 20, end)
        tab.wait_for_function(f"({POINTS})() === {end}")
    assert tab.evaluate(RANGE) == zoomed
    assert tab.evaluate("document.querySelector('.js-plotly-plot').dataset.mark") == "same"
    run.report(state="finished", message="Finished")
    expect(tab.get_by_role("button", name="Try an image")).to_be_visible()


def test_a_click_on_the_curve_takes_its_rate(studio, tab):
    run = store.create(Recipe(), RangeTest(), studio.runs)
    for step in range(100):
        rate = 1e-7 * 10 ** (step * 8 / 99)
        run.append(Find(step, rate, 2.5 - step / 100, 2.5 - step / 100))
    run.append(Suggestions(1e-3, None, None))
    run.report(state="finished", message="Finished", step=100, steps=100)
    tab.goto(f"{studio.url}/rate")
    chart = tab.locator(".js-plotly-plot .nsewdrag").first
    chart.wait_for()
    box = chart.bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + 40)  # far above the curve
    tab.mouse.move(*middle)
    tab.locator(".hoverlayer .hovertext").wait_for()
    tab.mouse.click(*middle)
    field = tab.get_by_role("textbox", name="Learning rate")
    expect(field).not_to_have_value("0.003")
    rate = float(field.input_value())
    assert 5e-4 < rate < 2e-3
    expect(tab.locator(".st-key-strip")).to_contain_text(f"rate {rate:.2g}")
