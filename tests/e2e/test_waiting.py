"""The first minutes of a new studio: what is got ready while a person reads, and what of it is seen."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Page, expect

from finetune_core.runs import store
from tests.conftest import paint, tiny_recipe
from tests.e2e.conftest import AT_REST, MINUTES, Studio, serve, until

pytestmark = pytest.mark.e2e


@pytest.fixture
def new(tmp_path: Path) -> Iterator[Studio]:
    """A studio that nobody has used before."""
    made = serve(tmp_path / "runs", tmp_path / "cache")
    yield made
    made.process.terminate()
    made.process.wait(20)


def test_flowers_are_drawn_while_one_reads_and_a_worker_waits(new: Studio, page: Page) -> None:
    page.goto(new.url)
    until(lambda: [*new.cache.glob(".blooms-v1-draft-*/*/*.jpg")], 60)  # by nobody's click
    page.goto(f"{new.url}/data")
    expect(page.get_by_text("Drawing the flowers")).to_be_visible()
    expect(page.locator(".stMain img").first).to_be_visible()
    assert not (new.cache / "blooms-v1").exists(), "the first pictures are seen before the last is drawn"
    expect(page.get_by_text("1,200")).to_be_visible(timeout=2 * MINUTES)
    assert not [*new.cache.glob(".blooms-v1-draft-*")], "drawn once"

    long = tiny_recipe(paint(new.runs.parent / "images")).with_value("phases.0.epochs", 1000)
    long.save(new.runs / "draft.yaml")
    waiting = until(lambda: _standing_by(new))

    def told() -> int:
        page.goto(new.url)
        page.locator(AT_REST).wait_for()
        return page.get_by_text(re.compile("PyTorch is loaded, for runs to begin")).count()

    until(told)
    page.goto(f"{new.url}/train")
    page.get_by_role("button", name="Launch").click()
    page.wait_for_url("**/run?run=*")
    run = store.open_run(page.url.partition("run?run=")[2], new.runs)
    assert psutil.Process(until(run.worker_pid)).ppid() == waiting[0].pid
    page.locator(AT_REST).wait_for()
    until(lambda: run.status.step > 2)
    run.ask("stop")
    until(lambda: not run.status.active)
    assert run.status.state == "stopped", run.status.message


def _standing_by(studio: Studio) -> list[psutil.Process]:
    found = []
    for each in psutil.Process(studio.process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended just now, as the one that gets Blooms ready does
            if "finetune_core.runs.work.idle" in each.cmdline():
                found.append(each)
    return found
