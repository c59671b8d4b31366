"""The scout: backbones by what a linear head makes of their frozen features, on the same images and folds."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from finetune_core.errors import UserError
from finetune_core.finder import probes, scout
from finetune_core.network import refit
from finetune_core.parts.backbones import File, RandomWeights, Timm
from finetune_core.recipe import Recipe, parse
from finetune_core.records import Probed
from finetune_core.records import parse as record_of
from finetune_core.runs import store
from finetune_core.runs.jobs import Scout
from finetune_core.runs.work.worker import work
from finetune_core.training import reuse
from tests.conftest import SHARED

NAMES = ("test_resnet", "test_vit", "test_convnext")


def random(name: str) -> Timm:
    return Timm(architecture=name, weights=RandomWeights())


def found(recipe: Recipe, *names: str, images: int = 1000) -> list[Probed]:
    return list(scout.scout(recipe, [random(name) for name in names], images))


def test_colours_are_told_apart_by_any_network_and_asking_again_looks_at_nothing(
    tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = found(tiny, *NAMES)
    assert [each.architecture for each in first] == list(NAMES)
    assert all(each.score > 0.9 and each.images == 24 and each.ms > 0 for each in first)
    assert first[0].parameters == sum(each.numel() for each in _network(tiny).parameters())
    monkeypatch.setattr(reuse.Frozen, "answer", lambda *given: pytest.fail("looked again"))
    assert [each.score for each in found(tiny, *NAMES)] == [each.score for each in first]


def _network(recipe: Recipe) -> torch.nn.Module:
    from finetune_core.training.session import prepare

    return prepare(recipe).network.module


@pytest.mark.parametrize("task", ["multi_label", "regression"])
def test_tags_and_numbers_have_their_own_scores(tiny: Recipe, sources: dict, task: str) -> None:
    recipe = tiny.with_value("data.source", sources[task])
    (one,) = found(recipe, "test_resnet")
    assert np.isfinite(one.score)
    assert probes.words(one.score, one.margin, recipe.task.score)


def test_a_head_is_fitted_to_the_minimum(tiny: Recipe) -> None:
    """Where gradient descent in float64 ends on the same sum: scikit-learn's logistic regression with C = 1."""
    made = scout.session.prepare(scout.to_probe(tiny, random("test_vit")))
    generator = torch.Generator().manual_seed(0)
    features, wanted = torch.randn(60, 9, generator=generator), torch.arange(60) % 3
    features[torch.arange(60), wanted] += 1.5
    ours = scout._fitted(made, features[:45], wanted[:45])(features[45:])
    known, asked = (
        (each - features[:45].mean(0)).double() / features[:45].std(0, correction=0)
        for each in (features[:45], features[45:])
    )
    weight, bias = (torch.zeros(shape, dtype=torch.float64, requires_grad=True) for shape in ((3, 9), (3,)))
    optimizer = torch.optim.SGD([weight, bias], lr=0.5)
    for _ in range(3000):
        optimizer.zero_grad()
        each = torch.nn.functional.cross_entropy(known @ weight.T + bias, wanted[:45], reduction="sum")
        ((each + weight.square().sum() / 2) / 45).backward()
        optimizer.step()
    true = (asked @ weight.T + bias).softmax(1)
    assert ours.softmax(1).numpy() == pytest.approx(true.detach().float().numpy(), abs=1e-3)


def test_some_of_the_images_are_enough_alike_from_every_class(tiny: Recipe) -> None:
    (one,) = found(tiny, "test_resnet", images=12)
    assert one.images == 12


def test_rare_classes_and_a_split_of_the_data_s_own_do_not_matter(tiny: Recipe) -> None:
    samples = tiny.data.source.samples()
    rare = samples.taking([0, 1, 2, 3, 4, 5, 6, 7, 8, 16])  # one image each of two classes
    chosen = scout.some(rare, 5)
    assert len(chosen.train) + len(chosen.valid) == 5
    assert {path.partition("/")[0] for path in (*chosen.train, *chosen.valid)} == {"class_0", "class_1", "class_2"}
    fixed = replace(samples, fixed=tuple(["train"] * 12 + ["valid"] * 12))
    chosen = scout.some(fixed, 10)
    assert len(chosen.train) == len(chosen.valid) == 5 or len(chosen.train) + len(chosen.valid) == 10


def test_what_cannot_be_tried_is_told_and_passed_over(tiny: Recipe) -> None:
    gone = Timm(architecture="test_vit", weights=File(path="/nowhere/w.safetensors"))
    first, second = scout.scout(tiny, [gone, random("test_resnet")], 100)
    assert "nowhere" in first.note
    assert np.isnan(first.score)
    assert second.score > 0.9


def test_images_that_are_gone_end_it_in_words(tiny: Recipe) -> None:
    shutil.rmtree(tiny.data.source.path)
    with pytest.raises(UserError):
        found(tiny, "test_resnet")


def test_the_job_remembers_and_ranks(tiny: Recipe) -> None:
    run = store.create(Scout().prepared(tiny), Scout())
    assert work(run) == 0, run.log_tail()
    assert run.status.state == "finished"
    rows = run.records()[0]
    known = probes.known(tiny, tiny.model.backbone)
    assert known == record_of(rows[-1])
    summary = run.job.summary(rows, run.recipe)
    assert json.dumps(summary)
    assert summary["backbones"][0]["architecture"] == "test_resnet"
    assert "test_resnet" in run.job.lines(rows, run.recipe)[0]


def test_names_are_looked_up_in_both_libraries() -> None:
    assert refit.named("resnet18").kind == "timm"
    assert refit.named("torchvision/resnet18").kind == "torchvision"
    assert refit.named("squeezenet1_1").kind == "torchvision"
    assert refit.named("resnet18=/some/file.pt").weights == File(path="/some/file.pt")
    with pytest.raises(UserError, match="resnet18x"):
        refit.named("resnet18x")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"kind": "probed"}', '{"kind": "step"}', "null"])
def test_a_damaged_memory_is_none(tiny: Recipe, content: str) -> None:
    file = probes._file(tiny, tiny.model.backbone)
    file.parent.mkdir(parents=True)
    file.write_text(content)
    assert probes.known(tiny, tiny.model.backbone) is None


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason="the real photos and weights are not on this machine")
def test_real_backbones_are_ranked_as_their_trained_heads_are() -> None:
    """Four of them on real photos; heads trained by the quick preset, on views that are kept."""
    from finetune_core.recipe import rules
    from finetune_core.training.loop import Trainer
    from finetune_core.training.session import prepare

    files = {
        "timm/mobilenetv2_100": "timm_mobilenetv2_100_imagenet1k.safetensors",
        "timm/mobilenetv2_035": "timm_mobilenetv2_035_imagenet1k_nohead.safetensors",
        "torchvision/squeezenet1_1": "torchvision_squeezenet1_1_imagenet1k.safetensors",
    }
    names = [f"{name}={SHARED / 'weights' / file}" for name, file in files.items()] + ["resnet10t"]
    data = {"source": {"kind": "folder", "path": str(SHARED / "data" / "clothing10")}, "image_size": 160}
    recipe = parse({"data": data, "phases": [{"thaw": ["head"]}]})
    backbones = [refit.named(name) for name in names]
    scores = [each.score for each in scout.scout(recipe, backbones, 400)]
    trained = []
    for backbone in backbones:
        one = recipe.replace(model=recipe.model.replace(backbone=backbone))
        one = one.replace(phases=rules.quick(one.phases, ())).with_value("phases.0.views", 1)
        epochs = [each for each in Trainer(prepare(one)).run() if each.kind == "epoch"]
        trained.append(epochs[-1].valid_score)
    assert np.argsort(scores).tolist() == np.argsort(trained).tolist(), (scores, trained)
