"""What benchmarks of the open page share: a studio of its own, a real Chromium, and what passes between them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from playwright.sync_api import Browser, Page, WebSocket, sync_playwright

HERE = Path(__file__).resolve().parent.parent
WHOLE = """() => document.querySelector('[data-test-script-state=notRunning]')
  && [...document.images].every((each) => each.complete)
  && [...document.querySelectorAll('.chart')].every((each) => each.classList.contains('js-plotly-plot'))
  && !document.querySelector('[data-testid=stSkeleton]')"""
DRAWN = "() => document.querySelectorAll('.js-plotly-plot .scatterlayer .trace').length > 6"


@contextmanager
def studio(folder: Path) -> Iterator[tuple[str, list[psutil.Process]]]:
    """A server of runs in a folder: its address and its processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {**os.environ, "THAW_RUNS": str(folder / "runs"), "THAW_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "finetune_core", "studio", "--port", str(port)]
    process = subprocess.Popen(command, cwd=HERE, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://localhost:{port}"
    try:
        while not _answers(url):
            time.sleep(0.1)
        launcher = psutil.Process(process.pid)
        yield url, [launcher, *launcher.children(recursive=True)]
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/_stcore/health", timeout=2)
    except OSError:
        return False
    return True


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, else Playwright's own."""
    with sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@dataclass
class Wire:
    """The bytes that a page's websocket brought, by the time of their coming."""

    frames: list[tuple[float, int]] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Listen to a page, before it goes anywhere."""
        page.on("websocket", self._listen)

    def _listen(self, socket: WebSocket) -> None:
        socket.on("framereceived", lambda data: self.frames.append((time.monotonic(), len(data))))

    def since(self, start: float) -> int:
        """Bytes since then."""
        return sum(size for at, size in self.frames if at >= start)


def used(processes: Sequence[psutil.Process]) -> float:
    """CPU seconds that processes have used so far."""
    total = 0.0
    for each in processes:
        with suppress(psutil.Error):
            times = each.cpu_times()
            total += times.user + times.system
    return total


def rest(processes: Sequence[psutil.Process]) -> None:
    """Wait until they use less than a tenth of a core."""
    before = -1.0
    while used(processes) - before > 0.1:
        before = used(processes)
        time.sleep(1)


def browsers() -> list[psutil.Process]:
    """The browser's processes, children of this one."""
    return [each for each in psutil.Process().children(recursive=True) if "chrom" in each.name().lower()]
