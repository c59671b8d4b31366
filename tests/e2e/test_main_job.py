"""The main job in a real browser, as a newcomer does it: from Home to a trained model and its guess on an image.

`pytest tests/e2e/test_main_job.py --screenshots docs/images` takes the README's pictures on the way.
"""

import re
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Page, expect

from finetune_core.recipe import Recipe
from finetune_core.runs import store
from tests.e2e.conftest import AT_REST, MINUTES, Studio, serve

pytestmark = pytest.mark.e2e

POINTS = "() => document.querySelector('.js-plotly-plot')?._fullData?.[0]?.x?.length ?? 0"


def _go(page: Page, name: str) -> None:
    page.get_by_test_id("stSidebar").get_by_role("link", name=re.compile(f"^(\\S+ )?{name}")).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)


def _press(page: Page, name: str) -> None:
    """Go to a button by Tab, as whoever has no mouse does, and press it."""
    button = page.get_by_role("button", name=name)
    expect(button).to_be_enabled()
    page.locator(AT_REST).wait_for()
    for _ in range(60):
        page.keyboard.press("Tab")
        if button.evaluate("(button) => button === document.activeElement"):
            break
    expect(button).to_be_focused()
    page.keyboard.press("Enter")


def test_from_home_to_a_model_by_two_keys(studio: Studio, page: Page, shoot) -> None:
    page.goto(studio.url)
    _press(page, "Start with Blooms")
    _press(page, "Launch")
    page.wait_for_url("**/run?run=*")
    _watch_the_charts_move(page)
    shoot(page, "run-live")
    expect(page.get_by_role("button", name="Try an image")).to_be_visible(timeout=12 * MINUTES)
    [run] = store.list_runs(studio.runs)
    assert run.status.state == "finished"
    assert run.status.best_score >= 0.9
    shoot(page, "run")

    page.reload()  # a refresh finds the run again
    page.get_by_role("button", name="Try an image").click()
    image = next((studio.cache / "blooms-v1" / "snow_daisy").glob("*.jpg"))
    page.locator("input[type=file]").set_input_files(image)
    expect(page.get_by_role("heading", name=re.compile(r"\d+% sure"))).to_be_visible(timeout=2 * MINUTES)
    shoot(page, "try-image")


def _watch_the_charts_move(page: Page) -> None:
    page.locator(".js-plotly-plot").first.wait_for(timeout=5 * MINUTES)
    page.wait_for_function(f"({POINTS})() > 3", timeout=5 * MINUTES)
    first = page.evaluate(POINTS)
    page.wait_for_function(f"({POINTS})() > {first + 3}", timeout=5 * MINUTES)


@pytest.mark.slow
def test_every_page_on_the_way(studio: Studio, page: Page, shoot) -> None:
    """Data, Augment, Model & layers, Learning rate with a click on its curve, Train, Runs."""
    page.goto(studio.url)
    expect(page.get_by_role("heading", level=1)).to_have_text("Teach a model to see what you see")
    shoot(page, "home")
    _go(page, "Data")
    expect(page.get_by_role("img").first).to_be_visible()
    shoot(page, "data")
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Augment")
    page.get_by_role("button", name="Draw anew").wait_for(timeout=2 * MINUTES)
    expect(page.get_by_role("img").first).to_be_visible(timeout=2 * MINUTES)
    shoot(page, "augment")
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Model & layers")
    page.get_by_role("radio", name="Last stage").click()
    expect(page.get_by_text("layer4 + head").first).to_be_visible()
    shoot(page, "layers")
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Learning rate")
    page.get_by_role("button", name="Find the rate").click()
    page.get_by_role("button", name="Find again").wait_for(timeout=6 * MINUTES)
    shoot(page, "rate")
    page.get_by_role("button", name=re.compile("^Steepest: ")).click()
    _go(page, "Train")
    expect(page.get_by_role("button", name="Launch")).to_be_enabled()
    shoot(page, "train")
    _go(page, "Runs")
    shoot(page, "runs")


def test_the_server_listens_on_this_machine_only(studio: Studio) -> None:
    server = psutil.Process(studio.process.pid)
    listening = [
        connection.laddr.ip
        for process in [server, *server.children(recursive=True)]
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert set(listening) == {"127.0.0.1"}


def test_a_restarted_server_finds_the_run(page: Page, tmp_path: Path) -> None:
    run = store.create(Recipe(name="Kept"), runs=tmp_path / "runs")
    run.report(state="finished", message="Finished")
    for _ in range(2):
        server = serve(tmp_path / "runs", tmp_path / "cache")
        try:
            page.goto(server.url)
            page.get_by_role("link", name=re.compile("Kept")).click()
            expect(page.get_by_role("heading", level=1)).to_have_text("Kept")
        finally:
            page.goto("about:blank")  # an open page would complain that its server is gone
            server.process.terminate()
            server.process.wait(20)
