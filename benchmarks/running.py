"""What benchmarks that train share: one recipe trained in a folder of its own, and a table of what came of it."""

import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path

from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.work.worker import work


def train(recipe: Recipe) -> tuple[float, float]:
    """Best validation accuracy, and seconds from the first step to the last (validation included)."""
    with tempfile.TemporaryDirectory() as folder:
        run = store.create(recipe, runs=Path(folder))
        if work(run):
            raise SystemExit(run.log_tail() or run.status.message)
        epochs = [record for record in run.records()[0] if record["kind"] == "epoch"]
        return max(epoch["valid_score"] for epoch in epochs), epochs[-1]["seconds"]


def table(variants: Mapping[str, Recipe], seeds: int) -> None:
    """Train each variant with each seed; print accuracies, their mean and the times, a line as soon as it is known."""
    print(f"{'recipe':32}{'accuracy, best epoch':>40}{'mean':>8}{'seconds of training':>22}")
    for name, recipe in variants.items():
        results = [train(recipe.with_value("training.seed", seed)) for seed in range(seeds)]
        accuracies = [accuracy for accuracy, _ in results]
        listed = " ".join(f"{accuracy:.3f}" for accuracy in accuracies)
        seconds = " ".join(f"{seconds:.0f}" for _, seconds in results)
        print(f"{name:32}{listed:>40}{statistics.mean(accuracies):>8.3f}{seconds:>22}", flush=True)
