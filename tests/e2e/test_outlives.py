"""A run in a real browser: it outlives a refresh, a second tab and the server, and hears whoever is at its page."""

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Locator, Page, expect

from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.store import Run
from tests.conftest import paint
from tests.e2e.conftest import MINUTES, Studio, Witness, free_port, serve, until

pytestmark = pytest.mark.e2e

LOSS = "() => document.querySelector('.js-plotly-plot')?._fullData?.find((line) => line.name === 'train')"
POINTS = f"() => ({LOSS})()?.x?.length ?? 0"
LINE = f"() => {{ const line = ({LOSS})(); return [...line.x].map((x, place) => [x, line.y[place]]) }}"


@pytest.fixture
def recipe(tiny: Recipe, tmp_path: Path) -> Recipe:
    """Longer than any of these tests; so small that half of a test's time is not spent on learning."""
    images = paint(tmp_path / "many", per_class=40)
    return tiny.with_value("data.source.path", str(images)).with_value("phases.0.epochs", 1000)


@pytest.fixture
def mine(recipe: Recipe, tmp_path: Path) -> Iterator[Studio]:
    """A studio of the test's own, with a draft that is ready to launch; whatever still works at the end is ended."""
    (tmp_path / "runs").mkdir()
    recipe.save(tmp_path / "runs" / "draft.yaml")
    made = serve(tmp_path / "runs", tmp_path / "cache", free_port())
    yield made
    made.process.terminate()  # it takes its server along
    made.process.wait(20)
    for process in workers(made):
        process.kill()


def workers(studio: Studio) -> list[psutil.Process]:
    """The living processes that were started for a run of this studio, also those whose parent is gone."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or [])
        living = process.info["status"] != psutil.STATUS_ZOMBIE
        found += [process] if living and "finetune_core.runs" in line and str(studio.runs) in line else []
    return found


def launched(page: Page, studio: Studio) -> Run:
    page.goto(f"{studio.url}/train")
    page.get_by_role("button", name="Launch").click(timeout=3 * MINUTES)
    page.wait_for_url("**/run?run=*", timeout=MINUTES)
    return store.open_run(page.url.partition("run?run=")[2], studio.runs)


def _stop(page: Page) -> Locator:
    return page.get_by_role("button", name="Stop")  # Streamlit's own is hidden


def steps(run: Run) -> int:
    return sum(row["kind"] == "step" for row in run.records()[0])


def drawn(page: Page, least: int) -> list[tuple[float, float]]:
    """The steps and losses that are on the screen, once there are so many of them."""
    page.wait_for_function(f"({POINTS})() >= {least}", timeout=2 * MINUTES)
    return [(x, y) for x, y in page.evaluate(LINE)]


def test_a_run_outlives_the_page_the_tab_and_the_server(mine: Studio, page: Page, witness: Witness) -> None:
    run = launched(page, mine)
    first = drawn(page, 30)
    worker = run.worker_pid()
    page.reload()
    again = drawn(page, 31)
    assert again[: len(first)] == first
    other = page.context.new_page()
    witness.watch(other)
    other.goto(page.url)
    assert drawn(other, len(again))[: len(again)] == again
    for tab in (page, other):
        tab.goto("about:blank")  # an open page would complain that its server is gone
    mine.process.terminate()
    mine.process.wait(20)
    seen = steps(run)
    until(lambda: steps(run) > seen + 5)
    port = int(mine.url.rpartition(":")[2])
    mine.process = serve(mine.runs, mine.cache, port).process
    page.goto(f"{mine.url}/run?run={run.id}")
    later = drawn(page, seen + 5)
    assert later[: len(again)] == again
    assert [x for x, _ in later] == [*range(len(later))], "no step is missing, none is told twice"
    assert run.status.state == "running"
    assert run.worker_pid() == worker

    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    paused = steps(run)
    assert run.status.state == "paused"
    time.sleep(1)
    assert steps(run) == paused
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    until(lambda: steps(run) > paused)
    assert run.worker_pid() == worker

    _stop(page).click(no_wait_after=True)
    until(lambda: run.wish() == "stop")
    asked = steps(run)
    until(lambda: run.status.state == "stopped", 30)
    assert steps(run) <= asked + 1
    until(lambda: not run.alive(), 30)
    expect(page.get_by_role("button", name="Resume")).to_be_visible()


@pytest.mark.parametrize("seconds", [0, 1, 3])
def test_stop_lands_whenever_it_is_asked(mine: Studio, page: Page, seconds: int) -> None:
    run = launched(page, mine)
    time.sleep(seconds)
    _stop(page).click()
    until(lambda: run.wish() == "stop")
    asked, before = time.monotonic(), steps(run)
    until(lambda: run.status.state == "stopped", 60)
    took = time.monotonic() - asked
    assert steps(run) <= before + 1
    assert took < 3 or before, f"it prepared, and took {took:.1f} s"
    until(lambda: not run.alive(), 30)
    again = "Resume" if run.status.step or run.states else "Start again"
    expect(page.get_by_role("button", name=again)).to_be_visible()
