"""Model & layers tells by itself what the chosen backbone's features are good for, on real photos with real weights."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from finetune_core.finder import probes
from finetune_core.recipe import parse
from tests.conftest import SHARED
from tests.e2e.conftest import MINUTES, Studio, Witness, serve

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not SHARED.exists(), reason="the real photos and weights are not on this machine"),
]
RECIPE = {
    "data": {"source": {"kind": "folder", "path": str(SHARED / "data" / "clothing10")}, "image_size": 160},
    "model": {
        "backbone": {
            "kind": "timm",
            "architecture": "mobilenetv2_100",
            "weights": {
                "kind": "file",
                "path": str(SHARED / "weights" / "timm_mobilenetv2_100_imagenet1k.safetensors"),
            },
        }
    },
    "phases": [{"thaw": ["head"]}],
}


@pytest.fixture
def curious(tmp_path: Path) -> Iterator[Studio]:
    """A studio whose pages probe by themselves."""
    (tmp_path / "runs").mkdir()
    parse(RECIPE).save(tmp_path / "runs" / "draft.yaml")
    made = serve(tmp_path / "runs", tmp_path / "cache")
    (tmp_path / "cache" / "probes" / probes.OFF).unlink()
    yield made
    made.process.terminate()
    made.process.wait(20)


def test_the_figure_comes_without_a_click_while_the_page_answers(curious: Studio, browser: Browser) -> None:
    page, witness = browser.new_page(), Witness()
    witness.watch(page)
    page.goto(f"{curious.url}/layers")
    figure = page.get_by_text("These features alone give")
    expect(page.get_by_text("features alone good for").or_(figure)).to_be_visible(timeout=MINUTES)
    page.get_by_text("Everything", exact=True).click()  # the page answers meanwhile
    expect(page.get_by_text("9 of 9")).to_be_visible(timeout=MINUTES)
    expect(figure).to_be_visible(timeout=2 * MINUTES)
    expect(figure).to_contain_text("accuracy: a linear head on 300 of your images")
    expect(page.get_by_text("Measured: like them")).to_be_visible(timeout=MINUTES)
    page.get_by_role("button", name="Take Last stage").click()
    expect(page.get_by_text("As it is set")).to_be_visible(timeout=MINUTES)
    page.get_by_text("Try each that I choose").click()
    page.wait_for_timeout(2000)
    assert (curious.cache / "probes" / probes.OFF).exists()
    assert witness.hosts <= {"localhost", ""}
    page.close()
