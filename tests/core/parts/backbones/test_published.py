"""Published weights: whether they are here is known at once and without torch, and hints name what there is."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType

import pytest
import timm
import torch
from safetensors.torch import save_file
from torchvision import models

from finetune_core import downloads, places
from finetune_core.errors import UserError
from finetune_core.network import catalogue
from finetune_core.network.build import build
from finetune_core.parts.backbones import File, Hub, RandomWeights, Timm, Torchvision
from finetune_core.parts.backbones.family import Backbone
from finetune_core.parts.backbones.hub import Published, torch_checkpoints
from finetune_core.parts.backbones.spec import Plan
from finetune_core.parts.backbones.weights import other_ways
from finetune_core.recipe import Model, Recipe
from finetune_core.runs import preflight

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(autouse=True)
def no_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    return tmp_path


def recipe(backbone: Backbone, size: int = 128) -> Recipe:
    return Recipe(model=Model(backbone=backbone)).with_value("data.image_size", size)


def found(backbone: Backbone, size: int = 128) -> list[preflight.Finding]:
    return list(preflight._weights(recipe(backbone, size)))


@pytest.mark.parametrize("home", [{}, {"TORCH_HOME": "/a/torch"}, {"XDG_CACHE_HOME": "/b"}])
def test_torchs_cache_is_found_as_torch_finds_it(home: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in home.items():
        monkeypatch.setenv(name, value)
    assert torch_checkpoints() == Path(torch.hub.get_dir()) / "checkpoints"


def test_sources_are_the_libraries_own() -> None:
    resnet = catalogue.published(Torchvision(architecture="resnet50", weights=Hub()))
    assert resnet
    assert resnet.source == models.ResNet50_Weights.DEFAULT.url
    older = catalogue.published(Torchvision(architecture="resnet50", weights=Hub(tag="IMAGENET1K_V1")))
    assert older
    assert older.source == models.ResNet50_Weights.IMAGENET1K_V1.url
    theirs = timm.get_pretrained_cfg("resnet50")
    named = catalogue.published(Timm(architecture="resnet50", weights=Hub()))
    assert named == Published(f"{theirs.hf_hub_id}")
    assert catalogue.published(Timm(architecture="resnet50", weights=RandomWeights())) is None


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_what_is_not_here_is_orange_and_then_green(library: str, no_caches: Path) -> None:
    if library == "timm":
        backbone: Backbone = Timm(architecture="test_resnet", weights=Hub())
        place, name = places.cache_dir() / "weights" / "test_resnet.r160_in1k.safetensors", "timm/test_resnet.r160_in1k"
    else:
        backbone = Torchvision(architecture="squeezenet1_1", weights=Hub())
        name = "squeezenet1_1-b8a52dc0.pth"
        place = no_caches / "torch" / "hub" / "checkpoints" / name
    (finding,) = found(backbone)
    assert finding.level == "warn"
    assert f"Not on this machine yet: {name}." in finding.text
    assert preflight.glance(recipe(backbone))["layers"].title == f"Not on this machine yet: {name}."

    place.parent.mkdir(parents=True)
    state = backbone.bare(Plan(1000)).module.state_dict()
    save_file(state, place) if library == "timm" else torch.save(state, place)
    assert [each.level for each in found(backbone)] == ["ok"]
    assert "layers" not in preflight.glance(recipe(backbone))
    assert build(Model(backbone=backbone), 3).groups, "and a run finds it there"


def test_in_huggingfaces_cache_it_is_here_too(no_caches: Path) -> None:
    files = Published("timm/test_resnet.r160_in1k")
    assert files.here() is None
    snapshot = no_caches / "hf" / "models--timm--test_resnet.r160_in1k" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    (snapshot / "pytorch_model.bin").write_bytes(b"x")
    assert files.here() == snapshot / "pytorch_model.bin"


def test_a_set_that_is_not_published_is_told_before_launch() -> None:
    (finding,) = found(Timm(architecture="resnet10t", weights=Hub(tag="nonsense")))
    assert finding.error
    assert "There are c3_in1k" in finding.error.why


def test_hints_name_what_there_is_for_the_network() -> None:
    assert "bundled" in other_ways(Timm(architecture="resnet10t"))
    for backbone in (Timm(architecture="resnet50"), Torchvision(architecture="resnet50")):
        assert "bundled" not in other_ways(backbone)
        with pytest.raises(Exception, match="random weights") as caught:
            Published("http://127.0.0.1:9/w.pth").fetched(lambda *_: None, other_ways(backbone))
        assert "bundled" not in caught.value.hint


def test_looking_needs_no_torch() -> None:
    code = (
        "import sys; from finetune_core.runs import preflight; from finetune_core.recipe import parse\n"
        "for kind in ('timm', 'torchvision'):\n"
        "    backbone = {'kind': kind, 'architecture': 'resnet50', 'weights': {'kind': 'hub'}}\n"
        "    preflight.findings(parse({'model': {'backbone': backbone}}))\n"
        "print('torch' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


# --- networks of one size --------------------------------------------------------------------------------------------


def test_one_size_is_seen_before_launch(tmp_path: Path) -> None:
    backbone = Timm(architecture="cait_xxs24_224", weights=Hub())
    error = found(backbone)[-1]
    assert (error.level, bool(error.error)) == ("next", True)
    assert "takes images of 224 px only; the recipe has 128" in error.text
    assert error.mend
    assert (error.mend.title, error.mend.path, error.mend.value) == ("Use 224 px", "data.image_size", 224)
    assert all(not each.error for each in found(backbone, size=224))
    torch.save({"a": torch.ones(2)}, tmp_path / "w.pth")
    of_file = found(backbone.replace(weights=File(path=str(tmp_path / "w.pth"))))[-1]
    assert (of_file.level, of_file.mend) == ("warn", error.mend)
    for free in (Timm(architecture="vit_tiny_patch16_224"), Timm(architecture="resnet18")):
        assert all(not each.error for each in found(free))
    assert len(found(backbone.replace(weights=RandomWeights()))) == 1, "what has learned nothing fits any size"


@pytest.mark.parametrize("name", ["botnet26t_256", "cait_s24_224", "convit_small", "gcvit_tiny", "hiera_tiny_224"])
def test_families_of_one_size(name: str) -> None:
    assert catalogue.entry("timm", name).one_size


@pytest.mark.parametrize("name", ["gmlp_s16_224", "nest_small", "pit_s_224", "visformer_small", "levit_512"])
def test_more_families_of_one_size(name: str) -> None:
    assert catalogue.entry("timm", name).one_size


# --- where there is no room for them ---------------------------------------------------------------------------------


class Answer(io.BytesIO):
    """A server that has the file."""

    headers = MappingProxyType({"Content-Length": "4"})
    status = 200


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_answer", lambda *_: Answer(b"file"))


@pytest.mark.usefixtures("answering")
@pytest.mark.parametrize(
    ("source", "variable"), [("https://a/w-1.pth", "TORCH_HOME"), ("timm/test_resnet.r160_in1k", "THAW_CACHE")]
)
@pytest.mark.parametrize("blocked", ["itself", "above", "a link to itself"])
def test_a_folder_that_cannot_be_is_told_in_words(
    source: str, variable: str, blocked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.symlink_to(home) if blocked == "a link to itself" else home.write_text("a file")
    monkeypatch.setenv(variable, str(home / "inner" if blocked == "above" else home))
    assert Published(source).here() is None
    with pytest.raises(UserError, match="There is no place for the published weights") as caught:
        Published(source).fetched(lambda *_: None, "")
    assert str(home) in caught.value.why
    assert variable in caught.value.hint


@pytest.mark.usefixtures("answering")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_full_or_protected_disk_is_told_with_its_folder(
    number: int, no_caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Path, *_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    for act in ("mkdir", "open"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, act, refused)
            with pytest.raises(UserError, match=r"There is no place for|no room for") as caught:
                Published("https://a/w-1.pth").fetched(lambda *_: None, "")
        assert str(no_caches / "torch" / "hub" / "checkpoints") in caught.value.why
        assert "TORCH_HOME" in caught.value.hint
    assert not [each for each in no_caches.rglob("*") if each.is_file() and each.suffix != ".lock"], (
        "no part of it is left"
    )
    assert Published("https://a/w-1.pth").fetched(lambda *_: None, "").read_bytes() == b"file"


def test_a_home_of_nobody_is_as_torch_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", "~nobody-of-this-name/torch")
    assert torch_checkpoints() == Path(torch.hub.get_dir()) / "checkpoints"
    assert Published("https://a/w-1.pth").here() is None
