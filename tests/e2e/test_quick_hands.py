"""Someone who does not wait for the page to be drawn: what was chosen may not be undone, nor reach something else."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from finetune_core import recipe
from finetune_core.network import catalogue
from tests.e2e.conftest import AT_REST, MINUTES, Studio, choose_network, free_port, started

pytestmark = pytest.mark.e2e

# Much to clean up after each run, and much to do before the page is known, as where PyTorch is loaded; and on the first
# page a piece that has all of it drawn anew.
RESTLESS = """
import gc
import time
import streamlit as st

gc.collect = lambda *_: time.sleep(0.2)
time.sleep(0.3)

def left():
    st.header("Left")
    alone = False

    @st.fragment(run_every=0.2)
    def tick():
        nonlocal alone
        if alone:
            st.rerun()
        alone = True

    tick()

pages = [st.Page(left, url_path="left", default=True), st.Page(lambda: st.header("Right"), url_path="right")]
current = st.navigation(pages, position="hidden")
st.page_link(pages[1], label="Right")
current.run()
"""


def test_a_backbone_chosen_in_a_hurry_keeps_the_draft_whole(studio: Studio, page: Page) -> None:
    page.goto(f"{studio.url}/layers")
    choose_network(page, "mobilenetv2_100", "/nowhere/weights.safetensors")
    expect(
        page.get_by_text("weights file /nowhere/weights.safetensors")
    ).to_be_visible()  # the last that was typed has arrived
    draft = recipe.load(studio.runs / "draft.yaml")
    names = catalogue.layer_names(draft.model)
    assert draft.model.backbone.weights.path == "/nowhere/weights.safetensors"
    assert draft.phases[0].thaw == ("head",)
    assert set(draft.phases[0].multipliers) <= set(names)
    assert draft.training.decay == {}
    expect(page.get_by_text("unknown field")).to_have_count(0)


def test_transforms_arranged_in_a_hurry_are_never_taken_for_each_other(studio: Studio, page: Page) -> None:
    """Of two of a kind the second is moved up and turned down in one breath, then the first removed by two clicks."""
    light = [{"kind": "light", "amount": amount} for amount in (0.2, 0.6)]
    file = studio.runs / "draft.yaml"
    file.parent.mkdir(exist_ok=True)
    recipe.Recipe().with_value("augment", light).save(file)
    page.goto(f"{studio.url}/augment")
    sliders, strip = page.get_by_role("slider"), page.locator(".st-key-strip")
    expect(sliders).to_have_count(2, timeout=MINUTES)
    page.locator("[class*='st-key-up'] button:visible").nth(1).click()
    moved = page.locator(".st-key-transform-1").get_by_role("slider")
    moved.press("ArrowLeft")
    page.locator(AT_REST).wait_for()
    if sliders.first.input_value() == "0.6":  # the browser drew the slider anew while the key was down, and lost it
        moved.press("ArrowLeft")
    expect(sliders.first).to_have_value("0.59")
    expect(sliders.nth(1)).to_have_value("0.2")
    page.locator("[class*='st-key-remove'] button:visible").nth(1).dblclick()
    expect(strip).to_contain_text("1 transform")
    page.get_by_role("button", name="Add a transform").click()
    page.get_by_text("Mirror", exact=True).click()
    expect(strip).to_contain_text("2 transforms")
    made = recipe.load(file).augment
    assert [part.kind for part in made] == ["light", "horizontal_flip"]
    assert made[0].amount == 0.59


def test_a_link_clicked_while_the_browser_is_busy_with_a_field_leads_on_and_keeps_the_field(
    studio: Studio, page: Page
) -> None:
    """The click is over before the browser comes to what it owes: then the link was told before the field."""
    page.goto(f"{studio.url}/train")
    epochs, link = page.get_by_label("Epochs", exact=True), page.get_by_test_id("stSidebar").get_by_role("link")
    epochs.wait_for(timeout=3 * MINUTES)
    page.locator(AT_REST).wait_for()
    epochs.fill("7")
    busy = "() => { for (const end = Date.now() + 700; Date.now() < end;); }"
    page.evaluate(f"addEventListener('pointerdown', {busy}, {{ once: true }})")
    link.filter(has_text="Learning rate").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Learning rate")
    page.locator(AT_REST).wait_for()
    assert recipe.load(studio.runs / "draft.yaml").epochs == 7


def test_a_link_clicked_just_when_the_page_is_drawn_anew_leads_on(tmp_path: Path, page: Page) -> None:
    """Of ten such clicks Streamlit loses three: it notes for the session, not for each run, what is asked for."""
    (script := tmp_path / "restless.py").write_text(RESTLESS, encoding="utf-8")
    port = free_port()
    server = started(["pages.ui.frame.serve", str(script), "--server.port", str(port)], tmp_path, tmp_path, port)
    try:
        for moment in range(12):
            page.goto(server.url)
            page.get_by_role("heading", name="Left").wait_for()
            page.wait_for_timeout(300 + 50 * moment)
            page.evaluate("document.querySelector('[data-testid=stPageLink-NavLink]').click()")
            expect(page.get_by_role("heading", name="Right")).to_be_visible(timeout=10_000)
    finally:
        server.process.terminate()
        server.process.wait(20)


def test_a_link_clicked_with_ctrl_opens_another_tab(studio: Studio, page: Page) -> None:
    page.goto(studio.url)
    link = page.get_by_test_id("stSidebar").get_by_role("link").filter(has_text="Lessons")
    with page.context.expect_page() as opened:
        link.click(modifiers=["Control"], timeout=3 * MINUTES)
    expect(opened.value.get_by_role("heading", level=1)).to_have_text("Lessons")
    expect(page).to_have_url(f"{studio.url}/")
