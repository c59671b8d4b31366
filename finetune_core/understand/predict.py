"""Predictions of a finished run on single images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from finetune_core.data.depth import Depth
from finetune_core.data.image import Picture, read_image
from finetune_core.data.pipeline import eval_pipeline, eval_side
from finetune_core.errors import UserError
from finetune_core.network import build
from finetune_core.network.network import Network
from finetune_core.parts.tasks import Targets
from finetune_core.runs.states import facts
from finetune_core.runs.store import Run, targets_said
from finetune_core.training.session import choose_device


@dataclass(frozen=True)
class Predictor:
    """A run's best network, ready for images."""

    network: Network
    targets: Targets
    size: int
    device: torch.device
    depth: Depth | None = None

    def __call__(self, images: Sequence[Picture], top: int = 5) -> list[list[tuple[str, float]]]:
        """What each image shows: the `top` likeliest classes or tags with their probabilities, or all numbers."""
        return [self._one(image, top) for image in images]

    @torch.inference_mode()
    def _one(self, image: Picture, top: int) -> list[tuple[str, float]]:
        read = read_image(image, eval_side(self.size), self.network.channels, self.depth)
        pixels = torch.from_numpy(read).permute(2, 0, 1)
        x = eval_pipeline(self.size)(pixels).unsqueeze(0).to(self.device, torch.float32) / 255
        mean, std = (
            torch.tensor(v, device=self.device).view(1, -1, 1, 1) for v in (self.network.mean, self.network.std)
        )
        about = self.targets.about
        values = about.meaning(self.targets, self.network.module((x - mean) / std))[0]
        return about.answers(self.targets, values, top)


def load(run: Run) -> Predictor:
    """The run's best checkpoint as a predictor; a UserError before its first epoch has ended."""
    said = facts.read(run.best).get("targets")  # with the weights that it belongs to; earlier runs kept it beside
    targets = targets_said(json.loads(said)) if said else run.targets
    if not run.best.exists() or targets is None:
        raise UserError(
            f"The run {run.id} has no model yet.", "Its first epoch has not ended.", "Wait for the first epoch."
        )
    recipe = run.recipe
    network = build.restore(recipe.model, len(targets.names), run.best)
    device = choose_device("auto")
    network.module.to(device).eval()
    return Predictor(network, targets, recipe.data.image_size, device, run.depth)
