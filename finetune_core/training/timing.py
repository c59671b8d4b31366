"""How quick a network is on this machine: what was measured is kept, and read without torch.

Kept in the cache folder by network, image size, batch size, number format and device, so that each is measured once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from finetune_core import machine, places
from finetune_core.parts.backbones import Backbone, RandomWeights
from finetune_core.parts.mixing import Unmixed
from finetune_core.recipe import Model, Phase, Recipe


@dataclass(frozen=True)
class Latency:
    """Milliseconds to look at one image, and images a second in training, everything thawed."""

    answer_ms: float
    train_images_per_s: float

    def sentence(self) -> str:
        """One line for people."""
        return (
            f"{self.answer_ms:.3g} ms to look at one image, {self.train_images_per_s:.3g} images a second in training"
        )


def to_measure(recipe: Recipe, backbone: Backbone) -> Recipe:
    """The recipe to measure: this backbone without its weights, which do not matter to time, everything thawed."""
    model = Model(backbone=backbone.replace(weights=RandomWeights()))
    training = recipe.training.replace(processes=1, decay={}, mix=Unmixed())
    return recipe.replace(model=model, phases=(Phase(thaw=("*",)),), training=training)


def known(recipe: Recipe) -> dict[str, Latency]:
    """What was measured at a recipe's sizes on this machine, by `name`."""
    return {backbone: Latency(**found) for backbone, found in _kept().get(_conditions(recipe), {}).items()}


def name(library: str, architecture: str) -> str:
    """A network's, as results are kept under."""
    return f"{library} {architecture}"


def summary(rows: Iterable[Mapping[str, Any]], batch_size: int) -> Latency | None:
    """The medians of a run's timings; None where it was stopped before both were taken."""
    seconds: dict[str, list[float]] = {"answer": [], "step": []}
    for row in rows:
        if row["kind"] == "timing":
            seconds[row["what"]].append(row["seconds"])
    if not all(seconds.values()):
        return None
    return Latency(1e3 * median(seconds["answer"]), batch_size / median(seconds["step"]))


def keep(recipe: Recipe, measured: Latency) -> None:
    """Remember what was measured for a recipe's backbone."""
    file = places.cache_dir() / "latency.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    backbone, conditions, kept = recipe.model.backbone, _conditions(recipe), _kept()
    mine = {name(backbone.kind, backbone.architecture): asdict(measured)}
    kept[conditions] = {**kept.get(conditions, {}), **mine}
    places.write_whole(file, json.dumps(kept, indent=0))


def _kept() -> dict[str, dict[str, dict[str, float]]]:
    try:
        return json.loads((places.cache_dir() / "latency.json").read_text("utf-8"))
    except (FileNotFoundError, ValueError):  # a cache: what cannot be read is measured anew
        return {}


def _conditions(recipe: Recipe) -> str:
    training, here = recipe.training, machine.facts()
    device = machine.device_of(here, training.device)
    sizes = f"{recipe.data.image_size} px, {training.batch_size} images, {training.precision}"
    return f"{sizes}, {here.device_words(device)}"
