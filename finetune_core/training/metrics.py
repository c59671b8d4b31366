"""A meter for what a network answers, counted by torchmetrics as the task wants it."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from finetune_core.parts.tasks import BY_NAME, Targets


class Meter:
    """Collects what a network answers over a pass and says how good it is.

    With `everything` all of the task's scores are counted, and the one by name; else only the score that decides.
    """

    def __init__(self, targets: Targets, device: torch.device, everything: bool = False) -> None:
        self.targets = targets
        known = targets.about.metrics(len(targets.names))
        wanted = list(known) if everything else [targets.about.score.key]
        chosen: dict[str, Metric | MetricCollection] = {key: known[key].build() for key in wanted}
        self.metrics = MetricCollection(chosen, compute_groups=everything)
        self.metrics.to(device)
        self.metrics.persistent(True)  # so that a stop in the middle of an epoch keeps them
        for metric in self.metrics.values():
            metric.sync_on_compute = False  # of several processes each is told the answers of all

    def update(self, outputs: Tensor, wanted: Tensor) -> None:
        """Take in a batch: outputs (N, names) and targets as `Targets.encoded` gives them, or shares of each class."""
        self.metrics.update(*self.targets.about.read(self.targets, outputs.float(), wanted))

    def scores(self) -> dict[str, float]:
        """The task's scores, the one that decides first: means over the names that occur, NaN where none does."""
        found = self._found()
        return {
            score.key: float(found[score.key].nanmean()) for score in self.targets.about.scores if score.key in found
        }

    def by_name(self) -> dict[str, float]:
        """What is measured for each class, tag or number alone; NaN where there was nothing to measure."""
        return dict(zip(self.targets.names, self._found()[BY_NAME].reshape(-1).tolist(), strict=True))

    def _found(self) -> dict[str, Tensor]:
        """What was counted; where it is a value for each name, NaN for a name that occurs in no image."""
        with warnings.catch_warnings():
            # torchmetrics does not know that what it counted was restored, nor that absent tags are left out here
            warnings.filterwarnings("ignore", message=".*was called before the ``update``")
            warnings.filterwarnings("ignore", message="No positive samples found")
            found: dict[str, Tensor] = self.metrics.compute()
        about, count = self.targets.about, len(self.targets.names)
        there = about.occurring(found.get(BY_NAME, found[about.score.key])).reshape(-1)
        return {
            key: values.reshape(-1).where(there, math.nan)
            if values.numel() == count
            else values  # of one name a scalar
            for key, values in found.items()
        }

    def reset(self) -> None:
        """Begin a new pass."""
        self.metrics.reset()

    def state(self) -> dict[str, Any]:
        """What has been collected, as plain tensors."""
        return self.metrics.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        """Go on with what had been collected."""
        self.metrics.load_state_dict(state)


@dataclass(frozen=True)
class Measured:
    """How good a network is on some images: mean loss, the task's scores, and the score by name.

    `outputs` (N, names) float32 are all that it answered, `wanted` what `Targets.encoded` made of the labels.
    """

    loss: float
    scores: dict[str, float]
    by_name: dict[str, float]
    outputs: np.ndarray
    wanted: np.ndarray
