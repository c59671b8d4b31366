"""Backbones and their weights: the network that has already learned to see, and where its knowledge comes from."""

from typing import ClassVar

from pydantic import SerializeAsAny

from finetune_core.parts.base import Part, knob


class Weights(Part):
    """Where the backbone's weights come from."""


class Bundled(Weights):
    """The small backbone that comes with Thaw: works offline, made for trying things out."""

    kind: ClassVar[str] = "bundled"
    title: ClassVar[str] = "Bundled with Thaw"


class Hub(Weights):
    """The weights that the library's authors publish; downloaded once, then read from this machine."""

    kind: ClassVar[str] = "hub"
    title: ClassVar[str] = "Published weights"
    tag: str = knob("", "Tag", "Which of several published sets, such as a1_in1k; empty means the library's default.")


class File(Weights):
    """A weights file of your own for this architecture: .safetensors, or .pth / .pt holding tensors only."""

    kind: ClassVar[str] = "file"
    title: ClassVar[str] = "A file"
    path: str = knob("", "Path", "Where the file lies on this machine.")


class RandomWeights(Weights):
    """No knowledge at all: every weight starts at random. Only useful to see what pretraining is worth."""

    kind: ClassVar[str] = "random"
    title: ClassVar[str] = "Random (untrained)"


class Backbone(Part):
    """The network that has already learned to see."""

    architecture: str = knob("", "Architecture", "The library's name for the network.")
    weights: SerializeAsAny[Weights] = Hub()


class Timm(Backbone):
    """A network from timm (PyTorch Image Models), the largest collection of image backbones."""

    kind: ClassVar[str] = "timm"
    title: ClassVar[str] = "timm"
    architecture: str = knob("resnet10t", "Architecture", "timm's name for the network, such as resnet50.")


class Torchvision(Backbone):
    """A network from torchvision, PyTorch's own collection."""

    kind: ClassVar[str] = "torchvision"
    title: ClassVar[str] = "torchvision"
    architecture: str = knob("resnet18", "Architecture", "torchvision's name for the network, such as resnet18.")
