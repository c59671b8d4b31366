"""What every head promises, whoever wrote it."""

import pytest
import torch
from torch import nn

from finetune_core.model import build
from finetune_core.parts.backbones import RandomWeights, Timm, Torchvision
from finetune_core.parts.heads import Head
from finetune_core.recipe import Model

HEADS = [kind() for kind in Head.kinds().values()]


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.kind)
class TestEveryHead:
    def test_maps_features_to_logits_of_the_told_size(self, head: Head) -> None:
        built = head.call(24, 5).build()
        assert built(torch.randn(3, 24)).shape == (3, 5)
        assert head.parameters(24, 5) == sum(p.numel() for p in built.parameters())

    def test_the_code_shown_is_the_module_built(self, head: Head) -> None:
        call = head.call(24, 5)
        assert repr(eval(call.code(), {"nn": nn})) == repr(call.build())

    @pytest.mark.parametrize(
        "backbone",
        [
            Timm(architecture="test_resnet", weights=RandomWeights()),
            Torchvision(architecture="squeezenet1_1", weights=RandomWeights()),
        ],
        ids=["after pooling", "before pooling"],
    )
    def test_learns_under_both_kinds_of_classifier(self, head: Head, backbone: Timm | Torchvision) -> None:
        torch.manual_seed(0)
        network = build(Model(backbone=backbone, head=head), 5)
        images, labels = torch.randn(6, 3, 64, 64), torch.arange(6) % 5
        nn.functional.cross_entropy(network.module(images), labels).backward()
        group = network.groups[-1]
        parameters = dict(network.module.named_parameters())
        assert group.name == "head"
        assert all(parameters[name].grad is not None for name in group.parameters)
        last_bias = parameters[group.parameters[-1]]
        assert last_bias.grad is not None
        assert last_bias.grad.abs().sum() > 0
