"""Charts in a real browser: new points arrive in place, zoom stays, a click on the finder's curve takes the rate."""

from collections.abc import Iterator
from io import BytesIO

import numpy as np
import psutil
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from finetune_core.figures import group_colours
from finetune_core.network import catalogue
from finetune_core.recipe import Recipe
from finetune_core.records import Event, Find, Step, Suggestions
from finetune_core.runs import store
from finetune_core.runs.jobs import RangeTest
from tests.e2e.conftest import AT_REST

pytestmark = pytest.mark.e2e

POINTS = "() => document.querySelector('.js-plotly-plot')._fullData[0].x.length"
LAST = "() => [...document.querySelectorAll('.js-plotly-plot')].at(-1)._fullData[0].x.length"
DATA = "() => JSON.stringify(document.querySelector('.js-plotly-plot')._fullData.map((line) => [...line.y]))"
HIDDEN = """() => document.querySelector('.js-plotly-plot')._fullData
  .filter((line) => line.visible === 'legendonly').map((line) => line.name).join()"""
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


def began(studio) -> store.Run:
    """A run that trains the head; the test is its worker."""
    head_only = Recipe().with_value("phases.0.multipliers", {}).with_value("phases.0.thaw", ["head"])
    run = store.create(head_only, runs=studio.runs)
    run.claim(psutil.Process())
    grow(run, 0, 40)
    return run


def zoom(tab: Page) -> list[float]:
    """Drag over a part of the first chart."""
    chart = tab.locator(".js-plotly-plot .nsewdrag").first
    chart.wait_for()
    box = chart.bounding_box()
    tab.mouse.move(box["x"] + 30, box["y"] + 60)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 200, box["y"] + 62, steps=4)
    tab.mouse.up()
    tab.wait_for_function("() => document.querySelector('.js-plotly-plot').layout.xaxis.range[1] < 100")
    return tab.evaluate(RANGE)


def test_a_chart_out_of_sight_is_drawn_when_somebody_looks(studio, tab):
    run = began(studio)
    tab.set_viewport_size({"width": 1440, "height": 500})
    tab.goto(f"{studio.url}/run?run={run.id}")
    expect(tab.locator(".js-plotly-plot .nsewdrag")).to_have_count(4)
    tab.wait_for_timeout(500)
    grow(run, 40, 60)
    tab.wait_for_function(f"({POINTS})() === 60")
    assert tab.evaluate(LAST) == 40
    tab.locator(".js-plotly-plot").last.scroll_into_view_if_needed()
    tab.wait_for_function(f"({LAST})() === 60")


def test_zoom_and_hidden_lines_survive_ten_ticks_and_the_end(studio, tab):
    run = began(studio)
    tab.goto(f"{studio.url}/run?run={run.id}")
    zoomed = zoom(tab)
    expect(tab.locator(".js-plotly-plot .nsewdrag")).to_have_count(4)
    tab.evaluate("document.querySelectorAll('.js-plotly-plot').forEach((each) => (each.dataset.mark = 'same'))")
    tab.locator(".js-plotly-plot").first.locator(".legendtoggle").first.click()
    tab.wait_for_function(f"({HIDDEN})() === 'train'")
    for end in range(50, 150, 10):
        grow(run, end - 10, end)
        tab.wait_for_function(f"({POINTS})() === {end}")
    assert tab.evaluate(RANGE) == zoomed
    run.append(Event("paused", 149, "Paused by a person."))  # comes as a line of its own
    run.report(state="finished", message="Finished")
    expect(tab.get_by_role("button", name="Try an image")).to_be_visible()
    tab.locator(AT_REST).wait_for()
    tab.wait_for_timeout(1500)
    assert tab.evaluate(RANGE) == zoomed
    assert tab.evaluate(HIDDEN) == "train"
    assert tab.evaluate("[...document.querySelectorAll('.js-plotly-plot')].map((each) => each.dataset.mark)") == (
        ["same"] * 4
    )


def test_nothing_is_asked_or_told_once_a_run_has_ended(studio, tab):
    run = began(studio)
    frames: list[str] = []
    tab.on("websocket", lambda socket: socket.on("framereceived", lambda _: frames.append("in")))
    tab.goto(f"{studio.url}/run?run={run.id}")
    tab.locator(".js-plotly-plot .nsewdrag").first.wait_for()
    run.report(state="finished", message="Finished")
    expect(tab.get_by_role("button", name="Try an image")).to_be_visible()
    tab.locator(AT_REST).wait_for()
    tab.wait_for_timeout(2000)
    before = len(frames)
    tab.wait_for_timeout(4000)
    assert len(frames) == before


def test_the_same_charts_after_a_refresh_and_with_a_line_that_is_no_record(studio, tab):
    run = began(studio)
    with run.records_file.open("ab") as file:
        file.write(b'{"kind": "step", "step": 40, "lo\xff\x00\n')
    grow(run, 41, 60)
    tab.goto(f"{studio.url}/run?run={run.id}")
    tab.locator(".js-plotly-plot .nsewdrag").first.wait_for()
    tab.wait_for_function(f"({POINTS})() === 59")
    drawn = tab.evaluate(DATA)
    expect(tab.get_by_text("1 record cannot be read and is left out.")).to_be_visible()
    tab.reload()
    tab.locator(".js-plotly-plot .nsewdrag").first.wait_for()
    tab.wait_for_function(f"({POINTS})() === 59")
    assert tab.evaluate(DATA) == drawn
    run.report(state="finished", message="Finished")


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


def test_groups_of_one_rate_both_show_their_colours(studio, tab: Page) -> None:
    """The default recipe's layer3 and layer4 learn at the same rate: either colour is there, and as much of both."""
    tab.goto(f"{studio.url}/train")
    plot = tab.locator(".js-plotly-plot .cartesianlayer").first
    expect(plot).to_be_visible(timeout=300_000)
    tab.locator(AT_REST).wait_for()
    colours = group_colours(catalogue.layer_names(Recipe().model))
    with Image.open(BytesIO(plot.screenshot())) as shot:
        pixels = np.asarray(shot.convert("RGB")).astype(int)
    seen = {name: [int(colours[name][at : at + 2], 16) for at in (1, 3, 5)] for name in ("layer3", "layer4")}
    third, fourth = ((abs(pixels - colour).max(-1) < 8).sum() for colour in seen.values())
    assert min(third, fourth) > 100
    assert 0.5 < third / fourth < 2
