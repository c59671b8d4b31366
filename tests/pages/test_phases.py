"""The phases on Model & layers, Learning rate and Train: choosing, making, mending."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from finetune_core.recipe import Phase, Recipe
from finetune_core.recipe.rules import PRESETS
from finetune_core.recipe.words import phase_words
from finetune_core.runs import launch, store
from finetune_core.runs.jobs import RangeTest
from pages.ui.kit import phasing, shell, state
from tests.pages.conftest import component, draft, saved, tell

Open = Callable[[str], AppTest]
MILESTONES = """{
    1: {'freeze_to': -1, 'duration': 2, 'lrs': [0, 0, 0, 0, 0, 1e-3]},
    3: {'freeze_to': 0, 'duration': 1, 'lrs': [1e-5, 1e-5, 1e-5, 1e-5, 1e-5, 1e-5]},
}"""
NAMES = ("stem", "layer1", "layer2", "layer3", "layer4", "head")


@pytest.fixture
def two() -> Recipe:
    """The default recipe in two stages."""
    return saved(Recipe(phases=PRESETS["two_stage"].make(Recipe().phases, NAMES)))


def choose(app: AppTest, number: int) -> None:
    """Click on the block of a phase."""
    tell(app, "thaw_timeline", "arranged", {"id": f"click-{number}", "steps": [], "look": number})


@pytest.mark.parametrize("page", ["layers", "rate"])
def test_a_newcomer_sees_no_phases(open_page: Open, page: str) -> None:
    assert component(open_page(page), "thaw_timeline") is None


@pytest.mark.parametrize("page", ["layers", "rate", "train"])
def test_several_phases_are_chosen_from_on_all_three_pages(open_page: Open, two: Recipe, page: str) -> None:
    app = open_page(page)
    choose(app, 1)
    assert not app.exception
    app = app.switch_page("pages/views/train.py").run()
    app.text_input(key="field:phases.1.epochs").set_value("9").run()  # the choice has come along
    assert [phase.epochs for phase in draft().phases] == [2, 9]


def test_the_stack_edits_the_chosen_phase(open_page: Open, two: Recipe) -> None:
    app = open_page("layers")
    choose(app, 1)
    assert app.toggle(key="thaw:stem").value
    app.toggle(key="thaw:stem").set_value(False).run()
    app.text_input(key="rate:1:layer4").set_value("1e-4").run()
    first, second = draft().phases
    assert first == two.phases[0]
    assert second.thaw == NAMES[1:]
    assert second.multipliers["layer4"] * second.learning_rate == pytest.approx(1e-4, rel=1e-5)
    choose(app, 0)
    assert not app.toggle(key="thaw:layer4").value


def test_a_choice_in_a_phase_that_another_tab_has_removed_does_nothing(open_page: Open, two: Recipe) -> None:
    app = open_page("train")
    choose(app, 1)
    left = saved(two.replace(phases=two.phases[:1]))
    app.selectbox(key="kind:phases.1.schedule").set_value("constant").run()
    assert not app.exception
    assert draft() == left


def test_what_two_tabs_change_in_the_same_moment_is_kept_of_both(two: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, save = threading.Event(), state.edit

    def edit(recipe: Recipe) -> None:
        if threading.current_thread() is not threading.main_thread():
            begun.set()
            time.sleep(0.3)
        save(recipe)

    monkeypatch.setattr(state, "edit", edit)
    tab = threading.Thread(target=lambda: phasing.replace(two.phases[:1]))
    tab.start()
    assert begun.wait(20)
    state.edit_value("training.batch_size", 7)
    tab.join()
    assert (len(draft().phases), draft().training.batch_size) == (1, 7)


def test_the_rate_is_found_for_the_chosen_phase(open_page: Open, two: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[store.Run] = []
    monkeypatch.setattr(launch, "start", started.append)
    app = open_page("rate")
    choose(app, 1)
    app.text_input(key="field:phases.1.learning_rate").set_value("0.02").run()
    assert [phase.learning_rate for phase in draft().phases] == [3e-3, 0.02]
    app.button(key="primary").click().run()
    assert not app.exception
    assert started[0].job_as(RangeTest).phase == 2


def test_stages_are_made_by_preset_and_by_hand(open_page: Open) -> None:
    app = open_page("layers")
    app.button_group(key="stages").set_value("two_stage").run()
    assert [phase.thaw for phase in draft().phases] == [("head",), ("*",)]
    assert "2 phases: head → everything" in " ".join(chip.words for chip in shell.chips(draft()))
    app.button(key="phase-content_copy").click().run()
    assert len(draft().phases) == 3
    assert json.loads(component(app, "thaw_timeline").json)["chosen"] == 1
    app.button(key="phase-add").click().run()
    assert [phase_words(phase) for phase in draft().phases] == [
        "head only",
        "head only",
        "layer4 + head",
        "everything",
    ]
    app.button(key="phase-delete").click().run()
    app.button_group(key="stages").set_value("gradual").run()
    assert len(draft().phases) == len(NAMES)
    app.button_group(key="stages").set_value("single").run()
    assert [phase.epochs for phase in draft().phases] == [7]
    assert app.button(key="phase-delete").disabled
    assert not app.exception


def test_rates_are_set_by_rule(open_page: Open, two: Recipe) -> None:
    app = open_page("layers")
    choose(app, 1)
    low, high = (field for field in app.text_input if field.key and field.key.startswith("rule:1:slice"))
    assert (low.value, high.value) == ("1.5e-5", "0.0015")
    low.set_value("1e-6")
    high.set_value("0,1x").run()
    assert app.button(key="set-rates").disabled
    high.set_value("0,1").run()
    app.button(key="set-rates").click().run()
    assert not app.exception
    second = draft().phases[1]
    rates = [second.learning_rate * second.multipliers.get(name, 1.0) for name in NAMES]
    assert rates == pytest.approx([1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1])


def test_milestones_are_shown_before_they_are_taken(open_page: Open) -> None:
    app = open_page("layers")
    app.text_area(key="milestones").set_value("{1: 'fast'}").run()
    assert "Milestone 1 is not a dictionary" in " ".join(element.value for element in app.markdown)
    app.text_area(key="milestones").set_value(MILESTONES).run()
    assert any("count epochs from 1" in caption.value for caption in app.caption)
    app.button(key="use-milestones").click().run()
    assert [(phase.epochs, phase.learning_rate) for phase in draft().phases] == [(2, 1e-3), (1, 1e-5)]
    assert any("'freeze_to': -1" in code.value for code in app.code)


@pytest.mark.parametrize(
    ("thaw", "random", "title", "mended"),
    [
        ([], False, "Thaw the head", ("head",)),
        (["layer4"], False, "Thaw the head", ("layer4", "head")),
        (["head"], True, "Thaw everything", ("*",)),
        (["layer1", "layer3", "head"], False, "Thaw them too", ("layer1", "layer2", "layer3", "layer4", "head")),
        (["layer3", "head"], False, "Thaw layer4", ("layer3", "layer4", "head")),
    ],
)
@pytest.mark.parametrize("page", ["layers", "train"])
def test_what_is_odd_is_mended_by_one_click(
    open_page: Open, page: str, thaw: list[str], random: bool, title: str, mended: tuple[str, ...]
) -> None:
    recipe = Recipe(phases=(Phase(), Phase(thaw=tuple(thaw))))
    if random:
        recipe = recipe.with_value("phases.0.thaw", ["*"]).with_value("model.backbone.weights", {"kind": "random"})
    saved(recipe)
    app = open_page(page)
    [mend] = [button for button in app.button if button.key and "-mend-" in button.key]
    assert mend.label == title
    mend.click().run()
    assert not app.exception
    assert draft().phases[1].thaw == mended
    assert not [button for button in app.button if button.key and "-mend-" in button.key]


def _take_mobilenet() -> None:
    from finetune_core.network import catalogue, refit
    from pages.ui.layers import thawing

    thawing.take(refit.best_backbone(catalogue.entry("timm", "mobilenetv2_100")))


def test_another_backbone_keeps_the_stages(two: Recipe, tmp_path: Path) -> None:
    app = AppTest.from_function(_take_mobilenet, default_timeout=30).run()
    assert not app.exception
    first, second = draft().phases
    assert (first.thaw, second.thaw) == (("head",), ("*",))
    assert second.multipliers["stem"] == pytest.approx(0.01)
    assert "blocks.3" in second.multipliers


def test_two_phases_of_ones_own_without_transforms_can_be_trained(open_page: Open) -> None:
    phase = Recipe().phases[0]
    saved(Recipe(augment=(), phases=(phase, phase.replace(epochs=2))))
    assert open_page("train").button(key="primary").label == "Launch"
