"""The catalogue in a real browser: a point is clicked, a name typed without a mouse, and a phone has room for it."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from finetune_core import recipe as recipes
from tests.e2e.conftest import MINUTES, Studio
from tests.e2e.tour import settle

pytestmark = pytest.mark.e2e


@pytest.fixture
def page(studio: Studio, browser: Browser) -> Iterator[Page]:
    made = browser.new_page(viewport={"width": 1280, "height": 1000})
    made.goto(f"{studio.url}/layers")
    expect(made.get_by_role("button", name="Change")).to_be_visible(timeout=3 * MINUTES)
    settle(made)
    yield made
    made.close()


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog")


def chosen(studio: Studio) -> tuple[str, str]:
    backbone = recipes.load(studio.runs / "draft.yaml").model.backbone
    return backbone.kind, backbone.architecture


def test_a_point_is_clicked_and_taken(page: Page, studio: Studio) -> None:
    page.get_by_role("button", name="Change").click()
    points = dialog(page).locator(".js-plotly-plot .points path")
    expect(points.first).to_be_visible(timeout=MINUTES)
    assert points.count() > 50, "torchvision says the accuracy of all its networks"
    box = points.first.bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    button = dialog(page).get_by_role("button", name="Use ")
    expect(button).to_be_enabled()
    name = button.inner_text().removeprefix("Use ")
    button.click()
    expect(dialog(page)).to_have_count(0)
    expect(page.locator(".stMain h4").filter(has_text=name)).to_be_visible()
    assert chosen(studio) == ("torchvision", name)


def test_all_is_done_by_keyboard(page: Page, studio: Studio) -> None:
    page.get_by_role("button", name="Change").focus()
    page.keyboard.press("Enter")
    search = dialog(page).get_by_label("Search")
    search.focus()
    page.keyboard.type("resnet18d")
    expect(dialog(page).get_by_role("button", name="Use resnet18d")).to_be_enabled()
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText") == "Use resnet18d":
            break
    page.keyboard.press("Enter")
    expect(dialog(page)).to_have_count(0)
    assert chosen(studio) == ("timm", "resnet18d")


def test_a_closed_dialog_stays_closed(page: Page) -> None:
    page.get_by_role("button", name="Change").click()
    expect(dialog(page)).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog(page)).to_have_count(0)
    page.get_by_text("Everything", exact=True).click()
    expect(page.get_by_text("of 6").or_(page.get_by_text("of 7")).first).to_be_visible()
    settle(page)
    expect(dialog(page)).to_have_count(0)


def test_a_phone_has_room_for_chart_and_list(studio: Studio, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(f"{studio.url}/layers")
    page.get_by_role("button", name="Change").click(timeout=3 * MINUTES)
    plot = dialog(page).locator(".js-plotly-plot")
    expect(plot).to_be_visible(timeout=MINUTES)
    for part in (plot, dialog(page).get_by_test_id("stDataFrame"), dialog(page).get_by_role("button", name="Use")):
        part.scroll_into_view_if_needed()
        box = part.bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
    page.close()
