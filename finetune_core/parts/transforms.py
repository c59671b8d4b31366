"""Transforms: what training does to every image anew each epoch, so that the model learns what does not matter."""

from typing import ClassVar

from finetune_core.parts.base import Call, Part, knob


class Transform(Part):
    """What training does to every image anew each epoch."""

    active: bool = knob(True, "Active", "Whether this transform takes part.")

    def call(self, size: int) -> Call:
        """The torchvision v2 transform: uint8 image (3, H, W) to the same kind; `size` is the model's input in px."""
        raise NotImplementedError


class RandomResizedCrop(Transform):
    """Cut out a random part and scale it to the model's size: teaches that position and distance do not matter."""

    kind: ClassVar[str] = "random_resized_crop"
    title: ClassVar[str] = "Random crop"
    min_scale: float = knob(
        0.35, "Smallest part", "Share of the image's area that a crop keeps at least.", low=0.05, high=1.0
    )

    def call(self, size: int) -> Call:
        """Crop of random area and aspect ratio, resized to size × size."""
        kwargs = {"size": (size, size), "scale": (self.min_scale, 1.0), "antialias": True}
        return Call("torchvision.transforms.v2.RandomResizedCrop", kwargs=kwargs)


STANDARD: tuple[Transform, ...] = (RandomResizedCrop(),)
