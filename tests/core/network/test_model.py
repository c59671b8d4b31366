"""From recipe to network: weights from everywhere, a head that starts undecided, and clear words where it fails."""

import json
import math
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file

from finetune_core import places
from finetune_core.errors import UserError
from finetune_core.network.build import apart, build, description, restore
from finetune_core.network.network import Network
from finetune_core.parts.backbones import (
    Bundled,
    File,
    Hub,
    RandomWeights,
    Timm,
    Torchvision,
    Weights,
    hub,
    weight_files,
)
from finetune_core.parts.backbones.sockets import Features
from finetune_core.parts.backbones.spec import Plan
from finetune_core.parts.heads import MLP, ConcatPool, Head, Linear
from finetune_core.parts.tasks import single_label
from finetune_core.recipe import Model, Phase, Recipe
from finetune_core.runs import preflight
from tests import conftest

SHARED = conftest.SHARED / "weights"
MOBILENET = SHARED / "timm_mobilenetv2_100_imagenet1k.safetensors"
MOBILENET_035 = SHARED / "timm_mobilenetv2_035_imagenet1k_nohead.safetensors"
SQUEEZENET = SHARED / "torchvision_squeezenet1_1_imagenet1k.safetensors"
real_weights = pytest.mark.skipif(not MOBILENET.is_file(), reason=f"no real weights in {SHARED}")

TINY = "test_resnet"  # timm's own for tests: half a million weights
SMALL_POOL = ConcatPool(hidden=16)
POOLED_AT = ("maps", "tokens", "nhwc", "head", "avgpool", "code")


def timm_model(weights: Weights, architecture: str = TINY, head: Head | None = None) -> Model:
    return Model(backbone=Timm(architecture=architecture, weights=weights), head=head or Linear())


def vision_model(weights: Weights, architecture: str, head: Head | None = None) -> Model:
    return Model(backbone=Torchvision(architecture=architecture, weights=weights), head=head or Linear())


def scores(module: torch.nn.Module, size: int = 96) -> torch.Tensor:
    torch.manual_seed(1)
    images = torch.randn(8, 3, size, size)
    with torch.no_grad():
        return module.eval()(images)


def original(seed: int = 3, **kwargs: Any) -> torch.nn.Module:
    torch.manual_seed(seed)
    return timm.create_model(TINY, **kwargs)


def same_body(network: Network, reference: torch.nn.Module) -> bool:
    ours, theirs = network.module.state_dict(), reference.state_dict()
    names = [name for name in theirs if not name.startswith(network.classifier)]
    return bool(names) and all(torch.equal(ours[name], theirs[name].float()) for name in names)


@pytest.fixture
def no_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("THAW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return tmp_path


class TestHead:
    @pytest.mark.parametrize("head", [Linear(), MLP(hidden=32), SMALL_POOL], ids=["linear", "mlp", "pool"])
    @pytest.mark.parametrize(
        "make",
        [
            partial(timm_model, RandomWeights()),
            partial(timm_model, RandomWeights(), "mobilenetv3_small_100"),
            partial(timm_model, RandomWeights(), "test_convnext"),
            partial(vision_model, RandomWeights(), "squeezenet1_1"),
            partial(vision_model, RandomWeights(), "mobilenet_v3_small"),
        ],
        ids=["resnet", "mobilenetv3", "convnext", "squeezenet", "tv-mobilenetv3"],
    )
    def test_first_loss_is_about_ln_c(self, make: Any, head: Head) -> None:
        torch.manual_seed(0)
        network = build(make(head=head), 10)
        network.module.train()
        logits = network.module(torch.randn(16, 3, 64, 64))
        loss = torch.nn.functional.cross_entropy(logits, torch.arange(16) % 10)
        assert logits.shape == (16, 10)
        assert loss.item() == pytest.approx(math.log(10), abs=0.25)

    @pytest.mark.parametrize("head", [Linear(init="zero"), MLP(init="zero"), ConcatPool(init="zero")])
    def test_from_zero_all_classes_are_exactly_alike(self, head: Head) -> None:
        network = build(timm_model(RandomWeights(), head=head), 10)
        assert scores(network.module).abs().max() == 0

    def test_torchs_start_is_left_alone(self) -> None:
        torch.manual_seed(0)
        layer = build(timm_model(RandomWeights(), head=Linear(init="torch", bias="torch")), 10).module.fc
        assert isinstance(layer, torch.nn.Linear)
        for values in (layer.weight, layer.bias):
            assert values.abs().max().item() == pytest.approx(layer.in_features**-0.5, rel=0.2)

    @pytest.mark.parametrize(
        "model",
        [
            timm_model(RandomWeights(), head=MLP(init="zero", bias="priors")),
            timm_model(RandomWeights(), "dla46x_c", Linear(init="zero", bias="priors")),
        ],
        ids=["linear layer", "1x1 convolution"],
    )
    def test_priors_start_from_the_shares_of_the_classes(self, model: Model) -> None:
        network = build(model, 3, priors=single_label([60, 30, 10]).priors)
        assert torch.allclose(scores(network.module).softmax(1)[0], torch.tensor([0.6, 0.3, 0.1]))
        absent = build(model, 3, priors=single_label([99, 1, 0]).priors)
        assert scores(absent.module).isfinite().all(), "a class without images is as rare as one with a single one"
        with pytest.raises(ValueError, match="shares"):
            build(model, 3)

    def test_a_linear_head_loads_back_into_the_libraries(self) -> None:
        ours = build(timm_model(RandomWeights()), 7).module
        plain = timm.create_model(TINY, num_classes=7)
        plain.load_state_dict(ours.state_dict())
        assert torch.equal(scores(ours), scores(plain))
        ours = build(vision_model(RandomWeights(), "squeezenet1_1"), 7).module
        plain = torchvision.models.squeezenet1_1(num_classes=7)
        plain.load_state_dict(ours.state_dict())
        assert torch.equal(scores(ours), scores(plain))

    def test_mlp_layers(self) -> None:
        head = MLP(layers=2, hidden=8, activation="silu", dropout=0.1).call(16, 3)
        assert head.code() == (
            "nn.Sequential(nn.Linear(16, 8), nn.SiLU(), nn.Dropout(0.1), nn.Linear(8, 8), nn.SiLU(), nn.Dropout(0.1),"
            " nn.Linear(8, 3))"
        )

    @pytest.mark.parametrize("name", ["deit_tiny_distilled_patch16_224", "levit_384_s8"])
    def test_several_classifiers_are_refused_in_words(self, name: str) -> None:
        with pytest.raises(UserError, match="several classifiers"):
            build(timm_model(RandomWeights(), name), 3)


class Seed000(torch.nn.Module):
    """The article's classifier, as it stands there."""

    def __init__(self, inp: int, h1: int, out: int, d: float) -> None:
        super().__init__()
        self.ap = torch.nn.AdaptiveAvgPool2d((1, 1))
        self.mp = torch.nn.AdaptiveMaxPool2d((1, 1))
        self.bn0 = torch.nn.BatchNorm1d(inp * 2, eps=1e-05, momentum=0.1, affine=True)
        self.dropout0 = torch.nn.Dropout(d)
        self.fc1 = torch.nn.Linear(inp * 2, h1)
        self.bn1 = torch.nn.BatchNorm1d(h1, eps=1e-05, momentum=0.1, affine=True)
        self.dropout1 = torch.nn.Dropout(d)
        self.fc2 = torch.nn.Linear(h1, out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.cat((self.ap(x), self.mp(x)), dim=1)
        x = self.dropout0(self.bn0(x.view(x.size(0), -1)))
        x = self.dropout1(self.bn1(torch.nn.functional.relu(self.fc1(x))))
        return self.fc2(x)


class TestConcatPool:
    def test_it_is_seed_000s(self) -> None:
        ours, theirs = ConcatPool().call(2208, 102).build(), Seed000(2208, 1024, 102, 0.35)
        theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
        maps, slopes = torch.randn(4, 2208, 3, 3), []
        for head in (ours.train(), theirs.train()):
            torch.manual_seed(5)
            x = maps.clone().requires_grad_()
            logits = head(x)
            logits.square().sum().backward()
            slopes.append((logits.detach(), x.grad, [p.grad for p in head.parameters()]))
        torch.testing.assert_close(*slopes, rtol=0, atol=0)

    def test_of_tokens_it_leaves_out_those_that_stand_for_no_place(self) -> None:
        pool = ConcatPool().over(Features(6, "NLC", 2), 3).build()[0]
        tokens = torch.randn(2, 11, 6)
        expected = torch.cat((tokens[:, 2:].mean(1), tokens[:, 2:].max(1).values), 1)
        assert torch.equal(pool(tokens), expected)
        tokens[:, :2] = 100
        assert torch.equal(pool(tokens), expected)

    @pytest.mark.parametrize(
        ("model", "width", "place"),
        [
            (timm_model(RandomWeights(), head=SMALL_POOL), 96, "fc"),
            (timm_model(RandomWeights(), "mobilenetv3_small_100", SMALL_POOL), 1024, "classifier"),
            (timm_model(RandomWeights(), "vgg11", SMALL_POOL), 512, "head.fc"),
            (timm_model(RandomWeights(), "test_vit", SMALL_POOL), 64, "head"),
            (timm_model(RandomWeights(), "inception_next_atto", SMALL_POOL), 320, "head"),
            (timm_model(RandomWeights(), "efficientvit_m0", SMALL_POOL), 192, "head"),
            (vision_model(RandomWeights(), "resnet18", SMALL_POOL), 512, "fc"),
            (vision_model(RandomWeights(), "mobilenet_v3_small", SMALL_POOL), 576, "classifier"),
            (vision_model(RandomWeights(), "vgg11", SMALL_POOL), 512, "classifier"),
            (vision_model(RandomWeights(), "densenet121", SMALL_POOL), 1024, "classifier"),
        ],
        ids=lambda value: value.backbone.architecture if isinstance(value, Model) else None,
    )
    def test_its_size_is_that_of_the_features_themselves(self, model: Model, width: int, place: str) -> None:
        with torch.device("meta"):
            network = build(model, 4)
        assert network.classifier == place
        head = network.module.get_submodule(place)
        assert [layer.num_features for layer in head if isinstance(layer, torch.nn.BatchNorm1d)] == [2 * width, 16]
        assert network.groups[-1].count == model.head.parameters(width, 4)

    @pytest.mark.parametrize("name", ["resnet18", "densenet121", "mobilenet_v2", "swin_t", "squeezenet1_1"])
    def test_torchvisions_features_reach_it_as_they_are(self, name: str) -> None:
        torch.manual_seed(2)
        network = build(vision_model(RandomWeights(), name, SMALL_POOL), 4).module.eval()
        torch.manual_seed(2)
        plain = torchvision.models.get_model(name, num_classes=4).eval()
        seen: list[torch.Tensor] = []
        first = next(layer for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm1d))
        first.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        images = torch.randn(2, 3, 64, 64)
        with torch.no_grad():
            network(images)
            features = FEATURES[name](plain, images)
        torch.testing.assert_close(seen[0], torch.cat((features.mean((2, 3)), features.amax((2, 3))), 1))

    @pytest.mark.parametrize(
        "model",
        [
            timm_model(RandomWeights(), "coat_tiny", SMALL_POOL),
            timm_model(RandomWeights(), "pit_ti_224", SMALL_POOL),
            timm_model(RandomWeights(), "lowformer_b0", SMALL_POOL),
            vision_model(RandomWeights(), "vit_b_16", SMALL_POOL),
        ],
        ids=lambda model: model.backbone.architecture,
    )
    def test_where_there_is_nothing_to_pool_it_says_so(self, model: Model) -> None:
        with pytest.raises(UserError, match="gives no features to pool") as caught, torch.device("meta"):
            build(model, 4)
        assert "linear or MLP head" in caught.value.hint

    def test_preflight_says_so_without_building_anything(self) -> None:
        for name, thaw, told in (
            ("coat_tiny", "head", "gives no features to pool"),
            ("vgg11", "pre_logits", "no layer group called pre_logits"),
        ):
            recipe = Recipe(model=timm_model(RandomWeights(), name, SMALL_POOL), phases=(Phase(thaw=(thaw,)),))
            errors = [finding.error for finding in preflight.layers(recipe) if finding.error]
            assert [told in error.what for error in errors] == [True]


FEATURES: dict[str, Any] = {
    "resnet18": lambda net, x: torch.nn.Sequential(*list(net.children())[:-2])(x),
    "densenet121": lambda net, x: net.features(x).relu(),
    "mobilenet_v2": lambda net, x: net.features(x),
    "swin_t": lambda net, x: net.permute(net.norm(net.features(x))),
    "squeezenet1_1": lambda net, x: net.features(x),
}


class TestDropping:
    @staticmethod
    def depth(module: torch.nn.Module) -> list[float]:
        return [
            getattr(layer, "drop_prob", None) or getattr(layer, "p", 0.0)
            for layer in module.modules()
            if type(layer).__name__ in ("DropPath", "StochasticDepth")
        ]

    def test_timms_rates_reach_the_network_and_the_code(self) -> None:
        backbone = Timm(architecture=TINY, weights=RandomWeights(), drop_rate=0.25, drop_path_rate=0.2)
        network = build(Model(backbone=backbone), 3)
        shown = backbone.call(Plan(3))
        assert shown.kwargs == {"num_classes": 3, "drop_rate": 0.25, "drop_path_rate": 0.2}
        for module in (network.module, shown.build()):
            assert module.drop_rate == 0.25
            assert max(self.depth(module)) == pytest.approx(0.2)
        assert network.arguments == {}, "a checkpoint does not carry them into another run"

    @pytest.mark.parametrize(
        ("name", "rates"),
        [
            ("efficientnet_b0", {"drop_rate": 0.3, "drop_path_rate": 0.1}),
            ("convnext_tiny", {"drop_path_rate": 0.3}),
            ("mobilenet_v3_small", {"drop_rate": 0.4}),
            ("vgg11", {"drop_rate": 0.4}),
        ],
    )
    def test_torchvisions_too(self, name: str, rates: dict[str, float]) -> None:
        backbone = Torchvision(architecture=name, weights=RandomWeights(), **rates)
        with torch.device("meta"):
            module = build(Model(backbone=backbone), 3).module
            shown = backbone.call(Plan(3)).build()
        for each in (module, shown):
            if "drop_rate" in rates:
                assert {layer.p for layer in each.modules() if isinstance(layer, torch.nn.Dropout)} == {
                    rates["drop_rate"]
                }
            if "drop_path_rate" in rates:
                steps = self.depth(each)
                assert steps == sorted(steps)
                assert rates["drop_path_rate"] * 0.9 < steps[-1] <= rates["drop_path_rate"]

    def test_densenet_has_its_own_word(self) -> None:
        backbone = Torchvision(architecture="densenet121", weights=RandomWeights(), drop_rate=0.1)
        with torch.device("meta"):
            module = build(Model(backbone=backbone), 3).module
        assert module.features.denseblock1.denselayer1.drop_rate == 0.1

    @pytest.mark.parametrize(
        "backbone",
        [
            Timm(architecture="vgg11", weights=RandomWeights(), drop_path_rate=0.1),
            Timm(architecture="densenet121", weights=RandomWeights(), drop_path_rate=0.1),
            Torchvision(architecture="resnet18", weights=RandomWeights(), drop_rate=0.1),
            Torchvision(architecture="mobilenet_v3_small", weights=RandomWeights(), drop_path_rate=0.1),
            Torchvision(architecture="convnext_tiny", weights=RandomWeights(), drop_rate=0.1),
            Torchvision(architecture="swin_t", weights=RandomWeights(), drop_path_rate=0.1),
        ],
        ids=lambda backbone: f"{backbone.kind}-{backbone.architecture}",
    )
    def test_who_cannot_be_told_says_so(self, backbone: Timm | Torchvision) -> None:
        with pytest.raises(UserError, match="cannot be told its dropout") as caught, torch.device("meta"):
            build(Model(backbone=backbone), 3)
        assert "back to 0" in caught.value.hint


@real_weights
class TestRealFiles:
    def test_mobilenet_gets_its_padding_and_all_its_knowledge(self) -> None:
        network = build(timm_model(File(path=str(MOBILENET)), "mobilenetv2_100"), 10)
        assert network.arguments == {"pad_type": "same"}
        assert network.mean == (0.485, 0.456, 0.406)
        reference = timm.create_model("mobilenetv2_100", pad_type="same")
        reference.load_state_dict(load_file(MOBILENET))
        assert same_body(network, reference)
        torch.manual_seed(0)
        images = torch.randn(2, 3, 96, 96)
        with torch.no_grad():
            ours = network.module.eval().forward_features(images)
            assert torch.equal(ours, reference.eval().forward_features(images))
            plain = timm.create_model("mobilenetv2_100")
            plain.load_state_dict(load_file(MOBILENET))
            assert not torch.allclose(ours, plain.eval().forward_features(images)), "padding makes the difference"

    def test_a_file_without_classifier(self) -> None:
        network = build(timm_model(File(path=str(MOBILENET_035)), "mobilenetv2_035"), 10)
        stored = load_file(MOBILENET_035)
        state = network.module.state_dict()
        assert all(torch.equal(state[name], value) for name, value in stored.items())
        assert set(state) - set(stored) == {"classifier.weight", "classifier.bias"}

    def test_torchvision_squeezenet(self) -> None:
        network = build(vision_model(File(path=str(SQUEEZENET)), "squeezenet1_1"), 10)
        reference = torchvision.models.squeezenet1_1()
        reference.load_state_dict(load_file(SQUEEZENET))
        assert same_body(network, reference)
        assert network.classifier == "classifier.1"

    def test_facts_and_the_wrong_architecture(self) -> None:
        facts = weight_files.facts(MOBILENET)
        assert (facts.library, facts.architecture) == ("timm", "mobilenetv2_100")
        assert facts.parameters == sum(value.numel() for value in load_file(MOBILENET).values())
        assert facts.line() == "timm mobilenetv2_100, 3.5 M parameters, 14.2 MB"
        model = vision_model(File(path=str(MOBILENET)), "squeezenet1_1")
        for fails in (lambda: build(model, 10), lambda: model.backbone.weights.facts(model.backbone)):
            with pytest.raises(UserError, match="made for timm mobilenetv2_100"):
                fails()


class TestFiles:
    @pytest.mark.parametrize("form", ["plain", "state_dict", "model", "ema", "module", "half", "no classifier"])
    def test_usual_ways_to_save(self, form: str, tmp_path: Path) -> None:
        reference = original()
        state = dict(reference.state_dict())
        wrong = {name: torch.zeros_like(value) for name, value in state.items()}
        saved: Any = {
            "plain": state,
            "state_dict": {"state_dict": state, "epoch": 3},
            "model": {"model": state, "optimizer": {"lr": 0.1}},
            "ema": {"state_dict": wrong, "state_dict_ema": state},
            "module": {"state_dict": {f"module.{name}": value for name, value in state.items()}},
            "half": {n: v.half() if v.is_floating_point() else v for n, v in state.items()},
            "no classifier": {name: value for name, value in state.items() if not name.startswith("fc.")},
        }[form]
        torch.save(saved, tmp_path / "weights.pth")
        if form == "half":
            reference.half().float()
        network = build(timm_model(File(path=str(tmp_path / "weights.pth"))), 4)
        assert same_body(network, reference)
        assert all(p.dtype is torch.float32 for p in network.module.parameters())

    def test_safetensors_with_normalisation_of_its_own(self, tmp_path: Path) -> None:
        metadata = {"architecture": TINY, "library": "timm", "mean": "0.1,0.2,0.3", "std": "1,1,1"}
        save_file(original(num_classes=12).state_dict(), tmp_path / "w.safetensors", metadata)
        network = build(timm_model(File(path=str(tmp_path / "w.safetensors"))), 4)
        assert same_body(network, original(num_classes=12))
        assert (network.mean, network.std) == ((0.1, 0.2, 0.3), (1.0, 1.0, 1.0))

    def test_a_file_cannot_choose_what_is_loaded(self, tmp_path: Path) -> None:
        kwargs = json.dumps({"checkpoint_path": "/etc/passwd", "pretrained_cfg": {}, "num_classes": 3, "pad_type": ""})
        save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors", {"model_kwargs": kwargs})
        assert weight_files.facts(tmp_path / "w.safetensors").arguments == {"pad_type": ""}

    def test_another_architecture_names_what_does_not_match(self, tmp_path: Path) -> None:
        save_file(original().state_dict(), tmp_path / "w.safetensors")
        with pytest.raises(UserError) as caught:
            build(timm_model(File(path=str(tmp_path / "w.safetensors")), "resnet10t"), 4)
        assert "looks like a file for another architecture" in caught.value.why
        assert "is not part of the network" in caught.value.why
        assert " and 7" in caught.value.why

    def test_one_wrong_shape_or_name_is_enough(self, tmp_path: Path) -> None:
        state = original().state_dict()
        torch.save({**state, "bn1.weight": torch.ones(3)}, tmp_path / "shape.pth")
        with pytest.raises(UserError, match=r"bn1.weight is 3 instead of"):
            build(timm_model(File(path=str(tmp_path / "shape.pth"))), 4)
        torch.save({**state, "layer1.extra.weight": torch.ones(3)}, tmp_path / "name.pth")
        with pytest.raises(UserError, match=r"layer1.extra.weight is not part of"):
            build(timm_model(File(path=str(tmp_path / "name.pth"))), 4)

    def test_code_in_a_pickle_is_not_run(self, tmp_path: Path) -> None:
        trap = tmp_path / "sprung"

        class Trap:
            def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
                return Path.touch, (trap,)

        torch.save({"state_dict": original().state_dict(), "hook": Trap()}, tmp_path / "w.pth")
        with pytest.raises(UserError, match="holds more than tensors"):
            build(timm_model(File(path=str(tmp_path / "w.pth"))), 4)
        assert not trap.exists()

    @pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
    @pytest.mark.parametrize("content", [b"", b"short", b"\x10\x00\x00\x00\x00\x00\x00\x00not json at all!", None])
    def test_damaged_files(self, suffix: str, content: bytes | None, tmp_path: Path) -> None:
        path = tmp_path / f"w{suffix}"
        if content is None:
            state = original().state_dict()
            save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
            content = path.read_bytes()[:100_000]
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"cannot be read|holds"):
            build(timm_model(File(path=str(path))), 4)

    @pytest.mark.parametrize("path", ["", "nowhere.pth", "notes.txt", "/"])
    def test_no_such_file(self, path: str) -> None:
        model = timm_model(File(path=path))
        with pytest.raises(UserError):
            build(model, 4)
        with pytest.raises(UserError):
            model.backbone.weights.facts(model.backbone)


class TestBundled:
    def test_half_precision_file_of_the_assets(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(places, "ASSETS", tmp_path)
        (tmp_path / "backbones").mkdir()
        reference = original(num_classes=0).half()
        save_file(reference.state_dict(), tmp_path / "backbones" / f"{TINY}_thaw.safetensors")
        network = build(timm_model(Bundled()), 4)
        assert same_body(network, reference)
        assert all(p.dtype is torch.float32 for p in network.module.parameters())
        assert Bundled().facts(Timm(architecture=TINY)).startswith("Bundled with Thaw: ")
        with pytest.raises(UserError, match=f"no weights for timm resnet50.*Bundled is: {TINY}"):
            build(timm_model(Bundled(), "resnet50"), 4)
        with pytest.raises(UserError, match="no weights for torchvision"):
            build(vision_model(Bundled(), TINY), 4)

    def test_the_default_recipe_has_its_backbone(self) -> None:
        if not (places.ASSETS / "backbones" / "resnet10t_thaw.safetensors").is_file():
            pytest.skip("the bundled backbone is not trained yet")
        network = build(Model(), 12)
        assert [group.name for group in network.groups] == ["stem", "layer1", "layer2", "layer3", "layer4", "head"]


class TestPublished:
    def test_no_network_is_a_card_within_five_seconds(self, no_caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The worst kind: a host that takes the connection and never says a word."""
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{deaf.getsockname()[1]}")
            timm.create_model(TINY)  # what follows measures the network, not the imports
            start = time.monotonic()
            with pytest.raises(UserError) as caught:
                build(timm_model(Hub()), 4)
            assert time.monotonic() - start < 5
        assert all(way in caught.value.hint for way in ("weights file", "random"))
        assert "bundled" not in caught.value.hint, "Thaw brings none for this network"
        assert "cannot be reached" in caught.value.why

    def test_refused_connection_and_unknown_host(self, no_caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for host in ("http://127.0.0.1:9", "http://no-such-host.invalid"):
            monkeypatch.setenv("HF_ENDPOINT", host)
            start = time.monotonic()
            with pytest.raises(UserError, match="could not be downloaded"):
                build(timm_model(Hub()), 4)
            assert time.monotonic() - start < 5

    def test_offline_switch(self, no_caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(UserError, match="HF_HUB_OFFLINE"):
            build(timm_model(Hub()), 4)

    def test_download_with_progress_then_from_the_cache(
        self, no_caches: Path, monkeypatch: pytest.MonkeyPatch, served: tuple[Path, str]
    ) -> None:
        folder, address = served
        repository = folder / "timm" / f"{TINY}.r160_in1k" / "resolve" / "main"
        repository.mkdir(parents=True)
        save_file(original().state_dict(), repository / "model.safetensors")
        monkeypatch.setenv("HF_ENDPOINT", address)
        told: list[tuple] = []
        network = build(timm_model(Hub()), 4, lambda *what: told.append(what))
        assert same_body(network, original())
        megabytes = (repository / "model.safetensors").stat().st_size / 1e6
        downloads = [what for what in told if what[0] == f"Downloading {TINY}.r160_in1k.safetensors"]
        assert downloads
        assert all(0 < done <= total == megabytes and unit == "MB" for _, done, total, unit in downloads)

        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        assert same_body(build(timm_model(Hub(tag="r160_in1k")), 4), original())

    def test_the_huggingface_cache_is_used(self, no_caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        cache = no_caches / "hf"
        snapshot = cache / f"models--timm--{TINY}.r160_in1k" / "snapshots" / "abc"
        snapshot.mkdir(parents=True)
        (snapshot.parents[1] / "refs").mkdir()
        (snapshot.parents[1] / "refs" / "main").write_text("abc")
        save_file(original().state_dict(), snapshot / "model.safetensors")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert same_body(build(timm_model(Hub()), 4), original())

    def test_torchvision_from_torchs_cache_with_its_side_branches(self, no_caches: Path) -> None:
        checkpoints = Path(torch.hub.get_dir()) / "checkpoints"
        checkpoints.mkdir(parents=True)
        reference = torchvision.models.squeezenet1_1()
        torch.save(
            {**reference.state_dict(), "aux1.fc.weight": torch.zeros(1)}, checkpoints / "squeezenet1_1-b8a52dc0.pth"
        )
        network = build(vision_model(Hub(), "squeezenet1_1"), 4)
        assert same_body(network, reference)
        assert network.std == pytest.approx((0.229, 0.224, 0.225))

    def test_missing_file_at_the_hub(
        self, no_caches: Path, monkeypatch: pytest.MonkeyPatch, served: tuple[Path, str]
    ) -> None:
        monkeypatch.setenv("HF_ENDPOINT", served[1])
        with pytest.raises(UserError, match="no longer published"):
            build(timm_model(Hub()), 4)

    def test_a_download_that_breaks_off_leaves_nothing(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:

            def answer_half() -> None:
                connection, _ = server.accept()
                connection.recv(4096)
                connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
                connection.close()

            threading.Thread(target=answer_half, daemon=True).start()
            url = f"http://127.0.0.1:{server.getsockname()[1]}/w.safetensors"
            with pytest.raises(UserError, match="broke off"):
                hub.fetch(url, tmp_path / "w.safetensors", lambda *_: None)
        assert not list(tmp_path.glob("*w.safetensors*")), "by no mark could it go on"

    def test_names_that_are_not_there(self) -> None:
        cases = [
            (timm_model(Hub(), "resnet5"), "no network called resnet5. Did you mean"),
            (timm_model(Hub(), "resnet10t.c3_in1k"), "no network called .* resnet10t"),
            (timm_model(Hub(tag="nonsense"), "resnet10t"), "There are c3_in1k"),
            (vision_model(Hub(), "resnet5"), "no network called resnet5. Did you mean"),
            (vision_model(Hub(tag="V9"), "resnet18"), "There are IMAGENET1K_V1"),
            (timm_model(Hub(), "resnet14t_unknown"), "no network called"),
        ]
        for model, words in cases:
            with pytest.raises(UserError, match=words):
                build(model, 4)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address of a server that offers it."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class TestImageSize:
    def test_networks_of_fixed_size_are_built_for_the_images(self, tmp_path: Path) -> None:
        reference = original_vit()
        save_file(reference.state_dict(), tmp_path / "vit.safetensors")
        model = timm_model(File(path=str(tmp_path / "vit.safetensors")), "test_vit")
        network = build(model, 4, image_size=96)
        assert scores(network.module, 96).shape == (8, 4)
        blocks = {n: v for n, v in reference.state_dict().items() if n.startswith("blocks.")}
        assert all(torch.equal(network.module.state_dict()[name], value) for name, value in blocks.items())

    def test_published_positions_are_stretched_too(self, no_caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        cached = places.cache_dir() / "weights" / "test_vit.r160_in1k.safetensors"
        cached.parent.mkdir(parents=True)
        state = original_vit().state_dict()
        save_file({**state, "pos_embed": torch.full_like(state["pos_embed"], 5.0)}, cached)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(no_caches / "none"))
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        network = build(timm_model(Hub(), "test_vit"), 4, image_size=96)
        position = network.module.state_dict()["pos_embed"]
        assert position.shape[1] == 1 + (96 // 16) ** 2
        assert torch.allclose(position, torch.tensor(5.0))
        assert scores(network.module, 96).shape == (8, 4)

    def test_a_size_that_cannot_be_is_told_in_words(self) -> None:
        with pytest.raises(UserError, match="cannot build vit_b_16 with image_size=100"):
            build(vision_model(RandomWeights(), "vit_b_16"), 4, image_size=100)


def original_vit() -> torch.nn.Module:
    torch.manual_seed(3)
    return timm.create_model("test_vit")


class TestCheckpoint:
    @pytest.mark.parametrize(
        ("model", "size"),
        [
            (timm_model(RandomWeights(), head=MLP(hidden=16)), 64),
            (timm_model(RandomWeights(), "test_vit"), 96),
            (vision_model(RandomWeights(), "squeezenet1_1"), 64),
            (timm_model(RandomWeights(), head=SMALL_POOL), 64),
            (timm_model(RandomWeights(), "test_vit", SMALL_POOL), 96),
            (timm_model(RandomWeights(), "test_mambaout", SMALL_POOL), 64),
            (vision_model(RandomWeights(), "squeezenet1_1", SMALL_POOL), 64),
            (vision_model(RandomWeights(), "mobilenet_v3_small", SMALL_POOL), 64),
            (vision_model(RandomWeights(), "shufflenet_v2_x0_5", SMALL_POOL), 64),
        ],
        ids=["mlp", "vit", "torchvision", *(f"pool-{at}" for at in POOLED_AT)],
    )
    def test_round_trip(self, model: Model, size: int, tmp_path: Path) -> None:
        network = build(model, 5, image_size=size)
        path = tmp_path / "best.safetensors"
        save_file(network.module.state_dict(), path, description(model, network, 5))
        again = restore(model, 5, path)
        assert torch.equal(scores(again.module, size), scores(network.module, size))
        assert (again.mean, again.std, again.groups) == (network.mean, network.std, network.groups)


def test_what_a_network_uses_twice_is_saved_twice(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 2)
    state = torch.nn.ModuleList([layer, layer]).state_dict()
    with pytest.raises(RuntimeError, match="share memory"):
        save_file(state, tmp_path / "w.safetensors")
    save_file(apart(state), tmp_path / "w.safetensors")
    again = load_file(tmp_path / "w.safetensors")
    assert all(torch.equal(again[name], value) for name, value in state.items())


def test_random_weights_say_so_loudly_and_follow_the_seed() -> None:
    assert "RANDOM WEIGHTS" in RandomWeights().facts(Timm(architecture=TINY))
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(build(timm_model(RandomWeights()), 3).module.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["fc.weight"], states[2]["fc.weight"])


def test_the_call_shown_to_people_builds_the_network() -> None:
    model = timm_model(RandomWeights())
    call = model.backbone.call(Plan(5))
    assert call.code() == f"timm.create_model('{TINY}', num_classes=5)"
    assert call.build().num_classes == 5
    squeezenet = Torchvision(architecture="squeezenet1_1").call(Plan(5))
    assert squeezenet.code() == "torchvision.models.get_model('squeezenet1_1', num_classes=5)"
