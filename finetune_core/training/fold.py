"""Batch norm of frozen layers folded into the convolutions before it: the same but for rounding, in less time.

What a norm does in evaluation, a factor and an addend per channel, goes into the convolution's own weights. It is done
on a copy, so that state dict, averages and what is saved see the network as ever. As the cut, it is found by watching a
forward pass and proven by another, without knowledge of a family.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from finetune_core.training import cut as cutting
from finetune_core.training.cut import Cut


def folded(module: nn.Module, cut: Cut) -> tuple[nn.Module, int]:
    """A copy for `cut.front` whose norms before the cut are folded, and how many; the network itself where none is."""
    copy = deepcopy(module).eval()
    images = cutting.probe(module, cut.image)
    with torch.no_grad():
        pairs = _pairs(copy, cut, images)
        for convolution, norm in pairs:
            _fold(convolution, norm)
        proven = pairs and cutting.same(cut.front(module, images), cut.front(copy, images))
    return (copy, len(pairs)) if proven else (module, 0)


def _pairs(module: nn.Module, cut: Cut, images: Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Convolutions before the cut whose output is what a batch norm is given."""
    made: list[tuple[nn.Module, Tensor]] = []
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def answered(layer: nn.Module, given: Any, output: Tensor) -> None:
        made.append((layer, output))

    def begins(layer: nn.Module, given: Any) -> None:
        pairs.extend((each, layer) for each, output in made if given and output is given[0])  # type: ignore[misc]

    hooks = []
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            hooks.append(layer.register_forward_hook(answered))
        elif isinstance(layer, nn.BatchNorm2d) and layer.track_running_stats:
            hooks.append(layer.register_forward_pre_hook(begins))
    with cutting.hooked(*hooks):
        cut.front(module, images)
    used = [layer for layer, _ in made] + [norm for _, norm in pairs]
    return [pair for pair in pairs if all(used.count(each) == 1 for each in pair)]  # what is used twice stays


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight, bias = fuse_conv_bn_weights(
        convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    convolution.weight, convolution.bias = weight, bias
    act = getattr(norm, "act", nn.Identity())  # timm's norms go on with an activation
    norm.forward = act.forward  # type: ignore[method-assign]
