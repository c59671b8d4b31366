"""What it brings to keep freed memory for the next step: training with that and without, in turn.

    python -m benchmarks.memory [--rounds 3] [--epochs 2] [--photos FOLDER --weights FILE]

Trains the default recipe's head, and everything, on Blooms; or timm's mobilenetv2_100 at 160 px on photos of one's own.
Prints medians of seconds of training, seconds of the processor and peak memory, each a process of its own, and ratios.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.running import train
from finetune_core import memory
from finetune_core.recipe import Recipe, load

FACTS = ("seconds of training", "seconds of the processor", "peak memory, MB")


def main() -> None:
    """Train in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--one", nargs=2, metavar=("RECIPE", "HOW"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        _one(load(Path(options.one[0])), options.one[1] == "kept")
        return
    for name, recipe in _recipes(options).items():
        found: dict[str, list[list[float]]] = {"kept": [], "returned": []}
        for _ in range(options.rounds):
            for how, rows in found.items():
                rows.append(_measured(recipe, how))
        for place, fact in enumerate(FACTS):
            kept, returned = (median(row[place] for row in rows) for rows in found.values())
            print(f"{name:12}{fact:28}kept {kept:9.1f}   returned {returned:9.1f}   {kept / returned:.3f}", flush=True)


def _recipes(options: argparse.Namespace) -> dict[str, Recipe]:
    made = Recipe().with_value("phases.0.epochs", options.epochs).with_value("training.device", "cpu")
    if options.photos:
        weights = {"kind": "file", "path": str(options.weights.absolute())}
        network = {"kind": "timm", "architecture": "mobilenetv2_100", "weights": weights}
        made = made.with_value("data.source", {"kind": "folder", "path": str(options.photos.absolute())})
        made = made.with_value("data.image_size", 160).with_value("model.backbone", network)
    alone = made.with_value("phases.0.multipliers", {})
    return {name: alone.with_value("phases.0.thaw", [thawed]) for name, thawed in {"head": "head", "all": "*"}.items()}


def _measured(recipe: Recipe, how: str) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recipe.yaml"
        recipe.save(file)
        command = [sys.executable, "-m", "benchmarks.memory", "--one", str(file), how]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
    found: list[float] = json.loads(answer.stdout.splitlines()[-1])
    return found


def _one(recipe: Recipe, kept: bool) -> None:
    if not kept:
        memory.keep_freed = lambda: False  # type: ignore[assignment]
    _, seconds = train(recipe)
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps([seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))


if __name__ == "__main__":
    main()
