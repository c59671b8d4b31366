"""From a recipe's model to a network that can train: backbone, weights, a new head, layer groups."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune_core import weight_files
from finetune_core.groups import LayerGroup, body_groups, layer_groups
from finetune_core.parts.weights import Body, Plan

if TYPE_CHECKING:
    from torch import nn

    from finetune_core.parts.heads import Head
    from finetune_core.recipe import Model

HEAD_STD = 0.01  # of the last layer's weights: scores start near zero, so that the first loss is about ln C


@dataclass
class Network:
    """A network with its new head; images are normalised with `mean` and `std` (per channel, of values in 0..1)."""

    module: nn.Module
    classifier: str  # dotted name of the head in the module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    groups: tuple[LayerGroup, ...]
    arguments: Mapping[str, Any] = field(default_factory=dict)  # what the library's constructor was given besides


def build(
    model: Model,
    outputs: int,
    progress: Callable[[str], None] | None = None,
    image_size: int | None = None,
    counts: Sequence[int] = (),
) -> Network:
    """The network of a recipe for `outputs` classes, on the CPU, weights loaded, the new head at random.

    Networks of fixed size are built for images of `image_size` px (None: the library's size). A head whose bias starts
    from the classes' shares needs `counts`, the training images per class. Seeds nothing: seed before. `progress` is
    told in words what takes time. UserError where weights cannot be had or do not fit.
    """
    plan = Plan(outputs, image_size)
    body = model.backbone.weights.build(model.backbone, plan, progress or (lambda text: None))
    network = _with_head(body, model, outputs)
    _start(network.module.get_submodule(network.classifier), model.head, counts)
    return network


def restore(model: Model, outputs: int, checkpoint: Path) -> Network:
    """The network of a recipe with all weights, the head's too, from a checkpoint of Thaw's (.safetensors)."""
    said = weight_files.facts(checkpoint)
    plan = Plan(outputs, arguments=said.arguments)
    network = _with_head(model.backbone.bare(plan), model, outputs)
    network.mean, network.std = said.mean or network.mean, said.std or network.std
    weight_files.fill(network.module, weight_files.tensors(checkpoint), (), checkpoint.name)
    return network


def description(model: Model, network: Network, outputs: int) -> dict[str, str]:
    """The safetensors metadata of a checkpoint: what it takes to build the network again."""
    return {
        "library": model.backbone.kind,
        "architecture": model.backbone.architecture,
        "model_kwargs": json.dumps(dict(network.arguments)),
        "num_classes": str(outputs),
        "mean": ",".join(map(str, network.mean)),
        "std": ",".join(map(str, network.std)),
    }


def _with_head(body: Body, model: Model, outputs: int) -> Network:
    """Put the head where the library's classifier was, under the same name, so that libraries can load checkpoints."""
    known = body_groups(body.module, body.classifier)
    classifier = (_plug_in if model.head.pools else _replace)(body, model, outputs)
    groups = layer_groups(body.module, classifier, known)
    return Network(body.module, classifier, body.mean, body.std, groups, body.arguments)


def _replace(body: Body, model: Model, outputs: int) -> str:
    """A head for pooled features in the classifier's place; returns its dotted name."""
    from torch import nn

    old: Any = body.module.get_submodule(body.classifier)
    head = model.head.call(old.in_channels if isinstance(old, nn.Conv2d) else old.in_features, outputs).build()
    body.module.set_submodule(body.classifier, _pointwise(head) if isinstance(old, nn.Conv2d) else head)
    return body.classifier


def _plug_in(body: Body, model: Model, outputs: int) -> str:
    """A head that pools in the place of the network's pooling and of all after it; returns its dotted name.

    Where the network flattens in between, the pooling itself stands apart; it has no weights.
    """
    socket = model.backbone.socket(body)
    head = model.head.over(socket.features, outputs).build()
    if socket.pool != socket.classifier:
        body.module.set_submodule(socket.pool, head[0])
        head = head[1:]
    body.module.set_submodule(socket.classifier, head)
    return socket.classifier


def _pointwise(layer: nn.Module) -> nn.Module:
    """The same layers for feature maps (N, C, H, W): linear ones as 1×1 convolutions."""
    from torch import nn

    if isinstance(layer, nn.Linear):
        return nn.Conv2d(layer.in_features, layer.out_features, 1, bias=layer.bias is not None)
    for name, child in layer.named_children():
        setattr(layer, name, _pointwise(child))
    return layer


def _start(head: nn.Module, chosen: Head, counts: Sequence[int]) -> None:
    """Give the last layer its first weights, by default so small that all classes are about equally likely.

    A library's own start can give a first loss far above ln C (4 to 6 instead of 2.3 for MobileNetV2 with ten
    classes), and the first steps then go into unlearning it: 15 points of accuracy after three epochs, measured.
    """
    import torch
    from torch import nn

    last = [layer for layer in head.modules() if isinstance(layer, (nn.Linear, nn.Conv2d))][-1]
    if chosen.init == "small":
        nn.init.normal_(last.weight, std=HEAD_STD)
    elif chosen.init == "zero":
        nn.init.zeros_(last.weight)
    if last.bias is None or chosen.bias == "torch":
        return
    nn.init.zeros_(last.bias)
    if chosen.bias == "priors":
        if len(counts) != len(last.bias):
            raise ValueError("a bias from the classes' shares needs the images of each class")
        images = torch.tensor(counts, dtype=last.bias.dtype).clamp_min(1)
        with torch.no_grad():
            last.bias.copy_((images / images.sum()).log())
