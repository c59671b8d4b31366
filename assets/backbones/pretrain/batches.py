"""Batches of uint8 pictures, augmented as a whole batch: one grid_sample instead of a transform per picture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Augment:
    """Ranges of the random changes: share of the side kept, aspect, rotation in degrees, light, saturation, hue."""

    crop: tuple[float, float] = (0.6, 1.0)
    aspect: float = 0.12
    degrees: float = 15.0
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    flip: bool = True


def normalise(images: Tensor) -> Tensor:
    """ImageNet's mean and standard deviation, which every timm model of this kind expects."""
    mean, std = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def plain(images: Tensor, pixels: int) -> Tensor:
    """The whole picture at the wanted size."""
    floats = images.permute(0, 3, 1, 2).float() / 255.0
    if floats.shape[-1] != pixels:
        floats = functional.interpolate(floats, size=(pixels, pixels), mode="bilinear", antialias=True)
    return normalise(floats)


def augmented(images: Tensor, pixels: int, how: Augment, rng: torch.Generator) -> Tensor:
    """A random crop, turn, flip and light for each picture of an NHWC uint8 batch."""
    n = len(images)

    def spread(low: float, high: float) -> Tensor:
        return torch.rand(n, generator=rng) * (high - low) + low

    floats = images.permute(0, 3, 1, 2).float() / 255.0
    scale, stretch = spread(*how.crop), torch.exp(spread(-how.aspect, how.aspect))
    turn = spread(-how.degrees, how.degrees) * math.pi / 180.0
    sx, sy = scale * stretch, scale / stretch
    mirror = torch.where(torch.rand(n, generator=rng) < 0.5, -1.0, 1.0) if how.flip else torch.ones(n)
    room = (1.0 - scale).clamp(min=0.0)
    dx, dy = spread(-1, 1) * room, spread(-1, 1) * room
    cos, sin = torch.cos(turn), torch.sin(turn)
    theta = torch.stack(
        [torch.stack([sx * cos * mirror, -sy * sin, dx], 1), torch.stack([sx * sin * mirror, sy * cos, dy], 1)], 1
    )
    grid = functional.affine_grid(theta, [n, 3, pixels, pixels], align_corners=False)
    out = functional.grid_sample(floats, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    grey = out.mean(dim=1, keepdim=True)
    out = grey + (out - grey) * spread(1 - how.saturation, 1 + how.saturation).view(-1, 1, 1, 1)
    middle = out.mean(dim=(1, 2, 3), keepdim=True)
    out = middle + (out - middle) * spread(1 - how.contrast, 1 + how.contrast).view(-1, 1, 1, 1)
    out = out * spread(1 - how.brightness, 1 + how.brightness).view(-1, 1, 1, 1)
    return normalise(out.clamp(0.0, 1.0))


def shuffled(count: int, batch: int, rng: torch.Generator) -> Iterator[Tensor]:
    """Index batches of one epoch; a rest smaller than half a batch is left out, as its statistics are poor."""
    order = torch.randperm(count, generator=rng)
    for start in range(0, count, batch):
        part = order[start : start + batch]
        if len(part) * 2 >= batch:
            yield part
