"""Real photos and real pretrained weights, chosen on the pages as a person would. Needs the ../shared folder."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from finetune_core import store
from tests.e2e.conftest import MINUTES, Studio

pytestmark = pytest.mark.e2e


def test_my_own_photos_with_a_weights_file(
    shared: Path, studio: Studio, page: Page, shoot: Callable[[Page, str], None]
) -> None:
    page.goto(studio.url)
    page.get_by_role("button", name="Choose a folder").click()
    _type(page, "Folder", shared / "data" / "clothing10")
    expect(page.get_by_test_id("stSidebar")).to_contain_text("clothing10")
    page.get_by_test_id("stSidebar").get_by_role("link", name="Model & layers").click()
    page.get_by_role("button", name="Change").click()
    page.get_by_placeholder("resnet, convnext").press_sequentially("mobilenetv2_100", delay=30)
    page.get_by_role("button", name="Use mobilenetv2_100").click()
    expect(page.locator(".st-key-strip")).to_contain_text("mobilenetv2_100, hub")
    page.get_by_text("A file", exact=True).click()
    expect(page.locator(".st-key-strip")).to_contain_text("mobilenetv2_100, file")
    _type(page, "Path", shared / "weights" / "timm_mobilenetv2_100_imagenet1k.safetensors")
    page.get_by_text("Head only", exact=True).click()
    expect(page.locator(".st-key-strip")).to_contain_text("head only")
    page.get_by_test_id("stSidebar").get_by_role("link", name="Train").click()
    page.get_by_role("button", name="Launch").click()
    page.wait_for_url("**/run?run=*")
    expect(page.get_by_role("button", name="Try an image")).to_be_visible(timeout=12 * MINUTES)
    shoot(page, "real-photos")
    [run] = store.list_runs(studio.runs)
    assert run.status.best_score >= 0.75
    steps = [record for record in run.records()[0] if record["kind"] == "step"]
    assert {name for name, rate in steps[0]["lr"].items() if rate} == {"head"}


def _type(page: Page, label: str, path: Path) -> None:
    field = page.get_by_label(label, exact=True)
    field.fill(str(path))
    field.press("Enter")
