"""Tasks: what a network is to say about an image, and by which number its answers are judged. No torch.

One class each (single-label), any number of tags (multi-label), or numbers (regression). A task knows everything that
depends on it: how labels are encoded, what outputs mean, what is counted, and its words.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from finetune_core.parts.base import Call

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["single_label", "multi_label", "regression"]

THRESHOLD = 0.5  # probability from which on a tag counts as predicted
ROUNDING = 4 * np.finfo(np.float64).eps  # a spread of this share of the numbers themselves is none
LARGE = 10_000  # from here on numbers are shown with more digits than four
TOP = 5  # likeliest classes, of which one may be right
BY_NAME = "by_name"  # what is measured for each class, tag or number alone


@dataclass(frozen=True)
class Score:
    """One number by which answers are judged; `share` ones lie in [0, 1] and are shown in percent."""

    key: str
    title: str
    help: str
    share: bool = True
    lower_is_better: bool = False
    rest: str = ""  # what is left to 100 % is called, where that has a name

    @property
    def inside(self) -> str:
        """The title as it stands inside a sentence: abbreviations such as mAP keep their capitals."""
        short = self.title[:2].isupper() or self.title[1:2].isupper()
        return self.title if short else self.title.lower()

    def shown(self, value: float | None) -> str:
        """As people read it: 93.3 %, or 1.27 in the unit of the data; a dash for what could not be measured."""
        if value is None or math.isnan(value):
            return "–"
        return f"{value:.1%}" if self.share else f"{value:.4g}"

    def told(self, value: float | None) -> str:
        """The same with what is left to 100 %, where that has a name: `93.3% (error rate 6.7%)`."""
        if not self.rest or value is None or math.isnan(value):
            return self.shown(value)
        return f"{self.shown(value)} ({self.rest} {self.shown(1 - value)})"

    def best(self, values: Sequence[float | None]) -> float | None:
        """The best of some values, None where there is none."""
        known = [value for value in values if value is not None and not math.isnan(value)]
        if not known:
            return None
        return min(known) if self.lower_is_better else max(known)

    def signed(self, value: float) -> float:
        """Larger is better; what could not be measured is worst."""
        if math.isnan(value):
            return -math.inf
        return -value if self.lower_is_better else value


@dataclass(frozen=True)
class Targets:
    """What the training images are labelled with; `names` are the classes, tags or numbers, one per output.

    `counts` holds the training images of each class or tag, `images` the number of all of them. Numbers are learned
    in standard units: less `mean`, divided by `std`, both over the training images.

    What was fitted to a trained model's answers comes later: a `temperature` that outputs for classes are divided by
    (Guo et al. 2017), and the probability from which on each tag counts, `THRESHOLD` where there are no `thresholds`.
    """

    task: Kind
    names: tuple[str, ...]
    counts: tuple[int, ...] = ()
    images: int = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    temperature: float = 1.0
    thresholds: tuple[float, ...] = ()

    @property
    def about(self) -> Task:
        """The task itself."""
        return TASKS[self.task]

    @property
    def priors(self) -> list[float]:
        """The bias of the last layer at which every answer is as likely as among the training images."""
        return self.about.priors(self)

    def encoded(self, labels: Sequence[Any]) -> np.ndarray:
        """Labels as the loss wants them: (N,) int64 for classes, (N, names) float32 for tags and for numbers."""
        return self.about.encoded(self, labels)

    def in_units(self, values: np.ndarray) -> np.ndarray:
        """Numbers (N, names), or (names,), in their own units again."""
        found: np.ndarray = values * np.asarray(self.std) + np.asarray(self.mean)
        return found

    def threshold(self, name: str) -> float:
        """The probability from which on a tag counts."""
        return self.thresholds[self.names.index(name)] if self.thresholds else THRESHOLD

    @property
    def bars(self) -> np.ndarray:
        """What each tag's output must reach to count, (names,) float64: the logarithm of its threshold's odds."""
        chosen = np.asarray(self.thresholds or (THRESHOLD,) * len(self.names))
        return np.log(chosen) - np.log1p(-chosen)


class Task(ABC):
    """A kind of answer. The first of the `scores` decides which epoch is the best; `loss` is the usual loss's kind.

    `by_name` says what is measured for each class, tag or number alone; `exclusive` whether an image has exactly one
    of the names, so that images can be ordered, split and balanced by it.
    """

    key: ClassVar[Kind]
    title: ClassVar[str]
    help: ClassVar[str]
    noun: ClassVar[str]  # one of the names: class, tag, number
    nouns: ClassVar[str]
    loss: ClassVar[str]
    scores: ClassVar[tuple[Score, ...]]
    by_name: ClassVar[Score]
    exclusive: ClassVar[bool] = False
    counted: ClassVar[bool] = True  # whether there are images that have a name, and others that have not
    divisible: ClassVar[bool] = True  # whether a piece of an image has its share of the label

    @property
    def score(self) -> Score:
        """The one that decides."""
        return self.scores[0]

    @property
    def constant(self) -> str:
        """What the list of names is called in code."""
        return self.nouns.upper()

    def there(self, count: int) -> str:
        """So many of them, in words: `12 classes`."""
        return f"{count} {self.noun if count == 1 else self.nouns}"

    @abstractmethod
    def targets_from(self, names: Sequence[str], labels: Sequence[Any]) -> Targets:
        """Targets as these labels of the training images show them."""

    @abstractmethod
    def encoded(self, targets: Targets, labels: Sequence[Any]) -> np.ndarray:
        """Labels as the loss wants them."""

    @abstractmethod
    def priors(self, targets: Targets) -> list[float]:
        """The bias of the last layer at which every answer is as likely as among the training images."""

    @abstractmethod
    def members(self, labels: np.ndarray, name: int) -> np.ndarray:
        """Indices of the images that have this class or tag."""

    @abstractmethod
    def words(self, names: Sequence[str], label: Any) -> str:
        """A label in words."""

    @abstractmethod
    def spelled(self, targets: Targets, wanted: Any) -> str:
        """An encoded label in words."""

    @abstractmethod
    def meaning(self, targets: Targets, outputs: Tensor) -> Tensor:
        """Outputs (N, names) as probabilities, or as numbers in their own units."""

    @abstractmethod
    def meaning_code(self, targets: Targets) -> str:
        """The same as an expression, of `outputs`."""

    def answers(self, targets: Targets, values: Tensor, most: int) -> list[tuple[str, float]]:
        """What one image's meaning (names,) says: the `most` likeliest names with their probabilities."""
        shares, indices = values.topk(min(most, len(targets.names)))
        return [(targets.names[index], share) for index, share in zip(indices.tolist(), shares.tolist(), strict=True)]

    def shown(self, value: float) -> str:
        """The value of an answer as people read it."""
        return f"{value:.1%}"

    def seen(self, targets: Targets, answers: Sequence[tuple[str, float]]) -> list[str]:
        """The names that an answer comes to: the likeliest."""
        return [answers[0][0]]

    def summed_up(self, targets: Targets, answers: Sequence[tuple[str, float]]) -> str:
        """An answer in a few words: the likeliest name."""
        name, share = answers[0]
        return f"{name}, {self.shown(share)}"

    @abstractmethod
    def averaged(self, targets: Sequence[Targets], outputs: Sequence[np.ndarray]) -> np.ndarray:
        """The mean of what several outputs (N, names) mean, each by its targets, as an output of the first's."""

    def right(self, targets: Targets, values: Tensor, wanted: Any) -> bool | None:
        """Whether one image's meaning (names,) is its encoded label; None where it can only be near or far."""
        return None

    @abstractmethod
    def metrics(self, names: int) -> dict[str, Call]:
        """torchmetrics for each score, by its key, and the one by name.

        What gives a value for each name is meant as the mean over those that occur among the images.
        """

    def occurring(self, by_name: Tensor) -> Tensor:
        """Which names occur among the images (names,) bool, told by what was measured for each alone."""
        return ~by_name.isnan()

    @abstractmethod
    def read(self, targets: Targets, outputs: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (N, names) and encoded labels, or shares of each class, as the metrics take them."""


class OneClass(Task):
    """Every image belongs to exactly one class."""

    key = "single_label"
    title = "One class"
    help = "Every image belongs to exactly one class."
    noun, nouns = "class", "classes"
    loss = "cross_entropy"
    scores = (
        Score("accuracy", "Accuracy", "Share of images whose likeliest class is the right one.", rest="error rate"),
        Score("top5", "Top-5 accuracy", "Share of images whose class is among the five likeliest."),
        Score("balanced_accuracy", "Balanced accuracy", "Mean accuracy of the classes: rare ones count alike."),
        Score("macro_f1", "Macro F1", "Mean over the classes of F1, which punishes misses and false alarms."),
    )
    by_name = Score("recall", "Recall", "Share of a class's images that were recognised.")
    exclusive = True

    def targets_from(self, names: Sequence[str], labels: Sequence[Any]) -> Targets:
        """With the images of each class counted."""
        counts = np.bincount(np.asarray(labels, np.int64), minlength=len(names)).tolist()
        return Targets(self.key, tuple(names), tuple(counts), sum(counts))

    def encoded(self, targets: Targets, labels: Sequence[Any]) -> np.ndarray:
        """Class numbers (N,) int64."""
        return np.asarray(labels, np.int64)

    def priors(self, targets: Targets) -> list[float]:
        """Logarithms of the classes' shares."""
        counts = _at_least_one(targets)
        return np.log(counts / counts.sum()).tolist()

    def members(self, labels: np.ndarray, name: int) -> np.ndarray:
        """Those of this class."""
        return np.flatnonzero(labels == name)

    def words(self, names: Sequence[str], label: Any) -> str:
        """The class."""
        return names[label]

    def spelled(self, targets: Targets, wanted: Any) -> str:
        """The class."""
        return targets.names[int(wanted)]

    def meaning(self, targets: Targets, outputs: Tensor) -> Tensor:
        """The classes share one probability."""
        return (outputs if targets.temperature == 1 else outputs / targets.temperature).softmax(1)

    def meaning_code(self, targets: Targets) -> str:
        """Softmax."""
        return f"{'outputs' if targets.temperature == 1 else f'(outputs / {targets.temperature!r})'}.softmax(1)"

    def averaged(self, targets: Sequence[Targets], outputs: Sequence[np.ndarray]) -> np.ndarray:
        """The logarithms of the mean probabilities, times the first's temperature."""
        wide = [each.astype(np.float64) / own.temperature for own, each in zip(targets, outputs, strict=True)]
        logs = _mean_of_logs([each - np.logaddexp.reduce(each, axis=1, keepdims=True) for each in wide])
        return targets[0].temperature * logs

    def right(self, targets: Targets, values: Tensor, wanted: Any) -> bool:
        """Whether the likeliest class is the right one."""
        return int(values.argmax()) == int(wanted)

    def metrics(self, names: int) -> dict[str, Call]:
        """Top-5 only where there are more classes than that."""
        common: dict[str, Any] = {"num_classes": names, "validate_args": False}
        accuracy = f"{CLASSIFICATION}.MulticlassAccuracy"
        top = {"top5": Call(accuracy, kwargs={"top_k": TOP, "average": "micro", **common})} if names > TOP else {}
        return {
            "accuracy": Call(accuracy, kwargs={"average": "micro", **common}),
            **top,
            "balanced_accuracy": Call(accuracy, kwargs={"average": "none", **common}),
            "macro_f1": Call(f"{CLASSIFICATION}.MulticlassF1Score", kwargs={"average": "none", **common}),
            BY_NAME: Call(
                f"{CLASSIFICATION}.MulticlassRecall",
                kwargs={"average": "none", "zero_division": math.nan, **common},
            ),
        }

    def read(self, targets: Targets, outputs: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Class numbers; of a mixed image the heavier class counts."""
        return outputs, wanted.argmax(1) if wanted.is_floating_point() else wanted


class Tags(Task):
    """Every image has any number of tags, also none."""

    key = "multi_label"
    title = "Tags"
    help = "Every image has any number of tags, also none."
    noun, nouns = "tag", "tags"
    loss = "bce"
    scores = (
        Score("map", "mAP", "Mean over the tags of the average precision: how well images are ranked by each."),
        Score(
            "macro_f1", "Macro F1", "Mean over the tags of F1, each counting from its threshold on (0.5 unless chosen)."
        ),
        Score("micro_f1", "Micro F1", "F1 over all single decisions, each tag counting from its threshold on."),
    )
    by_name = Score("average_precision", "Average precision", "How well images are ranked by one tag.")

    def targets_from(self, names: Sequence[str], labels: Sequence[Any]) -> Targets:
        """With the images of each tag counted."""
        values = np.asarray(labels, np.float64)
        return Targets(self.key, tuple(names), tuple(values.sum(0).astype(int).tolist()), len(values))

    def encoded(self, targets: Targets, labels: Sequence[Any]) -> np.ndarray:
        """0 or 1 for each tag (N, names) float32."""
        return np.asarray(labels, np.float32)

    def priors(self, targets: Targets) -> list[float]:
        """Logarithms of each tag's odds."""
        counts = _at_least_one(targets)
        return np.log(counts / np.maximum(targets.images - counts, 1.0)).tolist()

    def members(self, labels: np.ndarray, name: int) -> np.ndarray:
        """Those that have this tag."""
        return np.flatnonzero(labels[:, name] > 0)

    def words(self, names: Sequence[str], label: Any) -> str:
        """The tags that are there."""
        return ", ".join(name for name, there in zip(names, label, strict=True) if there) or "no tag"

    def spelled(self, targets: Targets, wanted: Any) -> str:
        """The tags that are there."""
        return self.words(targets.names, wanted >= THRESHOLD)

    def meaning(self, targets: Targets, outputs: Tensor) -> Tensor:
        """Each tag has a probability of its own."""
        return outputs.sigmoid()

    def meaning_code(self, targets: Targets) -> str:
        """Sigmoid."""
        return "outputs.sigmoid()"

    def seen(self, targets: Targets, answers: Sequence[tuple[str, float]]) -> list[str]:
        """The tags that count as predicted."""
        return [name for name, share in answers if share >= targets.threshold(name)]

    def summed_up(self, targets: Targets, answers: Sequence[tuple[str, float]]) -> str:
        """The same in words."""
        return ", ".join(self.seen(targets, answers)) or "no tag"

    def averaged(self, targets: Sequence[Targets], outputs: Sequence[np.ndarray]) -> np.ndarray:
        """The logarithms of each tag's mean odds."""
        wide = [each.astype(np.float64) for each in outputs]
        there, not_there = (_mean_of_logs([-np.logaddexp(0, sign * each) for each in wide]) for sign in (-1, 1))
        return there - not_there

    def right(self, targets: Targets, values: Tensor, wanted: Any) -> bool:
        """Whether exactly its tags count as predicted."""
        bars = targets.thresholds or (THRESHOLD,) * len(wanted)
        said = [value >= bar for value, bar in zip(values.tolist(), bars, strict=True)]
        return said == [there >= THRESHOLD for there in wanted]

    def metrics(self, names: int) -> dict[str, Call]:
        """Average precision ranks by probability; F1 decides at one half."""
        common: dict[str, Any] = {"num_labels": names, "validate_args": False}
        precision, f1 = f"{CLASSIFICATION}.MultilabelAveragePrecision", f"{CLASSIFICATION}.MultilabelF1Score"
        return {
            "map": Call(precision, kwargs={"average": "none", **common}),
            "macro_f1": Call(f1, kwargs={"threshold": THRESHOLD, "average": "none", **common}),
            "micro_f1": Call(f1, kwargs={"threshold": THRESHOLD, "average": "micro", **common}),
            BY_NAME: Call(precision, kwargs={"average": "none", **common}),
        }

    def occurring(self, by_name: Tensor) -> Tensor:
        """A tag that occurs is ranked somewhere, so its average precision is above zero."""
        return by_name > 0

    def read(self, targets: Targets, outputs: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities, moved so that each tag counts from one half on, and whether it is there."""
        wide = outputs.double()  # else low thresholds would make likely ones alike, which are to be ranked
        moved = wide - wide.new_tensor(targets.bars) if targets.thresholds else outputs
        return moved.sigmoid(), (wanted >= THRESHOLD).long()


class Numbers(Task):
    """Every image has one number or several."""

    key = "regression"
    title = "Numbers"
    help = "Every image has one number or several, such as an age or a weight."
    noun, nouns = "number", "numbers"
    loss = "smooth_l1"
    scores = (
        Score("mae", "Mean error", "Mean absolute error (MAE), in the unit of the data.", False, True),
        Score("rmse", "RMSE", "Root of the mean squared error: large misses count more.", False, True),
        Score("r2", "R²", "Share of the variance that is explained; 0 is as good as always saying the mean.", False),
    )
    by_name = Score("mae", "Mean error", "Mean absolute error of one number, in its unit.", False, True)
    counted = False
    divisible = False

    def there(self, count: int) -> str:
        """`2 numbers to learn`."""
        return f"{super().there(count)} to learn"

    def targets_from(self, names: Sequence[str], labels: Sequence[Any]) -> Targets:
        """With mean and standard deviation of each number, in float64; 1 for one that never changes."""
        values = np.asarray(labels, np.float64)
        apart = values - values[0]  # exact where numbers are close to each other, however far from zero they lie
        mean, spread = values[0] + apart.mean(0), apart.std(0)
        spread[spread <= ROUNDING * np.abs(values).max(0)] = 1.0
        return Targets(self.key, tuple(names), (), len(values), tuple(mean.tolist()), tuple(spread.tolist()))

    def encoded(self, targets: Targets, labels: Sequence[Any]) -> np.ndarray:
        """In standard units (N, names) float32; float32 alone could not tell numbers far from zero apart."""
        values = np.asarray(labels, np.float64)
        return ((values - np.asarray(targets.mean)) / np.asarray(targets.std)).astype(np.float32)

    def priors(self, targets: Targets) -> list[float]:
        """In standard units the mean is zero."""
        return [0.0] * len(targets.names)

    def members(self, labels: np.ndarray, name: int) -> np.ndarray:
        """All: every image has every number."""
        return np.arange(len(labels))

    def words(self, names: Sequence[str], label: Any) -> str:
        """Each number with its name."""
        return ", ".join(f"{name} {self.shown(value)}" for name, value in zip(names, label, strict=True))

    def spelled(self, targets: Targets, wanted: Any) -> str:
        """Each number with its name, back from standard units."""
        return self.words(targets.names, targets.in_units(wanted))

    def meaning(self, targets: Targets, outputs: Tensor) -> Tensor:
        """Back from standard units, in float64; on the CPU where the device has no such numbers."""
        wide = (outputs.cpu() if outputs.device.type == "mps" else outputs).double()
        return wide * wide.new_tensor(targets.std) + wide.new_tensor(targets.mean)

    def meaning_code(self, targets: Targets) -> str:
        """Back from standard units."""
        std, mean = (f"torch.tensor({[*each]!r}, dtype=torch.float64)" for each in (targets.std, targets.mean))
        return f"outputs.double() * {std} + {mean}"

    def answers(self, targets: Targets, values: Tensor, most: int) -> list[tuple[str, float]]:
        """All numbers."""
        return list(zip(targets.names, values.tolist(), strict=True))

    def averaged(self, targets: Sequence[Targets], outputs: Sequence[np.ndarray]) -> np.ndarray:
        """The mean numbers, in the first's standard units: each learned in its own."""
        first = targets[0]
        shifts = ((np.asarray(each.mean) - np.asarray(first.mean)) / np.asarray(first.std) for each in targets)
        scales = (np.asarray(each.std) / np.asarray(first.std) for each in targets)
        found: np.ndarray = np.mean([o * a + b for o, a, b in zip(outputs, scales, shifts, strict=True)], axis=0)
        return found

    def seen(self, targets: Targets, answers: Sequence[tuple[str, float]]) -> list[str]:
        """All of them."""
        return [name for name, _ in answers]

    def summed_up(self, targets: Targets, answers: Sequence[tuple[str, float]]) -> str:
        """All numbers with their names."""
        return ", ".join(f"{name} {self.shown(value)}" for name, value in answers)

    def shown(self, value: float) -> str:
        """In the unit of the data; of large numbers enough digits to tell times and serial numbers apart."""
        return f"{value:.4g}" if abs(value) < LARGE else f"{value:.10g}"

    def metrics(self, names: int) -> dict[str, Call]:
        """Over all numbers together, and the mean error of each."""
        return {
            "mae": Call("torchmetrics.MeanAbsoluteError"),
            "rmse": Call("torchmetrics.MeanSquaredError", kwargs={"squared": False}),
            "r2": Call("finetune_core.parts.measures.ExplainedShare"),
            BY_NAME: Call("torchmetrics.MeanAbsoluteError", kwargs={"num_outputs": names}),
        }

    def read(self, targets: Targets, outputs: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Both in the unit of the data, less the mean: far from zero, misses would drown in rounding."""
        spread = outputs.new_tensor(targets.std)
        return outputs * spread, wanted * spread


CLASSIFICATION = "torchmetrics.classification"
ONE_CLASS, TAGS, NUMBERS = OneClass(), Tags(), Numbers()
TASKS: Mapping[str, Task] = {task.key: task for task in (ONE_CLASS, TAGS, NUMBERS)}


def softmax(values: np.ndarray) -> np.ndarray:
    """Outputs (N, classes) as shares that come to 1, for what does without torch."""
    raised = np.exp(values - values.max(1, keepdims=True))
    found: np.ndarray = raised / raised.sum(1, keepdims=True)
    return found


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Outputs as probabilities of their own, each in (0, 1), in the same precision."""
    with np.errstate(over="ignore"):
        found: np.ndarray = 1 / (1 + np.exp(-values))
    return found


def _mean_of_logs(values: Sequence[np.ndarray]) -> np.ndarray:
    """The logarithm of the mean of what these are logarithms of."""
    found: np.ndarray = np.logaddexp.reduce(np.stack(values), axis=0) - math.log(len(values))
    return found


def _at_least_one(targets: Targets) -> np.ndarray:
    """The images of each name, none counting as one."""
    return np.maximum(np.asarray(targets.counts, np.float64), 1.0)


def single_label(counts: Sequence[int], names: Sequence[str] = ()) -> Targets:
    """Targets of one class each, from the images per class."""
    named = tuple(names) or tuple(map(str, range(len(counts))))
    return Targets(ONE_CLASS.key, named, tuple(counts), sum(counts))


def targets_from(task: Kind, names: Sequence[str], labels: Sequence[Any]) -> Targets:
    """Targets as these labels of the training images show them."""
    return TASKS[task].targets_from(names, labels)
