"""Losses against torch, against their formulas and against counting by hand."""

from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finetune_core.errors import UserError
from finetune_core.parts import modules, tasks
from finetune_core.parts.losses import BCE, CrossEntropy, Focal, Loss, SmoothL1, SoftF1, Weighted
from finetune_core.parts.modules import FocalLoss, SoftF1Loss
from finetune_core.parts.tasks import Targets, single_label

COUNTS = [100, 10, 1]
TARGETS = single_label(COUNTS)
TASKS = {
    "single_label": TARGETS,
    "multi_label": Targets("multi_label", ("a", "b", "c"), (20, 100, 1), 111),
    "regression": Targets("regression", ("a", "b", "c"), (), 111, (0.0, 5.0, -2.0), (1.0, 2.0, 1.0)),
}
TABLE = (1.0, 1.0, 10.0)
WEIGHTED = [CrossEntropy, Focal]
NAMES = {**vars(modules), "torch": torch, "nn": nn}


def batch(images: int = 24, seed: int = 0, task: str = "single_label") -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = (torch.randn(images, 3, generator=generator) * 2).requires_grad_()
    if task == "single_label":
        return logits, torch.randint(3, (images,), generator=generator)
    numbers = torch.randn(images, 3, generator=generator)
    return logits, (numbers > 0).float() if task == "multi_label" else numbers


def same(ours: nn.Module, theirs: nn.Module, task: str = "single_label") -> None:
    """Value and slope are equal."""
    slopes = []
    for loss in (ours, theirs):
        logits, labels = batch(task=task)
        value = loss(logits, labels)
        value.backward()
        slopes.append((value.detach(), logits.grad))
    torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-6)


class Seed001(nn.Module):
    """The article's custom loss, as it stands there."""

    def __init__(self, class_weights: tuple[float, ...]) -> None:
        super().__init__()
        self.class_weights = class_weights

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        ce_loss = F.cross_entropy(inputs, targets, reduction="none")
        weights = torch.ones_like(targets).float()
        for class_idx, weight in enumerate(self.class_weights):
            weights[targets == class_idx] = weight
        return torch.mean(ce_loss * weights)


class TestClassWeights:
    def test_inverse_weights_make_every_class_count_the_same(self) -> None:
        weights = CrossEntropy(balance="inverse").class_weights(COUNTS)
        assert [weight * count for weight, count in zip(weights, COUNTS, strict=True)] == pytest.approx(
            [weights[2]] * 3
        )
        assert sum(weights) == pytest.approx(3)

    def test_effective_weights_are_gentler(self) -> None:
        inverse = CrossEntropy(balance="inverse").class_weights(COUNTS)
        effective = CrossEntropy(balance="effective").class_weights(COUNTS)
        assert effective[2] / effective[0] < inverse[2] / inverse[0]
        assert effective[0] < effective[1] < effective[2]

    @pytest.mark.parametrize("part", WEIGHTED)
    def test_a_table_is_taken_as_it_stands(self, part: type[Weighted]) -> None:
        assert part(balance="table", weights=TABLE).class_weights(COUNTS) == list(TABLE)

    @pytest.mark.parametrize("weights", [(), (1.0, 2.0)])
    def test_a_table_of_another_length_is_told_in_words(self, weights: tuple[float, ...]) -> None:
        with pytest.raises(UserError, match=rf"It has {len(weights)} weights, the data has 3 classes"):
            CrossEntropy(balance="table", weights=weights).call(TARGETS)

    @pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
    def test_a_weight_is_a_positive_number(self, weight: float) -> None:
        with pytest.raises(ValueError, match=r"1e-9 to 10000"):
            Focal(weights=(1.0, weight))


class TestCrossEntropy:
    @pytest.mark.parametrize("balance", ["none", "inverse", "effective", "table"])
    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    def test_it_is_torchs(self, balance: Literal["none", "inverse", "effective", "table"], smoothing: float) -> None:
        part = CrossEntropy(label_smoothing=smoothing, balance=balance, weights=TABLE)
        weight = torch.tensor(part.class_weights(COUNTS)) if balance != "none" else None
        same(part.call(TARGETS).build(), nn.CrossEntropyLoss(weight, label_smoothing=smoothing))

    def test_divided_by_the_images_it_is_seed_001s(self) -> None:
        part = CrossEntropy(balance="table", weights=TABLE, divide="images")
        same(part.call(TARGETS).build(), Seed001(TABLE))
        logits, labels = batch()
        torchs = part.replace(divide="weights").call(TARGETS).build()(logits, labels)
        assert part.call(TARGETS).build()(logits, labels).item() == pytest.approx(
            torchs.item() * torch.tensor(TABLE)[labels].mean().item(), rel=1e-5
        )

    def test_without_weights_there_is_nothing_to_choose(self) -> None:
        assert CrossEntropy(divide="images").call(TARGETS) == CrossEntropy().call(TARGETS)
        assert Focal(divide="images").call(TARGETS) == Focal().call(TARGETS)


class TestFocal:
    @pytest.mark.parametrize("divide", ["weights", "images"])
    @pytest.mark.parametrize("balance", ["none", "inverse", "table"])
    def test_at_gamma_0_it_is_cross_entropy(
        self, balance: Literal["none", "inverse", "table"], divide: Literal["weights", "images"]
    ) -> None:
        chosen = {"balance": balance, "weights": TABLE, "divide": divide}
        focal, plain = Focal(gamma=0.0, **chosen), CrossEntropy(**chosen)
        same(focal.call(TARGETS).build(), plain.call(TARGETS).build())

    @pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
    def test_its_formula(self, gamma: float) -> None:
        logits, labels = batch()
        right = logits.softmax(1)[range(len(labels)), labels]
        weights = torch.tensor(TABLE)[labels]
        each = -((1 - right) ** gamma) * right.log()
        unweighted, weighted = FocalLoss(gamma), FocalLoss(gamma, torch.tensor(TABLE))
        per_image = FocalLoss(gamma, torch.tensor(TABLE), per_image=True)
        torch.testing.assert_close(unweighted(logits, labels), each.mean())
        torch.testing.assert_close(weighted(logits, labels), (each * weights).sum() / weights.sum())
        torch.testing.assert_close(per_image(logits, labels), (each * weights).mean())

    def test_for_two_classes_it_is_torchvisions(self) -> None:
        from torchvision.ops import sigmoid_focal_loss

        logits, labels = torch.randn(16, 2), torch.randint(2, (16,))
        theirs = sigmoid_focal_loss(logits[:, 1] - logits[:, 0], labels.float(), alpha=-1, gamma=2, reduction="mean")
        torch.testing.assert_close(FocalLoss(2.0)(logits, labels), theirs)

    @pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
    def test_certainty_has_a_finite_slope(self, gamma: float) -> None:
        logits = torch.tensor([[200.0, 0.0], [16.0, 0.0], [-200.0, 0.0]], requires_grad=True)
        FocalLoss(gamma)(logits, torch.tensor([0, 0, 0])).backward()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()
        assert logits.grad[2, 0] < -0.3, "a certain mistake still counts in full"


class TestSoftF1:
    @staticmethod
    def by_hand(shares: list[list[float]], labels: list[int]) -> float:
        scores = []
        for number in sorted(set(labels)):
            hit = sum(row[number] for row, label in zip(shares, labels, strict=True) if label == number)
            false = sum(row[number] for row, label in zip(shares, labels, strict=True) if label != number)
            missed = sum(1 - row[number] for row, label in zip(shares, labels, strict=True) if label == number)
            precision, recall = hit / (hit + false), hit / (hit + missed)
            scores.append(2 * precision * recall / (precision + recall))
        return 1 - sum(scores) / len(scores)

    @pytest.mark.parametrize("classes", [(0, 1, 2), (0, 2)], ids=["all classes", "one class absent"])
    def test_counted_by_hand(self, classes: tuple[int, ...]) -> None:
        logits, labels = batch()
        kept = torch.isin(labels, torch.tensor(classes))
        logits, labels = logits[kept], labels[kept]
        assert SoftF1Loss()(logits, labels).item() == pytest.approx(
            self.by_hand(logits.softmax(1).tolist(), labels.tolist()), abs=1e-6
        )

    def test_of_certain_answers_it_is_one_minus_macro_f1(self) -> None:
        labels, told = torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([0, 0, 1, 1, 1, 0])
        f1 = (2 * 2 / (3 + 3) + 2 * 2 / (3 + 2) + 0) / 3
        assert SoftF1Loss()(F.one_hot(told, 3) * 1e4, labels).item() == pytest.approx(1 - f1, abs=1e-6)
        assert SoftF1Loss()(F.one_hot(labels, 3) * 1e4, labels).item() == pytest.approx(0, abs=1e-6)

    def test_going_down_its_slope_raises_f1(self) -> None:
        logits, labels = batch(60)
        logits = logits.detach().requires_grad_()
        before = SoftF1Loss()(logits, labels).item()
        for _ in range(200):
            (slope,) = torch.autograd.grad(SoftF1Loss()(logits, labels), logits)
            logits = (logits - 20 * slope).detach().requires_grad_()
        assert SoftF1Loss()(logits, labels).item() < before / 3


LOSSES: list[Loss] = [
    *(kind() for kind in Loss.kinds().values()),
    CrossEntropy(label_smoothing=0.1, balance="table", weights=TABLE, divide="images"),
    Focal(gamma=1.5, balance="effective"),
    Focal(balance="inverse", divide="images"),
]


EACH = [pytest.param(part, TASKS[task], id=f"{part!r}-{task}") for part in LOSSES for task in type(part).tasks]


@pytest.mark.parametrize(("part", "targets"), EACH)
class TestEveryLoss:
    def test_the_code_shown_is_the_loss_built(self, part: Loss, targets: Targets) -> None:
        call = part.call(targets)
        same(eval(call.code(), NAMES), call.build(), targets.task)

    def test_half_precision_under_autocast(self, part: Loss, targets: Targets) -> None:
        logits, labels = batch(task=targets.task)
        with torch.autocast("cpu", torch.bfloat16):
            value = part.call(targets).build()(logits.bfloat16(), labels)
        assert value.dtype is torch.float32
        assert value.item() == pytest.approx(part.call(targets).build()(logits, labels).item(), rel=0.02)

    def test_its_state_goes_with_the_device(self, part: Loss, targets: Targets) -> None:
        loss = part.call(targets).build()
        assert all(buffer.device.type == "meta" for buffer in loss.to("meta").buffers())
        assert all(
            weight in dict(loss.named_buffers()) for weight in ("weight",) if getattr(loss, weight, None) is not None
        )


def test_soft_f1_needs_no_counts() -> None:
    assert SoftF1().call(single_label([])) == SoftF1().call(TARGETS)


class TestOtherTasks:
    def test_every_task_has_its_usual_loss(self) -> None:
        for task in tasks.TASKS.values():
            assert task.key in Loss.kinds()[task.loss].tasks

    def test_a_loss_for_another_task_is_refused_and_names_those_that_fit(self) -> None:
        with pytest.raises(UserError, match=r"data has: tags.*soft_f1, bce") as caught:
            CrossEntropy().check("multi_label")
        assert "for: one class." in str(caught.value)

    def test_balanced_tags_weigh_presence_by_how_rare_it_is(self) -> None:
        logits, wanted = batch(task="multi_label")
        loss = BCE(balance=True).call(TASKS["multi_label"]).build()
        weights = torch.tensor([91 / 20, 11 / 100, 100.0])  # 110 to 1 is capped
        spelled = -(weights * wanted * logits.sigmoid().log() + (1 - wanted) * (1 - logits.sigmoid()).log()).mean()
        assert loss(logits, wanted).item() == pytest.approx(spelled.item(), rel=1e-5)

    def test_soft_f1_of_tags_asks_each_for_itself(self) -> None:
        loss = SoftF1().call(TASKS["multi_label"]).build()
        wanted = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
        assert loss((wanted * 2 - 1) * 1e4, wanted).item() == pytest.approx(0, abs=1e-6)
        assert loss((1 - wanted * 2) * 1e4, wanted).item() == pytest.approx(1, abs=1e-6)

    def test_smooth_l1_is_squared_near_and_straight_far(self) -> None:
        loss = SmoothL1(beta=2.0).call(TASKS["regression"]).build()
        assert loss(torch.tensor([[1.0]]), torch.tensor([[0.0]])).item() == pytest.approx(0.5 * 1 / 2)
        assert loss(torch.tensor([[5.0]]), torch.tensor([[0.0]])).item() == pytest.approx(5 - 0.5 * 2)
