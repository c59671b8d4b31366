"""How long a click takes until the page rests, act by act, in a real Chromium on a studio of its own.

    python -m benchmarks.interaction [--walks 10] [--epochs 2]

A studio that was never used before, a browser that has nothing in its cache. Prints the seconds of each act from the
click until what it brings is there and the page is whole, what one idle tab costs the server, and the server's memory
after each walk through all pages (their end is what an hour of work comes to).
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from playwright.sync_api import Page

from benchmarks.watching import WHOLE, chromium, rest, studio, used

MINUTES = 60_000  # Playwright counts milliseconds
IDLE = 30.0  # seconds
READING = 25.0  # seconds that a newcomer reads Home, in which Blooms is drawn and a worker gets ready
HEADING = 36  # px, of a table
PAGES = ("Data", "Augment", "Model & layers", "Learning rate", "Train", "Runs", "Lessons")
PICTURE = "document.querySelector('.stMain [data-testid=stImage] img')?.src ?? null"
POINTS = "(document.querySelector('.js-plotly-plot')?._fullData?.[0]?.x?.length ?? 0) > 0"


def main() -> None:
    """Act, look on, walk."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--walks", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, studio(Path(name)) as (url, server), chromium() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(3 * MINUTES)
        acts(page, url, Path(name), server, options.epochs)
        page.goto(url)
        page.wait_for_function(WHOLE)
        rest(server)
        before = used(server)
        time.sleep(IDLE)
        print(f"idle tab: {(used(server) - before) / IDLE:.2%} of a core over {IDLE:.0f} s")
        for number in range(options.walks):
            print(f"memory of the server after walk {number}: {memory(server):.0f} MB", flush=True)
            for each in PAGES:
                go(page, each)
                page.wait_for_function(WHOLE)


def acts(page: Page, url: str, folder: Path, server: list[psutil.Process], epochs: int) -> None:
    """Everything that a newcomer does, each timed."""
    with timed("Home, the first page of all", page):
        page.goto(url)
        page.get_by_role("button", name="Start with Blooms").wait_for()
    time.sleep(READING)
    for each in PAGES:
        with timed(f"{each}, first visit", page):
            go(page, each)
    rest(server)  # PyTorch is loaded now, and Blooms drawn
    for each in PAGES:
        with timed(f"{each}, again", page):
            go(page, each)
    go(page, "Model & layers")
    act(page, "thaw a layer group", lambda: page.locator(".st-key-layer-layer2 .stCheckbox label").first.click())
    act(page, "a preset", lambda: page.get_by_role("radio", name="Last stage").click())
    with timed("the list of backbones", page):
        page.get_by_role("button", name="Change").click()
        page.get_by_role("dialog").locator(".js-plotly-plot").wait_for()
    page.get_by_placeholder("resnet, convnext").fill("resnet18")
    with timed("another backbone", page, "resnet18"):
        page.get_by_role("button", name="Use resnet18", exact=True).click()
    go(page, "Home")
    page.get_by_role("button", name="Start with Blooms").click()
    page.get_by_role("heading", name="Train").wait_for()
    go(page, "Learning rate")
    page.wait_for_function(WHOLE)
    with timed("sweep to its first point", page):
        page.get_by_role("button", name="Find the rate").click()
        page.wait_for_function(POINTS)
    page.get_by_role("button", name="Find again").wait_for()
    act(page, "take a suggestion", lambda: page.get_by_role("button", name=re.compile("^Steepest: ")).click())
    time.sleep(10)  # the next worker gets ready while a person reads
    go(page, "Train")
    page.get_by_label("Epochs", exact=True).first.fill(str(epochs))
    page.keyboard.press("Enter")
    page.wait_for_function(WHOLE)
    with timed("launch to its first point", page):
        page.get_by_role("button", name="Launch").click()
        page.wait_for_url("**/run?run=*")
        page.wait_for_function(POINTS)
    page.get_by_role("button", name="Try an image").wait_for()
    go(page, "Runs")
    go(page, "Home")
    with timed("open a run", page):
        page.locator(".stMain a[href*='run?run=']").first.click()
        page.get_by_role("tab", name="Mistakes").wait_for()
    with timed("its mistakes", page):
        page.get_by_role("tab", name="Mistakes").click()
        page.get_by_text("No cell is chosen").wait_for()
    page.wait_for_timeout(1000)  # its table is drawn on a canvas
    box = page.get_by_test_id("stDataFrame").first.bounding_box()
    assert box
    with timed("a confusion cell", page):
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + HEADING * 1.5)
        page.get_by_text("No cell is chosen").wait_for(state="detached")
    page.get_by_role("tab", name="Try an image").click()
    image = next((folder / "cache" / "blooms-v1" / "snow_daisy").glob("*.jpg"))
    page.wait_for_function(WHOLE)
    for which in ("first", "second"):
        before = page.evaluate(PICTURE)
        with timed(f"{which} prediction", page):
            page.locator("input[type=file]").set_input_files(image)
            page.wait_for_function(f"before => ({PICTURE}) !== before", arg=before)
            page.get_by_role("heading", name=re.compile(r"\d+% sure")).wait_for()
        image = next((folder / "cache" / "blooms-v1").glob("[!s]*/000.jpg"))


def go(page: Page, name: str) -> None:
    """To another page by the sidebar."""
    page.get_by_test_id("stSidebar").get_by_role("link", name=re.compile(f"^(\\S+ )?{name}")).click()
    heading = "Teach a model to see what you see" if name == "Home" else name
    page.get_by_role("heading", level=1, name=heading, exact=True).wait_for()


def act(page: Page, name: str, do: Callable[[], None]) -> None:
    """Something whose effect is that the page is drawn anew."""
    with timed(name, page):
        do()
        page.wait_for_timeout(50)  # until the server has heard of it


@contextmanager
def timed(name: str, page: Page, shows: str = "") -> Iterator[None]:
    """Print how long it takes until the page is whole, and shows some words."""
    begun = time.perf_counter()
    yield
    if shows:
        page.get_by_test_id("stSidebar").get_by_text(shows).first.wait_for()
    page.wait_for_function(WHOLE)
    print(f"{time.perf_counter() - begun:6.2f} s  {name}", flush=True)


def memory(server: list[psutil.Process]) -> float:
    """MB that the server holds for itself."""
    return sum(each.memory_full_info().uss for each in server if each.is_running()) / 1e6


if __name__ == "__main__":
    main()
