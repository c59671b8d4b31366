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
from finetune_core.network.catalogue import Entry
from finetune_core.parts.backbones import Backbone, RandomWeights
from finetune_core.parts.mixing import Unmixed
from finetune_core.recipe import Model, Phase, Recipe


@dataclass(frozen=True)
class Latency:
    """Milliseconds to look at one image, and images a second in training, everything thawed.

    None where that was not measured; neither, where the network cannot look at images of that size.
    """

    answer_ms: float | None
    train_images_per_s: float | None = None

    def sentence(self) -> str:
        """One line for people."""
        if self.answer_ms is None:
            return "it cannot look at images of this size"
        training = self.train_images_per_s
        more = "" if training is None else f", {training:.3g} images a second in training"
        return f"{self.answer_ms:.3g} ms to look at one image{more}"


def to_measure(recipe: Recipe, backbone: Backbone) -> Recipe:
    """The recipe to measure: this backbone without its weights, which do not matter to time, everything thawed.

    The recipe's own has its head and its layer groups.
    """
    own, bare = recipe.model.backbone, backbone.replace(weights=RandomWeights())
    mine = (own.kind, own.architecture) == (backbone.kind, backbone.architecture)
    model = recipe.model.replace(backbone=bare) if mine else Model(backbone=bare)
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
        if row["kind"] == "timing" and row["what"] in seconds:
            seconds[row["what"]].append(row["seconds"])
    if not all(seconds.values()):
        return None
    return Latency(1e3 * median(seconds["answer"]), batch_size / median(seconds["step"]))


def unknown(recipe: Recipe, entries: Iterable[Entry]) -> list[Entry]:
    """Those networks of which nothing was measured at a recipe's sizes, the lightest first."""
    before = known(recipe)
    left = [each for each in entries if each.macs and name(each.library, each.architecture) not in before]
    return sorted(left, key=lambda each: each.macs)


def keep(recipe: Recipe, measured: Latency) -> None:
    """Remember what was measured for a recipe's backbone; what of it was not, is kept as it was."""
    file = places.cache_dir() / "latency.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    backbone, conditions, kept = recipe.model.backbone, _conditions(recipe), _kept()
    mine = name(backbone.kind, backbone.architecture)
    now = {what: value for what, value in asdict(measured).items() if value is not None}
    before = kept.get(conditions, {})
    kept[conditions] = {**before, mine: {**asdict(measured), **before.get(mine, {}), **now}}
    places.write_whole(file, json.dumps(kept, indent=0))


def _kept() -> dict[str, dict[str, dict[str, float | None]]]:
    try:
        return json.loads((places.cache_dir() / "latency.json").read_text("utf-8"))
    except (FileNotFoundError, ValueError):  # a cache: what cannot be read is measured anew
        return {}


def _conditions(recipe: Recipe) -> str:
    training, here = recipe.training, machine.facts()
    device = machine.device_of(here, training.device)
    sizes = f"{recipe.data.image_size} px, {training.batch_size} images, {training.precision}"
    return f"{sizes}, {here.device_words(device)}"
