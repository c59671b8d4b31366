"""What in a draft needs care, seen cheaply: no image is opened and no weight loaded (preflight checks those)."""

from __future__ import annotations

from pathlib import Path

from finetune_core.parts.backbones import Checkpoint, File, RandomWeights
from finetune_core.parts.sources import Files
from finetune_core.recipe import Recipe


def cares(recipe: Recipe) -> dict[str, str]:
    """A sentence for each page that needs a look, by page."""
    found = {"data": _data(recipe), "layers": _layers(recipe)}
    return {key: text for key, text in found.items() if text}


def _data(recipe: Recipe) -> str:
    source = recipe.data.source
    if not isinstance(source, Files):
        return ""
    if not source.path:
        return "Say where your photos lie."
    return "" if Path(source.path).expanduser().exists() else "What you named is not there."


def _layers(recipe: Recipe) -> str:
    weights = recipe.model.backbone.weights
    if isinstance(weights, RandomWeights):
        return "Random weights: this backbone has learned nothing yet."
    if isinstance(weights, (File, Checkpoint)) and not Path(weights.path).expanduser().is_file():
        return "The weights file is not there."
    for number, phase in enumerate(recipe.phases, start=1):
        if not phase.thaw:
            where = f" in phase {number}" if len(recipe.phases) > 1 else ""
            return f"Every layer group is frozen{where}: nothing would be learned."
    return ""
