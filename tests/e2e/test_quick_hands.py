"""Someone who types into a dialog before the page behind it is drawn: what was chosen may not be undone."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from finetune_core import catalogue, recipe
from tests.e2e.conftest import Studio

pytestmark = pytest.mark.e2e


def test_a_backbone_chosen_in_a_hurry_keeps_the_draft_whole(studio: Studio, page: Page, tmp_path: Path) -> None:
    page.goto(f"{studio.url}/layers")
    page.get_by_role("button", name="Change").click()
    page.get_by_placeholder("resnet, convnext").press_sequentially("mobilenetv2_100", delay=20)
    page.get_by_role("button", name="Use mobilenetv2_100").click()
    expect(page.locator(".st-key-strip")).to_contain_text("mobilenetv2_100, hub")
    page.get_by_text("A file", exact=True).click()
    expect(page.locator(".st-key-strip")).to_contain_text("mobilenetv2_100, file")
    field = page.get_by_label("Path", exact=True)
    field.fill("/nowhere/weights.safetensors")
    field.press("Enter")
    page.get_by_role("radio", name="Head only").click()
    expect(page.locator(".st-key-strip")).to_contain_text("head only")
    draft = recipe.load(studio.runs / "draft.yaml")
    names = catalogue.layer_names(draft.model)
    assert draft.model.backbone.weights.path == "/nowhere/weights.safetensors"
    assert draft.phases[0].thaw == ("head",)
    assert set(draft.phases[0].multipliers) <= set(names)
    assert draft.training.decay == {}
    expect(page.get_by_text("unknown field")).to_have_count(0)
