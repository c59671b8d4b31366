"""A number as people type it, from the keyboard to the first optimizer step."""

import re

import pytest
from playwright.sync_api import Page, expect

from finetune_core import recipe
from finetune_core.runs import store
from tests.e2e.conftest import MINUTES, Studio, type_into

pytestmark = pytest.mark.e2e


def test_a_decimal_comma_trains_at_that_rate(studio: Studio, page: Page) -> None:
    page.goto(f"{studio.url}/rate")
    type_into(page, "Learning rate", "0,5")
    expect(page.get_by_label("Learning rate", exact=True)).to_have_value("0.5")
    type_into(page, "Learning rate", "0,003")
    expect(page.get_by_label("Learning rate", exact=True)).to_have_value("0.003")
    expect(page.locator(".st-key-strip")).to_contain_text("rate 0.003")
    page.goto(f"{studio.url}/train")
    type_into(page, "Epochs", "1 epoch")
    expect(page.locator(".st-key-strip")).to_contain_text("1 epoch")
    page.get_by_role("button", name="Launch").click()
    expect(page).to_have_url(re.compile(r"/run\?run="), timeout=MINUTES)
    (run,) = store.list_runs(studio.runs)
    assert recipe.load(run.path / "recipe.yaml").phases[0].learning_rate == 0.003
    expect(page.get_by_role("button", name="Try an image")).to_be_visible(timeout=6 * MINUTES)  # it has ended
    rates = [max(row["lr"].values()) for row in run.records()[0] if row["kind"] == "step"]
    assert max(rates) == pytest.approx(0.003, rel=0.01)
    assert rates[0] < 0.003 / 10, "a warm-up"


def test_a_wrong_entry_stays_in_sight_and_launch_waits(studio: Studio, page: Page) -> None:
    page.goto(f"{studio.url}/train")
    launch, epochs = page.get_by_role("button", name="Launch"), page.get_by_label("Epochs", exact=True)
    expect(epochs).not_to_have_value("")
    kept = epochs.input_value()
    for text, why in (("99999", "1 to 1000"), ("2.5", "Whole numbers only: 2 or 3"), ("", "A whole number, 1 to 1000")):
        type_into(page, "Epochs", text)
        expect(page.get_by_text(f"{why}; kept at {kept}").first).to_be_visible()
        expect(epochs).to_have_value(text)
        expect(launch).to_be_disabled()
    page.locator("[class*='st-key-plus-field-phases-0-epochs'] button:visible").click()
    expect(epochs).to_have_value(str(int(kept) + 1))
    expect(launch).to_be_enabled()
    type_into(page, "Epochs", "0")
    expect(launch).to_be_disabled()
    page.reload()
    expect(epochs).to_have_value(str(int(kept) + 1))
    expect(launch).to_be_enabled()


def test_what_is_typed_on_a_phone_goes_as_well(studio: Studio, page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{studio.url}/train")
    type_into(page, "Batch size", "16")
    expect(page.get_by_label("Batch size", exact=True)).to_have_value("16")
    plus = page.locator("[class*='st-key-plus-field-training-batch_size'] button:visible")
    plus.click()
    expect(page.get_by_label("Batch size", exact=True)).to_have_value("32")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
