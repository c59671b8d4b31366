"""The catalogue says of every backbone what the network itself would say."""

import subprocess
import sys

import pytest
import timm
from torchvision import models

from finetune_core.errors import UserError
from finetune_core.network import catalogue
from finetune_core.network.describe import describe
from finetune_core.parts.backbones import Backbone, Timm, Torchvision
from finetune_core.parts.heads import ConcatPool, Linear
from finetune_core.recipe.regroup import regrouped

SEVERAL = [
    Timm(architecture="resnet10t"),
    Timm(architecture="mobilenetv2_100"),
    Timm(architecture="mobilenetv3_small_100"),
    Timm(architecture="vit_tiny_patch16_224"),
    Timm(architecture="convnext_large_mlp"),
    Timm(architecture="pit_ti_224"),
    Timm(architecture="rdnet_tiny"),
    Timm(architecture="vgg11"),
    Torchvision(architecture="squeezenet1_1"),
    Torchvision(architecture="swin_t"),
    Torchvision(architecture="regnet_y_400mf"),
    Torchvision(architecture="googlenet"),
    Torchvision(architecture="mobilenet_v3_small"),
    Torchvision(architecture="vgg16"),
]


@pytest.mark.parametrize("backbone", SEVERAL, ids=lambda each: f"{each.kind}-{each.architecture}")
def test_entries_equal_the_networks(backbone: Backbone) -> None:
    assert catalogue.entry(backbone.kind, backbone.architecture) == describe(backbone)


@pytest.mark.slow
def test_a_spread_of_all_entries_equals_the_networks() -> None:
    kinds = {"timm": Timm, "torchvision": Torchvision}
    for each in catalogue.entries()[::20]:
        assert describe(kinds[each.library](architecture=each.architecture)) == each


def test_a_head_that_pools_finds_other_features_and_may_leave_groups_out() -> None:
    vgg, resnet = catalogue.entry("timm", "vgg11"), catalogue.entry("torchvision", "resnet50")
    assert (vgg.features_for(Linear()), vgg.features_for(ConcatPool())) == (4096, 512)
    assert "pre_logits" in vgg.body_under(Linear())
    assert "pre_logits" not in vgg.body_under(ConcatPool())
    assert resnet.features_for(ConcatPool()) == 2048
    assert (
        tuple((name, sum(parts.values())) for name, parts in resnet.body_under(ConcatPool()).items()) == resnet.groups
    )
    assert catalogue.entry("timm", "coat_tiny").features_for(ConcatPool()) == 0


def test_known_figures() -> None:
    resnet = catalogue.entry("torchvision", "resnet50")
    assert resnet.parameters() == 25_557_032
    assert resnet.parameters(10) == 25_557_032 - 2048 * 990 - 990
    assert [name for name, _ in resnet.groups] == ["stem", "layer1", "layer2", "layer3", "layer4"]
    assert resnet.macs == pytest.approx(4.09, abs=0.01), "as torchvision states it"
    assert {tag.name: tag.top1 for tag in resnet.tags} == {"IMAGENET1K_V2": 80.858, "IMAGENET1K_V1": 76.13}
    assert resnet.tags[0].name == "IMAGENET1K_V2", "the library's default comes first"
    assert not resnet.fixed_size
    vit = catalogue.entry("timm", "vit_base_patch16_224")
    assert vit.fixed_size
    assert vit.input_size == 224
    assert vit.tags[0].name == timm.get_pretrained_cfg("vit_base_patch16_224").tag
    assert {tag.name: tag.licence for tag in vit.tags}["mae"] == "cc-by-nc-4.0"
    assert not catalogue.entry("timm", "vgg11").tags[0].top1


def test_every_architecture_of_the_pinned_libraries_is_listed_or_left_out_with_a_reason() -> None:
    listed = {(each.library, each.architecture) for each in catalogue.entries()}
    left_out = {tuple(name.split(" ")) for name, reason in catalogue.left_out().items() if reason}
    known = {("timm", name) for name in timm.list_models()}
    known |= {("torchvision", name) for name in models.list_models(module=models)}
    assert listed | left_out == known, "write it anew: python -m finetune_core.network.describe"
    assert not listed & left_out
    assert len(left_out) < 0.1 * len(known)


def test_every_entry_is_fit_for_a_page() -> None:
    for each in catalogue.entries():
        names = [name for name, _ in each.groups]
        assert len({*names, "head"}) == len(names) + 1 <= 9, each
        assert names[0] == "stem"
        assert all(count > 0 for _, count in each.groups), each
        assert each.features > 0
        assert 32 <= each.input_size <= 2048, each
        assert all(len(name) <= 32 for name in names), each
        assert all(sum(count for _, count in parts) == dict(each.groups)[group] for group, parts in each.pieces), each
        everything = regrouped({**{name: [name] for name in names}, **_names(each.pieces)}, list(dict(each.pieces)), [])
        assert len(everything) == len(names) + sum(len(parts) - 1 for _, parts in each.pieces), each
        assert each.title


def _names(pieces: tuple[tuple[str, catalogue.Counts], ...]) -> dict[str, list[str]]:
    return {group: [name for name, _ in parts] for group, parts in pieces}


def test_unknown_names_get_near_ones() -> None:
    with pytest.raises(UserError, match="Did you mean resnet50"):
        catalogue.entry("timm", "resnet5O")


def test_it_is_small_and_read_without_torch() -> None:
    assert catalogue.FILE.stat().st_size < 1_500_000
    check = (
        "import sys; from finetune_core.network import catalogue; "
        "assert catalogue.entries(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", check], check=True)


def test_networks_are_filtered_by_size_and_family() -> None:
    everything = catalogue.search("")
    assert len(everything) == len(catalogue.entries())
    parts = [catalogue.search("", sizes=[size]) for size in catalogue.SIZES]
    assert sum(map(len, parts)) == len(everything), "the sizes leave nothing out, and none is of two"
    assert all(each.size < 5e6 for each in parts[0])
    families = catalogue.families(["torchvision"])
    assert sum(families.values()) == sum(each.library == "torchvision" for each in everything)
    assert list(families) == sorted(families, key=str.casefold)
    both = catalogue.search("18", ["torchvision"], [list(catalogue.SIZES)[1]], ["ResNet"])
    assert [each.architecture for each in both] == ["resnet18"]
    assert not catalogue.search("resnet18", families=["Vision Transformer"])
    assert set(catalogue.SPELLED.values()) <= set(catalogue.families()), "each of them is a family"
    assert {"ConvNeXt", "Vision Transformer", "Xception aligned"} <= set(catalogue.families())


def test_no_accuracy_is_told_that_a_library_does_not_bring_along() -> None:
    known = {each.library for each in catalogue.entries() if each.top1 is not None}
    assert known == {"torchvision"}, "timm's package has no results: what it ships since can be told, too"
