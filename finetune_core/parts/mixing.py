"""Mixing: how an image of a batch and its label are blended with those of another, by torchvision."""

from __future__ import annotations

from typing import ClassVar

from finetune_core.errors import UserError
from finetune_core.parts.base import Call, Part, knob
from finetune_core.parts.losses import Loss
from finetune_core.parts.tasks import TASKS, Kind

V2 = "torchvision.transforms.v2"


class Mixing(Part):
    """How the images of a batch are blended with each other, and their labels in the same shares.

    Against over-confidence in long training on few images.
    """

    ways: ClassVar[tuple[str, ...]] = ()  # torchvision's names; of several one is drawn for each batch
    by_area: ClassVar[bool] = False  # whether a label is shared as the picture's area is

    def call(self, outputs: int) -> Call | None:
        """A batch of images and labels to the same, for a network of so many outputs; None where nothing is mixed.

        Images are floats (N, C, H, W); labels are class numbers (N) or numbers per output (N, outputs), and come back
        as the latter: shares of each class or tag. Each batch draws from torch's global generator.
        """
        return None

    def check(self, loss: Loss, task: Kind) -> None:
        """A UserError where mixed images cannot be learned from with this loss, or in this task."""
        if self.ways and not loss.takes_shares:
            raise UserError(
                f"The loss {loss.title} does not fit mixed images.",
                "It asks which images are of one class, and a mixed image is of two.",
                "Set the mixing to none, or choose another loss.",
            )
        if self.by_area and not TASKS[task].divisible:
            raise UserError(
                "CutMix does not fit the data.",
                "It mixes labels by area, and a piece of an image does not have its share of a number.",
                "Set the mixing to mixup, which blends the numbers as it blends the images, or to none.",
            )


class Unmixed(Mixing):
    """Every image is learned from alone, with its own label."""

    kind: ClassVar[str] = "none"
    title: ClassVar[str] = "None"


class Even(Mixing):
    """A mixing in shares that are drawn anew for each batch."""

    alpha: float = knob(
        0.4,
        "Evenness",
        "How evenly two images are mixed (alpha of a beta distribution): small leaves most nearly as they were, "
        "1 makes every share equally likely.",
        low=0.05,
        high=2.0,
    )

    def call(self, outputs: int) -> Call:
        """torchvision's own; of several one is drawn for each batch."""
        kwargs = {"alpha": self.alpha, "num_classes": outputs}
        calls = [Call(f"{V2}.{way}", kwargs=kwargs) for way in self.ways]
        return Call(f"{V2}.RandomChoice", (calls,)) if len(calls) > 1 else calls[0]


class MixUp(Even):
    """Lay two images over each other: the label is shared as the light is.

    Zhang et al. 2018.
    """

    kind: ClassVar[str] = "mixup"
    title: ClassVar[str] = "MixUp"
    ways: ClassVar[tuple[str, ...]] = ("MixUp",)


class CutMix(Even):
    """Paste a piece of one image into another: the label is shared as the area is.

    Yun et al. 2019.
    """

    kind: ClassVar[str] = "cutmix"
    title: ClassVar[str] = "CutMix"
    ways: ClassVar[tuple[str, ...]] = ("CutMix",)
    by_area: ClassVar[bool] = True


class Either(Even):
    """MixUp or CutMix, drawn anew for each batch."""

    kind: ClassVar[str] = "either"
    title: ClassVar[str] = "Either"
    ways: ClassVar[tuple[str, ...]] = ("MixUp", "CutMix")
    by_area: ClassVar[bool] = True
