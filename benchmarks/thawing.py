"""How well Model & layers foretells what thawing costs: its estimate beside training that really happens.

    python -m benchmarks.thawing [--size 128] [--images 256] [--cycles 4] [--wall] [--backbones timm/resnet10t ...]

For each backbone (random weights: they do not matter to time) four ways are compared: the head, the last two groups,
the third last alone, with what comes after it frozen, and everything. Timings of the layer groups, as the page has them
taken, and epochs of all four take turns, so that whatever else is at work slows all alike; medians are compared, the
first turn left out. Memory is that of processes that do one thing each. Seconds are those of the processor on one
thread, which other work hardly moves; with --wall those of the clock on all cores, for a machine at rest.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

from finetune_core import memory
from finetune_core.network import catalogue, refit
from finetune_core.recipe import Recipe, load
from finetune_core.records import Epoch, Step, Timing
from finetune_core.training import costs, timing

CLASSES, EPOCHS = 8, 3
SHAPE = (120, 160, 3)


def main() -> None:
    """Time and train in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--cycles", type=int, default=4)
    parser.add_argument("--wall", action="store_true")
    parser.add_argument("--backbones", nargs="+", default=["timm/resnet10t", "timm/mobilenetv3_small_100"])
    parser.add_argument("--one", nargs=2, metavar=("WHAT", "RECIPE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_one(options.one[0], load(Path(options.one[1])), options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["THAW_WORKSPACE"] = folder
        os.environ["OMP_NUM_THREADS"] = str(os.cpu_count()) if options.wall else "1"
        _paint(Path(folder) / "images", options.images // CLASSES)
        for name in options.backbones:
            _compare(Path(folder), name, options)


def _paint(folder: Path, per_class: int) -> None:
    random = np.random.default_rng(0)
    for label in range(CLASSES):
        (folder / f"class_{label}").mkdir(parents=True)
        for number in range(per_class):
            Image.fromarray(random.integers(0, 256, SHAPE, np.uint8)).save(folder / f"class_{label}" / f"{number}.png")


def _ways(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    names = catalogue.layer_names(recipe.model)
    return {"head": names[-1:], "last two": names[-2:], "third last": names[-3:-2], "all": names}


def _compare(folder: Path, name: str, options: argparse.Namespace) -> None:
    recipe = _recipe(folder, name, options.size)
    timed = _asked("times", recipe, folder, options)
    held = costs.made(_asked("costs", recipe, folder, options))
    print(f"{name}, {options.size} px, batches of {recipe.training.batch_size}")
    for way, thawed in _ways(recipe).items():
        thawing = recipe.with_value("phases.0.thaw", list(thawed))
        trained = _asked("memory", thawing, folder, options)
        images: tuple[int, int] = tuple(trained["images"])
        told = costs.estimate(costs.made(timed["costs"]), thawing, thawing.phases[0], thawed, images)
        memory_told = costs.estimate(held, thawing, thawing.phases[0], thawed, images).memory
        pairs = {"s": (told.seconds, timed["epochs"][way]), "MB": (memory_told, trained["memory"])}
        words = (f"{mine:8.2f} {unit} for {true:8.2f} {mine / true - 1:+5.0%}" for unit, (mine, true) in pairs.items())
        print(f"  {way:12}", "   ".join(words), flush=True)


def _recipe(folder: Path, name: str, size: int) -> Recipe:
    backbone = refit.named(name)
    made = Recipe().with_value("data.source", {"kind": "folder", "path": str(folder / "images")})
    made = made.with_value("data.image_size", size).with_value("training.device", "cpu")
    network = {"kind": backbone.kind, "architecture": backbone.architecture, "weights": {"kind": "random"}}
    made = made.with_value("model.backbone", network).with_value("phases.0.multipliers", {})
    return made.with_value("phases.0.epochs", EPOCHS)


def _asked(what: str, recipe: Recipe, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    file = folder / "recipe.yaml"
    recipe.save(file)
    command = [sys.executable, "-m", "benchmarks.thawing", "--one", what, str(file), "--cycles", str(options.cycles)]
    answer = subprocess.run([*command, *["--wall"] * options.wall], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return found


def _one(what: str, recipe: Recipe, options: argparse.Namespace) -> dict[str, Any]:
    memory.keep_freed()
    if what == "memory":
        return _memory(recipe)
    clock = time.perf_counter if options.wall else time.process_time
    with patch.object(time, "perf_counter", clock):
        return _costs(recipe) if what == "costs" else _times(recipe, options.cycles, clock)


def _costs(recipe: Recipe) -> dict[str, Any]:
    """What the page knows."""
    from finetune_core.training import stopwatch

    rows = [each for found in stopwatch.timings(timing.to_measure(recipe, recipe.model.backbone)) for each in found]
    return costs.plain(costs.summary({"kind": each.kind, **asdict(each)} for each in rows))


def _times(recipe: Recipe, cycles: int, clock: Callable[[], float]) -> dict[str, Any]:
    """The same, repetition by repetition between epochs of each way; and these epochs' seconds."""
    from finetune_core.training import stopwatch
    from finetune_core.training.loop import Trainer
    from finetune_core.training.session import prepare

    bench = stopwatch._Bench(timing.to_measure(recipe, recipe.model.backbone))
    runs = {}
    for way, thawed in _ways(recipe).items():
        longer = recipe.with_value("phases.0.thaw", list(thawed)).with_value("phases.0.epochs", cycles)
        runs[way] = Trainer(prepare(longer)).run()
    rows: list[Timing] = []
    took: dict[str, list[float]] = {way: [] for way in runs}
    for cycle in range(cycles):
        for what in ("still", "step", "parts"):
            work = getattr(bench, what)()  # each leaves the network in another mode
            found = [work() for _ in range(2)][1]
            rows += found if cycle else []
        rows += stopwatch._drawing(recipe)
        for way, run in runs.items():
            since = clock()
            next(record for record in run if isinstance(record, Epoch))
            took[way].append(clock() - since)
    known = costs.summary({"kind": each.kind, **asdict(each)} for each in rows)
    return {"costs": costs.plain(known), "epochs": {way: median(seconds[1:]) for way, seconds in took.items()}}


def _memory(recipe: Recipe) -> dict[str, Any]:
    """The most that a process has in use in its first two epochs, and how many images it learns from."""
    from finetune_core.training.loop import Trainer
    from finetune_core.training.session import prepare

    session = prepare(recipe)
    steps = (record for record in Trainer(session).run() if isinstance(record, Step))
    most = max(record.memory_mb for record in islice(steps, 2 * session.train.steps))
    return {"memory": most, "images": (len(session.train), len(session.valid))}


if __name__ == "__main__":
    main()
