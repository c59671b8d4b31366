"""How much sooner a run ends than with an earlier Thaw: from its launch in a studio to its end, both in turn.

    git clone . /tmp/before && git -C /tmp/before checkout a2e33a0~1
    python -m benchmarks.since /tmp/before --photos FOLDER --weights FILE [--rounds 2]

Timm's mobilenetv2_100 learns a head on photos at 160 px in five epochs: as the earlier one does it, as this one does
by habit, on kept views (three, of which five epochs see two), and at another rate on what is kept then. And the default
recipe on Blooms, drawn beforehand. Everything counts: start of the worker, decoding, training, what is written. Prints
seconds and the best accuracy of each round, and ratios of medians to the earlier one's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent.parent
EPOCHS = 5
BLOOMS = "blooms-v1"


@dataclass(frozen=True)
class Way:
    """One way to do a piece of work: by the earlier Thaw or by this one, from nothing or after the way before it."""

    name: str
    recipe: dict[str, Any]
    earlier: bool = False
    goes_on: bool = False  # with what the way before has kept


def main() -> None:
    """Launch in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="a checkout of the earlier Thaw")
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        _launch(Path(options.one))
        return
    works = {"the default recipe on Blooms": _default()}
    if options.photos and options.weights:
        works = {"a head on photos": _head(options.photos.absolute(), options.weights.absolute()), **works}
    for title, ways in works.items():
        _compare(title, ways, options.before.absolute(), options.rounds)


def _head(photos: Path, weights: Path) -> list[Way]:
    network = {"kind": "timm", "architecture": "mobilenetv2_100", "weights": {"kind": "file", "path": str(weights)}}
    phase = {"epochs": EPOCHS, "thaw": ["head"], "multipliers": {}}
    fresh = {
        "data": {"source": {"kind": "folder", "path": str(photos)}, "image_size": 160},
        "model": {"backbone": network},
        "phases": [phase],
    }
    kept = {**fresh, "phases": [{**phase, "views": 3}], "training": {"fold": True}}
    again = {**kept, "phases": [{**phase, "views": 3, "learning_rate": 2e-3}]}
    return [
        Way("before", fresh, earlier=True),
        Way("now", fresh),
        Way("now, kept views, folded", kept),
        Way("now, a second recipe", again, goes_on=True),
    ]


def _default() -> list[Way]:
    return [Way("before", {}, earlier=True), Way("now", {})]


def _compare(title: str, ways: list[Way], before: Path, rounds: int) -> None:
    print(f"\n{title}: seconds from the launch to the end (best accuracy)", flush=True)
    seconds: dict[str, list[float]] = {way.name: [] for way in ways}
    said: dict[str, list[str]] = {way.name: [] for way in ways}
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            for place, way in enumerate(ways):
                cache = Path(folder) / str(place - way.goes_on)
                took, best = _measured(way, before if way.earlier else HERE, cache, seed=number)
                seconds[way.name].append(took)
                said[way.name].append(f"{took:.1f} ({best:.3f})")
    for name, each in seconds.items():
        ratio = median(seconds[ways[0].name]) / median(each)
        print(f"{name:24}{'  '.join(said[name]):44}{ratio:6.2f} x", flush=True)


def _measured(way: Way, checkout: Path, cache: Path, seed: int) -> tuple[float, float]:
    """Seconds and best accuracy of one run, launched by a process of that checkout."""
    cache.mkdir(exist_ok=True)
    drawn = Path(tempfile.gettempdir()) / f"since-{BLOOMS}"
    if not way.recipe and not (cache / BLOOMS).exists():
        (cache / BLOOMS).symlink_to(drawn)
    training = {**way.recipe.get("training", {}), "seed": seed, "device": "cpu"}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recipe.yaml"
        file.write_text(yaml.safe_dump({**way.recipe, "training": training}), encoding="utf-8")
        env = {**os.environ, "THAW_CACHE": str(cache), "THAW_RUNS": str(Path(folder) / "runs"), "DRAWN": str(drawn)}
        answer = subprocess.run(
            [sys.executable, __file__, "-", "--one", str(file)],
            cwd=checkout,
            env={**env, "PYTHONPATH": str(checkout)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    took, best = json.loads(answer.stdout.splitlines()[-1])
    return took, best


def _launch(file: Path) -> None:
    """In the checkout's own process, as its studio does: with a process that stands by, where it has that."""
    sys.path.remove(str(HERE / "benchmarks"))
    from finetune_core.blooms import ensure
    from finetune_core.recipe import load
    from finetune_core.runs import launch, store

    ensure(Path(os.environ["DRAWN"]))
    try:
        from finetune_core.runs import standby
    except ImportError:  # an earlier Thaw
        pass
    else:
        standby.keep()
        while not standby.held():
            time.sleep(0.1)
    run = store.create(load(file))
    begun = time.perf_counter()
    launch.start(run)
    while run.status.active:
        time.sleep(0.05)
    took = time.perf_counter() - begun
    if run.status.state != "finished":
        raise SystemExit(run.status.message)
    scores = [record["valid_score"] for record in run.records()[0] if record["kind"] == "epoch"]
    print(json.dumps([took, max(scores)]))


if __name__ == "__main__":
    main()
