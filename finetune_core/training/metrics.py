"""Metrics of the three tasks, as torchmetrics counts them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchmetrics import (
    MeanAbsoluteError,
    MeanSquaredError,
    Metric,
    MetricCollection,
    R2Score,
)
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassF1Score,
    MulticlassRecall,
    MultilabelAveragePrecision,
    MultilabelF1Score,
)

from finetune_core.parts.tasks import THRESHOLD, Targets

TOP = 5


class Meter:
    """Collects what a network answers over a pass and says how good it is.

    With `everything` all of the task's scores are counted, and the one by name; else only the score that decides.
    """

    def __init__(self, targets: Targets, device: torch.device, everything: bool = False) -> None:
        self.targets = targets
        known = METRICS[targets.task](len(targets.names))
        wanted = list(known) if everything else [targets.about.score.key]
        chosen: dict[str, Metric | MetricCollection] = {key: known[key] for key in wanted}
        self.metrics = MetricCollection(chosen, compute_groups=everything)
        self.metrics.to(device)
        self.metrics.persistent(True)  # so that a stop in the middle of an epoch keeps them
        for metric in self.metrics.values():
            metric.sync_on_compute = False  # of several processes each is told the answers of all

    def update(self, outputs: Tensor, wanted: Tensor) -> None:
        """Take in a batch: outputs (N, names) and targets as `Targets.encoded` gives them, or shares of each class."""
        self.metrics.update(*READINGS[self.targets.task](self.targets, outputs.float(), wanted))

    def scores(self) -> dict[str, float]:
        """The task's scores, the one that decides first."""
        with warnings.catch_warnings():  # torchmetrics does not know that what it counted was restored
            warnings.filterwarnings("ignore", message=".*was called before the ``update``")
            found = self.metrics.compute()
        return {score.key: float(found[score.key]) for score in self.targets.about.scores if score.key in found}

    def by_name(self) -> dict[str, float]:
        """What is measured for each class, tag or number alone; NaN where there was nothing to measure."""
        values = self.metrics[BY_NAME].compute().reshape(-1).tolist()
        return dict(zip(self.targets.names, values, strict=True))

    def reset(self) -> None:
        """Begin a new pass."""
        self.metrics.reset()

    def state(self) -> dict[str, Any]:
        """What has been collected, as plain tensors."""
        return self.metrics.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        """Go on with what had been collected."""
        self.metrics.load_state_dict(state)


BY_NAME = "by_name"


def _single_label(classes: int) -> dict[str, Metric]:
    common: dict[str, Any] = {"num_classes": classes, "validate_args": False}
    top = {"top5": MulticlassAccuracy(top_k=TOP, average="micro", **common)} if classes > TOP else {}
    return {
        "accuracy": MulticlassAccuracy(average="micro", **common),
        **top,
        "balanced_accuracy": MulticlassAccuracy(average="macro", **common),
        "macro_f1": MulticlassF1Score(average="macro", **common),
        BY_NAME: MulticlassRecall(average="none", **common),
    }


def _multi_label(tags: int) -> dict[str, Metric]:
    common: dict[str, Any] = {"num_labels": tags, "validate_args": False}
    return {
        "map": MultilabelAveragePrecision(average="macro", **common),
        "macro_f1": MultilabelF1Score(threshold=THRESHOLD, average="macro", **common),
        "micro_f1": MultilabelF1Score(threshold=THRESHOLD, average="micro", **common),
        BY_NAME: MultilabelAveragePrecision(average="none", **common),
    }


def _regression(numbers: int) -> dict[str, Metric]:
    return {
        "mae": MeanAbsoluteError(),
        "rmse": MeanSquaredError(squared=False),
        "r2": R2Score(),
        BY_NAME: MeanAbsoluteError(num_outputs=numbers),
    }


METRICS: dict[str, Callable[[int], dict[str, Metric]]] = {
    "single_label": _single_label,
    "multi_label": _multi_label,
    "regression": _regression,
}


def _classes(targets: Targets, outputs: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Class numbers; of a mixed image the heavier class counts."""
    return outputs, wanted.argmax(1) if wanted.is_floating_point() else wanted


def _tags(targets: Targets, outputs: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    return outputs.sigmoid(), (wanted >= THRESHOLD).long()


def _numbers(targets: Targets, outputs: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    return in_units(targets, outputs), in_units(targets, wanted)


READINGS: dict[str, Callable[[Targets, Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "single_label": _classes,
    "multi_label": _tags,
    "regression": _numbers,
}


def in_units(targets: Targets, values: Tensor) -> Tensor:
    """Numbers (N, names) back from standard units."""
    mean, std = (torch.tensor(each, device=values.device, dtype=values.dtype) for each in (targets.mean, targets.std))
    return values * std + mean


@dataclass(frozen=True)
class Measured:
    """How good a network is on some images: mean loss, the task's scores, and the score by name."""

    loss: float
    scores: dict[str, float]
    by_name: dict[str, float]
