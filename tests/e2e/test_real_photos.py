"""Real photos and real pretrained weights, chosen on the pages as a person would. Needs the ../shared folder."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from finetune_core.runs import store
from tests.e2e.conftest import MINUTES, Studio, choose_network, type_into

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_my_own_photos_with_a_weights_file(
    shared: Path, studio: Studio, page: Page, shoot: Callable[[Page, str], None]
) -> None:
    page.goto(studio.url)
    page.get_by_role("button", name="Choose a folder").click()
    type_into(page, "Folder", shared / "data" / "clothing10")
    expect(page.get_by_test_id("stSidebar")).to_contain_text("clothing10")
    page.get_by_test_id("stSidebar").get_by_role("link", name="Model & layers").click()
    weights = shared / "weights" / "timm_mobilenetv2_100_imagenet1k.safetensors"
    choose_network(page, "mobilenetv2_100", weights)
    page.get_by_test_id("stSidebar").get_by_role("link", name="Train").click()
    page.get_by_role("button", name="Launch").click()
    page.wait_for_url("**/run?run=*")
    expect(page.get_by_role("button", name="Try an image")).to_be_visible(timeout=12 * MINUTES)
    shoot(page, "real-photos")
    [run] = store.list_runs(studio.runs)
    assert run.status.best_score >= 0.75
    steps = [record for record in run.records()[0] if record["kind"] == "step"]
    assert {name for name, rate in steps[0]["lr"].items() if rate} == {"head"}
