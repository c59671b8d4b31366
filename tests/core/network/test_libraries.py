"""Network after network: the library's published file loads, and what Thaw saves is the library's again, bit by bit.

All of torchvision's networks and the smallest of each of timm's families, but for those that are too large to be tried.
The files are made here, by the library's own constructors, in the form in which they are published.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torchvision import models

from finetune_core.network import catalogue
from finetune_core.network.build import apart, build, description, restore
from finetune_core.network.network import Network
from finetune_core.parts.backbones import File, Hub, Timm, Torchvision
from finetune_core.recipe import Model

pytestmark = pytest.mark.slow

LARGEST = 30_000_000  # weights of what is tried; larger ones are of the same families
SIDE = 128  # px, for networks that take any size
BEFORE = ("densenet", "googlenet", "inception", "squeezenet", "alexnet", "resnet18", "resnet34", "vgg")  # no counts


def vision() -> list[str]:
    return [each.architecture for each in catalogue.entries() if each.library == "torchvision" and each.size < LARGEST]


def smallest() -> Iterator[str]:
    """The smallest network of each of timm's families."""
    theirs: dict[str, list[catalogue.Entry]] = {}
    for each in catalogue.entries():
        if each.library == "timm":
            theirs.setdefault(each.family, []).append(each)
    for family in theirs.values():
        least = min(family, key=lambda each: each.size)
        if least.size < LARGEST:
            yield least.architecture


def test_nearly_all_are_tried() -> None:
    assert len(vision()) > 40
    assert len(list(smallest())) > 60


def published(name: str, folder: Path) -> None:
    """A file as torchvision publishes it: DenseNet's by earlier names, old ones without counts, with side branches."""
    more = {"aux_logits": True, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    torch.manual_seed(3)
    state: Any = models.get_model(name, num_classes=1000, **more).state_dict()
    if name.startswith(BEFORE):
        state = {each: value for each, value in state.items() if not each.endswith("num_batches_tracked")}
    if name.startswith("densenet"):
        for each in list(state):
            state[re.sub(r"(denselayer\d+\.(norm|conv))(\d)", r"\1.\3", each)] = state.pop(each)
    file = models.get_model_weights(name)["DEFAULT"].url.rpartition("/")[2]
    (folder / "hub" / "checkpoints").mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / "hub" / "checkpoints" / file)


def same_body(network: Network, reference: torch.nn.Module) -> bool:
    ours, theirs = network.module.state_dict(), reference.state_dict()
    body = [name for name in ours if not name.startswith(f"{network.classifier}.")]
    return len(body) >= 10 and all(torch.equal(ours[name], theirs[name]) for name in body)


def comes_back(model: Model, network: Network, plain: torch.nn.Module, side: int, path: Path) -> None:
    """What is saved loads in the library, strictly, and in Thaw; all three predict the same."""
    save_file(apart(network.module.state_dict()), path, description(model, network, 3))
    if hasattr(plain, "alpha"):  # MNASNet asks for a version, which safetensors files do not have
        saved: Any = plain.state_dict()
        saved.update(load_file(path))
    else:
        saved = load_file(path)
    plain.load_state_dict(saved)
    again = restore(model, 3, path).module
    torch.manual_seed(5)
    images = torch.randn(2, 3, side, side)
    with torch.no_grad():
        expected = network.module.eval()(images)
        assert torch.equal(plain.eval()(images), expected)
        assert torch.equal(again.eval()(images), expected)


@pytest.mark.parametrize("name", vision())
def test_torchvisions_published_files(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    published(name, tmp_path)
    model = Model(backbone=Torchvision(architecture=name, weights=Hub()))
    network = build(model, 3)
    assert same_body(network, models.get_model(name, weights="DEFAULT")), "as the library itself loads the file"
    entry = catalogue.entry("torchvision", name)
    side = 224 if entry.fixed_size else SIDE
    plain = models.get_model(name, num_classes=3, **network.arguments)
    comes_back(model, network, plain, side, tmp_path / "run.safetensors")


@pytest.mark.parametrize("name", [*smallest()])
def test_a_network_of_each_of_timms_families(name: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    reference = timm.create_model(name)
    torch.save({"state_dict": {f"module.{n}": v for n, v in reference.state_dict().items()}}, tmp_path / "w.pth.tar")
    model = Model(backbone=Timm(architecture=name, weights=File(path=str(tmp_path / "w.pth.tar"))))
    network = build(model, 3)
    assert same_body(network, reference)
    entry = catalogue.entry("timm", name)
    side = entry.input_size if entry.fixed_size else SIDE
    plain = timm.create_model(name, num_classes=3, **network.arguments)
    comes_back(model, network, plain, side, tmp_path / "run.safetensors")
