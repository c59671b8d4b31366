"""What a checkpoint says about itself, read without torch: the step it was saved at, and where its trainer stood."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from safetensors import safe_open

from finetune_core.errors import UserError
from finetune_core.recipe import Recipe, parse
from finetune_core.runs.states.packing import unpacked


def read(path: Path) -> dict[str, str]:
    """Its metadata; empty where it cannot be read."""
    try:
        with safe_open(path, "np") as file:
            return dict(file.metadata() or {})
    except Exception:  # noqa: BLE001 - on garbage the library fails in any way it can
        return {}


def step(path: Path) -> int:
    """The optimizer steps that were done when a state was saved, by its file's name."""
    return int(path.stem.removeprefix("step-"))


def recipe(path: Path) -> Recipe:
    """The recipe that its run had when it was saved, which somebody may have edited since."""
    return parse(json.loads(read(path)["recipe"]))


def position(path: Path) -> dict[str, Any]:
    """Where its trainer stood, as plain data, tensors left out; UserError where it cannot be told."""
    try:
        found: dict[str, Any] = unpacked(defaultdict(lambda: None), read(path)["state"])["position"]
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path.name} is no checkpoint to go on from.", "It is damaged.", "Choose another.") from error
    return found
