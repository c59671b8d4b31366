"""How work that a page waits for grows: seconds for much and for ten times as much, in turn.

    python -m benchmarks.growth [--rounds 3]

A ratio near 10 is work in proportion, one near 100 would be work for every pair. What does not grow, the catalogue of
backbones, is compared with the import of timm that it spares a page.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from finetune_core import figures
from finetune_core.data import browsing
from finetune_core.runs.shelf.apart import told_apart
from finetune_core.runs.shelf.summaries import Summary
from finetune_core.runs.store import Status

CATALOGUE = "from finetune_core.network import catalogue; catalogue.entries()"


def main() -> None:
    """Time each pair, round by round, and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folders = [_folders(Path(name), count) for count in (10_000, 100_000)]
        _compare("folders listed: 10,000 | 100,000", [_listing(folder) for folder in folders], rounds)
    _compare("runs named: 1,000 | 10,000", [_naming(count) for count in (1_000, 10_000)], rounds)
    _compare("a line thinned: 100,000 points | 1,000,000", [_thinning(count) for count in (100_000, 1_000_000)], rounds)
    _compare("a process: reads the catalogue | imports timm", [_process(CATALOGUE), _process("import timm")], rounds)


def _compare(what: str, works: list[Callable[[], object]], rounds: int) -> None:
    found: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, seconds in zip(works, found, strict=True):
            began = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - began)
    less, more = map(median, found)
    print(f"{what:48}{less:8.3f} s{more:9.3f} s{more / less:8.1f} x", flush=True)


def _folders(parent: Path, count: int) -> Path:
    folder = parent / str(count)
    for number in range(count):
        (folder / f"scene {number}").mkdir(parents=True)
    return folder


def _listing(folder: Path) -> Callable[[], object]:
    return lambda: browsing.look(folder, patience=600)


def _naming(count: int) -> Callable[[], object]:
    """Runs of one title, told apart by two details that repeat, and the rest by number."""
    runs = [
        Summary(
            str(number), status=Status(started=0.0), title="x", details=(f"rate {number % 7}", f"seed {number % 5}")
        )
        for number in range(count)
    ]
    return lambda: told_apart(runs)


def _thinning(count: int) -> Callable[[], object]:
    values = np.random.default_rng(0).normal(size=count)
    return lambda: figures.kept(values)


def _process(code: str) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, "-c", code], check=True)


if __name__ == "__main__":
    main()
