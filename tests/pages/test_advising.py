"""Model & layers advises how much to thaw: by what was measured, or as a person says; a click takes it."""

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from finetune_core.finder import probes
from finetune_core.parts.backbones import RandomWeights
from finetune_core.recipe import Recipe
from finetune_core.records import Probed
from tests.pages.conftest import draft, saved
from tests.pages.test_running import button, texts

Open = Callable[[str], AppTest]


@pytest.fixture
def bundled(tiny: Recipe) -> Recipe:
    """The draft: six training images of each class, the bundled backbone, everything thawed."""
    recipe = tiny.with_value("model", Recipe().model.model_dump(mode="json"))
    return saved(recipe.with_value("phases.0.multipliers", {}))


def measured(recipe: Recipe, last: float, halfway: float) -> None:
    """As a probe would have found and kept it."""
    row = {"stage": "layer2", "halfway": halfway, "lead_margin": 0.04, "chance": 0.1}
    found = Probed("timm", "resnet10t", last, 0.05, 300, 1.0, 1.0, 1, 1.0, **row)
    probes.keep(recipe, recipe.model.backbone, found)


def likeness(app: AppTest):
    (found,) = (each for each in app.get("button_group") if each.proto.label == "Likeness")
    return found


def answered(app: AppTest, word: str) -> AppTest:
    likeness(app).set_value(word).run()
    assert not app.exception
    return app


def test_what_is_alike_and_few_gets_a_head_alone_by_a_click(open_page: Open, bundled: Recipe) -> None:
    measured(bundled, 0.75, 0.50)
    app = open_page("layers")
    assert "Advice: Head only" in texts(app)
    assert "few, like what the network learned from" in texts(app)
    assert "75% of 300 images right, one on those half-way (after layer2) 50% (± 4% between them)" in texts(app)
    button(app, "Take Head only").click().run()
    assert draft().phases[0].thaw == ("head",)
    assert "As it is set" in texts(app)
    assert not [each for each in app.button if each.label == "Take Head only"]


def test_what_is_unlike_gets_more_and_a_person_may_know_better(open_page: Open, bundled: Recipe) -> None:
    measured(bundled, 0.50, 0.70)
    app = open_page("layers")
    assert "Advice: Last stage" in texts(app)
    assert "Measured: quite different" in likeness(app).format_func("measured")
    answered(app, "alike")
    assert "Advice: Head only" in texts(app)
    assert "one on those half-way" in texts(app), "what was measured stays in sight"
    answered(app, "measured")
    assert "Advice: Last stage" in texts(app)


def test_an_answer_holds_for_the_images_and_backbone_it_was_given_for(open_page: Open, bundled: Recipe) -> None:
    app = answered(open_page("layers"), "unlike")
    assert "few, unlike what the network learned from" in texts(app)
    saved(bundled.with_value("phases.0.epochs", 3))
    app.run()
    assert "few, unlike what the network learned from" in texts(app)
    saved(bundled.with_value("model.backbone.drop_rate", 0.1))
    app.run()
    assert "learned from:" not in texts(app)


def test_what_was_not_measured_is_said_to_be_so(open_page: Open, bundled: Recipe) -> None:
    app = open_page("layers")
    assert "is off" in texts(app)
    assert "Advice: Head only" in texts(app), "by the number of images alone"
    assert likeness(app).format_func("measured") == "Measured: not known"


def test_random_weights_are_like_nothing_and_tags_get_no_advice(
    open_page: Open, bundled: Recipe, sources: dict[str, dict[str, str]]
) -> None:
    saved(bundled.with_value("model.backbone.weights", RandomWeights().model_dump()))
    app = open_page("layers")
    assert "there is nothing that your images could be like" in texts(app)
    assert not [each for each in app.button if each.label.startswith("Take ")]
    saved(bundled.with_value("data.source", sources["multi_label"]))
    app.run()
    assert "Advice" not in texts(app)
