"""Mixed images: MixUp and CutMix, by which an image of a batch and its label are blended with those of another.

Zhang et al. 2018 and Yun et al. 2019, by torchvision. Importing this needs no torch.
"""

from __future__ import annotations

from finetune_core.errors import UserError
from finetune_core.parts.base import Call
from finetune_core.recipe import Training

V2 = "torchvision.transforms.v2"
WAYS = {"mixup": ("MixUp",), "cutmix": ("CutMix",), "either": ("MixUp", "CutMix")}


def call(training: Training, outputs: int) -> Call | None:
    """The recipe's mixing for a network of so many outputs: a batch of images and labels to the same, or None.

    Images are floats (N, C, H, W); labels are class numbers (N) or numbers per output (N, outputs), and come back as
    the latter: shares of each class or tag. Each batch draws from torch's global generator.
    """
    if training.mix == "none":
        return None
    kwargs = {"alpha": training.mix_alpha, "num_classes": outputs}
    calls = [Call(f"{V2}.{name}", kwargs=kwargs) for name in WAYS[training.mix]]
    return calls[0] if len(calls) == 1 else Call(f"{V2}.RandomChoice", (calls,))


def check(training: Training, task: str) -> None:
    """A UserError where mixed images cannot be learned from."""
    if training.mix != "none" and not training.loss.takes_shares:
        raise UserError(
            f"The loss {training.loss.title} does not fit mixed images.",
            "It asks which images are of one class, and a mixed image is of two.",
            "Set the mixing to none, or choose another loss.",
        )
    if task == "regression" and training.mix in ("cutmix", "either"):
        raise UserError(
            "CutMix does not fit the data.",
            "It mixes labels by area, and a piece of an image does not have its share of a number.",
            "Set the mixing to mixup, which blends the numbers as it blends the images, or to none.",
        )
