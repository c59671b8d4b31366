"""A whole lesson by keyboard alone: from the guess to the answer, left in the middle and found again."""

import pytest
from playwright.sync_api import Browser, Page, expect

from finetune_core.lessons import Lesson
from finetune_core.records import Trial
from finetune_core.runs import store
from pages.ui.teach.gallery import LESSONS
from tests.e2e.conftest import Studio

pytestmark = pytest.mark.e2e
MINUTES = 60_000
HURRY = 700  # ms: two keys in less go on one step, not two (keys.js)
PROJECTOR = {"width": 1024, "height": 768}
FITS = """() => {
  const main = document.querySelector('[data-testid=stMain]');
  return main.scrollHeight - main.clientHeight;
}"""
NAME = "nothing-between"


def test_a_lesson_by_keyboard(browser: Browser, studio: Studio) -> None:
    one = Lesson.kinds()[NAME]()
    context = browser.new_context(viewport=PROJECTOR)
    page = context.new_page()
    page.goto(f"{studio.url}/lessons?lesson={NAME}")
    expect(page.get_by_role("heading", name=one.question)).to_be_visible(timeout=MINUTES)
    first, second = (page.locator(f".st-key-guess-{number} button") for number in (1, 2))
    expect(first).to_be_visible(timeout=MINUTES)
    for _ in range(60):  # as long as the page does not listen yet
        page.keyboard.press("ArrowDown")
        page.wait_for_timeout(500)
        if first.evaluate("button => button === document.activeElement"):
            break
    page.keyboard.press("ArrowDown")
    expect(second).to_be_focused()
    page.keyboard.press(" ")
    expect(page.get_by_text(f"Your guess: {one.arms[1].name}")).to_be_visible(timeout=MINUTES)
    page.close()  # the teacher's laptop falls shut
    page = context.new_page()
    page.goto(f"{studio.url}/lessons?lesson={NAME}")
    expect(page.get_by_text(f"Your guess: {one.arms[1].name}")).to_be_visible(timeout=MINUTES)
    expect(page.get_by_role("button", name="Show the answer")).to_be_visible(timeout=5 * MINUTES)
    expect(page.get_by_text("is better than")).to_have_count(0)
    page.keyboard.press("PageDown")
    expect(page.get_by_text(f"A dot for each of {one.seeds} tries")).to_be_visible(timeout=MINUTES)
    assert page.evaluate(FITS) <= 0
    page.keyboard.press("PageUp")
    expect(page.locator(".st-key-guess-1 button")).to_be_visible(timeout=MINUTES)
    page.keyboard.press("PageUp")  # back to what was measured
    expect(page.get_by_text(f"A dot for each of {one.seeds} tries")).to_be_visible(timeout=MINUTES)
    page.wait_for_timeout(HURRY)  # all that since the last PageDown takes less on a quiet machine
    page.keyboard.press("PageDown")
    after = LESSONS[[each.kind for each in LESSONS].index(NAME) + 1]
    expect(page.get_by_role("heading", name=after.question)).to_be_visible(timeout=MINUTES)
    context.close()
    [run] = store.list_runs(studio.runs, job="experiment")
    assert run.status.state == "finished"


def measured(one: Lesson, studio: Studio) -> None:
    """As a worker would leave it where every arm differs from each other, against the guess: most has to be said."""
    run = store.create(one.recipe(), one.job(one.arms[-1].name), studio.runs)
    for seed in range(one.seeds):
        for arm in range(len(one.arms)):
            value = 0.9 - 0.14 * arm - (seed * (arm + 2)) % 5 / 200
            run.append(Trial(arm, seed, {one.measure: value}, [], [], [], 100.0))
    run.report(state="finished")


def fits(page: Page, studio: Studio, one: Lesson) -> tuple[int, int]:
    """By how many px the guess and the answer are too high."""
    page.goto(f"{studio.url}/lessons?lesson={one.kind}")
    expect(page.locator(".st-key-guess-1 button")).to_be_visible(timeout=MINUTES)
    page.wait_for_timeout(500)
    guess = int(page.evaluate(FITS))
    measured(one, studio)
    page.reload()
    page.get_by_role("button", name="Show the answer").click(timeout=MINUTES)
    expect(page.get_by_text(f"A dot for each of {one.seeds} tries")).to_be_visible(timeout=MINUTES)
    page.wait_for_timeout(1000)
    return guess, int(page.evaluate(FITS))


@pytest.mark.slow
def test_every_lesson_fits_on_a_projector_without_scrolling(browser: Browser, studio: Studio) -> None:
    context = browser.new_context(viewport=PROJECTOR)
    page = context.new_page()
    found = {name: fits(page, studio, kind()) for name, kind in Lesson.kinds().items() if name != NAME}
    context.close()
    assert not {name: over for name, over in found.items() if max(over) > 0}
