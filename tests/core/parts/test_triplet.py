"""The triplet loss against torch's, on triplets that are found here one by one."""

import itertools
from collections.abc import Callable, Iterable

import pytest
import torch
from pytorch_metric_learning import losses, miners
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.reducers import AvgNonZeroReducer, MeanReducer
from torch import Tensor, nn
from torch.nn import functional as F

from finetune_core.errors import UnsaidError, UserError
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


@pytest.mark.parametrize("normalise", [True, False], ids=["length one", "as they are"])
@pytest.mark.parametrize("mining", MINED)
def test_it_is_that_of_a_library_for_metric_learning(mining: str, normalise: bool) -> None:
    """Its semi-hard ones are those that cost something and whose negative is farther, as here."""
    generator = torch.Generator().manual_seed(5)
    x, labels = torch.randn(40, 8, generator=generator).requires_grad_(), torch.randint(4, (40,), generator=generator)
    apart = LpDistance(normalize_embeddings=normalise)
    miner = {
        "hardest": miners.BatchHardMiner(distance=apart),
        "semi-hard": miners.TripletMarginMiner(margin=MARGIN, type_of_triplets="semihard", distance=apart),
        "all": miners.TripletMarginMiner(margin=MARGIN, type_of_triplets="all", distance=apart),
    }[mining]
    mean = MeanReducer() if mining == "hardest" else AvgNonZeroReducer()
    theirs = losses.TripletMarginLoss(margin=MARGIN, distance=apart, reducer=mean)(x, labels, miner(x, labels))
    ours = TripletLoss(MARGIN, mining, normalise=normalise).triplets(x, labels)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    slopes = [torch.autograd.grad(value, x)[0] for value in (ours, theirs)]
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-4, atol=1e-6)


COMPARED = {
    "features": lambda module, images: module.forward_head(module.forward_features(images), pre_logits=True),
    "layer": lambda module, images: module.layer3(
        module.layer2(module.layer1(module.maxpool(module.act1(module.bn1(module.conv1(images))))))
    ).mean((2, 3)),
    "probabilities": lambda module, images: module(images).softmax(1),
    "outputs": lambda module, images: module(images),
}


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("compare", COMPARED)
def test_what_is_compared_is_what_plain_torch_finds_there(tiny: Recipe, compare: str, accumulate: int) -> None:
    loss = {"kind": "triplet", "compare": compare, "layer": "layer3" if compare == "layer" else "", "mining": "all"}
    recipe = tiny.with_values({"training.loss": loss, "training.accumulate": accumulate, "phases.0.thaw": ["*"]})
    made = prepare(recipe)
    plain = prepare(recipe).network.module.train()
    images, labels = next(made.train.epoch(0))
    criterion, cost = TripletLoss(mining="all"), 0.0
    for some, wanted in zip(images.tensor_split(accumulate), labels.tensor_split(accumulate), strict=True):
        x = made.normalised(some)
        seen = COMPARED[compare](plain, x)
        outputs = plain(x)
        share = criterion.classify * F.cross_entropy(outputs, wanted)
        cost += float(share + (1 - criterion.classify) * criterion.triplets(seen, wanted)) * len(wanted) / len(labels)
    records = list(Trainer(made).run())
    assert next(record.loss for record in records if record.kind == "step") == pytest.approx(cost, rel=1e-5)
    images, labels = next(made.valid.epoch(0))
    module = made.network.module.eval()
    with torch.no_grad():
        x = made.normalised(images)
        named = F.cross_entropy(module(x), labels)
        whole = criterion.classify * named + (1 - criterion.classify) * criterion.triplets(
            COMPARED[compare](module, x), labels
        )
    last = [record for record in records if record.kind == "epoch"][-1]
    assert len(made.valid) == len(labels)
    assert last.valid_loss == pytest.approx(float(whole), rel=1e-5)


def test_triplets_of_averaged_weights_are_measured_too(tiny: Recipe) -> None:
    recipe = tiny.with_values({"training.loss": {"kind": "triplet", "compare": "features"}, "training.ema": 0.5})
    (*_, last) = (record for record in Trainer(prepare(recipe)).run() if record.kind == "epoch")
    assert last.valid_loss > 0


def test_features_that_stand_still_are_refused(tiny: Recipe) -> None:
    recipe = tiny.with_values({"training.loss": {"kind": "triplet", "compare": "features"}, "phases.0.thaw": ["head"]})
    recipe = recipe.with_value("phases.0.multipliers", {})
    (finding,) = (each for each in preflight.layers(recipe) if each.error)
    assert finding.text.startswith("The loss compares features that stand still.")
    assert not [
        each for each in preflight.layers(recipe.with_value(finding.mend.path, finding.mend.value)) if each.error
    ]
    for views in (0, 2):
        with pytest.raises(UserError, match="Triplets teach nothing here"):
            list(Trainer(prepare(recipe.with_value("phases.0.views", views))).run())


@pytest.mark.parametrize(
    ("backbone", "layer", "says"),
    [
        (("timm", "test_resnet"), "layer2.0", "Nothing passes layer2.0"),  # it lies within what was kept
        (("torchvision", "resnet18"), "layer1.0.relu", "It has 2 places in the network"),
        (("torchvision", "vit_b_32"), "encoder.layers.encoder_layer_0.self_attention", "It is a tuple"),
    ],
)
def test_a_layer_without_one_output_that_moves_is_refused(
    tiny: Recipe, backbone: tuple[str, str], layer: str, says: str
) -> None:
    """And nothing else is compared instead of it."""
    kind, architecture = backbone
    model = {"kind": kind, "architecture": architecture, "weights": {"kind": "random"}}
    frozen = {"thaw": ["layer4", "head"], "views": 2, "epochs": 1}
    recipe = tiny.with_values(
        {
            "model.backbone": model,
            "data.image_size": 224 if architecture == "vit_b_32" else 32,
            "training.loss": {"kind": "triplet", "compare": "layer", "layer": layer},
            "phases": [frozen if architecture == "test_resnet" else {"thaw": ["*"]}],
        }
    )
    with pytest.raises(UserError, match=says):
        list(Trainer(prepare(recipe)).run())


def test_a_layer_that_is_not_there_is_refused(tiny: Recipe) -> None:
    loss = {"kind": "triplet", "compare": "layer", "layer": "layer9"}
    with pytest.raises(UserError, match="There is no layer called layer9"):
        prepare(tiny.with_value("training.loss", loss))
    with pytest.raises(UnsaidError, match="No layer is named yet"):
        prepare(tiny.with_value("training.loss", {**loss, "layer": ""}))


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
