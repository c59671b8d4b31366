"""Every screen in every state: still while it arrives, read by axe in both themes, its links seen by keyboard.

`make screenshots` takes a picture of each, wide and narrow, light and dark.
"""

import re
import urllib.request
from collections.abc import Iterable, Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from finetune_core.recipe import Recipe
from finetune_core.runs.store import Run
from tests.conftest import paint, tiny_recipe
from tests.e2e import tour
from tests.e2e.axe import THEMES, serious
from tests.e2e.conftest import MINUTES, Studio

pytestmark = pytest.mark.e2e

HTML = "text/html"
WIDTHS = {1440: 1000, 390: 844}
STILL = 0.1  # of layout shift, as the web's own measure has it: what is more is felt
# What has moved without a person's doing since the page was opened: how much, and the first things that did
WATCH = """
window.shifts = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) {
    const place = ({ x, y, width, height }) => [x, y, width, height].map(Math.round);
    const moved = entry.sources.map(({ node, previousRect, currentRect }) => [
      node?.parentElement?.closest("[class]")?.className, place(previousRect), place(currentRect)].join(" "));
    window.shifts.push([entry.value, Math.round(entry.startTime), ...moved.slice(0, 3)]);
  }
}).observe({ type: "layout-shift", buffered: true });
"""
# Of the link that has the focus: whether it looks as any other
UNSEEN = """() => {
  const one = document.activeElement;
  if (one.tagName !== "A") return null;
  const look = () => ["outlineStyle", "outlineWidth", "boxShadow"].map((name) => getComputedStyle(one)[name]).join();
  const focused = look();
  one.blur();
  const plain = look();
  one.focus();
  return focused === plain ? one.innerText : "";
}"""


@pytest.fixture(scope="module")
def at_work(studio: Studio, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Run]:
    """The studio furnished; the run that is at work. For pictures the trained one is of Blooms."""
    folder = tmp_path_factory.mktemp("pictures")
    pictured = request.config.getoption("--screenshots")
    trained = Recipe().with_value("phases.0.epochs", 2) if pictured else tiny_recipe(paint(folder / "images"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THAW_RUNS", str(studio.runs))
        patch.setenv("THAW_CACHE", str(studio.cache))
        yield tour.furnish(studio, trained, studio.runs.parent / "unsorted")


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """A tab that notes what moves in it."""
    context = browser.new_context(viewport={"width": 1440, "height": WIDTHS[1440]})
    context.add_init_script(WATCH)
    made = context.new_page()
    made.set_default_timeout(MINUTES)
    yield made
    context.close()


def moved(tab: Page) -> float:
    """How much has moved, said where it is too much."""
    shifts = tab.evaluate("window.shifts")
    if (total := sum(value for value, *_ in shifts)) > STILL:
        print(tab.url, f"{total:.3f}", *sorted(shifts, reverse=True)[:4], sep="\n  ")  # noqa: T201
    return total


def wrong(screens: Iterable[tour.Screen], studio: Studio, tab: Page) -> list[str]:
    """Where a screen has moved while it came, and what axe finds in both themes that is serious or critical."""
    found: list[str] = []
    for screen in screens:
        screen.open(tab, studio)
        if screen.do is None and moved(tab) > STILL:
            found.append(f"{screen.name} moved")
        found += [f"{screen.name}, {each}" for each in serious(tab)]
    return found


def take(screens: Iterable[tour.Screen], studio: Studio, tab: Page, request: pytest.FixtureRequest) -> None:
    """A picture of each, in both widths and both themes, where a folder for them was named."""
    if not (folder := request.config.getoption("--screenshots")):
        pytest.skip("`make screenshots` takes them")
    Path(folder).mkdir(parents=True, exist_ok=True)
    for screen in screens:
        for width, height in WIDTHS.items():
            tab.set_viewport_size({"width": width, "height": height})
            screen.open(tab, studio)
            for theme in THEMES:
                tab.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
                tab.wait_for_timeout(700)  # colours pass over, charts are drawn anew
                tab.screenshot(path=Path(folder) / f"{screen.name}-{width}-{theme}.png")


# The two of a new studio come first: whoever asks for `at_work` furnishes it.
def test_nothing_is_wrong_in_a_new_studio(studio: Studio, tab: Page) -> None:
    assert wrong(tour.empty(), studio, tab) == []


def test_pictures_of_a_new_studio(studio: Studio, tab: Page, request: pytest.FixtureRequest) -> None:
    take(tour.empty(), studio, tab, request)


def test_nothing_is_wrong(studio: Studio, at_work: Run, tab: Page) -> None:
    assert wrong(tour.screens(studio), studio, tab) == []


def test_nothing_moves_on_a_phone(studio: Studio, at_work: Run, tab: Page) -> None:
    tab.set_viewport_size({"width": 390, "height": WIDTHS[390]})
    for screen in tour.screens(studio):
        if screen.name in ("home", "data", "augment", "rate", "train", "run"):
            screen.open(tab, studio)
            assert moved(tab) < STILL, screen.name


def test_what_a_click_opens_below_the_window_comes_into_sight(studio: Studio, at_work: Run, tab: Page) -> None:
    tab.set_viewport_size({"width": 390, "height": WIDTHS[390]})
    next(screen for screen in tour.screens(studio) if screen.name == "run").open(tab, studio)
    tab.get_by_role("button", name="Try an image").click()
    expect(tab.get_by_test_id("stFileUploader").first).to_be_in_viewport()


def test_only_the_document_is_written_into(studio: Studio) -> None:
    def got(address: str, **headers: str) -> tuple[int, bytes]:
        with urllib.request.urlopen(urllib.request.Request(studio.url + address, headers=headers)) as answer:
            return answer.status, answer.read()

    seen = f"{HTML}, */*;q=0.8"
    status, document = got("/train", Accept=seen, **{"If-Modified-Since": formatdate(usegmt=True)})
    assert (status, document.count(b'classList.add("arriving")')) == (200, 1)
    script = re.search(rb'src="\.(/static/js/index[^"]+)"', document)
    assert script
    assert got(script[1].decode(), Accept=seen) == got(script[1].decode())
    assert b"arriving" not in got("/_stcore/health", Accept=seen)[1]


def test_a_link_with_the_focus_is_seen(studio: Studio, at_work: Run, tab: Page) -> None:
    screen = next(screen for screen in tour.screens(studio) if screen.name == "train")
    screen.open(tab, studio)
    seen = []
    for _ in range(30):
        tab.keyboard.press("Tab")
        tab.wait_for_timeout(50)
        seen.append(tab.evaluate(UNSEEN))
    links = [each for each in seen if each is not None]
    assert len(links) > 12, "the path and the chips"
    assert set(links) == {""}


def test_nothing_jumps_through_a_whole_run(studio: Studio, at_work: Run, tab: Page) -> None:
    tab.goto(f"{studio.url}/run?run={at_work.id}")
    expect(tab.locator(".js-plotly-plot .nsewdrag")).to_have_count(4)
    tour.settle(tab)
    tab.evaluate("document.querySelector('[data-testid=stMain]').scrollTo(0, 300)")
    tab.wait_for_timeout(500)
    place = tab.evaluate("document.querySelector('.js-plotly-plot').getBoundingClientRect().top")
    tab.evaluate("window.shifts.length = 0")
    for end in (60, 90, 120, 150):
        tour.grow(at_work, end - 30 if end > 60 else 40, end)
        tab.wait_for_function(f"document.querySelector('.js-plotly-plot')._fullData[0].x.length === {end}")
    at_work.report(state="finished", message="Finished", best_score=0.8)
    expect(tab.get_by_text("Reached")).to_be_visible()
    tour.settle(tab)
    tab.wait_for_timeout(1500)
    assert moved(tab) < STILL
    now = tab.evaluate("document.querySelector('.js-plotly-plot').getBoundingClientRect().top")
    assert abs(now - place) <= 2, "what a person looks at stays where it is"


def test_pictures_of_every_screen(studio: Studio, at_work: Run, tab: Page, request: pytest.FixtureRequest) -> None:
    take(tour.screens(studio), studio, tab, request)
