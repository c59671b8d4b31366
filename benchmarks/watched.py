"""What it costs a run to be watched: training from the command line, with its page open and without, in turn.

    python -m benchmarks.watched [--rounds 5] [--epochs 4] [--aside]

The page is open in a real Chromium on the same machine, which is the hardest case: it takes its part of the very cores
that train. `--aside` gives it only what nobody else wants (SCHED_IDLE), about as a browser elsewhere. Prints the
seconds of training of each round, the median of the ratios of neighbours, and what the server and the browser used of
the processor meanwhile.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median

import psutil

from benchmarks.watching import browsers, chromium, rest, studio, used
from finetune_core.recipe import Recipe
from finetune_core.runs import launch, store


def main() -> None:
    """Train in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--aside", action="store_true")
    options = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as name:
        folder, recipe = Path(name), Recipe().with_value("phases.0.epochs", options.epochs)
        os.environ["THAW_RUNS"], os.environ["THAW_CACHE"] = str(folder / "runs"), str(folder / "cache")
        alone(folder, Recipe().with_value("phases.0.epochs", 1))  # draws and decodes the images
        for number in range(options.rounds):
            each = {"alone": partial(alone, folder, recipe), "watched": partial(watched, folder, recipe, options.aside)}
            order = reversed(each) if number % 2 else each  # so that a slow drift favours neither
            found = {name: each[name]() for name in order}
            ratios.append(found["watched"] / found["alone"])
            print(f"alone {found['alone']:6.1f} s   watched {found['watched']:6.1f} s   {ratios[-1]:.3f}", flush=True)
    print(f"watched / alone: {median(ratios):.3f} (median of {len(ratios)})")


def alone(folder: Path, recipe: Recipe) -> float:
    """Seconds of training that nobody looks at."""
    run = store.create(recipe)
    launch.start(run)
    return trained(run)


def watched(folder: Path, recipe: Recipe, aside: bool) -> float:
    """Seconds of training while its page is open; prints what that used of the processor."""
    with studio(folder) as (url, server), chromium() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.goto(url)
        page.get_by_text("Teach a model").wait_for()
        rest(server)  # it loads PyTorch, which has nothing to do with being watched
        run = store.create(recipe)
        launch.start(run)
        page.goto(f"{url}/run?run={run.id}")
        page.locator(".js-plotly-plot").first.wait_for()
        if aside:
            step_aside(browsers())
        beside = {"server": server, "browser": browsers()}
        before, started = {name: used(each) for name, each in beside.items()}, time.monotonic()
        seconds = trained(run)
        lasted = time.monotonic() - started
        for name, each in beside.items():
            print(f"  {name}: {(used(each) - before[name]) / lasted * 1000:.0f} ms of a core per second", flush=True)
        return seconds


def step_aside(processes: Sequence[psutil.Process]) -> None:
    """Let processes run only where a core would idle."""
    for each in processes:
        for thread in each.threads():
            os.sched_setscheduler(thread.id, os.SCHED_IDLE, os.sched_param(0))


def trained(run: store.Run) -> float:
    """Wait for the end of a run; seconds from its first step to its last."""
    while run.status.active:
        time.sleep(1)
    epochs = [record for record in run.records()[0] if record["kind"] == "epoch"]
    if not epochs:
        raise SystemExit(run.log_tail() or run.status.message)
    return epochs[-1]["seconds"]


if __name__ == "__main__":
    main()
