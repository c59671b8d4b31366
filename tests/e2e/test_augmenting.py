"""Augment by keyboard and by touch."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from finetune_core.recipe import Recipe, stack
from tests.e2e.conftest import AT_REST, Studio, Witness, watched

pytestmark = pytest.mark.e2e
ORDER = [each.title for each in stack.running(Recipe().augment)]
FOCUS = "document.activeElement.textContent"
# What scrolls by itself around the switches, but the page
SCROLLERS = """() => {
  const found = new Set();
  for (let each of document.querySelectorAll('[class*="st-key-line-"]'))
    while ((each = each.parentElement))
      if (each.scrollHeight > each.clientHeight + 1 && /auto|scroll/.test(getComputedStyle(each).overflowY))
        found.add(each.dataset.testid);
  return [...found];
}"""


@pytest.fixture
def phone(browser: Browser, witness: Witness) -> Iterator[Page]:
    yield from watched(browser, witness, viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)


def _opened(studio: Studio, page: Page) -> None:
    studio.runs.joinpath("draft.yaml").unlink(missing_ok=True)
    page.goto(f"{studio.url}/augment")
    expect(page.get_by_role("img", name="before and after")).to_be_visible(timeout=300_000)


def _running(page: Page, titles: list[str]) -> None:
    for place, title in enumerate(titles):
        expect(page.locator('[class*="st-key-transform-"]').nth(place)).to_contain_text(title)


def test_a_transform_is_moved_by_keyboard_and_stays_under_the_hands(studio: Studio, page: Page) -> None:
    _opened(studio, page)
    crop, mirror, light = ORDER
    expect(page.get_by_role("button", name=f"{mirror}: earlier")).to_be_disabled()
    page.get_by_role("button", name=f"{mirror}: later").focus()
    page.keyboard.press("Enter")
    _running(page, [crop, light, mirror])
    page.wait_for_function(f"{FOCUS}.includes('{mirror}: earlier')")  # later than last it cannot be
    page.keyboard.press("Space")
    _running(page, [crop, mirror, light])
    page.wait_for_function(f"{FOCUS}.includes('{mirror}: later')")


def test_all_transforms_and_the_pictures_are_in_reach_of_a_thumb(studio: Studio, phone: Page) -> None:
    _opened(studio, phone)
    crop, mirror, light = ORDER
    assert phone.evaluate(SCROLLERS) == ["stMain"]
    last = phone.get_by_text(Recipe().augment[-1].title, exact=True)
    last.scroll_into_view_if_needed()
    expect(last).to_be_in_viewport()
    expect(phone.get_by_role("img", name="before and after")).to_be_in_viewport(ratio=0.9)
    expect(phone.get_by_role("button", name="Draw anew")).to_be_in_viewport()
    later = phone.get_by_role("button", name=f"{mirror}: later")
    box = later.bounding_box()
    assert box
    assert min(box["width"], box["height"]) >= 44
    later.tap()
    _running(phone, [crop, light, mirror])
    expect(phone.locator('[class*="st-key-line-"]').nth(2)).to_be_in_viewport()
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1440, 600), (390, 844)])
def test_the_menu_of_transforms_is_in_sight_wherever_its_button_is(
    studio: Studio, page: Page, width: int, height: int
) -> None:
    light = [{"kind": "light", "amount": amount} for amount in (0.2, 0.6)]
    studio.runs.mkdir(exist_ok=True)
    Recipe().with_value("augment", light).save(studio.runs / "draft.yaml")
    page.set_viewport_size({"width": width, "height": height})
    page.goto(f"{studio.url}/augment")
    expect(page.get_by_role("slider")).to_have_count(2, timeout=300_000)
    page.locator(AT_REST).wait_for()
    button = page.get_by_role("button", name="Add a transform")
    for block in ("start", "center", "end"):
        button.evaluate("(each, block) => each.scrollIntoView({ block })", block)
        button.click()
        box = page.get_by_test_id("stMenuButtonBody").bounding_box()
        assert box
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= height
        assert box["x"] + box["width"] <= width
        page.keyboard.press("Escape")
