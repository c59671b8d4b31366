"""The studio on a window as narrow as a phone."""

import pytest
from playwright.sync_api import Page, expect

from finetune_core.recipe import Recipe
from finetune_core.runs import store
from tests.e2e import tour
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


@pytest.mark.parametrize("name", ["", "A name that a person has given it, long enough for three lines of a phone"])
def test_name_and_score_of_a_run_are_in_sight_on_a_phone(studio: Studio, page: Page, name: str) -> None:
    run = store.create(Recipe(name=name), runs=studio.runs)
    run.report(state="finished", best_score=0.82, valid_score=[0.5, 0.82])
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{studio.url}/runs")
    table = page.get_by_test_id("stDataFrame")
    expect(table).to_be_visible()
    headers = table.locator("canvas").first.locator("th")
    expect(headers.filter(has_text="Best")).to_have_count(1)
    shown = headers.all_text_contents()  # those in sight, the last one of them in part, say
    assert shown.index("Name") < shown.index("Best") < len(shown) - 1
    assert table.evaluate("table => table.getBoundingClientRect().right") <= 390
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_run_is_renamed_by_its_pencil_on_a_phone(studio: Studio, page: Page) -> None:
    run = store.create(Recipe(), runs=studio.runs)
    run.report(state="finished")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{studio.url}/run?run={run.id}")
    title = page.get_by_role("heading", level=1)
    expect(title).to_have_text("Blooms · resnet10t · last two stages")
    page.locator(".st-key-rename").get_by_role("button").click()
    field = page.get_by_role("textbox", name="Name")
    field.fill("The *first* that <b>worked</b>")
    field.press("Enter")
    expect(title).to_have_text("The *first* that <b>worked</b>")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.locator(".st-key-rename").get_by_role("button").click()
    page.get_by_role("textbox", name="Name").fill("")
    page.get_by_role("dialog").get_by_role("button", name="Rename").click()
    expect(title).to_have_text("Blooms · resnet10t · last two stages")


def test_classes_on_data_can_be_read_on_a_phone(studio: Studio, page: Page) -> None:
    studio.runs.joinpath("draft.yaml").unlink(missing_ok=True)
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{studio.url}/data")
    name = page.locator(".st-key-class-0").get_by_text("amber_cup")
    expect(name).to_be_visible(timeout=300_000)  # they are drawn first
    tour.settle(page)
    picture = page.get_by_role("img", name="Pictures of amber_cup.")
    assert name.evaluate("text => parseFloat(getComputedStyle(text).fontSize)") >= 14
    above, below = name.bounding_box(), picture.bounding_box()
    assert above
    assert below
    assert above["y"] + above["height"] <= below["y"] < above["y"] + above["height"] + 40
    assert below["height"] >= 80
    assert below["width"] / below["height"] == pytest.approx(690 / 168, rel=0.02)  # four whole pictures
