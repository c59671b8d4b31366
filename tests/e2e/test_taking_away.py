"""After a run, in a browser: a model made, downloaded and tried elsewhere; many pictures to a table."""

import base64
import csv
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from finetune_core.errors import UserError
from finetune_core.export import taking, web
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.store import Run
from finetune_core.runs.work.worker import work
from finetune_core.understand import predict
from finetune_core.understand.outcomes import outcomes
from tests.e2e.conftest import AT_REST, MINUTES, Studio, type_into

pytestmark = pytest.mark.e2e


@pytest.fixture
def trained(tiny: Recipe, studio: Studio) -> Run:
    run = store.create(tiny.with_value("phases.0.epochs", 1).replace(name="Three colours"), runs=studio.runs)
    assert work(run) == 0
    return run


def _open(page: Page, studio: Studio, run: Run, tab: str) -> None:
    page.goto(f"{studio.url}/run?run={run.id}")
    page.get_by_role("tab", name=tab).click()
    page.locator(AT_REST).wait_for()


@pytest.mark.parametrize(
    ("key", "holds"),
    [
        ("onnx", "model.onnx"),
        pytest.param("int8", "model.onnx", marks=pytest.mark.slow),
        pytest.param("torch", "model.pt2", marks=pytest.mark.slow),
        ("weights", "model.safetensors"),
    ],
)
def test_a_model_is_made_and_downloaded(
    page: Page,
    studio: Studio,
    trained: Run,
    tmp_path: Path,
    shoot: Callable[[Page, str], None],
    key: str,
    holds: str,
) -> None:
    _open(page, studio, trained, "Take away")
    card = page.locator(f".st-key-take-{key}")
    card.get_by_role("button", name="Make").click()
    said = "the same answer to" if key == "int8" else "the same answer to all"
    expect(card).to_contain_text(said, timeout=3 * MINUTES)
    shoot(page, f"take-away-{key}")
    page.reload()  # it is kept
    expect(card).to_contain_text(said)
    with page.expect_download() as download:
        card.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == f"Three-colours-{key}.zip"
    download.value.save_as(tmp_path / "away.zip")
    with zipfile.ZipFile(tmp_path / "away.zip") as archive:
        names = {Path(name).name for name in archive.namelist()}
    assert names == {holds, "look.py", "names.json", "check.json", "README.md"}


def test_a_model_card_is_written_and_downloaded(
    page: Page, studio: Studio, trained: Run, shoot: Callable[[Page, str], None]
) -> None:
    _open(page, studio, trained, "Take away")
    card = page.locator(".st-key-take-card")
    card.get_by_role("button", name="Write").click()
    html = card.get_by_role("button", name="Download (HTML)")
    html.wait_for(timeout=3 * MINUTES)
    shoot(page, "model-card")
    with page.expect_download() as download:
        html.click()
    assert download.value.suggested_filename == "Three-colours-card.html"
    text = Path(download.value.path()).read_text("utf-8")
    assert "<h2>Known weaknesses</h2>" in text
    assert text.count("data:image/png;base64,") >= 2


def test_from_a_confusion_to_a_picture_relabelled_and_trained_again(
    page: Page, studio: Studio, trained: Run, shoot: Callable[[Page, str], None]
) -> None:
    _open(page, studio, trained, "Mistakes")
    found = outcomes(trained)
    truth, guess = found.truth[(place := found.mistakes()[0])], found.guess[place]
    box = page.locator("[data-testid=stDataFrame] canvas").first.bounding_box()
    assert box is not None
    column, row = box["width"] / (len(found.names) + 1), 35  # px of a row
    page.mouse.click(box["x"] + (guess + 1.5) * column, box["y"] + (truth + 1.5) * row)
    expect(page.get_by_text(f"{found.names[truth]} taken for {found.names[guess]}")).to_be_visible()
    page.get_by_text("Where it looked").click()
    pictures = page.locator("[data-testid=stImage] img")
    expect(pictures).to_have_count(len(found.cell(truth, guess)), timeout=2 * MINUTES)
    shoot(page, "confusion-heat")
    page.get_by_role("button", name=f"Relabel as {found.names[guess]}").first.click()
    page.get_by_role("button", name="Train again with these").click()
    page.get_by_role("dialog").get_by_role("button", name="Train", exact=True).click()
    page.wait_for_url(lambda url: "run=" in url and trained.id not in url, timeout=2 * MINUTES)
    made = next(each for each in store.list_runs(studio.runs) if each.id != trained.id)
    [fix] = made.recipe.data.fixes
    assert (fix.kind, fix.images, fix.label) == ("relabel", (found.images[place],), found.names[guess])


POINT = """() => {
  const chart = [...document.querySelectorAll(".js-plotly-plot")].pop();
  const line = chart._fullData[0], axes = chart._fullLayout, box = chart.getBoundingClientRect();
  return [
    line.name,
    box.x + axes.xaxis._offset + axes.xaxis.l2p(line.x[0]),
    box.y + axes.yaxis._offset + axes.yaxis.l2p(line.y[0]),
  ];
}"""


def test_a_point_of_the_map_shows_its_picture(
    page: Page, studio: Studio, trained: Run, shoot: Callable[[Page, str], None]
) -> None:
    _open(page, studio, trained, "Mistakes")
    page.get_by_text("Map of all images").click()
    page.get_by_text("Click a point").wait_for(timeout=2 * MINUTES)
    page.locator(".js-plotly-plot .point").first.scroll_into_view_if_needed()
    page.locator(AT_REST).wait_for()
    name, across, down = page.evaluate(POINT)
    page.mouse.move(across - 2, down)
    page.mouse.click(across, down)
    expect(page.get_by_text("Click a point")).to_have_count(0)
    expect(page.locator("[data-testid=stImage] img").first).to_have_attribute("alt", name)
    shoot(page, "map")


def test_a_folder_of_pictures_becomes_a_table(
    page: Page, studio: Studio, trained: Run, images: Path, tmp_path: Path, shoot: Callable[[Page, str], None]
) -> None:
    (images / "class_0" / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    _open(page, studio, trained, "Try an image")
    page.get_by_text("Many pictures at once").click()
    type_into(page, "A folder or a zip file of pictures", images)
    page.get_by_role("button", name="Look at them").click()
    expect(page.get_by_text("25 pictures")).to_be_visible(timeout=MINUTES)
    expect(page.get_by_text("1 picture cannot be read")).to_be_visible()
    shoot(page, "many-pictures")
    with page.expect_download() as download:
        page.get_by_role("button", name="Table (CSV)").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text("utf-8"))))
    assert len(rows) == 25
    predictor = predict.load(trained, "cpu")
    for row in rows:
        if row["error"]:
            assert row["image"].endswith("damaged.png")
            continue
        own = predictor([Path(row["image"])], 9)[0]
        assert row["guess"] == own[0][0]
        assert float(row["sure"]) == pytest.approx(own[0][1], abs=1e-3)


def test_pictures_that_are_dropped_are_looked_at_and_labelled(
    page: Page, studio: Studio, trained: Run, images: Path
) -> None:
    _open(page, studio, trained, "Try an image")
    page.get_by_text("Many pictures at once").click()
    photos = sorted(images.glob("class_1/*.png"))[:5]
    drop = page.locator("[data-testid=stFileUploader]", has_text="Or drop them here")
    drop.locator("input").set_input_files(photos)
    page.get_by_role("button", name="Look at them").click()
    expect(page.get_by_text("5 pictures", exact=True)).to_be_visible(timeout=MINUTES)
    page.get_by_role("button", name="Label them").click()
    expect(page.get_by_text("0 of 5 pictures have a label")).to_be_visible(timeout=MINUTES)


def test_the_page_that_is_taken_away_answers_from_a_folder_without_a_network(
    browser: Browser, trained: Run, odd_photos: list[Path], tmp_path: Path
) -> None:
    try:
        web.runtime(lambda done, total: None)
    except UserError as error:
        pytest.skip(f"the browser's runtime cannot be had here: {error.why}")
    file, _ = taking.take(trained, "web", tmp_path / "web.zip")
    with zipfile.ZipFile(file) as archive:
        archive.extractall(tmp_path / "web")
    [index] = (tmp_path / "web").glob("*/index.html")
    context = browser.new_context(offline=True)
    page, complaints = context.new_page(), []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url) if request.url.startswith("http") else None)
    page.goto(index.as_uri())
    predictor = predict.load(trained, "cpu")
    for photo in odd_photos:
        if photo.stem == "5":  # CMYK, which browsers turn into RGB by a colour profile of their own
            continue
        sent = base64.b64encode(photo.read_bytes()).decode()
        got = page.evaluate("async (sent) => window.values(await (await fetch(`data:;base64,${sent}`)).blob())", sent)
        assert np.abs(np.array(got) - predictor.values(photo).numpy()).max() < 2e-3, photo
    page.locator("#file").set_input_files(odd_photos[0])
    expect(page.locator("#answers li")).to_have_count(3)
    expect(page.locator("#answers li").first).to_contain_text(predictor([odd_photos[0]])[0][0][0])
    (tmp_path / "no.jpg").write_bytes(b"no picture")
    page.locator("#file").set_input_files(tmp_path / "no.jpg")
    expect(page.locator("#error")).not_to_be_empty()
    context.close()
    assert not complaints
