"""From a recipe's model to a network that can train: backbone, weights, a new head, layer groups."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune_core.network.groups import body_groups, layer_groups
from finetune_core.network.network import Fitting, Network
from finetune_core.parts import Call
from finetune_core.parts.backbones import reading, state_dicts, weight_files
from finetune_core.parts.backbones.spec import Body, Plan
from finetune_core.parts.heads import STARTS
from finetune_core.records import Report, silent

if TYPE_CHECKING:
    from torch import Tensor, nn

    from finetune_core.parts.backbones import Backbone
    from finetune_core.parts.heads import Head
    from finetune_core.recipe import Model


def build(
    model: Model,
    outputs: int,
    report: Report | None = None,
    image_size: int | None = None,
    priors: Sequence[float] = (),
    channels: int = 3,
) -> Network:
    """The network of a recipe for `outputs` classes, on the CPU, weights loaded, the new head at random.

    Networks of fixed size are built for images of `image_size` px (None: the library's size); for other than three
    `channels` the first layer's weights are adapted. A head whose bias starts
    from the classes' shares needs `priors`, as `Targets` has them. Seeds nothing: seed before. `report` is
    told in words what takes time. UserError where weights cannot be had or do not fit.
    """
    plan, report = Plan(outputs, image_size), report or silent
    body = model.backbone.weights.build(model.backbone, plan, report)
    network = with_head(body, model, outputs)
    _start(network.module.get_submodule(network.classifier), model.head, priors)
    if body.trained is not None:
        body.classifier = network.classifier
        _go_on(model.backbone, body, report)
    model.backbone.take(channels, network)
    network.notes = body.notes
    for note in network.notes:
        report(note)
    return network


def restore(model: Model, outputs: int, checkpoint: Path) -> Network:
    """The network of a recipe with all weights, the head's too, from a checkpoint of Thaw's (.safetensors)."""
    said = weight_files.facts(checkpoint)
    plan = Plan(outputs, arguments=said.arguments)
    body = model.backbone.bare(plan)
    model.backbone.take(len(said.mean) or body.channels, body)
    network = with_head(body, model, outputs)
    network.mean, network.std = said.mean or network.mean, said.std or network.std
    found = state_dicts.find(tree := reading.read(weight_files.opened(checkpoint)), network.module, ())
    if found.misfit:
        raise state_dicts.misfitting(tree, found, checkpoint.name)
    state_dicts.load(network.module, found.named)
    return network


def description(model: Model, network: Network, outputs: int) -> dict[str, str]:
    """The safetensors metadata of a checkpoint: what it takes to build the network again."""
    return {
        "library": model.backbone.kind,
        "architecture": model.backbone.architecture,
        "model_kwargs": json.dumps(dict(network.arguments)),
        "num_classes": str(outputs),
        "in_chans": str(network.channels),
        "mean": ",".join(map(str, network.mean)),
        "std": ",".join(map(str, network.std)),
    }


def apart(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict as safetensors takes it: on the CPU, and what a network uses twice (CoaT does) written twice."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in named.items():
        plain = value.detach().cpu().contiguous()
        place = plain.untyped_storage().data_ptr()
        found[name] = plain.clone() if place in seen else plain
        seen.add(place)
    return found


def with_head(body: Body, model: Model, outputs: int) -> Network:
    """Put the head where the library's classifier was, under the same name, so that libraries can load checkpoints."""
    known = body_groups(body.module, body.classifier)
    fitting = (_plug_in if model.head.pools else _replace)(body, model, outputs)
    for place, layer in fitting.layers:
        body.module.set_submodule(place, layer.build())
    groups = layer_groups(body.module, fitting.classifier, known, model.split, model.merge)
    return Network(body.module, fitting.classifier, body.mean, body.std, groups, fitting, body.arguments)


def _go_on(backbone: Backbone, body: Body, report: Report) -> None:
    """Fill a network from one that was trained; a head of another shape than the trained one stays new."""
    backbone.fill(body, body.trained, "the checkpoint")
    head, under = body.module.get_submodule(body.classifier), f"{body.classifier}."
    theirs = {name.removeprefix(under): value for name, value in body.trained.items() if name.startswith(under)}
    if state_dicts.fits(head, theirs):
        head.load_state_dict(theirs)
    else:
        report("The checkpoint's head does not fit: the head is new")


def _replace(body: Body, model: Model, outputs: int) -> Fitting:
    """A head for pooled features in the classifier's place."""
    from torch import nn

    old: Any = body.module.get_submodule(body.classifier)
    if isinstance(old, nn.Conv2d):
        head = _pointwise(model.head.call(old.in_channels, outputs))
    else:
        head = model.head.call(old.in_features, outputs)
    return Fitting(body.classifier, ((body.classifier, head),))


def _plug_in(body: Body, model: Model, outputs: int) -> Fitting:
    """A head that pools in the place of the network's pooling and of all after it.

    Where the network flattens in between, the pooling itself stands apart; it has no weights.
    """
    socket = model.backbone.socket(body)
    head = model.head.over(socket.features, outputs)
    if socket.pool == socket.classifier:
        return Fitting(socket.classifier, ((socket.classifier, head),), socket.opening)
    pool, *rest = head.args
    layers = ((socket.pool, pool), (socket.classifier, Call(head.target, tuple(rest))))
    return Fitting(socket.classifier, layers, socket.opening)


def _pointwise(layer: Call) -> Call:
    """The same layers for feature maps (N, C, H, W): linear ones as 1×1 convolutions."""
    if layer.target == "torch.nn.Linear":
        return Call("torch.nn.Conv2d", (*layer.args, 1))
    return Call(layer.target, tuple(_pointwise(a) if isinstance(a, Call) else a for a in layer.args), layer.kwargs)


def _start(head: nn.Module, chosen: Head, priors: Sequence[float]) -> None:
    """Give the last layer its first weights, by default so small that all classes are about equally likely.

    A library's own start can give a first loss far above ln C (4 to 6 instead of 2.3 for MobileNetV2 with ten
    classes), and the first steps then go into unlearning it: 15 points of accuracy after three epochs, measured.
    """
    import torch
    from torch import nn

    last = [layer for layer in head.modules() if isinstance(layer, (nn.Linear, nn.Conv2d))][-1]
    if chosen.init in STARTS:
        STARTS[chosen.init].build(last.weight)
    if last.bias is None or chosen.bias == "torch":
        return
    nn.init.zeros_(last.bias)
    if chosen.bias == "priors":
        if len(priors) != len(last.bias):
            raise ValueError("a bias from the classes' shares needs those of every class")
        with torch.no_grad():
            last.bias.copy_(torch.tensor(priors, dtype=last.bias.dtype))
