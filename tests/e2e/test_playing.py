"""Play, in a browser: a picture and the camera are answered inside the studio, by the best epoch so far."""

import shutil
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import FrameLocator, Page, expect
from safetensors.torch import save_file

from finetune_core.parts.backbones import reading, seals
from finetune_core.places import replace_file
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.store import Run
from finetune_core.runs.work.worker import work
from pages.ui.kit import path
from tests.e2e.axe import serious
from tests.e2e.conftest import AT_REST, MINUTES, Studio

pytestmark = pytest.mark.e2e

GREEN = "class_1"  # as is what Chromium's own camera shows


@pytest.fixture
def trained(tiny: Recipe, studio: Studio) -> Run:
    recipe = tiny.with_value("phases.0.epochs", 20).with_value("phases.0.learning_rate", 3e-3)
    run = store.create(recipe.replace(name="Three colours"), runs=studio.runs)
    assert work(run) == 0
    return run


def playing(page: Page, studio: Studio, run: Run) -> FrameLocator:
    page.context.grant_permissions(["camera"])
    page.goto(f"{studio.url}/run?run={run.id}")
    page.get_by_role("tab", name="Try an image").click()
    page.get_by_role("radio", name="Play live").click()
    frame = page.frame_locator('iframe[title="Play live"]')
    expect(frame.get_by_role("button", name="Use the camera")).to_be_visible(timeout=2 * MINUTES)
    return frame


def confuse(run: Run) -> None:
    """Let its best network take each class for the next one."""
    weights, told = reading.sealed(run.best)
    del told[seals.SEAL]
    turned = {name: weights[name].roll(1, 0) for name in ("fc.weight", "fc.bias")}
    replace_file(run.best, lambda draft: save_file({**weights, **turned}, draft, told))


def test_a_picture_and_the_camera_are_answered_as_they_look(
    page: Page, studio: Studio, trained: Run, images: Path, shoot: Callable[[Page, str], None]
) -> None:
    frame, first = (made := playing(page, studio, trained)), made.locator("#answers li").first
    for name in ("class_0", "class_2"):
        with page.expect_file_chooser() as chooser:
            frame.get_by_role("button", name="Choose a picture").click()
        chooser.value.set_files(next((images / name).glob("*.png")))
        expect(first).to_contain_text(name)
    expect(frame.locator("#answers li")).to_have_count(3)
    shoot(page, "play")
    answers: list[int] = []
    page.on("response", lambda answer: answers.append(answer.status) if answer.url.endswith("/predict") else None)
    frame.get_by_role("button", name="Use the camera").click()
    expect(first).to_contain_text(GREEN)
    for _ in range(200):  # as quick as the machine is
        if len(answers) > 3:
            break
        page.wait_for_timeout(100)
    assert len(answers) > 3
    assert set(answers) == {200}
    frame.get_by_role("button", name="Stop the camera").click()
    page.wait_for_timeout(500)
    before = len(answers)
    page.wait_for_timeout(1000)
    assert len(answers) == before


def test_the_frame_is_as_wide_as_a_phone_and_of_the_studios_theme(
    page: Page, studio: Studio, trained: Run, images: Path
) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    frame = playing(page, studio, trained)
    frame.locator("#file").set_input_files(next((images / GREEN).glob("*.png")))
    expect(frame.locator("#answers li")).to_have_count(3)
    body, whole = frame.locator("body"), frame.locator("html")
    expect(body).to_have_css("background-color", "rgb(16, 22, 31)")
    page.get_by_test_id("stMainMenu").click()
    page.get_by_test_id("stMainMenuItem-theme-Light").click()  # which the machine is not
    expect(body).to_have_css("background-color", "rgb(255, 255, 255)")
    expect(frame.locator("#answers li")).to_have_count(3)
    assert whole.evaluate("all => [all.scrollWidth <= innerWidth, all.scrollHeight <= innerHeight]") == [True, True]
    expect(frame.get_by_role("heading")).to_have_count(0)


def test_axe_finds_nothing_serious_where_one_plays(page: Page, studio: Studio, trained: Run, images: Path) -> None:
    page.goto(studio.url + path.play(trained.id))
    page.locator("#file").set_input_files(next((images / GREEN).glob("*.png")))
    expect(page.locator("#answers li")).to_have_count(3)
    assert serious(page) == []


def test_the_camera_goes_on_when_the_run_ends_and_the_better_epoch_answers(
    page: Page, studio: Studio, trained: Run, tmp_path: Path
) -> None:
    shutil.copyfile(trained.best, late := tmp_path / "late.safetensors")
    confuse(trained)
    trained.claim(psutil.Process())
    trained.report(state="running")
    frame = playing(page, studio, trained)
    frame.get_by_role("button", name="Use the camera").click()
    expect(frame.locator("#answers li").first).to_contain_text("class_2")
    frame.locator("html").evaluate("() => { window.mark = 'same'; }")
    replace_file(trained.best, lambda draft: shutil.copyfile(late, draft))
    trained.report(state="finished")
    expect(frame.locator("#answers li").first).to_contain_text(GREEN)
    expect(page.get_by_text("validation accuracy (guessing")).to_be_visible()
    page.locator(AT_REST).wait_for()
    assert frame.locator("html").evaluate("() => window.mark") == "same"
