"""The studio on a window as narrow as a phone."""

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Studio

pytestmark = pytest.mark.e2e


def test_the_sidebar_closes_behind_a_tapped_link(studio: Studio, page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(studio.url)
    page.get_by_test_id("stExpandSidebarButton").click()
    page.get_by_test_id("stSidebar").get_by_role("link", name="Learning rate").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Learning rate")
    expect(page.get_by_test_id("stExpandSidebarButton")).to_be_visible()
    page.get_by_role("button", name="Find the rate").click(trial=True)  # nothing lies over it


def test_choices_wrap_instead_of_being_cut_off(studio: Studio, page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{studio.url}/layers")
    group = page.get_by_role("radiogroup", name="Weights")
    expect(group).to_be_visible()
    assert group.evaluate("bar => bar.scrollWidth <= bar.clientWidth")
