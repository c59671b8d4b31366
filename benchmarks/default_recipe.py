"""What the default recipe reaches on Blooms, and what its pretrained backbone is worth: the same budget from random.

    python -m benchmarks.default_recipe [--seeds 3]

For each seed it trains the default recipe, the same recipe from random weights, and random weights with everything
thawed at one rate (a fairer start for a network that knows nothing), and prints validation accuracy and training time.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from finetune_core import store
from finetune_core.recipe import Recipe
from finetune_core.worker import work

RANDOM = {"kind": "random"}


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(parser.parse_args().seeds)
    random = Recipe().with_value("model.backbone.weights", RANDOM)
    everything = random.with_value("phases.0.thaw", ["*"]).with_value("phases.0.multipliers", {})
    variants = {"bundled": Recipe(), "random, same recipe": random, "random, all thawed": everything}
    print(f"{'weights':24}{'accuracy, best epoch':>40}{'mean':>8}{'seconds of training':>22}")
    for name, recipe in variants.items():
        results = [_train(recipe.with_value("training.seed", seed)) for seed in seeds]
        accuracies = [accuracy for accuracy, _ in results]
        listed = " ".join(f"{accuracy:.3f}" for accuracy in accuracies)
        seconds = " ".join(f"{seconds:.0f}" for _, seconds in results)
        print(f"{name:24}{listed:>40}{statistics.mean(accuracies):>8.3f}{seconds:>22}", flush=True)


def _train(recipe: Recipe) -> tuple[float, float]:
    """Best validation accuracy, and seconds from the first step to the last (validation included)."""
    with tempfile.TemporaryDirectory() as folder:
        run = store.create(recipe, runs=Path(folder))
        if work(run):
            raise SystemExit(run.log_tail() or run.status.message)
        epochs = [record for record in run.records()[0] if record["kind"] == "epoch"]
        return max(epoch["valid_accuracy"] for epoch in epochs), epochs[-1]["seconds"]


if __name__ == "__main__":
    main()
