"""Thaw itself: runs as the command line does them, in a cache and a folder of their own."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from benchmarks.peers.task import ARCHITECTURE, LEAST_SCALE, RATE, READ, STEPPED, Pace, Task, cpu_seconds, given, say
from finetune_core import memory
from finetune_core.recipe import Recipe, parse
from finetune_core.recipe.rules import QUICK
from finetune_core.records import Epoch, Record, Step
from finetune_core.runs import store
from finetune_core.runs.work.worker import Watch, work

THAW = {"head": ["head"], "stage": ["blocks.6", "head"], "all": ["*"]}


def main() -> None:
    """Do what is asked for."""
    task = given()
    {"speed": speed, "epochs": epochs, "finder": finder, "accuracy": accuracies}[task.work](task)


def recipe(task: Task, **phase: Any) -> Recipe:
    """The network and images of the task, in one phase."""
    weights = {"kind": "file", "path": task.weights}
    return parse(
        {
            "data": {"source": {"kind": "folder", "path": task.photos}, "image_size": task.size},
            "augment": [{"kind": "random_resized_crop", "min_scale": LEAST_SCALE}, {"kind": "horizontal_flip"}],
            "model": {"backbone": {"kind": "timm", "architecture": ARCHITECTURE, "weights": weights}},
            "phases": [{"thaw": THAW[task.learns], "epochs": task.epochs, "learning_rate": RATE, **phase}],
            "training": {"batch_size": task.batch, "device": task.device},
        }
    )


def run(made: Recipe, task: Task, watch: Watch) -> None:
    """Train it as the command line would."""
    begun = store.create(made, runs=Path(task.scratch) / "runs")
    if work(begun, watch):
        raise SystemExit(begun.status.message or begun.log_tail())


def speed(task: Task) -> None:
    """Training steps alone, each epoch drawn afresh."""
    pace, steps = Pace(task.epochs), math.ceil(len(task.train) / task.batch)

    def watch(record: Record) -> None:
        if isinstance(record, Step):  # which says how long it took, its images' making and telling of the last included
            last = (record.step + 1) % steps == 0
            images = len(task.train) - (steps - 1) * task.batch if last else task.batch
            pace.add(record.epoch, images, images / record.images_per_s)

    run(recipe(task), task, watch)
    pace.tell()


def epochs(task: Task) -> None:
    """Whole epochs of a second run that shares three views of each image with a first, at another rate."""
    views = int(QUICK["views"])
    run(recipe(task, epochs=views, views=views), task, lambda _: None)
    seen: list[float] = []
    run(recipe(task, views=views, learning_rate=RATE / 2), task, lambda _: seen.append(time.perf_counter()))
    say(value=len(task.train) * task.epochs / (seen[-1] - seen[0]))


def finder(task: Task) -> None:
    """The range test; asked for "again", with what an earlier one has kept."""
    from finetune_core.finder import range_test, sweep
    from finetune_core.training import session

    memory.keep_freed()
    made = session.prepare(recipe(task, views=int(QUICK["views"])))
    found: list[Record] = []

    def test() -> None:
        found[:] = range_test.range_test(made, sweep=sweep.Sweep(steps=task.rates))

    if "again" in task.options:
        test()
    used = cpu_seconds(test)
    say(value=used * 100 / len(found))  # it ends early where the loss explodes


def accuracies(task: Task) -> None:
    """The quick head, after each epoch."""

    def watch(record: Record) -> None:
        if isinstance(record, Step) and not record.step:
            say(mark=STEPPED)
        if isinstance(record, Epoch):
            say(accuracy=record.valid_score)

    made = recipe(task, **QUICK)
    say(mark=READ)
    run(made, task, watch)


if __name__ == "__main__":
    main()
