"""A tab that was not refreshed, in a real browser: its Launch shows what has changed instead of launching it."""

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import AT_REST, MINUTES, Studio, Witness, type_into


@pytest.mark.e2e
def test_launch_in_a_tab_that_shows_an_earlier_draft_starts_nothing(
    studio: Studio, page: Page, witness: Witness
) -> None:
    other = page.context.new_page()
    witness.watch(other)
    for tab in (page, other):
        tab.goto(f"{studio.url}/train")
        expect(tab.get_by_label("Epochs", exact=True)).to_be_visible(timeout=3 * MINUTES)
        tab.locator(AT_REST).wait_for()
    type_into(other, "Epochs", "7")
    expect(other.locator(".st-key-strip")).to_contain_text("7 epochs")
    expect(page.locator(".st-key-strip")).not_to_contain_text("7 epochs")
    page.get_by_role("button", name="Launch").click()
    expect(page.get_by_text("Nothing was started.")).to_be_visible()
    expect(page.locator(".st-key-strip")).to_contain_text("7 epochs")
    assert not list(studio.runs.glob("*/recipe.yaml"))
