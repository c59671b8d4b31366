"""Losses against torch and against their formulas."""

import pytest
import torch

from finetune_core.parts.losses import CrossEntropy

COUNTS = [100, 10, 1]


def test_inverse_weights_make_every_class_count_the_same() -> None:
    weights = CrossEntropy(balance="inverse").class_weights(COUNTS)
    assert [weight * count for weight, count in zip(weights, COUNTS, strict=True)] == pytest.approx([weights[2]] * 3)
    assert sum(weights) == pytest.approx(3)


def test_effective_weights_are_gentler() -> None:
    inverse = CrossEntropy(balance="inverse").class_weights(COUNTS)
    effective = CrossEntropy(balance="effective").class_weights(COUNTS)
    assert effective[2] / effective[0] < inverse[2] / inverse[0]
    assert effective[0] < effective[1] < effective[2]


def test_the_loss_is_torchs() -> None:
    logits, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 0, 1])
    ours = CrossEntropy(label_smoothing=0.1, balance="inverse")
    weight = torch.tensor(ours.class_weights(COUNTS))
    theirs = torch.nn.functional.cross_entropy(logits, labels, weight=weight, label_smoothing=0.1)
    assert ours.call(COUNTS).build()(logits, labels).item() == pytest.approx(theirs.item(), abs=1e-5)
