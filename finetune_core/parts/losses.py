"""Losses: what the training makes small."""

from typing import ClassVar

from finetune_core.parts.base import Call, Part, knob


class Loss(Part):
    """What the training makes small."""

    def call(self) -> Call:
        """The loss as a torch module: logits (N, C) and class numbers (N,) to a scalar."""
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

    def call(self) -> Call:
        """Torch's own."""
        return Call("torch.nn.CrossEntropyLoss", kwargs={"label_smoothing": self.label_smoothing})
