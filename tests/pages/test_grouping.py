"""The depth of Model & layers: groups split and joined, layers held, weight decay per group, how quick a network is."""

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from finetune_core.network import catalogue, refit
from finetune_core.parts.heads import ConcatPool
from finetune_core.recipe import Recipe
from finetune_core.runs import launch, store
from finetune_core.runs.jobs import Measure
from finetune_core.training import timing
from tests.pages.conftest import draft, saved

Open = Callable[[str], AppTest]


def opened(open_page: Open) -> AppTest:
    """Model & layers with its tree open."""
    return again(open_page("layers"))


def again(app: AppTest) -> AppTest:
    """The page once more; the test bench forgets that the tree is open."""
    app.session_state["more-tree"] = True
    app = app.run()
    assert not app.exception, app.exception[0].value
    return app


def test_a_newcomer_sees_no_tree(open_page: Open) -> None:
    app = open_page("layers")
    assert not app.multiselect
    assert not app.dataframe


def test_groups_are_split_joined_and_given_back(open_page: Open, tiny: Recipe) -> None:
    saved(tiny.with_value("phases.0.thaw", ["layer4", "head"]).with_value("phases.0.multipliers", {"layer4": 0.1}))
    app = opened(open_page)
    app.multiselect(key="several:Split into blocks").set_value(["layer4"])
    again(app)
    blocks = ("layer4.0.conv1", "layer4.0.conv2", "layer4.0.downsample")
    assert draft().phases[0].thaw == (*blocks, "head")
    assert draft().phases[0].multipliers == dict.fromkeys(blocks, 0.1)
    app.multiselect(key="several:Join with the next").set_value(["stem"])
    again(app)
    assert draft().model.merge == (("stem", "layer1"),)
    assert app.toggle(key="thaw:stem+layer1")
    app.text_input(key="freeze-to:0").set_value("-1")
    again(app)
    assert draft().phases[0].thaw == ("head",)
    app.button(key="own-groups").click()
    again(app)
    assert (draft().model.split, draft().model.merge) == ((), ())


def test_layers_are_found_held_and_let_go(open_page: Open, tiny: Recipe) -> None:
    saved(tiny.with_value("phases.0.thaw", ["layer4", "head"]).with_value("phases.0.multipliers", {}))
    app = opened(open_page)
    app.text_input(key="tree-words").set_value("bn1")
    again(app)
    told = "\n".join(caption.value for caption in app.caption)
    assert "bn1 matches 10 of 47 parameters, 2 in thawed groups" in told
    app.button(key="hold").click()
    again(app)
    assert draft().phases[0].hold == ("bn1",)
    table = app.dataframe[0].value
    assert set(table[table["Module"].str.strip() == "bn1"]["Trains"]) == {"frozen", "held"}
    app.text_input(key="tree-words").set_value("")
    again(app)
    app.selectbox(key="tree-kind").set_value("Conv2d")
    again(app)
    app.button(key="hold").click()
    again(app)
    assert draft().phases[0].hold == ("bn1", "type:Conv2d")
    app.multiselect(key="several:Held").set_value(["type:Conv2d"])
    again(app)
    assert draft().phases[0].hold == ("type:Conv2d",)
    app.text_input(key="tree-words").set_value("layer(")
    again(app)
    assert "layer( is no regular expression" in "\n".join(caption.value for caption in app.caption).replace("\\", "")


def test_what_is_found_learns_at_a_rate_of_its_own(open_page: Open, tiny: Recipe) -> None:
    saved(tiny.with_value("phases.0.thaw", ["layer4", "head"]))
    app = opened(open_page)
    app.text_input(key="tree-words").set_value("bn1")
    again(app)
    app.text_input(key="by-name-factor").set_value("a tenth")
    again(app)
    assert app.button(key="by-name").disabled, "what cannot be read cannot be set"
    app.text_input(key="by-name-factor").set_value("0,1")
    again(app)
    app.button(key="by-name").click()
    again(app)
    assert draft().phases[0].by_name == {"bn1": 0.1}
    app.text_input(key="tree-words").set_value("conv1")
    again(app)
    app.button(key="by-name").click()
    again(app)
    assert draft().phases[0].by_name == {"bn1": 0.1, "conv1": 10.0}
    chosen = app.multiselect(key="several:Rate by name")
    assert chosen.options == ["bn1 × 0.1", "conv1 × 10"]
    chosen.set_value(["conv1"])
    again(app)
    assert draft().phases[0].by_name == {"conv1": 10.0}


def test_norm_layers_of_a_group_have_a_policy(open_page: Open, tiny: Recipe) -> None:
    saved(tiny.with_value("phases.0.norms", {"layer*": "hold"}))
    app = open_page("layers")
    app.session_state["more-stages"] = True
    app.run()
    assert [app.selectbox(key=f"norms:{name}").value for name in ("stem", "layer1", "layer4")] == ["", "hold", "hold"]
    app.selectbox(key="norms:layer4").set_value("batch")
    app.session_state["more-stages"] = True
    app.run()
    assert draft().phases[0].norms == {"layer1": "hold", "layer2": "hold", "layer3": "hold", "layer4": "batch"}
    app.selectbox(key="norms:layer1").set_value("")
    app.session_state["more-stages"] = True
    app.run()
    assert not app.exception
    assert draft().phases[0].norms == {"layer2": "hold", "layer3": "hold", "layer4": "batch"}


def test_another_backbone_leaves_what_was_said_of_single_layers_behind(tiny: Recipe) -> None:
    recipe = tiny.with_values({"phases.0.by_name": {"bn1": 2.0}, "phases.0.norms": {"layer4": "hold", "head": "batch"}})
    other = refit.with_backbone(recipe, refit.named("mobilenetv2_100"))
    assert other.phases[0].by_name == {}
    assert other.phases[0].norms == {"head": "batch"}
    split = refit.with_model(recipe, recipe.model.replace(split=("layer4",)))
    assert {name for name, how in split.phases[0].norms.items() if how == "hold"} == {
        "layer4.0.conv1",
        "layer4.0.conv2",
        "layer4.0.downsample",
    }


def test_another_head_refits_what_was_thawed(open_page: Open) -> None:
    app_model = {"kind": "timm", "architecture": "vgg11", "weights": {"kind": "random"}}
    recipe = saved(Recipe().with_value("model.backbone", app_model).with_value("phases.0.multipliers", {}))
    saved(recipe.with_value("phases.0.thaw", ["pre_logits", "head"]))
    app = open_page("layers")
    app.button_group(key="kind:model.head").set_value(ConcatPool.kind).run()
    assert not app.exception
    assert draft().model.head.kind == "concat_pool"
    assert draft().phases[0].thaw == ("head",)


def test_groups_that_cannot_be_are_a_card_with_a_way_back(open_page: Open) -> None:
    saved(Recipe().with_value("model.split", ["layer9"]))
    app = open_page("layers")
    assert "layer9 cannot be split" in "\n".join(each.value for each in app.markdown)
    app.button(key="own-groups").click().run()
    assert not app.exception
    assert app.toggle(key="thaw:layer4")


def test_weight_decay_is_set_per_group(open_page: Open) -> None:
    app = open_page("layers")
    app.text_input(key="decay:stem").set_value("0.0").run()
    app.text_input(key="decay:head").set_value("2.0").run()
    assert draft().training.decay == {"stem": 0.0, "head": 2.0}
    app.text_input(key="decay:stem").set_value("1.0").run()
    assert draft().training.decay == {"head": 2.0}


def test_a_network_is_measured_on_request(open_page: Open, tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, started = saved(tiny), []
    monkeypatch.setattr(launch, "start", started.append)
    app = open_page("layers")
    app.button(key="measure-timm-test_resnet").click().run()
    assert not app.exception
    assert started[0].job == Measure()
    assert started[0].recipe == timing.to_measure(recipe, recipe.model.backbone)
    timing.keep(started[0].recipe, timing.Latency(1.25, 640.0))
    words = "\n".join(caption.value for caption in open_page("layers").caption)
    assert "1.25 ms to look at one image, 640 images a second in training" in words
    assert not store.list_runs()
    assert "MobileNet" in catalogue.advice()
