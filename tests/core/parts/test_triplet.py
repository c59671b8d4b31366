"""The triplet loss against torch's, on triplets that are found here one by one."""

import itertools
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finetune_core.errors import UserError
from finetune_core.parts.modules import TripletLoss
from finetune_core.recipe import Recipe
from finetune_core.runs import preflight
from finetune_core.training.loop import Trainer
from finetune_core.training.session import prepare

MARGIN = 0.3
Triple = tuple[int, int, int]


def batch(images: int = 10) -> tuple[Tensor, Tensor]:
    """Three classes; of the last a single image, which has no positive."""
    generator = torch.Generator().manual_seed(2)
    labels = torch.randint(2, (images,), generator=generator)
    labels[-1] = 2
    return torch.randn(images, 4, generator=generator).requires_grad_(), labels


def distance(x: Tensor, a: int, b: int) -> float:
    unit = x.detach() / x.detach().norm(dim=1, keepdim=True)
    return float((unit[a] - unit[b]).norm())


def every(labels: Tensor) -> list[Triple]:
    return [
        (a, p, n)
        for a, p, n in itertools.permutations(range(len(labels)), 3)
        if labels[a] == labels[p] and labels[a] != labels[n]
    ]


def costly(x: Tensor, labels: Tensor) -> Iterable[Triple]:
    return [(a, p, n) for a, p, n in every(labels) if distance(x, a, n) < distance(x, a, p) + MARGIN]


def semi_hard(x: Tensor, labels: Tensor) -> Iterable[Triple]:
    return [(a, p, n) for a, p, n in costly(x, labels) if distance(x, a, n) > distance(x, a, p)]


def hardest(x: Tensor, labels: Tensor) -> Iterable[Triple]:
    for anchor in sorted({a for a, _, _ in every(labels)}):
        own = [(p, n) for a, p, n in every(labels) if a == anchor]
        farthest = max((p for p, _ in own), key=lambda p: distance(x, anchor, p))
        yield anchor, farthest, min((n for _, n in own), key=lambda n: distance(x, anchor, n))


MINED: dict[str, Callable[[Tensor, Tensor], Iterable[Triple]]] = {
    "hardest": hardest,
    "semi-hard": semi_hard,
    "all": costly,
}


@pytest.mark.parametrize("mining", MINED)
def test_it_is_torchs_on_the_triplets_that_are_mined(mining: str) -> None:
    x, labels = batch()
    chosen = list(MINED[mining](x, labels))
    assert 5 < len(chosen) < len(every(labels))
    triplets = (F.normalize(x)[list(places)] for places in zip(*chosen, strict=True))
    expected = nn.TripletMarginLoss(margin=MARGIN)(*triplets)
    found = TripletLoss(MARGIN, mining).triplets(x, labels)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    slopes = [torch.autograd.grad(value, x)[0] for value in (found, expected)]
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-4, atol=1e-5)


def test_cross_entropy_has_its_share() -> None:
    x, labels = batch()
    loss = TripletLoss(MARGIN, "hardest", classify=0.25)
    mixture = 0.25 * F.cross_entropy(x, labels) + 0.75 * loss.triplets(x, labels)
    torch.testing.assert_close(loss(x, labels), mixture)
    torch.testing.assert_close(TripletLoss(classify=1.0)(x, labels), F.cross_entropy(x, labels))


@pytest.mark.parametrize("mining", MINED)
@pytest.mark.parametrize("labels", [[0, 1, 2], [1, 1, 1], [0]], ids=["all differ", "all the same", "one image"])
def test_a_batch_without_triplets_costs_nothing_and_has_a_slope(mining: str, labels: list[int]) -> None:
    x = torch.randn(len(labels), 3, requires_grad=True)
    value = TripletLoss(MARGIN, mining).triplets(x, torch.tensor(labels))
    assert value.item() == 0
    value.backward()
    assert x.grad is not None
    assert not x.grad.any()


@pytest.mark.parametrize("mining", MINED)
def test_images_that_look_alike_have_a_finite_slope(mining: str) -> None:
    x = torch.ones(4, 3, requires_grad=True)
    TripletLoss(MARGIN, mining).triplets(x, torch.tensor([0, 0, 1, 1])).backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("mining", MINED)
def test_classes_part_and_are_named_right(tiny: Recipe, mining: str) -> None:
    recipe = tiny.with_value("training.loss", {"kind": "triplet", "mining": mining})
    recipe = recipe.with_value("phases.0", {"epochs": 12, "thaw": ["*"], "learning_rate": 3e-2})
    recipe = recipe.with_value("training.batch_size", 9)
    epochs = [record for record in Trainer(prepare(recipe)).run() if record.kind == "epoch"]
    assert epochs[-1].train_loss < epochs[0].train_loss / 2
    assert epochs[-1].valid_score == 1.0


def test_mixed_images_are_of_no_one_class(tiny: Recipe) -> None:
    recipe = tiny.with_value("training.loss", {"kind": "triplet"}).with_value("training.mix", "mixup")
    (finding,) = preflight.answers(recipe)
    assert "Triplet does not fit mixed images" in finding.text
    assert finding.mend
    assert not [*preflight.answers(recipe.with_value(finding.mend.path, finding.mend.value))]
    with pytest.raises(UserError, match="Triplet does not fit mixed images"):
        prepare(recipe)
