"""A real server on a free port, and a real Chromium that notes every request and every complaint."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, expect, sync_playwright

from finetune_core.finder import probes

MINUTES = 60_000  # Playwright counts milliseconds
AT_REST = "[data-testid=stApp][data-test-script-state=notRunning]"
ROOT = Path(__file__).resolve().parent.parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--use-fake-device-for-media-stream",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium, else Playwright's own, else the tests are skipped with one line."""
    expect.set_options(timeout=30_000)  # the cores are shared with other tests, and with training
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        try:
            made = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        except Error:
            pytest.skip("no Chromium here: install Debian's `chromium`, or run `playwright install chromium`")
        yield made
        made.close()


@dataclass
class Studio:
    """A running studio."""

    url: str
    runs: Path
    cache: Path
    process: subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, together: Path) -> Iterator[Studio]:
    """The studio as `make run` starts it, with runs of its own; the cache, where Blooms is drawn once, is shared."""
    made = serve(tmp_path_factory.mktemp("studio") / "runs", together / "cache")
    yield made
    made.process.terminate()
    made.process.wait(20)


def serve(runs: Path, cache: Path, port: int | None = None, options: Sequence[str] = ()) -> Studio:
    """Start a studio and wait until it answers."""
    port = port or free_port()
    (cache / "probes").mkdir(parents=True, exist_ok=True)
    (cache / "probes" / probes.OFF).touch()  # no worker that a test has not asked for
    return started(["finetune_core", "studio", "--port", str(port), *options], runs, cache, port)


def started(module: Sequence[str], runs: Path, cache: Path, port: int) -> Studio:
    """The server that a module with these options is, once it answers."""
    process = subprocess.Popen(
        [sys.executable, "-m", *module],
        cwd=ROOT,
        env={**os.environ, "THAW_RUNS": str(runs), "THAW_CACHE": str(cache), "HOME": str(runs.parent)},
    )
    url = f"http://localhost:{port}"
    end = time.monotonic() + 180  # a third of that alone, on cores that are shared
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(f"{url}/_stcore/health", timeout=2)
            return Studio(url, runs, cache, process)
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the studio did not start")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Witness:
    """What a page asked for and complained about."""

    hosts: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("request", lambda request: self.hosts.add(urlparse(request.url).hostname or ""))
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note(self, message: ConsoleMessage) -> None:
        # On a deep link Streamlit looks for itself below the page's address first, and Chromium notes the 404. It does
        # the same of a picture that gave way to a newer one before it was fetched; `missing` tells of what is in sight.
        passing = "/_stcore/" in message.location["url"] or "/media/" in message.location["url"] + message.text
        if message.type == "error" and not passing:
            self.complaints.append(message.text)

    def missing(self, page: Page) -> None:
        """Note pictures in sight that could not be loaded."""
        self.complaints += page.evaluate(
            "() => [...document.images].filter(each => each.complete && !each.naturalWidth).map(each => each.src)"
        )


@pytest.fixture
def witness() -> Iterator[Witness]:
    """Fails the test where a page asked another host than this machine, or complained in the console."""
    made = Witness()
    yield made
    assert made.hosts <= {"localhost", "127.0.0.1", ""}
    assert not made.complaints


@pytest.fixture
def page(browser: Browser, witness: Witness) -> Iterator[Page]:
    yield from watched(browser, witness, viewport={"width": 1440, "height": 900})


def watched(browser: Browser, witness: Witness, **context: Any) -> Iterator[Page]:
    """A page whose requests and complaints are noted, in a browser of this context."""
    around = browser.new_context(device_scale_factor=1, **context)
    made = around.new_page()
    made.set_default_timeout(60_000)
    witness.watch(made)
    yield made
    witness.missing(made)
    around.close()


@pytest.fixture
def shoot(request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Looks at the page when it has come to rest, and takes a picture of it where a folder for pictures was named."""
    folder = request.config.getoption("--screenshots")

    def take(page: Page, name: str) -> None:
        page.mouse.move(0, 0)
        page.set_viewport_size({"width": 1440, "height": 1150})
        page.locator(AT_REST).wait_for()
        if folder:
            page.wait_for_timeout(2000)  # until fonts and charts have settled
            Path(folder).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=Path(folder) / f"{name}.png")

    return take


def type_into(page: Page, label: str, text: str | Path) -> None:
    """Fill a field and press Enter."""
    field = page.get_by_label(label, exact=True)
    field.fill(str(text))
    field.press("Enter")


def choose_network(page: Page, architecture: str, weights: str | Path) -> None:
    """On Model & layers: another backbone, with weights from a file, and its head alone thawed."""
    strip = page.locator(".st-key-strip")
    page.get_by_role("button", name="Change").click()
    page.get_by_placeholder("resnet, convnext").press_sequentially(architecture, delay=20)
    page.get_by_role("button", name=f"Use {architecture}").click()
    expect(strip).to_contain_text(f"{architecture}, hub")
    page.get_by_text("A file", exact=True).click()
    expect(strip).to_contain_text(f"{architecture}, file")
    type_into(page, "Path", weights)
    page.get_by_role("radio", name="Head only").click()
    expect(strip).to_contain_text("head only")


def until(true: Callable[[], Any], seconds: float = 120) -> Any:
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.005)
    return found
