"""Does the lab's advice hold when one trains by it? Each stack trained with several seeds, on data never augmented.

python -m benchmarks.strains [--seeds 3] [--photos ../shared/data/clothing10]
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, stdev

from finetune_core.parts.transforms import HorizontalFlip, HueShift, RandomResizedCrop, VerticalFlip
from finetune_core.recipe import Recipe
from finetune_core.runs import store

STACKS = {
    "Blooms": {
        "standard": Recipe().augment,
        "standard and hue 0.4": (*Recipe().augment, HueShift(amount=0.4)),
    },
    "photos": {
        "crop and mirrored": (RandomResizedCrop(min_scale=0.6), HorizontalFlip()),
        "crop and upside down": (RandomResizedCrop(min_scale=0.6), VerticalFlip()),
    },
}


def main() -> None:
    """Train all of them, one after the other, and print the best accuracies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--photos", type=Path, help="a folder of photos of things that have an upside")
    given = parser.parse_args()
    for data, stacks in STACKS.items():
        if data == "photos" and not given.photos:
            print("photos: skipped, for no folder was given (--photos)")
            continue
        for name, augment in stacks.items():
            recipe = Recipe(augment=augment)
            if data == "photos":
                recipe = recipe.with_value("data.source", {"kind": "folder", "path": str(given.photos.absolute())})
            found = [trained(recipe.with_value("training.seed", seed)) for seed in range(given.seeds)]
            spread = f" ± {stdev(found):.1%}" if len(found) > 1 else ""
            print(f"{data:8}{name:24}{mean(found):.1%}{spread}   {[round(each, 4) for each in found]}", flush=True)


def trained(recipe: Recipe) -> float:
    """The best validation accuracy of a run in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        recipe.save(Path(folder) / "recipe.yaml")
        command = [sys.executable, "-m", "finetune_core", "train", f"{folder}/recipe.yaml", "--json"]
        subprocess.run(command, env={**os.environ, "THAW_RUNS": folder}, capture_output=True, check=True)
        [run] = store.list_runs(Path(folder))
        return float(run.status.best_score or math.nan)


if __name__ == "__main__":
    main()
