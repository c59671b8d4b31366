"""Predictions of a finished run on single images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from finetune_core import model
from finetune_core.data.cache import read_image
from finetune_core.data.pipeline import eval_pipeline, eval_side
from finetune_core.errors import UserError
from finetune_core.session import choose_device
from finetune_core.store import Run


@dataclass(frozen=True)
class Predictor:
    """A run's best network, ready for images."""

    network: model.Network
    classes: tuple[str, ...]
    size: int
    device: torch.device

    def __call__(self, images: Sequence[Image.Image | Path], top: int = 5) -> list[list[tuple[str, float]]]:
        """For each image the `top` likeliest classes with their probabilities, likeliest first."""
        return [self._one(image, top) for image in images]

    @torch.inference_mode()
    def _one(self, image: Image.Image | Path, top: int) -> list[tuple[str, float]]:
        pixels = torch.from_numpy(read_image(image, eval_side(self.size))).permute(2, 0, 1)
        x = eval_pipeline(self.size)(pixels).unsqueeze(0).to(self.device, torch.float32) / 255
        mean, std = (
            torch.tensor(v, device=self.device).view(1, -1, 1, 1) for v in (self.network.mean, self.network.std)
        )
        shares = self.network.module((x - mean) / std)[0].softmax(0)
        values, indices = shares.topk(min(top, len(self.classes)))
        return [(self.classes[i], v) for i, v in zip(indices.tolist(), values.tolist(), strict=True)]


def load(run: Run) -> Predictor:
    """The run's best checkpoint as a predictor; a UserError before its first epoch has ended."""
    if not run.best.exists():
        raise UserError(
            f"The run {run.id} has no model yet.", "Its first epoch has not ended.", "Wait for the first epoch."
        )
    recipe, classes = run.recipe, tuple(run.classes)
    network = model.restore(recipe.model, len(classes), run.best)
    device = choose_device("auto")
    network.module.to(device).eval()
    return Predictor(network, classes, recipe.data.image_size, device)
