"""Losses: what the training makes small."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from finetune_core.parts.base import Call, Part, knob

EFFECTIVE = 0.999  # beta of the effective number of samples (Cui et al. 2019)


class Loss(Part):
    """What the training makes small."""

    def call(self, counts: Sequence[int]) -> Call:
        """The loss as a torch module, logits (N, C) and class numbers (N) to a scalar; `counts` are images per class."""
        raise NotImplementedError


class CrossEntropy(Loss):
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
    balance: Literal["none", "inverse", "effective"] = knob(
        "none",
        "Class weights",
        "Let rare classes count more: inversely to their number of images, or more gently by their effective number.",
        more=True,
    )

    def call(self, counts: Sequence[int]) -> Call:
        """torch's own; its weighted mean divides by the sum of the weights met, not by N as seed 001 does."""
        kwargs: dict[str, Any] = {"label_smoothing": self.label_smoothing}
        if self.balance != "none":
            kwargs["weight"] = Call("torch.tensor", ([round(w, 6) for w in self.class_weights(counts)],))
        return Call("torch.nn.CrossEntropyLoss", kwargs=kwargs)

    def class_weights(self, counts: Sequence[int]) -> list[float]:
        """One weight per class, their mean being 1."""
        shares = {
            "none": [1.0 for _ in counts],
            "inverse": [1 / max(1, count) for count in counts],
            "effective": [(1 - EFFECTIVE) / (1 - EFFECTIVE ** max(1, count)) for count in counts],
        }[self.balance]
        return [share * len(shares) / sum(shares) for share in shares]
