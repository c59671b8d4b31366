"""Pictures come in by camera and by zip, in a real browser; what is wrong with them is mended and taken back."""

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from finetune_core.data import labelling
from finetune_core.recipe import Recipe, load
from tests.core.data.test_doctor import photo
from tests.e2e.conftest import AT_REST, MINUTES, Studio, serve

pytestmark = pytest.mark.e2e


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Studio]:
    """A studio of its own, whose draft trains for one epoch on small images."""
    (tmp_path / "runs").mkdir()
    Recipe().with_value("phases.0.epochs", 1).with_value("data.image_size", 64).save(tmp_path / "runs" / "draft.yaml")
    made = serve(tmp_path / "runs", tmp_path / "cache")
    yield made
    made.process.terminate()
    made.process.wait(20)


def collecting(page: Page, studio: Studio, folder: Path) -> None:
    page.goto(f"{studio.url}/data")
    expect(page.locator(AT_REST)).to_be_visible(timeout=2 * MINUTES)
    page.get_by_text("Drop or take pictures").click()
    page.get_by_role("textbox", name="Kept in").fill(str(folder))
    page.get_by_role("textbox", name="Kept in").press("Enter")


def test_twenty_pictures_of_two_things_to_a_trained_model_in_few_clicks(
    own: Studio, page: Page, tmp_path: Path
) -> None:
    page.context.grant_permissions(["camera"])
    folder, clicks = tmp_path / "mine", 0
    collecting(page, own, folder)
    page.get_by_role("radio", name="Camera").click()
    clicks += 2
    for name in ("mug", "pen"):
        field = page.get_by_role("combobox", name="Class")
        field.fill(name)
        field.press("Enter")
        button = page.get_by_role("button", name=f"Hold to take pictures of {name}")
        expect(button).to_be_enabled()
        page.wait_for_function("document.querySelector('video')?.videoWidth > 0")
        button.hover()
        page.mouse.down()
        page.wait_for_timeout(2000)
        page.mouse.up()
        clicks += 1
        expect(page.get_by_text("added (").first).to_be_visible()
        expect(page.get_by_text(f"{name}:").first).to_be_visible()
        assert len([*(folder / name).glob("*.jpg")]) >= 10
    page.get_by_role("button", name="Use these pictures").click()
    expect(page.get_by_test_id("stSidebar").get_by_role("link", name="Data mine")).to_be_visible(timeout=MINUTES)
    page.get_by_test_id("stSidebar").get_by_role("link", name=re.compile(r"^(\S+ )?Train")).click()
    page.get_by_role("button", name="Launch").click()
    clicks += 3
    anyway = page.get_by_role("button", name="Launch anyway")  # the browser's own camera shows always the same
    expect(anyway.or_(page.get_by_text("validation accuracy (guessing").first)).to_be_visible(timeout=2 * MINUTES)
    if anyway.is_visible():
        anyway.click()
        clicks += 1
    expect(page.get_by_text("validation accuracy (guessing").first).to_be_visible(timeout=3 * MINUTES)
    assert clicks < 10


@pytest.mark.slow
def test_a_zip_is_dropped_and_a_fix_taken_and_taken_back(own: Studio, page: Page, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for place, name in enumerate(("cup", "hat")):
            for number in range(8):
                data = io.BytesIO()
                photo(100 * place + number).save(data, "PNG")
                archive.writestr(f"things/{name}/{number}.png", data.getvalue())
                if (name, number) == ("cup", 3):
                    archive.writestr("things/hat/again.png", data.getvalue())
    folder = tmp_path / "mine"
    collecting(page, own, folder)
    file = {"name": "things.zip", "mimeType": "application/zip", "buffer": packed.getvalue()}
    page.locator("input[type=file]").first.set_input_files([file])  # type: ignore[list-item]
    expect(page.get_by_text("17 images added")).to_be_visible(timeout=MINUTES)
    page.get_by_role("button", name="Use these pictures").click()
    dispute = page.get_by_text("1 picture stands under two labels")
    expect(dispute).to_be_visible(timeout=MINUTES)
    page.get_by_role("button", name="Leave the odd ones out").click()
    expect(page.get_by_text("Left out: 2 images")).to_be_visible()
    expect(dispute).to_have_count(0)
    assert len(load(own.runs / "draft.yaml").data.fixes) == 1
    page.get_by_role("button", name="Take back").click()
    expect(dispute).to_be_visible()
    assert not load(own.runs / "draft.yaml").data.fixes


@pytest.mark.slow
def test_forty_pictures_without_labels_are_labelled_by_keys_and_proposals(
    own: Studio, page: Page, tmp_path: Path
) -> None:
    folder = tmp_path / "unsorted"
    folder.mkdir()
    for number in range(40):
        picture = photo(number)
        bright = (
            picture.point(lambda value: value // 4) if number % 2 else picture.point(lambda value: 190 + value // 4)
        )
        bright.save(folder / f"{number:02}.png")
    page.goto(f"{own.url}/label")
    field = page.get_by_role("textbox", name="Folder of pictures")
    field.fill(str(folder))
    field.press("Enter")
    for number, name in enumerate(("light", "dark"), start=1):
        field = page.get_by_role("textbox", name="Another class")
        field.fill(name)
        field.press("Enter")
        expect(page.get_by_text(f"{number} of 40 pictures")).to_be_visible()
        expect(page.locator(AT_REST)).to_be_visible()
    page.get_by_role("heading", name="Label pictures").click()  # out of the field, where digits are text
    for number, key in enumerate(("1", "2", "2"), start=3):
        page.keyboard.press(key)
        expect(page.get_by_text(f"{number} of 40 pictures")).to_be_visible()
        expect(page.locator(AT_REST)).to_be_visible()
    page.keyboard.press("Control+z")  # the last was light
    expect(page.get_by_text("4 of 40 pictures")).to_be_visible()
    page.get_by_role("button", name="Propose the rest").click()
    expect(page.get_by_text("has looked at the pictures")).to_be_visible(timeout=2 * MINUTES)
    expect(page.get_by_role("button", name=re.compile("% sure"))).to_be_visible()
    expect(page.locator(AT_REST)).to_be_visible()
    page.keyboard.press("y")  # the proposal for the picture that it is least sure of
    expect(page.get_by_text("5 of 40 pictures")).to_be_visible()
    page.get_by_role("radio", name="Proposals").click()
    done, progress = 5, page.get_by_text("of 40 pictures have a label")
    while done < 40:
        expect(page.get_by_role("button", name=re.compile(r"Label \d+ pictures? as"))).to_be_enabled()
        expect(page.locator(AT_REST)).to_be_visible()
        page.keyboard.press("a")
        expect(progress).not_to_contain_text(f"{done} of")
        expect(page.locator(AT_REST)).to_be_visible()
        done = int(progress.inner_text().split()[0])
    truth = {f"{number:02}.png": "dark" if number % 2 else "light" for number in range(40)}
    assert dict(labelling.read(str(folder)).labels) == truth
    page.get_by_role("button", name="Use these").click()
    expect(page.get_by_text("unsorted").or_(page.get_by_text("labels.csv")).first).to_be_visible(timeout=MINUTES)
    expect(page.get_by_text("Images", exact=True).first).to_be_visible(timeout=MINUTES)


def test_patterns_and_columns_show_what_they_make_of_the_files(own: Studio, page: Page, tmp_path: Path) -> None:
    folder = tmp_path / "pets"
    folder.mkdir()
    rows = ["picture;breed;who"]
    for number in range(12):
        name = f"{('beagle', 'siamese')[number % 2]}_{number}.png"
        photo(number).save(folder / name)
        rows.append(f"{name};{('dog', 'cat')[number % 2]};anna")
    (folder / "pets.csv").write_text("\n".join(rows))
    page.goto(f"{own.url}/data")
    page.get_by_role("radio", name="File names").click()
    field = page.get_by_role("textbox", name="Folder", exact=True)
    field.fill(str(folder))
    field.press("Enter")
    expect(page.get_by_text("12 of 12 names fit, with 2 classes: beagle, siamese.")).to_be_visible(timeout=MINUTES)
    pattern = page.get_by_role("textbox", name="Pattern")
    pattern.fill(r"^(beagle)_\d+$")
    pattern.press("Enter")
    expect(page.get_by_text("6 of 12 names fit, with 1 class: beagle.")).to_be_visible()
    pattern.fill(r"^(([a-z])+.)+[A-Z]([a-z])+$")  # which tries more ways than can be tried
    pattern.press("Enter")
    expect(page.locator(AT_REST)).to_be_visible(timeout=MINUTES)
    page.get_by_role("radio", name="Table").click()
    field = page.get_by_role("textbox", name="Table", exact=True)
    field.fill(str(folder / "pets.csv"))
    field.press("Enter")
    expect(page.get_by_text("12 rows, 3 columns parted by ; in UTF-8.")).to_be_visible(timeout=MINUTES)
    expect(page.get_by_text("Images per class").or_(page.get_by_text("One column must name")).first).to_be_visible()
    expect(page.locator(AT_REST)).to_be_visible(timeout=MINUTES)  # a list that unfolds closes where the page is drawn
    columns = page.get_by_role("combobox", name="Label columns")
    columns.scroll_into_view_if_needed()  # as a person does before: a list closes where the page is scrolled
    page.wait_for_timeout(500)
    columns.fill("breed")
    columns.press("Enter")
    expect(page.get_by_text("Images per class").first).to_be_visible(timeout=MINUTES)
    assert load(own.runs / "draft.yaml").data.source.labels == "breed"  # type: ignore[attr-defined]
