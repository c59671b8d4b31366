"""What a network gives half-way, at the end of the layer group in the midst of its body, pooled over places."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from finetune_core.network import freezing
from finetune_core.network.tapped import tapped
from finetune_core.parts.modules import pooled
from finetune_core.recipe.names import HEAD
from finetune_core.records import Report
from finetune_core.training import reuse
from finetune_core.training.session import Session

FEWEST = 3  # layer groups of a body that has a midst


@dataclass(frozen=True)
class Middle:
    """The layer group in the midst of a body, and the network up to its end."""

    stage: str
    first: reuse.Frozen


def middle(made: Session) -> Middle | None:
    """The first half of a network; None where it has no midst, or cannot be cut there."""
    body = [group.name for group in made.network.groups if group.name != HEAD]
    if len(body) < FEWEST:
        return None
    place = len(body) // 2
    division = freezing.divide(made.network, (*body[place + 1 :], HEAD))
    division.freeze()
    division.train_mode()
    first = reuse.beginning(made, division)
    return Middle(body[place], first) if first else None


def passing(made: Session, middle: Middle | None) -> AbstractContextManager[list[Tensor]]:
    """What passes the middle while the whole network works, pooled over places, batch by batch."""
    return tapped(made.network.module, made.network.classifier, middle.first.cut.last) if middle else nullcontext([])


def midst(
    made: Session, middle: Middle, images: np.ndarray, passed: Sequence[Tensor], report: Report
) -> tuple[str, Tensor]:
    """The name of the middle, and what it gives for each image: as it has passed, else worked out.

    Where the last features were kept from an earlier time, or norms are folded, nothing has.
    """
    found = [each.float().cpu() for each in passed]
    if sum(map(len, found)) != len(images):
        found = []
        for inputs, _ in made.valid.over(images).epoch(0):
            found.append(pooled(middle.first.answer(made, inputs)).float().cpu())
            report("Looking half-way", sum(map(len, found)), len(images))
    return middle.stage, torch.cat(found)
