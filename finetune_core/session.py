"""A session: everything that a recipe means, built and ready to train on one device."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from finetune_core import model
from finetune_core.data.cache import decoded
from finetune_core.data.loader import Batches
from finetune_core.data.pipeline import eval_pipeline, eval_side, train_pipeline
from finetune_core.data.split import split
from finetune_core.errors import UserError
from finetune_core.parts.losses import Weighted
from finetune_core.recipe import Recipe, Training

Report = Callable[[str], None]
"""Told in words what is being prepared."""


@dataclass
class Session:
    """What the loop and the range test work on. `classes` is in the order of the model's outputs."""

    recipe: Recipe
    device: torch.device
    network: model.Network
    classes: tuple[str, ...]
    train: Batches
    valid: Batches
    loss: nn.Module

    @property
    def names(self) -> tuple[str, ...]:
        """The layer groups' names, stem to head."""
        return tuple(group.name for group in self.network.groups)

    def autocast(self) -> AbstractContextManager[None]:
        """The forward pass in the recipe's precision."""
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.recipe.training.precision)
        return torch.autocast(self.device.type, dtype) if dtype else nullcontext()

    def divisor(self, labels: Tensor) -> Tensor | int:
        """What the loss's mean over these labels divides by: their number, or the sum of their class weights."""
        loss = self.recipe.training.loss
        weights = getattr(self.loss, "weight", None)
        if isinstance(loss, Weighted) and loss.divide == "weights" and weights is not None:
            return weights[labels].sum()
        return len(labels)

    def normalised(self, images: Tensor) -> Tensor:
        """Raw images (uint8, N × 3 × H × W, on any device) as what the network was trained on."""
        x = images.to(self.device, torch.float32, memory_format=torch.channels_last, non_blocking=True)
        mean = torch.tensor(self.network.mean, device=self.device).view(1, -1, 1, 1)
        std = torch.tensor(self.network.std, device=self.device).view(1, -1, 1, 1)
        return x.div_(255).sub_(mean).div_(std)


def prepare(recipe: Recipe, report: Report = lambda _: None) -> Session:
    """Read and decode the data, build the network with its weights. Raises UserErrors before any compute."""
    device = choose_device(recipe.training.device)
    data, training = recipe.data, recipe.training
    report("Reading the images")
    samples = data.source.samples(_counting(report, "Drawing the sample images"))
    side = eval_side(data.image_size)
    images = decoded(samples, side, data.unreadable, _counting(report, "Decoding the images, once"))
    parts = split(samples, data.valid_share, data.split_seed).without([index for index, _ in images.bad])

    report("Building the network")
    torch.manual_seed(training.seed)  # the head starts from the seed, whatever ran before
    counts = torch.bincount(torch.tensor(samples.labels)[parts.train], minlength=len(samples.classes)).tolist()
    network = model.build(recipe.model, len(samples.classes), report, data.image_size, counts)
    network.module.to(device).to(memory_format=torch.channels_last)
    train = Batches(
        images,
        samples.labels,
        parts.train,
        train_pipeline(recipe.augment, data.image_size),
        batch_size=training.batch_size,
        seed=training.seed,
        shuffle=True,
        augment=True,
    )
    valid = Batches(
        images,
        samples.labels,
        parts.valid,
        eval_pipeline(data.image_size),
        batch_size=2 * training.batch_size,  # no gradients to keep, so twice as many fit
        seed=0,
        shuffle=False,
        augment=False,
    )
    loss = training.loss.call(counts).build().to(device)
    return Session(recipe, device, network, samples.classes, train, valid, loss)


def choose_device(wanted: str) -> torch.device:
    """The device of this name, `auto` being the fastest that is there; a UserError where it is missing."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        wanted = next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there[wanted]:
        have = ", ".join(name for name, is_there in there.items() if is_there)
        raise UserError(f"This machine has no {wanted} device.", f"It has: {have}.", "Set the device to auto.")
    return torch.device(wanted)


def scaler(device: torch.device, training: Training) -> torch.amp.GradScaler:
    """Loss scaling for fp16, whose small gradients would vanish without it; does nothing in other precisions."""
    return torch.amp.GradScaler(device.type, enabled=training.precision == "fp16")


def _counting(report: Report, what: str) -> Callable[[int, int], None]:
    return lambda done, total: report(f"{what}: {done} of {total}")
