"""What every part shows of itself as code does what the part does; looped over the registries."""

import inspect
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import Tensor, nn

from finetune_core.data.split import split
from finetune_core.export import script
from finetune_core.export.script import network
from finetune_core.network.build import build, description
from finetune_core.parts import (
    FAMILIES,
    Call,
    Loss,
    Mixing,
    Optimizer,
    Part,
    Progress,
    Schedule,
    Source,
    Weights,
    modules,
)
from finetune_core.parts.backbones.spec import Plan
from finetune_core.parts.codetext import importing, joined, own_layers
from finetune_core.parts.sources import hub_sets, published
from finetune_core.parts.tasks import Targets, targets_from
from finetune_core.recipe import Data, Model, Recipe
from tests.conftest import paint

CLASSES = 4


def settings(part: type[Part]) -> list[Part]:
    """The defaults, each knob alone at its lowest and its highest or at each of its choices."""
    made = []
    for knob in part.knobs():
        ends = [int(end) if knob.type == "int" else end for end in (knob.low, knob.high) if end is not None]
        for value in {"choice": knob.choices, "bool": (False, True)}.get(knob.type, ends):
            try:
                made.append(part.model_validate({knob.name: value}))
            except ValidationError:  # a value that does not go with the others
                continue
    return [part(), *made]


def parts(family: str) -> list:
    return [
        pytest.param(made, id=f"{kind}-{number}")
        for kind, part in FAMILIES[family].kinds().items()
        for number, made in enumerate(settings(part))
    ]


def evaluated(call: Call) -> Any:
    """What the code of a call gives, with nothing of Thaw's but what it shows."""
    names: dict[str, Any] = {}
    exec(importing(own_layers(call), f"made = {call.code(room=60)}"), names)
    assert "finetune_core" not in names
    return names["made"]


# --- schedules -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", parts("schedule"))
@pytest.mark.parametrize("warmup", [0.0, 1.5])
def test_a_schedules_code_gives_its_very_rates(schedule: Schedule, warmup: float) -> None:
    schedule = schedule.replace(warmup=warmup or schedule.warmup)
    names: dict[str, Any] = {}
    exec(importing(schedule.code("rate")), names)
    losses = (2.0, 1.5, 1.6, 1.7, 1.6, 1.55, 1.4)
    for epochs, epoch_steps in ((1, 1), (3, 5), (7, 4)):
        for step in range(epochs * epoch_steps):
            at = Progress(step, epochs * epoch_steps, epoch_steps, losses[: step // epoch_steps])
            assert names["rate"](*at[:3], list(at.losses)) == schedule.multiplier(at)
            if schedule.moves_momentum:
                assert names["rate_momentum"](*at[:3], list(at.losses)) == schedule.momentum(at)


def test_two_schedules_of_a_kind_keep_their_own_knobs() -> None:
    phases = [{"schedule": {"kind": "cosine", "final": final, "warmup": 1}} for final in (0.1, 0.2, 0.1)]
    recipe = Recipe().with_value("phases", phases)
    names: dict[str, Any] = {}
    exec(importing(script.training.schedules(recipe)), names)
    assert names["cosine_rate"](9, 10, 1, []) != names["cosine_rate_2"](9, 10, 1, [])
    assert "cosine_rate_3" not in names


# --- optimizers and losses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", parts("optimizer"))
def test_an_optimizers_code_takes_the_same_steps(optimizer: Optimizer) -> None:
    def trained(make: Any) -> tuple[torch.optim.Optimizer, list[Tensor]]:
        torch.manual_seed(0)
        model, images = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3)), torch.randn(8, 5)
        groups = [
            {"params": list(each.parameters()), "lr": rate, "weight_decay": optimizer.weight_decay}
            for each, rate in zip(model, (0.01, 0.1), strict=True)
        ]
        made = make(groups)
        for _ in range(3):
            made.zero_grad()
            model(images).square().mean().backward()
            made.step()
        return made, list(model.parameters())

    names: dict[str, Any] = {}
    call = optimizer.call()
    exec(importing(joined(own_layers(call), f"def make(groups):\n    return {call.code('groups')}")), names)
    (ours, built), (theirs, shown) = trained(optimizer.call().build), trained(names["make"])
    assert type(ours).__name__ == type(theirs).__name__
    assert ours.defaults == theirs.defaults
    assert all(torch.equal(one, other) for one, other in zip(built, shown, strict=True))


def targets(task: str) -> Targets:
    """Of 40 images."""
    random = np.random.default_rng(0)
    labels = {
        "single_label": [*range(CLASSES), *random.integers(0, CLASSES, 36).tolist()],
        "multi_label": random.integers(0, 2, (40, CLASSES)).tolist(),
        "regression": random.normal(3, 2, (40, CLASSES)).tolist(),
    }[task]
    return targets_from(task, list("abcd"), labels)


def encoded(task: str, shares: bool) -> Tensor:
    torch.manual_seed(1)
    if task == "single_label" and not shares:
        return torch.randint(0, CLASSES, (9,))
    return torch.rand(9, CLASSES).round() if task == "multi_label" else torch.rand(9, CLASSES).softmax(1)


@pytest.mark.parametrize("loss", parts("loss"))
def test_a_losss_code_gives_its_value_and_slope(loss: Loss) -> None:
    if getattr(loss, "balance", None) == "table":
        loss = loss.replace(weights=(1.0, 2.0, 0.5, 3.0))
    for task in loss.tasks:
        call = loss.call(targets(task))
        for shares in {False, loss.takes_shares}:
            found = []
            for module in (call.build(), evaluated(call)):
                torch.manual_seed(2)
                outputs = torch.randn(9, CLASSES, requires_grad=True)
                value = module(outputs, encoded(task, shares))
                value.backward()
                found.append((value.detach(), outputs.grad))
            assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("mix", [mix for mix in parts("mixing") if mix.values[0].ways])
def test_the_code_of_mixing_mixes_alike(mix: Mixing) -> None:
    call = mix.call(CLASSES)
    assert call
    mixed = []
    for mixer in (call.build(), evaluated(call)):
        torch.manual_seed(0)
        mixed.append(mixer(torch.rand(6, 3, 8, 8), torch.arange(6) % CLASSES))
    assert torch.equal(mixed[0][0], mixed[1][0])
    assert torch.equal(mixed[0][1], mixed[1][1])


OWN = [name for name, value in vars(modules).items() if getattr(value, "__module__", "") == modules.__name__]


@pytest.mark.parametrize("name", OWN)
def test_the_source_of_thaws_own_layers_stands_alone(name: str) -> None:
    """What a layer names when it runs comes along, by an import or with its own source."""
    known: dict[str, Any] = {}
    exec(importing(own_layers(names=[name])), known)
    members = vars(known[name]).values() if inspect.isclass(known[name]) else [known[name]]
    for function in filter(inspect.isfunction, members):
        needed = set(function.__code__.co_names) & vars(modules).keys()
        assert needed <= known.keys(), f"{needed - known.keys()} is not shown with {name}"


# --- networks --------------------------------------------------------------------------------------------------------


@pytest.fixture
def weight_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """A recipe's weights of each kind, the files that they need being there; for both libraries where both have it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "none"))
    torch.manual_seed(5)
    squeezenet, resnet, vit = torchvision.models.squeezenet1_1(), timm.create_model("test_resnet"), "test_vit"
    (tmp_path / "torch/hub/checkpoints").mkdir(parents=True)
    torch.save(squeezenet.state_dict(), tmp_path / "torch/hub/checkpoints/squeezenet1_1-b8a52dc0.pth")
    (tmp_path / "cache/weights").mkdir(parents=True)
    save_file(timm.create_model(vit).state_dict(), tmp_path / f"cache/weights/{vit}.r160_in1k.safetensors")
    metadata = {"library": "timm", "architecture": "test_resnet", "mean": "0.1,0.2,0.3", "std": "1,1,2"}
    save_file(resnet.state_dict(), tmp_path / "resnet.safetensors", metadata)
    torch.save({"state_dict": {f"model.{name}": v for name, v in squeezenet.state_dict().items()}}, tmp_path / "s.pth")
    model = Recipe().model.replace(backbone={"kind": "timm", "architecture": "test_resnet"})
    trained = build(model.replace(backbone=model.backbone.replace(weights={"kind": "random"})), 3)
    save_file(trained.module.state_dict(), tmp_path / "run.safetensors", description(model, trained, 3))
    tiny, squeeze = (
        {"kind": "timm", "architecture": "test_resnet"},
        {"kind": "torchvision", "architecture": "squeezenet1_1"},
    )
    return {
        "bundled": {"kind": "timm", "architecture": "resnet10t", "weights": {"kind": "bundled"}},
        "hub": {"kind": "timm", "architecture": vit, "weights": {"kind": "hub", "tag": "r160_in1k"}},
        "hub torchvision": {**squeeze, "weights": {"kind": "hub"}},
        "file": {**tiny, "weights": {"kind": "file", "path": str(tmp_path / "resnet.safetensors")}},
        "file torchvision": {**squeeze, "weights": {"kind": "file", "path": str(tmp_path / "s.pth")}},
        "checkpoint": {**tiny, "weights": {"kind": "checkpoint", "path": str(tmp_path / "run.safetensors")}},
        "random": {**tiny, "weights": {"kind": "random"}, "drop_path_rate": 0.1},
        "random torchvision": {**squeeze, "weights": {"kind": "random"}, "drop_rate": 0.3},
    }


@pytest.mark.parametrize("head", ["linear", "mlp", "concat_pool"])
def test_the_code_of_a_network_builds_it_with_its_weights(weight_files: dict[str, dict[str, Any]], head: str) -> None:
    assert {name.split()[0] for name in weight_files} == set(Weights.kinds()), "every kind of weights is here"
    for name, backbone in weight_files.items():
        recipe = Recipe(model=Model.model_validate({"backbone": backbone, "head": {"kind": head}}))
        recipe = recipe.with_value("data.image_size", 64).with_value("data.channels", 1 if head == "mlp" else 3)
        torch.manual_seed(3)
        built = build(recipe.model, 3, image_size=64, channels=recipe.data.channels)
        blueprint = script.outline(recipe, 3)
        names: dict[str, Any] = {}
        code = network.layers(blueprint), network.building(recipe, blueprint), network.grouping(blueprint)
        torch.manual_seed(3)
        exec(importing(*code), names)
        shown = names["model"]
        assert repr(shown) == repr(built.module), name
        ours, theirs = built.module.state_dict(), shown.state_dict()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), name
        assert (blueprint.mean, blueprint.std) == (built.mean, built.std)
        groups = {part: group.name for group in built.groups for part in group.parameters}
        assert {key: names["group_of"](key) for key in groups} == groups


@pytest.mark.parametrize("library", FAMILIES["backbone"].kinds())
@pytest.mark.parametrize("rates", [{}, {"drop_rate": 0.2}])
def test_a_backbones_code_builds_it(library: str, rates: dict[str, float]) -> None:
    names = {"timm": "test_efficientnet", "torchvision": "squeezenet1_1"}
    kind = FAMILIES["backbone"].kinds()[library]
    backbone: Any = kind.model_validate({"architecture": names[library], "weights": {"kind": "random"}, **rates})
    made = []
    for make in (lambda: backbone.bare(Plan(5)).module, lambda: evaluated(backbone.call(Plan(5)))):
        torch.manual_seed(0)
        made.append(make())
    assert repr(made[0]) == repr(made[1])
    states = [module.state_dict() for module in made]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


# --- sources ---------------------------------------------------------------------------------------------------------


def sources(folder: Path) -> Iterator[dict[str, Any]]:
    """Of every kind, all that leads to other code."""
    for name, seed in (("plain", 0), ("both/train", 1), ("both/test", 2)):
        paint(folder / name, per_class=4, seed=seed)
    (folder / "plain" / "class_0" / "0.png").rename(folder / "plain" / "class_0" / "Z.PNG")
    for name in ("plain", "both"):
        yield {"kind": "folder", "path": str(folder / name)}
    yield {"kind": "archive", "path": shutil.make_archive(str(folder / "packed"), "zip", folder / "both")}
    shutil.copytree(folder / "both", published.folder("eurosat"))
    yield {"kind": "published", "name": "eurosat"}
    shutil.copytree(folder / "plain", hub_sets.folder("a/b", "", ""))
    yield {"kind": "hub_set", "name": "a/b"}
    yield {"kind": "file_names", "path": str(folder / "plain"), "pattern": r"^(\d)$"}
    rows = [
        f"{path.relative_to(folder)}|{'b a'[: i % 4]}|{i % 2}|{i / 3:.2f}|"
        for i, path in enumerate(folder.rglob("*.*"))
    ]
    text = "\n".join(
        ["file|tags|red|size|part", *(f"{row}{'val' if i % 3 else 'Train'}" for i, row in enumerate(rows))]
    )
    (folder / "labels.csv").write_text(text + "\ngone.png|a|1|3|val\n")
    for task, labels in (
        ("single_label", "red"),
        ("multi_label", "tags"),
        ("multi_label", "red"),
        ("regression", "size,red"),
    ):
        for part in ("", "part"):
            path = str(folder / "labels.csv")
            yield {"kind": "table", "path": path, "task": task, "labels": labels, "split": part}


def test_a_sources_code_lists_and_splits_its_images(tmp_path: Path) -> None:
    found = [Source.model_validate(tree) for tree in sources(tmp_path)]
    assert {source.kind for source in found} | {"blooms"} == set(Source.kinds()), "blooms is a folder once it is drawn"
    for source in found:
        samples = source.samples()
        recipe = Recipe(data=Data(source=source, valid_share=0.4, split_seed=3))
        names: dict[str, Any] = {}
        exec(script.data(recipe, samples), names)
        assert [Path(path) for path in names["paths"]] == list(samples.paths), source
        parts = split(samples, recipe.data)
        assert np.array_equal(names["train"], parts.train)
        assert np.array_equal(names["valid"], parts.valid)
        labels = targets_from(samples.task, samples.classes, [samples.labels[i] for i in parts.train]).encoded(
            samples.labels
        )
        assert np.array_equal(names["labels"], labels)
        assert names["labels"].dtype == labels.dtype


@pytest.mark.parametrize("transform", parts("transform"))
@pytest.mark.parametrize("channels", [1, 4])
def test_a_transforms_code_does_the_same_to_grey_and_transparent_images(transform: Any, channels: int) -> None:
    """For colours see test_transforms."""
    call, image = transform.call(16, channels), torch.arange(channels * 24 * 20, dtype=torch.int32) * 37 % 256
    views = []
    for made in (call.build(), evaluated(call)):
        torch.manual_seed(0)
        views.append(made(image.reshape(channels, 24, 20).to(torch.uint8)[:, :16, :16]))
    assert torch.equal(*views)
