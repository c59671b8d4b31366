"""What thawing is worth on photos: two stages with rates by depth, the head alone, and a network that knows nothing.

    python -m benchmarks.two_stage PHOTOS WEIGHTS [--seeds 2] [--epochs 6]

PHOTOS is a folder with a sub-folder per class, WEIGHTS a file with pretrained weights of the architecture
(mobilenetv2_100 unless --architecture says otherwise). All recipes have the same epochs, images, optimizer and seeds.
"""

import argparse
from pathlib import Path

from benchmarks.running import table
from finetune_core.network import catalogue
from finetune_core.recipe import Recipe, parse
from finetune_core.recipe.rules import PRESETS

RATE = 3e-3  # of the head; the body's follow from the preset


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--architecture", default="mobilenetv2_100")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--image-size", type=int, default=96)
    table(_variants(options := parser.parse_args()), options.seeds)


def _variants(options: argparse.Namespace) -> dict[str, Recipe]:
    alone = parse(
        {
            "data": {"source": {"kind": "folder", "path": str(options.photos)}, "image_size": options.image_size},
            "model": {
                "backbone": {
                    "kind": "timm",
                    "architecture": options.architecture,
                    "weights": {"kind": "file", "path": str(options.weights)},
                }
            },
            "phases": [{"epochs": options.epochs, "thaw": ["head"], "learning_rate": RATE}],
        }
    )
    names = catalogue.layer_names(alone.model)
    stages = alone.replace(phases=PRESETS["two_stage"].make(alone.phases, names))
    random = alone.with_value("phases.0.thaw", ["*"]).with_value("model.backbone.weights", {"kind": "random"})
    return {
        "two stages, rates by depth": stages,
        "head alone": alone,
        "random weights, everything": random,
    }


if __name__ == "__main__":
    main()
