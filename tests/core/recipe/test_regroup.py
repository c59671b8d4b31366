"""Layer groups by hand: split and merged alike in the network and on pages, which know it as data only."""

import pytest

from finetune_core.errors import UserError
from finetune_core.network import catalogue, tree
from finetune_core.network.refit import with_model
from finetune_core.parts.backbones import RandomWeights, Timm, Torchvision
from finetune_core.parts.heads import ConcatPool, Linear
from finetune_core.recipe import Model, Phase, Recipe
from finetune_core.recipe.regroup import joins, merges, regrouped
from finetune_core.training import session
from finetune_core.training.loop import Trainer

PIECES = {"stem": ["stem"], "layer1": ["layer1.0", "layer1.1"], "layer2": ["layer2.0", "layer2.1"]}
RESNET = Model(backbone=Torchvision(architecture="resnet18", weights=RandomWeights()))


def test_groups_are_split_then_merged_and_stay_in_order() -> None:
    assert regrouped(PIECES, [], []) == {name: tuple(parts) for name, parts in PIECES.items()}
    assert list(regrouped(PIECES, ["layer1"], [])) == ["stem", "layer1.0", "layer1.1", "layer2"]
    assert regrouped(PIECES, ["layer1"], [["layer1.0", "stem"]]) == {
        "stem+layer1.0": ("stem", "layer1.0"),
        "layer1.1": ("layer1.1",),
        "layer2": ("layer2.0", "layer2.1"),
    }
    assert list(regrouped(PIECES, [], [["stem", "layer1", "layer2"]])) == ["stem..layer2"]
    names = list(regrouped(PIECES, ["layer1", "layer2"], []))
    for wanted in ((), (("stem", "layer1.0"),), (("stem", "layer1.0", "layer1.1"), ("layer2.0", "layer2.1"))):
        assert merges(names, joins(wanted)) == wanted


@pytest.mark.parametrize(
    ("split", "merge", "told"),
    [
        (["stem"], [], "stem cannot be split: it is in one piece. Those of several pieces are layer1, layer2"),
        (["layer9"], [], "layer9 cannot be split: it is not there"),
        ([], [["stem", "layer2"]], "stem, layer2 cannot be merged. It takes neighbours"),
        ([], [["stem"]], "at least two"),
        ([], [["layer2", "head"]], "There is no head before the head: stem, layer1, layer2"),
        (["layer1"], [["stem", "layer1"]], "There is no layer1 before the head: stem, layer1.0"),
        ([], [["stem", "layer1"], ["layer1", "layer2"]], "layer1 is merged twice"),
    ],
)
def test_what_cannot_be_is_told_with_what_there_is(split: list[str], merge: list[list[str]], told: str) -> None:
    with pytest.raises(UserError, match=told):
        regrouped(PIECES, split, merge)


@pytest.mark.parametrize("head", [Linear(), ConcatPool(hidden=8)], ids=["linear", "concat_pool"])
@pytest.mark.parametrize(
    "backbone",
    [
        Timm(architecture="resnet10t"),
        Timm(architecture="vit_tiny_patch16_224"),
        Timm(architecture="mobilenetv3_small_100"),
        Timm(architecture="densenet121"),
        Timm(architecture="vgg11"),
        Torchvision(architecture="resnet18"),
        Torchvision(architecture="swin_t"),
    ],
    ids=lambda each: each.architecture,
)
def test_the_network_and_the_catalogue_agree(backbone: Timm | Torchvision, head: Linear | ConcatPool) -> None:
    body = catalogue.entry(backbone.kind, backbone.architecture).body_under(head)
    split = tuple(group for group, pieces in body.items() if len(pieces) > 1)
    model = Model(backbone=backbone, head=head, split=split)
    first, second, third = catalogue.layer_names(model)[1:4]
    model = model.replace(merge=((first, second, third),))
    network = tree.skeleton(model, 5)
    assert tuple(group.name for group in network.groups) == catalogue.layer_names(model)
    assert {group.name: group.count for group in network.groups} == catalogue.layer_counts(model, 5)
    names = [name for group in network.groups for name in group.parameters]
    assert sorted(names) == sorted(name for name, _ in network.module.named_parameters())
    modules = [path for group in network.groups for path in group.modules]
    assert len(modules) == len(set(modules))


def test_the_blocks_of_a_split_group_freeze_and_learn_by_themselves(tiny: Recipe) -> None:
    recipe = tiny.replace(model=tiny.model.replace(split=("layer4",), merge=(("stem", "layer1"),)))
    phase = {"epochs": 1, "thaw": ["layer4.0.conv2", "head"], "learning_rate": 0.01}
    made = session.prepare(recipe.with_value("phases", [phase]))
    events = [record.text for record in Trainer(made).run() if record.kind == "event"]
    assert events[-1] == (
        "Truth check: stem+layer1, layer2, layer3, layer4.0.conv1, layer4.0.downsample stand still; "
        "layer4.0.conv2, head learn."
    )
    everything = recipe.with_value("phases", [{**phase, "thaw": ["layer4*", "head"]}])
    assert Trainer(session.prepare(everything)).peaks[0]["layer4.0.downsample"] > 0


class TestAnotherModel:
    """The rest of a recipe follows its groups."""

    def recipe(self) -> Recipe:
        phase = Phase(thaw=("layer3", "layer4", "head"), multipliers={"layer3": 0.1, "layer4": 0.5})
        recipe = Recipe(model=RESNET, phases=(phase, Phase(thaw=("*",))))
        return recipe.replace(training=recipe.training.replace(decay={"layer4": 0.0, "stem": 2.0}))

    def test_blocks_take_over_what_was_said_of_their_group_and_give_it_back(self) -> None:
        recipe = self.recipe()
        split = with_model(recipe, RESNET.replace(split=("layer4",)))
        first, second = split.phases
        assert first.thaw == ("layer3", "layer4.0", "layer4.1", "head")
        assert first.multipliers == {"layer3": 0.1, "layer4.0": 0.5, "layer4.1": 0.5}
        assert second.thaw == ("*",)
        assert split.training.decay == {"stem": 2.0, "layer4.0": 0.0, "layer4.1": 0.0}
        assert with_model(split, RESNET) == recipe

    def test_a_merged_group_trains_where_any_of_it_did_at_the_rate_of_the_last(self) -> None:
        merged = with_model(self.recipe(), RESNET.replace(merge=(("layer2", "layer3"),)))
        assert merged.phases[0].thaw == ("layer2+layer3", "layer4", "head")
        assert merged.phases[0].multipliers == {"layer2+layer3": 0.1, "layer4": 0.5}

    def test_a_head_that_leaves_groups_out_takes_them_out_of_the_recipe(self) -> None:
        vgg = Model(backbone=Timm(architecture="vgg11"), split=("pre_logits",), merge=(("stem", "features.3-6"),))
        phases = (Phase(thaw=("fc1", "fc2"), multipliers={"fc1": 0.1}), Phase(thaw=("features.18", "fc2")))
        changed = with_model(Recipe(model=vgg, phases=phases), vgg.replace(head=ConcatPool()))
        assert (changed.model.split, changed.model.merge) == ((), vgg.merge)
        assert [phase.thaw for phase in changed.phases] == [("head",), ("features.18",)]
        assert not changed.phases[0].multipliers
        assert catalogue.layer_names(changed.model)[0] == "stem+features.3-6"
