"""What a frozen backbone sees in pictures that need no labels: the features that go into its head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from finetune_core.data.cache import filled
from finetune_core.data.loader import Batches
from finetune_core.data.pipeline import eval_pipeline
from finetune_core.errors import UserError
from finetune_core.finder.embedded import Embedding
from finetune_core.network import build
from finetune_core.network.network import Network
from finetune_core.network.tapped import tapped
from finetune_core.parts.heads import Linear
from finetune_core.parts.sources.samples import Samples
from finetune_core.recipe import Recipe
from finetune_core.records import Report, silent
from finetune_core.training import session

BATCH = 32


def embed(recipe: Recipe, folder: Path, names: Sequence[str], report: Report = silent) -> Embedding:
    """Features of pictures below a folder; those that cannot be read are left out. UserErrors where none can be."""
    data = recipe.data
    samples = Samples(tuple(folder / name for name in names), (0,) * len(names), ("picture",), root=folder)
    images = filled(
        samples, data.side, lambda done, total: report("Decoding the images, once", done, total), data.channels
    )
    readable = np.setdiff1d(np.arange(len(names)), [index for index, _ in images.bad])
    if not len(readable):
        raise UserError("None of the pictures can be read.", f"There are {len(names)}.", "Look at one of them.")
    report("Building the network")
    device = session.choose_device(recipe.training.device)
    network = build.build(recipe.model.replace(head=Linear()), 2, report, data.image_size, channels=data.channels)
    network.module.to(device).eval()
    labels, found = np.zeros(len(names), np.int64), []
    batches = Batches(images, labels, readable, eval_pipeline(data), BATCH, 0, shuffle=False, augment=False)
    for inputs, _ in batches.epoch(0):
        found.append(features(network, inputs.to(device, torch.float32)))
        report("Looking at the pictures", sum(map(len, found)), len(readable))
    bad = tuple(names[index] for index, _ in images.bad)
    return Embedding(tuple(names[index] for index in readable), torch.cat(found).numpy(), bad)


@torch.inference_mode()
def features(network: Network, images: Tensor) -> Tensor:
    """What goes into the head, (N, D) on the CPU, of raw images (0 to 255, N × C × H × W)."""
    mean, std = (torch.tensor(each, device=images.device).view(1, -1, 1, 1) for each in (network.mean, network.std))
    with tapped(network.module, network.classifier) as seen:
        network.module((images / 255 - mean) / std)
    return seen[0].float().cpu()
