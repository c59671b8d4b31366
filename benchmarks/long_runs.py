"""What watching a run costs at 1,000, 100,000 and 1,000,000 records, in a real Chromium against a real server.

    python -m benchmarks.long_runs [--records 1000 100000 1000000] [--seconds 20]

Opens the page of a run that goes on (ten steps a second, six layer groups, all thawed), and again after a restart of
the server. Prints the seconds until there are charts and until all records have been read, what comes to the browser
and what the server needs meanwhile, and each as a multiple of the first length.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from playwright.sync_api import Browser

from benchmarks.watching import DRAWN, Wire, browsers, chromium, rest, studio, used
from finetune_core.recipe import Recipe
from finetune_core.records import Epoch, Record, Step
from finetune_core.runs import store

GROUPS = ("stem", "layer1", "layer2", "layer3", "layer4", "head")
PER_SECOND = 10  # steps


def main() -> None:
    """Write, open, watch, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, nargs="+", default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    first: dict[str, float] = {}
    with chromium() as browser:
        for count in options.records:
            with tempfile.TemporaryDirectory() as folder:
                run = written(Path(folder) / "runs", count)
                with going_on(run, count):
                    found = watched(browser, Path(folder), run, options.seconds)
                    again = watched(browser, Path(folder), run, 1.0)
                size = run.records_file.stat().st_size
            found["open again, s"] = again["open, s"]
            first = first or found
            print(f"{count:,} records, {size / 1e6:.0f} MB", flush=True)
            for what, value in found.items():
                print(f"  {what:24}{value:10.2f}{value / first[what]:10.2f} x", flush=True)


def written(runs: Path, count: int) -> store.Run:
    """A run that has made so many steps of a fifth more."""
    epochs = count * 6 // 5 // epoch_steps(count)
    recipe = Recipe().with_value("phases.0.thaw", ["*"]).with_value("phases.0.epochs", epochs)
    run = store.create(recipe, runs=runs)
    with run.records_file.open("w", encoding="utf-8") as file:
        for step in range(count):
            file.writelines(record.line() + "\n" for record in records(step, epoch_steps(count)))
    return run


def epoch_steps(count: int) -> int:
    """Steps in an epoch, of which a run may have a thousand."""
    return max(100, count // 500)


def records(step: int, each: int) -> Iterator[Record]:
    """What a worker says at a step, `each` of them an epoch: six groups, of which no number is like another."""
    wave = ((step * 7919) % 1000) / 1000
    rates = {name: (1 + place + wave) * 1.2345678e-4 for place, name in enumerate(GROUPS)}
    loss = 2.5 / (1 + step) ** 0.2 + 0.1 * wave
    yield Step(step, step // each, 0, loss, rates, 1.0 + wave, rates, 180.0 + wave, 900.0 + wave, step / PER_SECOND)
    if (step + 1) % each == 0:
        score = 1 - loss / 3
        told = {"train_loss": loss, "train_score": score, "valid_loss": loss, "valid_score": score}
        place = {"epoch": step // each, "phase": 0, "step": step + 1, "seconds": step / PER_SECOND}
        yield Epoch(**place, **told, scores={"accuracy": score}, by_name={}, best=True)


@contextmanager
def going_on(run: store.Run, count: int) -> Iterator[None]:
    """Stand in for the worker, which goes on with its steps."""
    run.claim(psutil.Process())
    over, place = threading.Event(), {"steps": count * 6 // 5, "epochs": count * 6 // 5 // epoch_steps(count)}
    run.report(state="running", step=count, epoch_steps=epoch_steps(count), **place)

    def work() -> None:
        step = count
        while not over.wait(1 / PER_SECOND):
            for record in records(step, epoch_steps(count)):
                run.append(record)
            step += 1
            if step % PER_SECOND == 0:
                run.report(step=step)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def watched(browser: Browser, folder: Path, run: store.Run, seconds: float) -> dict[str, float]:
    """Open the page on a fresh server, wait until all is read, and watch for so long."""
    found: dict[str, float] = {}
    with studio(folder) as (url, server):
        page, wire = browser.new_page(viewport={"width": 1440, "height": 1000}), Wire()
        page.goto(url)  # plotly and the frontend come once per browser, whatever is opened first
        page.get_by_text("Teach a model").wait_for()
        rest(server)  # it loads PyTorch, once per server
        wire.watch(page)
        started = time.monotonic()
        page.goto(f"{url}/run?run={run.id}")
        page.wait_for_function(DRAWN, timeout=600_000)
        found["open, s"] = time.monotonic() - started
        page.get_by_text("Reading the records").wait_for(state="detached", timeout=600_000)
        found["all read, s"] = time.monotonic() - started
        page.wait_for_timeout(3000)
        begun, before, shown = time.monotonic(), used(server), used(browsers())
        page.wait_for_timeout(seconds * 1000)
        found["kB per second"] = wire.since(begun) / seconds / 1000
        found["largest message, kB"] = max((size for at, size in wire.frames if at >= begun), default=0) / 1000
        found["server, CPU ms/s"] = (used(server) - before) / seconds * 1000
        found["browser, CPU ms/s"] = (used(browsers()) - shown) / seconds * 1000
        found["server, MB"] = server[-1].memory_info().rss / 1e6
        page.close()
    return found


if __name__ == "__main__":
    main()
