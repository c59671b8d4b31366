"""Mixed images: torchvision's own numbers, losses of shared labels against their formulas, exact steps."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import v2

from finetune_core.data.preview import mixtures, preview
from finetune_core.errors import UserError
from finetune_core.parts import Mixing
from finetune_core.parts.losses import CrossEntropy, SmoothL1
from finetune_core.parts.modules import CrossEntropyPerImage, FocalLoss, SoftF1Loss
from finetune_core.recipe import Recipe
from finetune_core.training import session
from finetune_core.training.stepper import Stepper

WEIGHTS = torch.tensor([1.0, 2.0, 7.0])
WAYS = {
    "mixup": v2.MixUp(alpha=0.7, num_classes=3),
    "cutmix": v2.CutMix(alpha=0.7, num_classes=3),
    "either": v2.RandomChoice([v2.MixUp(alpha=0.7, num_classes=3), v2.CutMix(alpha=0.7, num_classes=3)]),
}


def mixed(way: str, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    call = Mixing.model_validate({"kind": way, "alpha": 0.7}).call(3)
    assert call
    return call.build()(images, labels)


def stepping(recipe: Recipe) -> Stepper:
    made = session.prepare(recipe)
    stepper = Stepper(made)
    stepper.enter(recipe.phases[0])
    stepper.set_rates(dict.fromkeys(made.names, 0.0))
    return stepper


def changed(recipe: Recipe, **training: object) -> Recipe:
    for name, value in training.items():
        recipe = recipe.with_value(f"training.{name}", value)
    return recipe


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "labels", [torch.tensor([0, 2, 1, 1]), torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])]
)
def test_it_is_torchvisions(way: str, labels: Tensor) -> None:
    images = torch.rand(4, 3, 8, 8) * 255
    torch.manual_seed(5)
    ours = [mixed(way, images, labels) for _ in range(6)]
    torch.manual_seed(5)
    theirs = [WAYS[way](images, labels) for _ in range(6)]
    for (a, b), (c, d) in zip(ours, theirs, strict=True):
        assert torch.equal(a, c)
        assert torch.equal(b, d)
    assert any(((shares > 0.05) & (shares < 0.95)).any() for _, shares in ours)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("way", WAYS)
def test_a_step_learns_from_the_mixed_batch(tiny: Recipe, way: str, precision: str) -> None:
    """What is mixed before normalising equals what one would mix after it: shares add up to one."""
    stepper = stepping(changed(tiny, mix={"kind": way, "alpha": 0.7}, precision=precision))
    made = stepper.session
    images, labels = next(made.train.epoch(0))
    before = images.clone()
    torch.manual_seed(3)
    outcome = stepper.step(images, labels)
    made.normalised(floats := before.float())
    assert torch.equal(images, before), "the batch itself stays as it was"
    assert torch.equal(floats, before.float())
    torch.manual_seed(3)
    x, shares = WAYS[way](made.normalised(images), labels)
    with torch.no_grad(), made.autocast():
        logits = made.network.module(x)
    expected = -(shares * logits.float().log_softmax(1)).sum(1).mean().item()
    assert outcome.loss == pytest.approx(expected, rel={"fp32": 1e-5, "bf16": 1e-2}[precision])
    assert torch.allclose(outcome.targets, shares)


TABLE = {"balance": "table", "weights": WEIGHTS.tolist()}


@pytest.mark.parametrize(
    "loss",
    [
        {"kind": "cross_entropy", "label_smoothing": 0.1, **TABLE},
        {"kind": "cross_entropy", "divide": "images", **TABLE},
        {"kind": "focal", **TABLE},
    ],
    ids=["weights", "images", "focal"],
)
@pytest.mark.parametrize("way", ["mixup", "cutmix"])
def test_micro_batches_of_mixed_images_add_up(tiny: Recipe, loss: dict, way: str) -> None:
    recipe = changed(tiny, loss=loss, mix={"kind": way, "alpha": 1.0}, batch_size=7)
    recipe = recipe.with_value("model.backbone.architecture", "test_vit")  # without BatchNorm
    found = []
    for parts in (1, 3):
        stepper = stepping(changed(recipe, accumulate=parts))
        torch.manual_seed(1)
        loss_value = stepper.step(*next(stepper.session.train.epoch(0))).loss
        weights = stepper.session.network.module.named_parameters()
        found.append((loss_value, {name: weight.grad for name, weight in weights}))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-4, atol=1e-6)


def shared_labels() -> tuple[Tensor, Tensor]:
    """Logits and shares of three classes."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(9, 3, generator=generator) * 2
    return logits.requires_grad_(), torch.rand(9, 3, generator=generator).softmax(1)


class TestLosses:
    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    def test_cross_entropy_of_shares_is_its_formula(self, smoothing: float) -> None:
        logits, shares = shared_labels()
        smooth = shares * (1 - smoothing) + smoothing / 3
        formula = -(WEIGHTS * smooth * logits.log_softmax(1)).sum(1).mean()
        for loss in (nn.CrossEntropyLoss, CrossEntropyPerImage):
            torch.testing.assert_close(loss(WEIGHTS, label_smoothing=smoothing)(logits, shares), formula)

    @pytest.mark.parametrize("per_image", [False, True])
    @pytest.mark.parametrize("weight", [None, WEIGHTS], ids=["plain", "weights"])
    @pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
    def test_focal_of_shares_is_the_mean_over_classes(
        self, gamma: float, weight: Tensor | None, per_image: bool
    ) -> None:
        logits, shares = shared_labels()
        p = logits.softmax(1)
        formula = -(shares * (1 - p) ** gamma * p.log() * (1.0 if weight is None else weight)).sum(1).mean()
        loss = FocalLoss(gamma, weight, per_image)
        torch.testing.assert_close(loss(logits, shares), formula)
        if gamma == 0:
            torch.testing.assert_close(loss(logits, shares), nn.CrossEntropyLoss(weight)(logits, shares))

    @pytest.mark.parametrize("loss", [FocalLoss(2.0), SoftF1Loss(), CrossEntropyPerImage()], ids=repr)
    def test_whole_shares_are_class_numbers(self, loss: nn.Module) -> None:
        logits, shares = shared_labels()
        labels = shares.argmax(1)
        torch.testing.assert_close(loss(logits, F.one_hot(labels, 3).float()), loss(logits, labels))

    def test_soft_f1_of_shares_counted_by_hand(self) -> None:
        logits, shares = shared_labels()
        p = logits.softmax(1)
        f1 = [2 * (p[:, c] @ shares[:, c]) / (p[:, c].sum() + shares[:, c].sum()) for c in range(3)]
        torch.testing.assert_close(SoftF1Loss()(logits, shares), 1 - torch.stack(f1).mean())


class TestNumbers:
    def test_mixup_blends_numbers_as_images(self) -> None:
        images, numbers = torch.rand(2, 3, 4, 4), torch.tensor([[-1.0, 4, 2], [2.0, 0, -3]])
        x, y = mixed("mixup", images, numbers)
        share = ((x[0] - images[1]) / (images[0] - images[1])).median()  # of the first image in the first mixed one
        torch.testing.assert_close(y[0], share * numbers[0] + (1 - share) * numbers[1], rtol=1e-3, atol=1e-3)

    @pytest.mark.parametrize("way", ["cutmix", "either"])
    def test_a_piece_of_an_image_has_no_share_of_a_number(self, way: str) -> None:
        Mixing.model_validate(way).check(CrossEntropy(), "single_label")
        Mixing.model_validate("mixup").check(SmoothL1(), "regression")
        with pytest.raises(UserError, match="does not have its share of a number"):
            Mixing.model_validate(way).check(SmoothL1(), "regression")


@pytest.mark.parametrize("way", ["mixup", "cutmix"])
def test_what_is_shown_is_what_the_caption_says(tiny: Recipe, way: str) -> None:
    recipe = changed(tiny, mix={"kind": way, "alpha": 1.0}).replace(augment=())
    state = torch.get_rng_state()
    pair = (0, 20)
    originals = [np.asarray(row[0], float) for row in preview(recipe, pair, 0)]
    made = mixtures(recipe, pair, 5)
    assert torch.equal(torch.get_rng_state(), state)
    assert [share for share, _ in made] == [share for share, _ in mixtures(recipe, pair, 5)]
    assert len({share for share, _ in made}) == 5
    for share, picture in made:
        colour = share * originals[0].mean((0, 1)) + (1 - share) * originals[1].mean((0, 1))
        assert np.asarray(picture).mean((0, 1)) == pytest.approx(colour, abs=1 if way == "mixup" else 4)
    assert mixtures(tiny, pair, 5) == []
