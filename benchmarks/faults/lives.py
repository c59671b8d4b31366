"""Lives of runs: begun as real processes, hurt, gone on with, and held against a life that nothing happened to."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load_file

from finetune_core.errors import UserError
from finetune_core.recipe import Recipe, parse
from finetune_core.runs import holding, launch, store
from finetune_core.runs.folder import read_lines
from finetune_core.runs.store import Run

LOST, STATE, WORDS = "lost", "state", "words"
LOOK = 0.002  # seconds between two looks at a run
FOREVER = 300.0  # seconds after which waiting is given up
PHASES, EPOCHS, STEPS = 2, 4, 12  # of the recipe below

_forked = multiprocessing.get_context("forkserver")
_forked.set_forkserver_preload(["benchmarks.faults.driver", "benchmarks.faults.lives"])


@dataclass(frozen=True)
class Problem:
    """What should not be: something lost, an end state that is not true, or words that are not."""

    kind: str
    text: str


Problems = Iterator[Problem]
Hurts = Sequence[Any]
"""`driver.Hurt`s: the driver is imported where lives begin, since it needs torch."""


@dataclass
class Lab:
    """A folder with images and runs of a recipe's, and chance from a seed."""

    folder: Path
    seed: int = 0
    unhurt: dict[str, Run] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.recipe = recipe(_painted(self.folder / "images"))

    @property
    def variables(self) -> dict[str, str]:
        """The environment that its runs need: whoever uses it sets them."""
        folders = {"THAW_RUNS": str(self.folder / "runs"), "THAW_CACHE": str(self.folder / "cache")}
        return folders | {"OMP_NUM_THREADS": "1"}

    def run(self, **values: Any) -> Run:
        """A new run of the recipe, with values changed (`training__processes=2`)."""
        return store.create(self.with_values(values))

    def with_values(self, values: dict[str, Any]) -> Recipe:
        """The recipe with these values."""
        changed = self.recipe
        for name, value in values.items():
            changed = changed.with_value(name.replace("__", "."), value)
        return changed

    def whole(self, recipe: Recipe) -> Run:
        """The life of this recipe that nothing happened to."""
        key = recipe.model_dump_json()
        if key not in self.unhurt:
            run = store.create(recipe)
            finish(run)
            if found := [*ended(run)]:
                raise SystemExit(f"Not even a run that nothing happens to is right: {found}")
            self.unhurt[key] = run
        return self.unhurt[key]


def recipe(images: Path) -> Recipe:
    """Two phases of two epochs of three steps, on timm's smallest ResNet; saved as often as may be."""
    return parse(
        {
            "data": {"source": {"kind": "folder", "path": str(images)}, "image_size": 32, "valid_share": 0.25},
            "model": {"backbone": {"kind": "timm", "architecture": "test_resnet", "weights": {"kind": "random"}}},
            "phases": [
                {"epochs": 2, "thaw": ["head", "layer4"], "learning_rate": 1e-3, "patience": 2},
                {"epochs": 2, "thaw": ["*"], "learning_rate": 1e-3, "multipliers": {"stem": 0.1}},
            ],
            "training": {"batch_size": 6, "device": "cpu", "save_minutes": 0.01},
        }
    )


def _painted(folder: Path) -> Path:
    """24 images of 3 classes that differ by colour."""
    noise = np.random.default_rng(0)
    for label in range(3):
        (folder / f"class_{label}").mkdir(parents=True)
        for number in range(8):
            pixels = noise.integers(0, 90, (48, 56, 3), dtype=np.uint8)
            pixels[..., label] += 140
            Image.fromarray(pixels).save(folder / f"class_{label}" / f"{number}.png")
    return folder


def begin(run: Run, hurts: Hurts = ()) -> BaseProcess:
    """Start its worker, as `launch.start` does, in a world with these hurts."""
    with holding.starting(run), run.writing():
        run.report_start("Starting the worker")
        cache = os.environ["THAW_CACHE"]  # the server that forks may have been started with another one
        process = _forked.Process(target=_live, args=(str(run.path), tuple(hurts), cache), daemon=True)
        process.start()
        with suppress(psutil.NoSuchProcess):
            run.claim(psutil.Process(process.pid))
    return process


def _live(run: str, hurts: Hurts, cache: str) -> None:
    os.environ["THAW_CACHE"] = cache
    from benchmarks.faults import driver

    driver.live(run, hurts)


def finish(run: Run, hurts: Hurts = ()) -> int | None:
    """Let it live to its end; returns the exit code, of several processes none."""
    if run.recipe.training.processes > 1:
        launch.start(run)
        until(lambda: not run.alive())
        return None
    process = begin(run, hurts)
    process.join(FOREVER)
    if process.exitcode is None:
        process.kill()
    return process.exitcode


def until(condition: Callable[[], object], seconds: float = FOREVER) -> bool:
    """Wait for it; whether it came."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > seconds:
            return False
        time.sleep(LOOK)
    return True


def ended(run: Run, state: str = "finished") -> Problems:
    """Whether the run has ended so, and says so."""
    status = run.status
    if status.state != state:
        yield Problem(STATE, f"it is {status.state}, not {state}: {status.message} {status.error or ''}")
    if run.alive():
        yield Problem(STATE, "its process is still there")
    if status.state == "finished" and (status.step, status.error) != (status.steps, None):
        yield Problem(STATE, f"finished at step {status.step} of {status.steps}, error {status.error}")
    left = [path.name for path in run.path.rglob("*") if path.name.startswith(".")]
    if left:
        yield Problem(STATE, f"left behind: {left}")
    yield from told(run)


def told(run: Run) -> Problems:
    """Whether what happened was not called a mistake of Thaw's; torchrun prints a traceback of its own for a kill."""
    with suppress(OSError, UserError):
        if run.recipe.training.processes == 1 and "Traceback" in (log := run.log_tail(1000)):
            yield Problem(WORDS, f"a traceback in the log: {log.splitlines()[-1]}")
    if "Thaw made a mistake" in run.status.message:
        yield Problem(WORDS, f"called a mistake of Thaw's: {run.status.error}")


def struck(run: Run) -> Problems:
    """Whether the fault that was let in has struck at all; to be asked before the run is gone on with."""
    from benchmarks.faults.driver import STRUCK

    if STRUCK not in run.log_tail(1000):
        yield Problem(LOST, "the fault never struck: nothing was tried")


def same(run: Run, other: Run) -> Problems:
    """Whether records and weights are those of the other run, bit by bit."""
    mine, theirs = _said(run), _said(other)
    for what in theirs:
        if mine[what] != theirs[what]:
            yield Problem(LOST, f"{what}: {_apart(mine[what], theirs[what])}")
    for name in ("best", "last", *(f"phase-{number}" for number in range(1, PHASES))):
        if not _equal(run.checkpoints / f"{name}.safetensors", other.checkpoints / f"{name}.safetensors"):
            yield Problem(LOST, f"the weights {name} are others")
    if (own := [path.name for path in run.states[:1]]) != [path.name for path in other.states[:1]]:
        yield Problem(LOST, f"the newest state is {own}")


NAMES = {
    "step": ("step", "epoch", "phase", "loss", "grad_norm", "lr"),
    "epoch": ("epoch", "step", "train_loss", "train_score", "valid_loss", "valid_score", "best"),
    "event": ("name", "step"),
}
MARKS = ("phase", "phase_end")  # events that each life has at the same steps


def _said(run: Run) -> dict[str, list[Any]]:
    rows, _, damaged = read_lines(run.records_file)
    rows = [row for row in rows if row["kind"] != "event" or row["name"] in MARKS]
    said = {
        kind: [[row[name] for name in names] for row in rows if row["kind"] == kind] for kind, names in NAMES.items()
    }
    return {**said, "damaged records": [damaged], "scores": run.status.valid_score}


def _apart(mine: list[Any], theirs: list[Any]) -> str:
    at = next((number for number, pair in enumerate(zip(mine, theirs, strict=False)) if pair[0] != pair[1]), "the end")
    return f"{len(mine)} instead of {len(theirs)}, another at {at}"


def _equal(mine: Path, theirs: Path) -> bool:
    if mine.exists() != theirs.exists():
        return False
    if not mine.exists():
        return True
    try:
        one, other = load_file(mine), load_file(theirs)
    except (SafetensorError, OSError):
        return False
    return one.keys() == other.keys() and all(np.array_equal(value, other[name]) for name, value in one.items())
