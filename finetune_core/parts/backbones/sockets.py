"""Where a head goes that pools by itself: the place in a network that still sees where in the image a feature is.

timm can take its own pooling out. In torchvision's networks the pooling layer is found, or the place right before the
line of code that pools.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from finetune_core.errors import UserError

if TYPE_CHECKING:
    from torch import nn

Layout = Literal["NCHW", "NHWC", "NLC"]


@dataclass(frozen=True)
class Features:
    """What a network gives before it pools: feature maps, or tokens of which the first `prefix` stand for no place."""

    width: int  # channels
    layout: Layout = "NCHW"
    prefix: int = 0


@dataclass(frozen=True)
class Socket:
    """Where to plug such a head in, by dotted names, and what it will get there.

    `pool` is the module to be replaced by the pooling and `classifier` that for all layers after it; the same where
    the network does nothing in between.
    """

    pool: str
    classifier: str
    features: Features
    opening: tuple[str, ...] = ()  # what was done to the `model` before that, as code


def timm_socket(module: nn.Module, classifier: str, architecture: str, side: int, channels: int = 3) -> Socket:
    """Take timm's pooling and classifier out of a network made for images of `side` px; UserError where it has none."""
    from torch import nn

    place, width, opening = _opened(module, classifier, architecture)
    emptied = isinstance(module.get_submodule(place), nn.Identity)
    shape, after = _shapes(module, place, side, channels)
    prefix = int(getattr(module, "num_prefix_tokens", 0) or 0)
    if emptied and after != shape:  # with nothing there, the network should give what it gives its classifier
        raise no_map("timm", architecture, "Its code still pools or rearranges what the classifier gives")
    if len(shape) == 4 and width in (None, shape[1]):
        return Socket(place, place, Features(shape[1]), opening)
    if len(shape) == 4 and width == shape[3]:
        return Socket(place, place, Features(shape[3], "NHWC"), opening)
    if len(shape) == 3 and width in (None, shape[2]) and shape[1] - prefix > 1:
        return Socket(place, place, Features(shape[2], "NLC", prefix), opening)
    raise no_map("timm", architecture, f"Before its classifier one image is {'×'.join(map(str, shape[1:]))} numbers")


def _opened(module: nn.Module, classifier: str, architecture: str) -> tuple[str, int | None, tuple[str, ...]]:
    """The dotted name of what is given unpooled features, their width if it is the classifier's, and the code of it."""
    from timm.models.vgg import VGG
    from torch import nn

    network: Any = module
    layer: Any = module.get_submodule(classifier)
    root, nested, _ = classifier.partition(".")
    try:
        network.reset_classifier(0, "")
    except (AssertionError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        if nested:  # a block of its own that pools and classifies
            return root, None, ()
        raise no_map("timm", architecture, "timm cannot take its pooling out") from error
    opening = ('model.reset_classifier(0, "")',)
    if isinstance(module, VGG):  # its large layers pool too, by weights for 7×7 places
        network.pre_logits = nn.Identity()
        return classifier, None, (*opening, "model.pre_logits = nn.Identity()")
    place = _nearest(module, classifier)
    inputs = int(getattr(layer, "in_features", 0) or layer.in_channels)
    return place, inputs if place == classifier else None, opening


def torchvision_socket(module: nn.Module, classifier: str, architecture: str, side: int, channels: int = 3) -> Socket:
    """Find where a network of torchvision's pools, for images of `side` px; UserError where that is out of reach.

    All layers after the pooling are made for its width, so the head takes the place of them all.
    """
    from torch import nn
    from torchvision.models import DenseNet

    children = dict(module.named_children())
    root = classifier.partition(".")[0]
    before = list(children)[list(children).index(root) - 1]
    opening: tuple[str, ...] = ()
    if "avgpool" in children:
        pool = "avgpool"
    elif any(isinstance(layer, nn.AdaptiveAvgPool2d) for layer in children[root].modules()):
        pool = root
    elif isinstance(stage := children[before], nn.Sequential):
        if isinstance(module, DenseNet):
            stage.append(nn.ReLU())  # which its code does first, and doing it twice changes nothing
            opening = (f"model.{before}.append(nn.ReLU())",)
        pool = f"{before}.{len(stage)}"
        opening = (*opening, f"model.{before}.append(nn.Identity())")
        stage.append(nn.Identity())  # what is pooled here to one place is left alone by the code that follows
    else:
        raise no_map("torchvision", architecture, "Its code hands the class token alone to the head")
    shape, _ = _shapes(module, pool, side, channels)
    return Socket(pool, root, Features(shape[1]), opening)


def _nearest(module: nn.Module, path: str) -> str:
    """The dotted name, or that of the nearest module around it that is still there."""
    names = dict(module.named_modules())
    while path not in names:
        path = path.rpartition(".")[0]
    return path


def _shapes(module: nn.Module, path: str, side: int, channels: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """For one image, the shape that a module is given and that the network gives; from a real forward pass."""
    import torch

    shapes: list[tuple[int, ...]] = []
    place = module.get_submodule(path)
    watch = place.register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape)))
    was_training = module.training
    try:
        with torch.no_grad():  # not inference mode: some networks keep what they compute for a size
            result = module.eval()(torch.zeros(1, channels, side, side, device=next(module.parameters()).device))
    finally:
        module.train(was_training)
        watch.remove()
    return shapes[0], tuple(result.shape)


def no_map(library: str, architecture: str, why: str) -> UserError:
    """The words for a network that no head can pool."""
    return UserError(
        f"{library}'s {architecture} gives no features to pool.",
        f"{why}.",
        "Choose a linear or MLP head, or another architecture.",
    )
