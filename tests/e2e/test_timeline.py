"""The strip of phases under a real hand: mouse, keys and finger."""

import re

import pytest
from playwright.sync_api import Locator, Page, WebSocketRoute, expect

from finetune_core import recipe as recipes
from finetune_core.recipe import Phase, Recipe
from tests.e2e.conftest import AT_REST, MINUTES, Studio

pytestmark = pytest.mark.e2e
PHASES = (Phase(epochs=2, thaw=("head",)), Phase(epochs=6, thaw=("*",)), Phase(epochs=3, thaw=("layer4", "head")))


def opened(studio: Studio, page: Page, *phases: Phase) -> tuple[Locator, Locator]:
    """Train with these phases: the strip's blocks and borders."""
    studio.runs.mkdir(exist_ok=True)
    Recipe(phases=phases).save(studio.runs / "draft.yaml")
    page.goto(f"{studio.url}/train")
    blocks = page.locator(".timeline .block")
    expect(blocks).to_have_count(len(phases), timeout=3 * MINUTES)
    page.locator(AT_REST).wait_for()
    return blocks, page.get_by_role("separator")


def lasting(blocks: Locator) -> list[int]:
    """The epochs that stand in the blocks."""
    return [int(words) for words in blocks.locator(".epochs").all_inner_texts()]


def kept(studio: Studio) -> list[tuple[str, int]]:
    """What the draft's phases thaw at last, and their epochs."""
    return [(phase.thaw[0], phase.epochs) for phase in recipes.load(studio.runs / "draft.yaml").phases]


def centre(what: Locator) -> tuple[float, float]:
    box = what.bounding_box()
    assert box
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def grab(page: Page, what: Locator, by: float) -> None:
    """Take it with the mouse and draw it so far, without letting go."""
    what.hover()  # which waits until it has come to its place
    x, y = centre(what)
    page.mouse.down()
    page.mouse.move(x + by, y, steps=2)


def planned(page: Page) -> Locator:
    """The chart of the planned rates, by the marks of its phases."""
    return page.locator(".js-plotly-plot .annotation-text")


def starts(page: Page) -> list[float]:
    """Where on the chart the phases begin."""
    planned(page).first.wait_for()
    return [
        round(each["x"]) for each in page.evaluate("() => document.querySelector('.js-plotly-plot').layout.annotations")
    ]


def test_a_border_is_dragged_and_everything_follows(studio: Studio, page: Page) -> None:
    blocks, borders = opened(studio, page, *PHASES)
    epoch = starts(page)[1] / 2
    first, second, third = (centre(each)[0] for each in borders.all())
    wide = ((second - first) - (third - second)) / 3  # of an epoch: what six are wider than three
    grab(page, borders.nth(0), wide * 2)
    assert lasting(blocks) == [4, 4, 3], "at once, while the hand holds it"
    assert centre(borders.nth(0))[0] == pytest.approx(first + wide * 2, abs=2), "and just where it is"
    assert kept(studio) == [("head", 2), ("*", 6), ("layer4", 3)], "and nothing is kept before it lets go"
    expect(borders.nth(0)).to_have_attribute("aria-valuenow", "4")
    page.mouse.up()
    expect(page.get_by_label("Epochs, phase 1", exact=True)).to_have_value("4")
    page.locator(AT_REST).wait_for()
    assert kept(studio) == [("head", 4), ("*", 4), ("layer4", 3)]
    expect(page.locator(".st-key-strip")).to_contain_text("11 epochs")
    page.wait_for_function(f"() => document.querySelector('.js-plotly-plot').layout.annotations[1].x === {epoch * 4}")
    grab(page, borders.nth(2), 300)
    page.keyboard.press("Escape")
    page.mouse.up()
    assert lasting(blocks) == [4, 4, 3]
    grab(page, borders.nth(2), -2000)  # far beyond what a phase can have
    page.mouse.up()
    expect(page.locator(".st-key-strip")).to_contain_text("9 epochs")
    page.locator(AT_REST).wait_for()
    assert kept(studio) == [("head", 4), ("*", 4), ("layer4", 1)]


def test_a_block_is_dragged_to_another_place(studio: Studio, page: Page) -> None:
    blocks, _ = opened(studio, page, *PHASES)
    grab(page, blocks.nth(2), -2000)
    assert lasting(blocks.filter(has_text="layer4")) == [3]
    expect(blocks.filter(has_text="layer4")).to_have_attribute("aria-label", "Phase 1 of 3: layer4 + head, 3 epochs")
    page.mouse.up()
    expect(page.get_by_label("Epochs, phase 2", exact=True)).to_have_value("2")  # the one that was looked at
    page.locator(AT_REST).wait_for()
    assert kept(studio) == [("layer4", 3), ("head", 2), ("*", 6)]
    assert lasting(blocks) == [3, 2, 6]
    grab(page, blocks.nth(2), -300)
    page.keyboard.press("Escape")
    page.mouse.up()
    page.locator(AT_REST).wait_for()
    assert lasting(blocks) == [3, 2, 6]
    expect(blocks.nth(1)).to_have_attribute("aria-pressed", "true")  # what was given up is no click either
    blocks.nth(2).click()
    expect(page.get_by_label("Epochs, phase 3", exact=True)).to_have_value("6")
    blocks.nth(0).press("Enter")
    expect(page.get_by_label("Epochs, phase 1", exact=True)).to_have_value("3")
    blocks.nth(2).click()
    expect(page.get_by_label("Epochs, phase 3", exact=True)).to_have_value("6")
    expect(blocks.nth(2)).to_have_attribute("aria-pressed", "true")


def test_all_of_it_by_keyboard(studio: Studio, page: Page) -> None:
    blocks, borders = opened(studio, page, *PHASES)
    borders.nth(0).focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
    assert lasting(blocks) == [4, 4, 3]
    expect(borders.nth(0)).to_be_focused()
    expect(borders.nth(0)).to_have_attribute("aria-valuetext", "phase 1: 4 epochs, phase 2: 4 epochs")
    expect(page.get_by_label("Epochs, phase 1", exact=True)).to_have_value("4")
    page.locator(AT_REST).wait_for()
    expect(borders.nth(0)).to_be_focused()
    page.keyboard.press("PageUp")  # ten more than there are
    page.keyboard.press("Tab")  # on to the block, before the keys have come to rest
    expect(page.get_by_label("Epochs, phase 1", exact=True)).to_have_value("7")
    page.keyboard.press("Control+ArrowLeft")
    expect(page.get_by_label("Epochs, phase 2", exact=True)).to_have_value("7")
    page.locator(AT_REST).wait_for()
    assert kept(studio) == [("*", 1), ("head", 7), ("layer4", 3)]
    expect(blocks.nth(0)).to_be_focused()


def test_keys_in_a_hurry_are_all_heard(studio: Studio, page: Page) -> None:
    """Pressed on while the page is still being drawn for the ones before, also across two events."""
    blocks, borders = opened(studio, page, Phase(epochs=40), Phase(epochs=1))
    borders.nth(0).focus()
    for pause in (450, 30, 450, 120, 450, 600, 30, 450):
        page.keyboard.press("ArrowLeft")
        page.wait_for_timeout(pause)
    expect(page.get_by_label("Epochs, phase 1", exact=True)).to_have_value("32")
    page.locator(AT_REST).wait_for()
    assert lasting(blocks) == [32, 9]
    assert [epochs for _, epochs in kept(studio)] == [32, 9]


def test_a_block_moved_in_a_hurry_arrives(studio: Studio, page: Page) -> None:
    """Each move goes on from where the one before has led, whether Python has heard of that or not."""
    blocks, _ = opened(studio, page, *(Phase(epochs=each) for each in (1, 2, 3, 4, 5, 6, 7, 8)))
    blocks.nth(0).focus()
    for pause in (450, 450, 450, 30, 450, 450, 450):
        page.keyboard.press("Control+ArrowRight")
        page.wait_for_timeout(pause)
    expect(page.get_by_label("Epochs, phase 8", exact=True)).to_have_value("1")
    page.locator(AT_REST).wait_for()
    page.wait_for_timeout(1000)
    assert lasting(blocks) == [2, 3, 4, 5, 6, 7, 8, 1]
    assert [epochs for _, epochs in kept(studio)] == [2, 3, 4, 5, 6, 7, 8, 1]
    expect(blocks.nth(7)).to_be_focused()


def test_hands_are_quicker_than_the_server(studio: Studio, page: Page) -> None:
    """While no answer comes, what is done goes on from what was done; it is told when the answer is there."""
    held: list[str | bytes] = []
    slow = False
    pipes: list[WebSocketRoute] = []

    def connect(pipe: WebSocketRoute) -> None:
        pipes.append(pipe)
        pipe.connect_to_server().on_message(lambda message: held.append(message) if slow else pipe.send(message))

    page.route_web_socket(re.compile("/_stcore/stream"), connect)
    blocks, _ = opened(studio, page, *(Phase(epochs=each) for each in (1, 2, 3, 4)))
    slow = True
    for order in ([2, 3, 4, 1], [3, 4, 1, 2], [4, 1, 2, 3]):
        grab(page, blocks.nth(0), 2000)
        page.mouse.up()
        assert lasting(blocks) == order
    page.wait_for_timeout(2000)
    assert [epochs for _, epochs in kept(studio)] == [2, 3, 4, 1], "the first alone was told"
    slow = False
    for message in held:
        pipes[-1].send(message)
    expect(page.get_by_label("Epochs, phase 2", exact=True)).to_have_value("1")
    page.locator(AT_REST).wait_for()
    assert lasting(blocks) == [4, 1, 2, 3]
    assert [epochs for _, epochs in kept(studio)] == [4, 1, 2, 3]


def test_who_leaves_right_after_a_key_loses_nothing(studio: Studio, page: Page) -> None:
    _, borders = opened(studio, page, *PHASES)
    borders.nth(0).press("ArrowRight")
    page.get_by_test_id("stSidebar").get_by_role("link", name="Learning rate").click(delay=100)
    expect(page.get_by_role("heading", level=1)).to_have_text("Learning rate")
    page.locator(AT_REST).wait_for()
    assert kept(studio) == [("head", 3), ("*", 5), ("layer4", 3)]


def test_a_finger_drags_borders_and_grips_and_scrolls_by_the_rest(studio: Studio, page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    blocks, borders = opened(studio, page, *(Phase(epochs=each, thaw=("head",)) for each in (1, 2, 3, 4, 5, 6, 7, 8)))
    finger = page.context.new_cdp_session(page)

    def touch(kind: str, x: float, y: float) -> None:
        points = [] if kind == "touchEnd" else [{"x": x, "y": y}]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def swipe(what: Locator, by: float) -> None:
        what.click(trial=True)  # once it has come to its place
        x, y = centre(what)
        touch("touchStart", x, y)
        for step in range(1, 9):
            touch("touchMove", x + by * step / 8, y)
        touch("touchEnd", x, y)

    scroller = page.locator(".timeline .scroller")
    assert scroller.evaluate("each => each.scrollWidth > each.clientWidth")
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), "the page itself does not"
    blocks.nth(0).scroll_into_view_if_needed()
    swipe(borders.nth(2), 40)
    expect(page.get_by_label("Epochs, phase 1", exact=True)).to_have_value("1")
    page.locator(AT_REST).wait_for()
    page.wait_for_timeout(1000)
    assert lasting(blocks)[:2] == [1, 2]
    third, fourth = lasting(blocks)[2:4]
    assert third > 3
    assert third + fourth == 7
    swipe(blocks.nth(0).locator(".grip"), 130)
    expect(blocks.nth(0).locator(".epochs")).to_have_text("2")
    page.locator(AT_REST).wait_for()
    order = lasting(blocks)
    swipe(blocks.nth(3).locator(".epochs"), -120)
    page.wait_for_timeout(1000)
    assert scroller.evaluate("each => each.scrollLeft") > 20
    assert lasting(blocks) == order
    assert [epochs for _, epochs in kept(studio)] == order


def test_thirty_phases_scroll_to_the_one_that_is_looked_at(studio: Studio, page: Page) -> None:
    blocks, _ = opened(studio, page, *(Phase(epochs=1 + each % 3) for each in range(30)))
    blocks.nth(29).click()
    expect(page.get_by_label("Epochs, phase 30", exact=True)).to_have_value("3")
    page.get_by_role("link", name=re.compile("Learning rate")).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Learning rate")
    expect(blocks.nth(29)).to_be_in_viewport()
    expect(blocks.nth(29)).to_have_attribute("aria-pressed", "true")
