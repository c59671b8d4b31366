"""Someone who types into a dialog before the page behind it is drawn: what was chosen may not be undone."""

import pytest
from playwright.sync_api import Page, expect

from finetune_core import recipe
from finetune_core.network import catalogue
from tests.e2e.conftest import Studio, choose_network

pytestmark = pytest.mark.e2e


def test_a_backbone_chosen_in_a_hurry_keeps_the_draft_whole(studio: Studio, page: Page) -> None:
    page.goto(f"{studio.url}/layers")
    choose_network(page, "mobilenetv2_100", "/nowhere/weights.safetensors")
    draft = recipe.load(studio.runs / "draft.yaml")
    names = catalogue.layer_names(draft.model)
    assert draft.model.backbone.weights.path == "/nowhere/weights.safetensors"
    assert draft.phases[0].thaw == ("head",)
    assert set(draft.phases[0].multipliers) <= set(names)
    assert draft.training.decay == {}
    expect(page.get_by_text("unknown field")).to_have_count(0)
