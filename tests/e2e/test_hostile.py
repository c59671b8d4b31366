"""A recipe and run folders by somebody who means harm, in a real browser: no request, no script, no page torn apart."""

from pathlib import Path

import pytest
from playwright.sync_api import Page

from finetune_core.recipe import Recipe
from tests.e2e.conftest import AT_REST, Studio
from tests.pages.conftest import saved
from tests.pages.test_hostile import NAME, STATES, hostile_run, photos, recipe  # noqa: F401 - fixtures

PAGES = ("", "data", "layers", "rate", "train", "runs")
# A written address becomes a link of the browser's making: that is as harmless as it looks
DISGUISED = "found => found.filter(each => each.textContent !== each.href).map(each => each.outerHTML)"
TABS = ("Charts", "Scores", "Recipe", "Code", "Log")


@pytest.mark.e2e
@pytest.mark.slow
def test_words_of_strangers_ask_for_nothing_and_run_nothing(
    studio: Studio,
    page: Page,
    recipe: Recipe,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`page` fails the test where another host is asked, or where the browser had to hold something back."""
    monkeypatch.setenv("THAW_RUNS", str(studio.runs))
    saved(recipe)
    runs = [hostile_run(recipe, **status) for status in STATES[:-1]]
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    for place in (*PAGES, *(f"run?run={run.id}&tab={tab}" for run in runs[:3] for tab in TABS if run.id != NAME)):
        page.goto(f"{studio.url}/{place}")
        page.locator(AT_REST).wait_for()
        page.wait_for_timeout(700)  # pictures and charts come after the words
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{place} is {wide} px too wide"
        main = page.locator("[data-testid=stMain]").first
        assert main.evaluate("element => element.scrollWidth - element.clientWidth") <= 0, place
        links = page.locator("img[src*='evil'], a[href*='//evil'], a[href^='javascript']")
        assert not links.evaluate_all(DISGUISED), place
    page.goto(f"{studio.url}/runs")
    page.locator(AT_REST).wait_for()
    assert not dialogs
