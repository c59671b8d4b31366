"""A studio in which something has been done, and the way through all its screens: for tests that look at each."""

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import psutil
from PIL import Image
from playwright.sync_api import Page, expect

from benchmarks.watching import WHOLE
from finetune_core.data import labelling
from finetune_core.errors import UserError
from finetune_core.lessons.schedules import Momentum
from finetune_core.recipe import Recipe, variants
from finetune_core.records import Epoch, Find, Step, Suggestions, Trial
from finetune_core.runs import store
from finetune_core.runs.jobs import RangeTest
from finetune_core.runs.store import Run
from finetune_core.runs.waiting.sweeps import Mark
from finetune_core.runs.work.worker import work
from pages.ui.shelf.listing import ROW
from tests.e2e.conftest import AT_REST, MINUTES, Studio

LESSON = Momentum()
HEADING = 36  # px, of a table
GROUPS = ("stem", "layer1", "layer2", "layer3", "layer4", "head")
RATE = "phases.0.learning_rate"
TABS = ("Guesses", "Scores", "Mistakes", "Try an image", "Take away", "Checkpoints", "Recipe", "Code", "Log")


@dataclass(frozen=True)
class Screen:
    """One screen in one state: where it lies, what shows that it is all there, and what is clicked before."""

    name: str
    address: str
    shows: str
    do: Callable[[Page], None] | None = None

    def open(self, page: Page, studio: Studio) -> None:
        """Bring it to the browser, and wait until it rests."""
        page.goto(studio.url + self.address)
        page.locator(self.shows).first.wait_for(timeout=3 * MINUTES)
        if self.do:
            self.do(page)
        settle(page)


def settle(page: Page) -> None:
    """Wait until a page is whole: its script has ended, its pictures have come and its charts are drawn."""
    page.locator(AT_REST).wait_for(timeout=3 * MINUTES)
    page.wait_for_function(WHOLE, timeout=MINUTES)
    page.wait_for_timeout(300)


def empty() -> list[Screen]:
    """Screens of a studio in which nothing has been done yet."""
    return [
        Screen("home-empty", "/", "h1"),
        Screen("run-empty", "/run", "text=No run yet"),
        Screen("runs-empty", "/runs", "text=No runs yet"),
        Screen("label-empty", "/label", "text=Which pictures?"),
        Screen("rate-empty", "/rate", "text=Find the rate"),
    ]


def screens(studio: Studio) -> Iterator[Screen]:
    """Screens of a furnished studio."""
    runs = {run.recipe.name: run for run in store.list_runs(studio.runs)}
    yield Screen("home", "/", "text=Last runs")
    yield Screen("home-open", "/", "text=Last runs", partial(_press, "Open a recipe file"))
    yield Screen("data", "/data", ".stMain img")
    yield Screen("augment", "/augment", "[data-testid=stImage] img")
    yield Screen("augment-more", "/augment", "[data-testid=stImage] img", partial(_press, "More"))
    yield Screen("layers", "/layers", "text=Head only")
    yield Screen("layers-catalogue", "/layers", "text=Head only", _catalogue)
    yield Screen("layers-dropout", "/layers", "text=Head only", partial(_press, "Dropout"))
    yield Screen("rate", "/rate", ".js-plotly-plot .nsewdrag")
    yield Screen("train", "/train", ".js-plotly-plot .nsewdrag")
    yield Screen("runs", "/runs", "[data-testid=stDataFrame] canvas")
    yield Screen("runs-compare", "/runs", "[data-testid=stDataFrame] canvas", _tick_two)
    yield Screen("runs-bring-in", "/runs", "[data-testid=stDataFrame] canvas", partial(_press, "Bring in"))
    yield Screen("run-live", f"/run?run={runs['Live'].id}", ".js-plotly-plot .nsewdrag")
    yield Screen("run-change", f"/run?run={runs['Live'].id}", ".js-plotly-plot .nsewdrag", partial(_press, "Change"))
    yield Screen("run-failed", f"/run?run={runs['Failed'].id}", "[class*=st-key-error]")
    done = f"/run?run={runs['Finished'].id}"
    yield Screen("run", done, ".js-plotly-plot .nsewdrag")
    for tab in TABS:
        name = f"run-{tab.lower().replace(' ', '-')}"
        yield Screen(name, f"{done}&tab={tab.replace(' ', '+')}", f"[role=tab][aria-selected=true]:has-text('{tab}')")
    yield Screen("sweep", "/sweep", "text=One after another")
    yield Screen("sweep-answer", f"/sweep?sweep={_SWEEP}", ".js-plotly-plot .nsewdrag")
    pictures = f"/label?pictures={studio.runs.parent / 'unsorted'}"
    yield Screen("label", pictures, "text=pictures have a label")
    yield Screen("label-proposals", pictures, "text=pictures have a label", _proposals)
    yield Screen("lessons", "/lessons", "text=the claim shows here")
    yield Screen("lesson", "/lessons?lesson=nothing-between", ".st-key-guess-1")
    yield Screen("lesson-measured", f"/lessons?lesson={LESSON.kind}", "text=Show the answer")
    yield Screen("lesson-answer", f"/lessons?lesson={LESSON.kind}", "text=Show the answer", _answer)
    yield Screen("missing", "/run?run=nowhere", "[class*=st-key-error]")


def _catalogue(page: Page) -> None:
    page.get_by_role("button", name="Change").click()
    page.locator("[role=dialog] .js-plotly-plot .nsewdrag").wait_for(timeout=MINUTES)


def _press(name: str, page: Page) -> None:
    page.get_by_role("button", name=name).first.click()
    page.get_by_test_id("stPopoverBody").wait_for(timeout=MINUTES)


def _tick_two(page: Page) -> None:
    """Tick the first two runs of the table, which is drawn on a canvas."""
    box = page.get_by_test_id("stDataFrame").bounding_box()
    assert box
    for row in (0, 1):
        page.mouse.click(box["x"] + 20, box["y"] + HEADING + ROW * row + ROW / 2)
        page.wait_for_timeout(500)
    expect(page.get_by_text(re.compile("differ|better|same")).first).to_be_visible(timeout=MINUTES)


def _proposals(page: Page) -> None:
    page.get_by_role("radio", name="Proposals").click()


def _answer(page: Page) -> None:
    page.get_by_role("button", name="Show the answer").click()
    page.locator(".js-plotly-plot .nsewdrag").first.wait_for(timeout=MINUTES)


_SWEEP = "20260101-000000-sweep"


def furnish(studio: Studio, trained: Recipe, mine: Path) -> Run:
    """One run of each kind, one trained for real, pictures to label; returns the run that this process works at."""
    finished = store.create(trained.replace(name="Finished"), runs=studio.runs)
    assert work(finished) == 0
    failed = store.create(Recipe(name="Failed"), runs=studio.runs)
    error = UserError("The images do not fit into memory.", "128 of 32 images need 3 GB.", "Take a smaller batch.")
    failed.report(state="failed", error=error.words(), message=error.what)
    _sweep(studio)
    _lesson(studio)
    _found(studio)
    _unsorted(mine)
    live = store.create(Recipe(name="Live"), runs=studio.runs)
    live.claim(psutil.Process())
    grow(live, 0, 40)
    return live


def grow(run: Run, start: int, end: int) -> None:
    """Steps of a run with 30 an epoch, as its worker would append them."""
    thawed = run.recipe.phases[0].thaw
    for step in range(start, end):
        rates = {name: 1e-3 if name in thawed else 0.0 for name in GROUPS}
        norms = dict.fromkeys(thawed, 2.0 / (step + 1))
        run.append(Step(step, step // 30, 0, 2.5 / (step + 1), rates, 1.0, norms, 180.0, 900.0, step * 0.1))
        if step % 30 == 29:
            run.append(_epoch(step // 30, 0.6 + 0.05 * (step // 30)))
    run.report(state="running", step=end, steps=150, epochs=5, epoch_steps=30)


def _epoch(number: int, score: float) -> Epoch:
    losses = {"train_loss": 1.0 - score / 2, "train_score": score, "valid_loss": 1.1 - score / 2, "valid_score": score}
    named = {"scores": {"accuracy": score}, "by_name": {}, "best": True, "seconds": 9.0 * (number + 1)}
    return Epoch(epoch=number, phase=0, step=30 * (number + 1), **losses, **named)


def _sweep(studio: Studio) -> None:
    axis = variants.axis(Recipe(), GROUPS, RATE, "1e-3; 3e-3; 1e-2")
    for variant, top in zip(variants.variants(Recipe(), [axis], GROUPS), (0.7, 0.9, 0.6), strict=True):
        run = store.create(variant.recipe, runs=studio.runs)
        run.write_json(run.sweep_file, asdict(Mark(_SWEEP, (axis,), variant.values, variant.seed)))
        for epoch in range(5):
            run.append(_epoch(epoch, top - 0.3 + 0.06 * (epoch + 1)))
        run.report(state="finished", best_score=top, step=150, steps=150, epochs=5)


def _lesson(studio: Studio) -> None:
    run = store.create(LESSON.recipe(), LESSON.job(LESSON.arms[1].name), studio.runs)
    for seed in range(5):
        for arm, mean in zip(range(len(LESSON.arms)), (0.2, 0.8, 0.9, 0.9), strict=True):
            run.append(Trial(arm, seed, {LESSON.measure: mean + (seed * (arm + 2)) % 5 / 200}, [], [], [], 1.0))
    run.report(state="finished")


def _found(studio: Studio) -> None:
    run = store.create(Recipe(name="Rates"), RangeTest(), studio.runs)
    for step in range(100):
        loss = 2.5 - 1.5 * float(np.sin(step / 60))
        run.append(Find(step, 1e-7 * 10 ** (step * 8 / 99), loss, loss))
    run.append(Suggestions(1e-3, 3e-3, None))
    run.report(state="finished", message="Finished", step=100, steps=100)


def _unsorted(folder: Path) -> None:
    folder.mkdir()
    for number in range(24):
        pixels = np.full((96, 128, 3), 40 + 160 * (number % 2), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    labelling.give(folder, {f"{number:02}.png": ("dark", "light")[number % 2] for number in range(6)})
