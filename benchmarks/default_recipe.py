"""What the default recipe reaches on Blooms, and what its pretrained backbone is worth: the same budget from random.

    python -m benchmarks.default_recipe [--seeds 3]

For each seed it trains the default recipe, the same recipe from random weights, and random weights with everything
thawed at one rate (a fairer start for a network that knows nothing), and prints validation accuracy and training time.
"""

import argparse

from benchmarks.running import table
from finetune_core.recipe import Recipe

RANDOM = {"kind": "random"}


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    random = Recipe().with_value("model.backbone.weights", RANDOM)
    everything = random.with_value("phases.0.thaw", ["*"]).with_value("phases.0.multipliers", {})
    variants = {"bundled": Recipe(), "random, same recipe": random, "random, all thawed": everything}
    table(variants, parser.parse_args().seeds)


if __name__ == "__main__":
    main()
