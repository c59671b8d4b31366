"""Layer groups: complete, readable, and frozen for good."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from finetune_core.errors import UserError
from finetune_core.network.build import build
from finetune_core.network.freezing import divide, in_phase, param_groups
from finetune_core.network.groups import layer_groups
from finetune_core.network.network import LayerGroup, Network
from finetune_core.parts.backbones import Backbone, RandomWeights, Timm, Torchvision
from finetune_core.parts.backbones.spec import Plan
from finetune_core.recipe import Model, Phase, Recipe
from finetune_core.recipe.holding import held, matches, weights
from finetune_core.recipe.names import matching
from finetune_core.recipe.presets import current_preset, presets

EXPECTED = {
    ("timm", "resnet10t"): "stem layer1 layer2 layer3 layer4 head",
    ("timm", "resnet50"): "stem layer1 layer2 layer3 layer4 head",
    ("timm", "mobilenetv2_100"): "stem blocks.0 blocks.1 blocks.2 blocks.3 blocks.4 blocks.5 blocks.6 head",
    ("timm", "mobilenetv3_small_100"): "stem blocks.0 blocks.1 blocks.2 blocks.3 blocks.4 blocks.5 conv_head head",
    ("timm", "efficientnet_b0"): "stem blocks.0 blocks.1 blocks.2 blocks.3 blocks.4 blocks.5 blocks.6 head",
    ("timm", "convnext_tiny"): "stem stages.0 stages.1 stages.2 stages.3 head",
    ("timm", "vit_tiny_patch16_224"): "stem blocks.0-2 blocks.3-5 blocks.6-8 blocks.9-11 head",
    ("timm", "swin_tiny_patch4_window7_224"): "stem layers.0 layers.1 layers.2 layers.3 head",
    ("timm", "densenet121"): "stem denseblock1 denseblock2 denseblock3 denseblock4 head",
    ("timm", "regnety_002"): "stem s1 s2 s3 s4 head",
    ("timm", "vgg11"): "stem features.3-6 features.8-11 features.13-16 features.18 pre_logits head",
    ("timm", "pit_ti_224"): "stem transformers.0 transformers.1 transformers.2 head",
    ("timm", "csatv2"): "stem stages.0 stages.1 stages.2 stages.3 head",
    ("timm", "caformer_s18"): "stem stages.0 stages.1 stages.2 stages.3 fc1 head",
    ("torchvision", "resnet18"): "stem layer1 layer2 layer3 layer4 head",
    ("torchvision", "mobilenet_v3_small"): (
        "stem features.1-3 features.4-6 features.7-9 features.10-12 classifier.0 head"
    ),
    ("torchvision", "efficientnet_b0"): "stem features.1-2 features.3-4 features.5-6 features.7-8 head",
    ("torchvision", "convnext_tiny"): "stem features.1 features.3 features.5 features.7 head",
    ("torchvision", "vgg11"): "stem features.3-8 features.11-13 features.16-18 classifier.0-3 head",
    ("torchvision", "squeezenet1_1"): "stem features.3-4 features.6-7 features.9-10 features.11-12 head",
    ("torchvision", "densenet121"): "stem denseblock1 denseblock2 denseblock3 denseblock4 head",
    ("torchvision", "vit_b_16"): "stem encoder_layer_0-2 encoder_layer_3-5 encoder_layer_6-8 encoder_layer_9-11 head",
    ("torchvision", "swin_t"): "stem features.1 features.3 features.5 features.7 head",
}


def backbone(library: str, architecture: str) -> Backbone:
    kind = {"timm": Timm, "torchvision": Torchvision}[library]
    return kind(architecture=architecture, weights=RandomWeights())


def grouped(library: str, architecture: str) -> tuple[nn.Module, str, tuple[LayerGroup, ...]]:
    with torch.device("meta"):
        body = backbone(library, architecture).bare(Plan(10))
    return body.module, body.classifier, layer_groups(body.module, body.classifier)


@pytest.mark.parametrize(("library", "architecture"), EXPECTED, ids=["-".join(key) for key in EXPECTED])
def test_groups_are_readable_and_complete(library: str, architecture: str) -> None:
    module, classifier, groups = grouped(library, architecture)
    assert " ".join(group.name for group in groups) == EXPECTED[library, architecture]

    sizes = {name: parameter.numel() for name, parameter in module.named_parameters()}
    assert sorted(name for group in groups for name in group.parameters) == sorted(sizes)
    assert sum(group.count for group in groups) == sum(sizes.values())
    assert all(name.startswith(classifier) for name in groups[-1].parameters)

    # every module that holds parameters or buffers itself lies in exactly one group, and in that of its parameters
    owner = {name: group.name for group in groups for name in group.parameters}
    for path, child in module.named_modules():
        homes = {g.name for g in groups for m in g.modules if path == m or path.startswith(f"{m}.")}
        own = {owner[f"{path}.{name}".strip(".")] for name, _ in child.named_parameters(recurse=False)}
        if homes:
            assert len(homes) == 1
            assert own <= homes
        else:  # a container across groups: may hold a lone token or positions, but nothing that depends on the mode
            assert len({g for name, g in owner.items() if not path or name.startswith(f"{path}.")}) > 1
            assert not isinstance(child, nn.modules.batchnorm._NormBase)
            assert not list(child.buffers(recurse=False))


def test_no_module_is_in_two_groups_and_dropout_before_the_classifier_is_the_heads() -> None:
    _, _, groups = grouped("torchvision", "mobilenet_v3_small")
    modules = [name for group in groups for name in group.modules]
    assert len(modules) == len(set(modules))
    assert "classifier.2" in groups[-1].modules


class TestMatching:
    names = ("stem", "layer1", "layer2", "head")

    def test_patterns_keep_the_order_of_the_network(self) -> None:
        assert matching(self.names, ["head", "layer?"]) == ("layer1", "layer2", "head")
        assert matching(self.names, ["*"]) == self.names
        assert matching(self.names, []) == ()

    def test_a_pattern_without_match_names_what_there_is(self) -> None:
        with pytest.raises(UserError, match=r"no layer group called layer9.*stem, layer1, layer2, head"):
            matching(self.names, ["head", "layer9"])


def resnet() -> Network:
    torch.manual_seed(0)
    return build(Model(backbone=backbone("timm", "resnet10t")), 3)


def decay(network: Network, value: float) -> dict[str, float]:
    return {group.name: value for group in network.groups}


def step(network: Network) -> None:
    network.module(torch.randn(4, 3, 64, 64)).square().sum().backward()


def test_frozen_groups_hold_still_and_thawed_ones_move() -> None:
    network = resnet()
    keys = list(network.module.state_dict())
    step(network)  # leaves gradients everywhere
    divide(network, ["layer4", "head"]).freeze()
    divide(network, ["layer4", "head"]).train_mode()
    before = {name: value.clone() for name, value in network.module.state_dict().items()}
    rates = {"layer4": 0.1, "head": 0.1}
    optimizer = torch.optim.AdamW(param_groups(network, decay(network, 0.01), rates), lr=0.0)
    step(network)
    optimizer.step()

    after = network.module.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert list(after) == keys
    assert changed
    assert all(name.startswith(("layer4.", "fc.")) for name in changed)
    assert any("running_mean" in name for name in changed), "thawed BatchNorm learns its statistics"
    assert "fc.weight" in changed
    assert all(p.grad is None for n, p in network.module.named_parameters() if not n.startswith(("layer4.", "fc.")))
    assert not network.module.get_submodule("layer3.0.bn1").training
    assert network.module.get_submodule("layer4.0.bn1").training


def test_thawing_again_brings_groups_back() -> None:
    network = resnet()
    divide(network, []).freeze()
    divide(network, []).train_mode()
    assert not any(p.requires_grad for p in network.module.parameters())
    assert not any(m.training for m in network.module.modules())
    divide(network, ["*"]).freeze()
    divide(network, ["*"]).train_mode()
    assert all(p.requires_grad for p in network.module.parameters())
    assert all(m.training for m in network.module.modules())


def test_param_groups_cover_everything_once_with_rate_and_decay_by_name() -> None:
    network = resnet()
    dicts = param_groups(network, decay(network, 0.05), {"layer1": 1e-4, "head": 1e-3})
    assert len(dicts) == 2 * 6
    assert [each["name"] for each in dicts[::2]] == ["stem", "layer1", "layer2", "layer3", "layer4", "head"]
    ids = [id(p) for each in dicts for p in each["params"]]
    assert sorted(ids) == sorted(id(p) for p in network.module.parameters())
    for each in dicts:
        assert each["lr"] == {"layer1": 1e-4, "head": 1e-3}.get(each["name"], 0.0)
        assert {p.ndim > 1 for p in each["params"]} == {each["weight_decay"] == 0.05}
    assert {each["weight_decay"] for each in param_groups(network, decay(network, 0.05), {}, decay_all=True)} == {0.05}


class TestPresets:
    names = ("stem", "layer1", "layer2", "layer3", "layer4", "head")

    def test_the_five(self) -> None:
        chosen = {preset.key: preset for preset in presets(self.names)}
        assert [preset.title for preset in chosen.values()] == [
            "Head only",
            "Last stage",
            "Last two stages",
            "Everything",
            "÷10 per group",
        ]
        assert chosen["head_only"].thaw == ("head",)
        assert chosen["last_stage"].thaw == ("layer4", "head")
        assert chosen["last_stage"].multipliers == {"layer4": 0.1}
        assert chosen["everything"].multipliers == dict.fromkeys(self.names[:-1], 0.1)
        assert chosen["tenfold"].thaw == self.names
        assert chosen["tenfold"].multipliers == pytest.approx(
            {"layer4": 0.1, "layer3": 0.01, "layer2": 0.001, "layer1": 0.001, "stem": 0.001}
        )

    def test_a_fresh_recipe_follows_one(self) -> None:
        assert current_preset(Recipe().phases[0], self.names) == "last_two"

    def test_a_network_of_head_alone_still_has_presets(self) -> None:
        assert all(preset.thaw == ("head",) and not preset.multipliers for preset in presets(("head",)))


def test_groups_model_and_catalogue_import_without_torch() -> None:
    modules = "network.groups, network.build, network.catalogue, parts.backbones.hub, parts.backbones.weight_files"
    modules += ", parts.heads"
    lines = "".join(f"import finetune_core.{name}\n" for name in modules.split(", "))
    check = lines + "import sys; print([m for m in ('torch', 'timm', 'torchvision') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


class TestHolding:
    def test_only_convolutions_of_the_body_are_frozen_as_a_loop_over_the_layers_finds_them(self) -> None:
        network = resnet()
        convolutions = {
            f"{path}.{name}"
            for path, layer in network.module.named_modules()
            if isinstance(layer, nn.Conv2d)
            for name, _ in layer.named_parameters(recurse=False)
        }
        divide(network, ["*"], ["type:conv2d"]).freeze()
        assert {n for n, p in network.module.named_parameters() if not p.requires_grad} == convolutions
        assert len(convolutions) > 5

    def test_rules_mean_names_classes_and_what_derives_from_them(self) -> None:
        known = weights(resnet().module)
        names = [weight.name for weight in known]
        assert matches(known, r"layer4\.0") == tuple(name for name in names if "layer4.0" in name)
        assert matches(known, r"^(conv1|fc)\.") == tuple(name for name in names if name.startswith(("conv1.", "fc.")))
        assert matches(known, "type:_BatchNorm") == matches(known, "type:*norm*")
        assert matches(known, "type:BATCHNORM2D") == matches(known, "type:_BatchNorm")
        assert held(known, ["type:Linear", "bn1"]) == tuple(n for n in names if "bn1" in n or n.startswith("fc."))
        assert held(known, []) == ()
        own = weights(grouped("timm", "tf_mobilenetv3_small_minimal_100")[0])  # with a Conv2dSame of timm's
        assert set() < set(matches(own, "type:Conv2dSame")) < set(matches(own, "type:Conv2d"))

    @pytest.mark.parametrize(
        ("rule", "told"),
        [
            ("layer9", r"No parameter's name holds layer9. There are \d+, such as conv1.0.weight, "),
            ("type:Conv3d", "No layer is a Conv3d. Layers with parameters here are BatchNorm2d, Conv2d, Linear"),
            ("layer(", r"layer\( is no regular expression"),
            ("", "No parameter's name holds "),
        ],
    )
    def test_a_rule_that_means_nothing_names_what_there_is(self, rule: str, told: str) -> None:
        with pytest.raises(UserError, match=told):
            divide(resnet(), ["*"], [rule]).freeze()

    def test_a_rule_that_cannot_be_read_is_refused_by_the_recipe(self) -> None:
        with pytest.raises(ValueError, match="no regular expression"):
            Phase(hold=("type:Conv2d", "layer("))

    def test_what_is_wholly_held_is_in_eval_mode_and_the_rest_of_its_group_trains(self) -> None:
        network = build(Model(backbone=backbone("timm", "resnet10t").replace(drop_path_rate=0.1)), 3)
        divide(network, ["layer4", "head"], hold=["bn1", r"layer3"]).train_mode()
        training = {path for path, layer in network.module.named_modules() if layer.training}
        assert "layer4.0.bn2" in training
        assert not network.module.get_submodule("layer4.0.bn1").training
        divide(network, ["layer4", "head"], hold=[r"layer4\.0"]).train_mode()
        assert not any(layer.training for layer in network.module.get_submodule("layer4").modules())
        assert network.module.get_submodule("fc").training
        divide(network, ["layer4", "head"], ["bn1"], "update").train_mode()
        assert network.module.get_submodule("layer4.0.bn1").training

    def test_a_norm_layer_that_is_held_in_part_normalises_as_its_group(self) -> None:
        network = resnet()
        for how in ("hold", "batch", "update"):
            division = in_phase(network, Phase(thaw=("layer4", "head"), hold=("bias",), norms={"layer4": how}))
            division.train_mode()
            norms = [each for each in network.module.layer4.modules() if hasattr(each, "running_mean")]
            assert {each.training for each in norms} == {how != "hold"}
            assert {each.track_running_stats for each in norms} == {how != "batch"}
            assert {*division.by_batch()} == (set() if how == "hold" else set(norms))

    def test_a_group_is_divided_without_loss(self) -> None:
        network = resnet()
        division = divide(network, ["layer4", "head"], ["type:Conv2d", r"^fc\."])
        learning, still = division.learning, division.still
        assert [group.name for group in learning] == ["layer4"]
        assert [group.name for group in still] == ["stem", "layer1", "layer2", "layer3", "layer4 (held)", "head (held)"]
        names = sorted(name for group in (*learning, *still) for name in group.parameters)
        assert names == sorted(name for name, _ in network.module.named_parameters())
        assert sum(group.count for group in (*learning, *still)) == sum(group.count for group in network.groups)
        with pytest.raises(UserError, match="All that is thawed is held"):
            in_phase(network, Phase(hold=("fc",)))
