"""What it brings to mend wrong labels: found by a head on frozen features, looked at by a person, trained again.

    python -m benchmarks.mended [--photos DIR] [--weights FILE] [--share 0.1] [--looked 60] [--seeds 3]

Of real photos two fifths are put aside with their right labels, to validate and to test; of the rest a share gets a
wrong one. The person is played by what is known: of the pictures that are doubted most, the ones with a wrong label get
their right one back, and nothing else is touched. The same head is trained on the labels as they were, as they are, and
as mended.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import mean, stdev

import numpy as np

from finetune_core.data.chosen import with_fix
from finetune_core.finder.scout import scout
from finetune_core.parts.fixes import Fix, Relabel
from finetune_core.parts.sources import files
from finetune_core.places import ROOT
from finetune_core.recipe import Recipe

SHARED = ROOT.parent / "shared"
ASIDE = 5  # of so many photos of a class one is for the test and one for validation


def main() -> None:
    """Plant, doubt, mend, train, and print what each set of labels reaches on the test."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, default=SHARED / "data" / "clothing10")
    file = SHARED / "weights" / "timm_mobilenetv2_100_imagenet1k.safetensors"
    parser.add_argument("--weights", type=Path, default=file)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--looked", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        right, wrong = Path(folder) / "right", Path(folder) / "wrong"
        truth = plant(given.photos, right, wrong, given.share)
        [found] = scout(recipe_of(wrong, given.weights), [recipe_of(wrong, given.weights).model.backbone], 100_000)
        first = [place for place, *_ in found.doubts][: given.looked]
        print(
            f"{len(truth)} photos have a wrong label; of the {len(first)} doubted most {len({*first} & {*truth})} have"
        )
        fixes = mended({place: truth[place] for place in first if place in truth})
        for name, recipe in {
            "labels all right": recipe_of(right, given.weights),
            "with wrong ones": recipe_of(wrong, given.weights),
            "mended": recipe_of(wrong, given.weights).with_value("data.fixes", fixes),
        }.items():
            reached = [tested(recipe.with_value("training.seed", seed)) for seed in range(given.seeds)]
            spread = f" ± {stdev(reached):.1%}" if len(reached) > 1 else ""
            print(f"{name:20}{mean(reached):.1%}{spread}   {[round(each, 3) for each in reached]}", flush=True)


def plant(photos: Path, right: Path, wrong: Path, share: float) -> dict[str, str]:
    """Two copies with train and test folders; in the second a share of the training photos lies in a wrong class.

    Returns the right class of each of these, by its place in the second.
    """
    random, truth = np.random.default_rng(0), {}
    classes = sorted(each.name for each in photos.iterdir() if each.is_dir())
    for name in classes:
        for number, file in enumerate(files.below(photos / name).images):
            side = {0: "test", 1: "valid"}.get(number % ASIDE, "train")
            given = name
            if side == "train" and random.random() < share:
                given = str(random.choice([each for each in classes if each != name]))
                truth[f"train/{given}/{name}-{file.name}"] = name
            for root, label in ((right, name), (wrong, given)):
                target = root / side / label / f"{name}-{file.name}"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)
    return truth


def mended(truth: Mapping[str, str]) -> list[dict[str, object]]:
    """Fixes that give these pictures their class."""
    every: tuple[Fix, ...] = ()
    for place, label in truth.items():
        every = with_fix(every, Relabel(images=(place,), label=label))
    return [fix.model_dump(mode="json") for fix in every]


def recipe_of(root: Path, weights: Path) -> Recipe:
    """A head on the frozen backbone, ten epochs."""
    backbone = {"kind": "timm", "architecture": "mobilenetv2_100", "weights": {"kind": "file", "path": str(weights)}}
    recipe = Recipe().with_value("model.backbone", backbone)
    for place, value in {
        "data.source": {"kind": "folder", "path": str(root)},
        "phases": [{"thaw": ["head"], "epochs": 10, "learning_rate": 3e-3}],
    }.items():
        recipe = recipe.with_value(place, value)
    return recipe


def tested(recipe: Recipe) -> float:
    """The accuracy of a run on its test images, in processes of its own."""
    with tempfile.TemporaryDirectory() as folder:
        recipe.save(Path(folder) / "recipe.yaml")
        there = {"env": {**os.environ, "THAW_RUNS": folder}, "capture_output": True, "check": True, "text": True}
        command = [sys.executable, "-m", "finetune_core"]
        subprocess.run([*command, "train", f"{folder}/recipe.yaml", "--json"], **there)
        [run] = [each.parent.name for each in Path(folder).glob("*/recipe.yaml")]
        said = subprocess.run([*command, "evaluate", run, "--on", "test", "--json"], **there).stdout
        return float(json.loads(said)["scores"]["accuracy"])


if __name__ == "__main__":
    main()
