"""Batch norm folded into frozen convolutions: the numbers of the network as it is, but for rounding."""

import copy

import pytest
import torch

from finetune_core.recipe import Recipe
from finetune_core.training import fold, session
from finetune_core.training.reuse import Learned, Measured, Plain
from finetune_core.training.stepper import Stepper
from tests.core.training.test_reuse import frozen, losses, of, stores

FOLDS = {"test_resnet": True, "mobilenetv2_035": True, "test_efficientnet": True, "densenet121": True}
NONE = {"test_convnext": False, "test_vit": False}


def folding(recipe: Recipe, views: int = 0) -> Recipe:
    """The head alone learns, by plain descent, which makes little of rounding."""
    plain = frozen(recipe, views).with_value("training.optimizer", {"kind": "sgd"})
    return plain.with_value("phases.0.learning_rate", 1e-4).with_value("training.fold", True)


@pytest.mark.parametrize("architecture", [*FOLDS, *NONE])
def test_the_frozen_layers_give_the_same(tiny: Recipe, architecture: str) -> None:
    made = session.prepare(folding(of(tiny, architecture).with_value("data.image_size", 64)))
    module = made.network.module
    for name, value in module.named_buffers():  # as after pretraining: no norm is neutral
        if name.endswith(("running_mean", "running_var")):
            value.add_(torch.rand_like(value) * 0.2)
    before = copy.deepcopy(module.state_dict())
    stepper = Stepper(made)
    stepper.enter(made.recipe.phases[0])
    part = stepper.feed.train.frozen
    assert bool(part) is (architecture in FOLDS)
    if part:
        batch_norms = sum(isinstance(each, torch.nn.BatchNorm2d) for each in module.modules())
        assert batch_norms / 3 < part.norms <= batch_norms  # DenseNet has half of its norms before convolutions
        images = torch.randint(0, 255, (5, 3, 64, 64), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
        true = part.cut.front(module, made.normalised(images))
        torch.testing.assert_close(part.answer(made, images), true, rtol=1e-3, atol=1e-4 * float(true.abs().max()))
    after = module.state_dict()
    assert [*after] == [*before]
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("views", [0, 2])
def test_a_run_learns_the_same_but_for_rounding_and_says_what_it_does(tiny: Recipe, views: int) -> None:
    recipe = folding(tiny, views)
    steps, valid, said = losses(recipe)
    assert "folded into the frozen convolutions" in said[0]
    true_steps, true_valid, unsaid = losses(recipe.with_value("training.fold", False))
    assert steps == pytest.approx(true_steps, rel=1e-4)
    assert valid == pytest.approx(true_valid, rel=1e-4)
    assert "folded" not in str(unsaid)


def test_rows_of_folded_layers_are_kept_apart(tiny: Recipe) -> None:
    losses(folding(tiny, 2))
    before = stores()
    losses(folding(tiny, 2).with_value("training.fold", False))
    assert len(stores()) == 2 * len(before)


def test_mixed_images_and_averages_go_with_it(tiny: Recipe) -> None:
    recipe = folding(tiny).with_value("training.mix", {"kind": "mixup"}).with_value("training.ema", 0.9)
    made = session.prepare(recipe)
    stepper = Stepper(made)
    stepper.enter(recipe.phases[0])
    train, valid = stepper.feed.train, stepper.feed.valid
    assert isinstance(train, Plain)
    assert train.frozen
    assert isinstance(valid, Plain)
    assert not valid.frozen
    losses(recipe)


def test_a_network_without_batch_norm_says_so(tiny: Recipe) -> None:
    _, _, said = losses(folding(of(tiny, "test_vit")))
    assert "none is folded" in said[0]


def test_what_learns_is_never_folded(tiny: Recipe) -> None:
    recipe = folding(tiny).with_value("phases.0.thaw", ["*"])
    made = session.prepare(recipe)
    stepper = Stepper(made)
    stepper.enter(recipe.phases[0])
    assert not isinstance(stepper.feed.train, (Learned, Measured))
    assert stepper.feed.train.frozen is None


def test_a_convolution_that_is_used_twice_stays(tiny: Recipe) -> None:
    class Twice(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.last = torch.nn.Conv2d(3, 3, 1), torch.nn.BatchNorm2d(3), torch.nn.Identity()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.last(self.norm(self.conv(self.conv(images))))

    from finetune_core.training.cut import Cut

    module = Twice().eval()
    cut = Cut("last", ("last",), {}, (3, 8, 8), (3, 8, 8), (0, 1, 2), torch.float32)
    assert fold.folded(module, cut) == (module, 0)
