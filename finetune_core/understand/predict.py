"""Predictions of a finished run on single images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from finetune_core.data.depth import Depth
from finetune_core.data.image import Picture, read_image
from finetune_core.data.pipeline import eval_pipeline
from finetune_core.errors import UserError
from finetune_core.network import build
from finetune_core.network.network import Network
from finetune_core.parts.tasks import Targets
from finetune_core.recipe import Data
from finetune_core.runs.states import facts, fitted
from finetune_core.runs.store import Run, targets_said
from finetune_core.training.session import choose_device


@dataclass(frozen=True)
class Predictor:
    """A run's best network, ready for images."""

    network: Network
    targets: Targets
    data: Data
    device: torch.device
    depth: Depth | None = None

    def __call__(self, images: Sequence[Picture], top: int = 5) -> list[list[tuple[str, float]]]:
        """What each image shows: the `top` likeliest classes or tags with their probabilities, or all numbers."""
        return [self.targets.about.answers(self.targets, self.values(image), top) for image in images]

    def normalised(self, images: Tensor) -> Tensor:
        """Raw images (0 to 255, N × C × H × W) as what the network was trained on."""
        mean, std = (
            torch.tensor(v, device=self.device).view(1, -1, 1, 1) for v in (self.network.mean, self.network.std)
        )
        return (images.to(self.device, torch.float32) / 255 - mean) / std

    def shown(self, image: Picture) -> Tensor:
        """What the network is shown of an image, (C, size, size) uint8. An UnreadableError where it cannot be read."""
        read = read_image(image, self.data.side, self.network.channels, self.depth)
        found: Tensor = eval_pipeline(self.data)(torch.from_numpy(read).permute(2, 0, 1))
        return found

    def values(self, image: Picture) -> Tensor:
        """All probabilities of an image, or all numbers, (names,)."""
        return self.answered(self.shown(image).unsqueeze(0))[0]

    @torch.inference_mode()
    def answered(self, images: Tensor) -> Tensor:
        """The same of images as the pipeline gives them, (N, C, size, size) uint8 to (N, names)."""
        return self.targets.about.meaning(self.targets, self.network.module(self.normalised(images)))


def load(run: Run, device: str = "auto") -> Predictor:
    """The run's best checkpoint as a predictor; a UserError before its first epoch has ended."""
    said = facts.read(run.best).get("targets")  # with the weights that it belongs to; earlier runs kept it beside
    targets = targets_said(json.loads(said)) if said else run.targets
    targets = fitted.applied(run, targets) if targets else None
    if not run.best.exists() or targets is None:
        raise UserError(
            f"The run {run.id} has no model yet.", "Its first epoch has not ended.", "Wait for the first epoch."
        )
    recipe = run.recipe
    network = build.restore(recipe.model, len(targets.names), run.best)
    where = choose_device(device)
    network.module.to(where).eval()
    return Predictor(network, targets, recipe.data, where, run.depth)
