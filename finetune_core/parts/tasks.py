"""Tasks: what a network is to say about an image, and by which number its answers are judged. No torch.

One class each (single-label), any number of tags (multi-label), or numbers (regression).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Kind = Literal["single_label", "multi_label", "regression"]

THRESHOLD = 0.5  # probability from which on a tag counts as predicted


@dataclass(frozen=True)
class Score:
    """One number by which answers are judged; `share` ones lie in [0, 1] and are shown in percent."""

    key: str
    title: str
    help: str
    share: bool = True
    lower_is_better: bool = False

    @property
    def inside(self) -> str:
        """The title as it stands inside a sentence: abbreviations such as mAP keep their capitals."""
        short = self.title[:2].isupper() or self.title[1:2].isupper()
        return self.title if short else self.title.lower()

    def shown(self, value: float | None) -> str:
        """As people read it: 93.3 %, or 1.27 in the unit of the data."""
        if value is None:
            return "–"
        return f"{value:.1%}" if self.share else f"{value:.4g}"

    def best(self, values: Sequence[float | None]) -> float | None:
        """The best of some values, None where there is none."""
        known = [value for value in values if value is not None]
        if not known:
            return None
        return min(known) if self.lower_is_better else max(known)

    def signed(self, value: float) -> float:
        """Larger is better; what could not be measured is worst."""
        if math.isnan(value):
            return -math.inf
        return -value if self.lower_is_better else value


@dataclass(frozen=True)
class Task:
    """A kind of answer. The first of the `scores` decides which epoch is the best; `loss` is the usual loss's kind.

    `by_name` says what is measured for each class, tag or number alone.
    """

    key: Kind
    title: str
    help: str
    loss: str
    scores: tuple[Score, ...]
    by_name: Score

    @property
    def score(self) -> Score:
        """The one that decides."""
        return self.scores[0]


TASKS: dict[str, Task] = {
    task.key: task
    for task in (
        Task(
            "single_label",
            "One class",
            "Every image belongs to exactly one class.",
            "cross_entropy",
            (
                Score("accuracy", "Accuracy", "Share of images whose likeliest class is the right one."),
                Score("top5", "Top-5 accuracy", "Share of images whose class is among the five likeliest."),
                Score("balanced_accuracy", "Balanced accuracy", "Mean accuracy of the classes: rare ones count alike."),
                Score("macro_f1", "Macro F1", "Mean over the classes of F1, which punishes misses and false alarms."),
            ),
            Score("recall", "Recall", "Share of a class's images that were recognised."),
        ),
        Task(
            "multi_label",
            "Tags",
            "Every image has any number of tags, also none.",
            "bce",
            (
                Score("map", "mAP", "Mean over the tags of the average precision: how well images are ranked by each."),
                Score("macro_f1", "Macro F1", "Mean over the tags of F1, a tag counting from probability 0.5 on."),
                Score("micro_f1", "Micro F1", "F1 over all single decisions, a tag counting from probability 0.5 on."),
            ),
            Score("average_precision", "Average precision", "How well images are ranked by one tag."),
        ),
        Task(
            "regression",
            "Numbers",
            "Every image has one number or several, such as an age or a weight.",
            "smooth_l1",
            (
                Score("mae", "Mean error", "Mean absolute error (MAE), in the unit of the data.", False, True),
                Score("rmse", "RMSE", "Root of the mean squared error: large misses count more.", False, True),
                Score(
                    "r2",
                    "R²",
                    "Share of the variance that is explained; 0 is as good as always saying the mean.",
                    False,
                ),
            ),
            Score("mae", "Mean error", "Mean absolute error of one number, in its unit.", False, True),
        ),
    )
}


@dataclass(frozen=True)
class Targets:
    """What the training images are labelled with; `names` are the classes, tags or numbers, one per output.

    `counts` holds the training images of each class or tag, `images` the number of all of them. Numbers are learned
    in standard units: less `mean`, divided by `std`, both over the training images.
    """

    task: Kind
    names: tuple[str, ...]
    counts: tuple[int, ...] = ()
    images: int = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @property
    def about(self) -> Task:
        """The task's own description."""
        return TASKS[self.task]

    @property
    def priors(self) -> list[float]:
        """The bias of the last layer at which every answer is as likely as among the training images."""
        counts = np.maximum(np.asarray(self.counts, np.float64), 1.0)
        if self.task == "single_label":
            return np.log(counts / counts.sum()).tolist()
        if self.task == "multi_label":
            return np.log(counts / np.maximum(self.images - counts, 1.0)).tolist()
        return [0.0] * len(self.names)  # in standard units the mean is zero

    def encoded(self, labels: Sequence[Any]) -> np.ndarray:
        """Labels as the loss wants them: (N,) int64 for classes, (N, names) float32 for tags and for numbers."""
        if self.task == "single_label":
            return np.asarray(labels, np.int64)
        values = np.asarray(labels, np.float32)
        if self.task == "multi_label":
            return values
        return (values - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)


def single_label(counts: Sequence[int], names: Sequence[str] = ()) -> Targets:
    """Targets of one class each, from the images per class."""
    named = tuple(names) or tuple(map(str, range(len(counts))))
    return Targets("single_label", named, tuple(counts), sum(counts))


def seen(task: Kind, names: Sequence[str], labels: Sequence[Any]) -> Targets:
    """Targets as these labels of the training images show them."""
    if task == "single_label":
        return single_label(np.bincount(np.asarray(labels, np.int64), minlength=len(names)).tolist(), names)
    values = np.asarray(labels, np.float64)
    if task == "multi_label":
        return Targets(task, tuple(names), tuple(values.sum(0).astype(int).tolist()), len(values))
    spread = values.std(0)
    spread[spread == 0] = 1.0  # a number that never changes
    return Targets(task, tuple(names), (), len(values), tuple(values.mean(0).tolist()), tuple(spread.tolist()))
