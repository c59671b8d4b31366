"""What the gauges cost: the time that they take over that of the steps between two looks.

    python -m benchmarks.gauges

Measured with the default recipe, and with all of MobileNetV2 and of ResNet-18 thawed, on random pixels. On a GPU the
time is that until the device is done, so that nothing hides behind it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from finetune_core.recipe import Recipe
from finetune_core.records import silent
from finetune_core.training import session
from finetune_core.training.gauges import EVERY, Drift
from finetune_core.training.stepper import Stepper

REPEATS = 12
RANDOM = {"kind": "random"}
RECIPES = {
    "resnet10t, last two stages (default)": {},
    "mobilenetv2_100, everything": {"architecture": "mobilenetv2_100", "weights": RANDOM},
    "resnet18, everything": {"architecture": "resnet18", "weights": RANDOM},
}


def main() -> None:
    """A line for each recipe."""
    for name, backbone in RECIPES.items():
        recipe = Recipe()
        if backbone:
            recipe = recipe.with_value("model.backbone", {"kind": "timm", **backbone})
            recipe = recipe.with_value("phases", [{"thaw": ["*"]}])
        step, look = _medians(recipe)
        print(f"{name:40} step {step * 1e3:7.1f} ms   look {look * 1e3:6.2f} ms   cost {look / step / EVERY:.2%}")


def _medians(recipe: Recipe) -> tuple[float, float]:
    """Seconds of a step, and of a look at the weights."""
    made = session.prepare(recipe, silent)
    stepper, drift = Stepper(made), Drift(made.network)
    stepper.enter(recipe.phases[0])
    stepper.set_rates(dict.fromkeys(made.names, 1e-4))
    images, labels = next(made.train.epoch(0))
    steps = _times(lambda: stepper.step(images, labels), made.device)
    looks = _times(lambda: drift.since(drift.before(stepper.division.learning)), made.device)
    return statistics.median(steps[2:]), statistics.median(looks[2:])


def _times(work: Callable[[], object], device: torch.device) -> list[float]:
    took = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        took.append(time.perf_counter() - started)
    return took


if __name__ == "__main__":
    main()
