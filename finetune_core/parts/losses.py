"""Losses: what the training makes small."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from finetune_core.errors import UserError
from finetune_core.parts.base import Call, Part, knob

EFFECTIVE = 0.999  # beta of the effective number of samples (Cui et al. 2019)
HEAVIEST = 1e4  # a class weight; beyond it the others no longer count


class Loss(Part):
    """What the training makes small."""

    def call(self, counts: Sequence[int]) -> Call:
        """The loss as a torch module, logits (N, C) and class numbers (N) to a scalar; `counts` are images per class.

        UserError where it does not fit so many classes.
        """
        raise NotImplementedError


class Weighted(Loss):
    """A loss in which some classes can count more than others."""

    balance: Literal["none", "inverse", "effective", "table"] = knob(
        "none",
        "Class weights",
        "Let rare classes count more: inversely to their number of images, more gently by their effective number, "
        "or by a table of your own.",
        more=True,
    )
    weights: tuple[float, ...] = knob(
        (),
        "Table of weights",
        "One weight per class, in the classes' order; read when the weights come by table.",
        more=True,
    )
    divide: Literal["weights", "images"] = knob(
        "weights",
        "Weighted mean",
        "Divide by the sum of the weights met, as torch does, or by the number of images as in seed 001: "
        "then a batch of heavy classes takes a larger step.",
        more=True,
    )

    @model_validator(mode="after")
    def _weights_count(self) -> Self:
        for weight in self.weights:
            if not 0 < weight <= HEAVIEST:
                raise ValueError(f"a class weight is {weight:g}; it must lie above 0 and at most {HEAVIEST:g}")
        return self

    def class_weights(self, counts: Sequence[int]) -> list[float]:
        """One weight per class, their mean being 1; those of the table as they are. UserError if it does not fit."""
        if self.balance == "table":
            return self._table(len(counts))
        shares = {
            "none": [1.0 for _ in counts],
            "inverse": [1 / max(1, count) for count in counts],
            "effective": [(1 - EFFECTIVE) / (1 - EFFECTIVE ** max(1, count)) for count in counts],
        }[self.balance]
        return [share * len(shares) / sum(shares) for share in shares]

    def weighting(self, counts: Sequence[int]) -> dict[str, Any]:
        """The keyword `weight` of a loss, or nothing where all classes count the same."""
        if self.balance == "none":
            return {}
        return {"weight": Call("torch.tensor", ([float(f"{weight:.6g}") for weight in self.class_weights(counts)],))}

    def _table(self, classes: int) -> list[float]:
        if len(self.weights) != classes:
            raise UserError(
                "The table of class weights does not fit the data.",
                f"It has {len(self.weights)} weights, the data has {classes} classes.",
                "Give one weight per class, in the order of the classes.",
            )
        return list(self.weights)


class CrossEntropy(Weighted):
    """Punishes a low probability for the right class: the standard for images that belong to exactly one class."""

    kind: ClassVar[str] = "cross_entropy"
    title: ClassVar[str] = "Cross-entropy"
    label_smoothing: float = knob(
        0.0,
        "Label smoothing",
        "Share of certainty given to the other classes; tames over-confidence.",
        low=0.0,
        high=0.5,
    )

    def call(self, counts: Sequence[int]) -> Call:
        """torch's own; a module of Thaw's where a weighted mean is to divide by the number of images."""
        kwargs = {"label_smoothing": self.label_smoothing, **self.weighting(counts)}
        per_image = self.divide == "images" and "weight" in kwargs
        return Call(
            "finetune_core.layers.CrossEntropyPerImage" if per_image else "torch.nn.CrossEntropyLoss", (), kwargs
        )


class Focal(Weighted):
    """Cross-entropy that cares less for images that are right already: for many easy images and a few hard ones.

    Lin et al. 2017, for several classes. At gamma 0 it is cross-entropy.
    """

    kind: ClassVar[str] = "focal"
    title: ClassVar[str] = "Focal"
    gamma: float = knob(
        2.0, "Gamma", "How strongly images that are right already are faded out; 0 fades none.", low=0.0, high=10.0
    )

    def call(self, counts: Sequence[int]) -> Call:
        """A module of Thaw's; torchvision's is for yes-or-no questions only."""
        weighting = self.weighting(counts)
        kwargs = {"gamma": self.gamma, **weighting}
        if weighting and self.divide == "images":
            kwargs["per_image"] = True
        return Call("finetune_core.layers.FocalLoss", (), kwargs)


class SoftF1(Loss):
    """Goes for the F1 score itself, counted with probabilities: every class weighs the same, however rare.

    Seed 001's metric-based loss. It sees one batch at a time, so the batch should hold several images of each class.
    """

    kind: ClassVar[str] = "soft_f1"
    title: ClassVar[str] = "Soft F1"

    def call(self, counts: Sequence[int]) -> Call:
        """A module of Thaw's."""
        return Call("finetune_core.layers.SoftF1Loss")
