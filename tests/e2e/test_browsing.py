"""Own photos are found by looking: from home and the places used last, and a pasted path is understood."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from finetune_core.recipe import Recipe, load
from tests.conftest import paint
from tests.e2e.conftest import AT_REST, MINUTES, Studio, serve, type_into, until

pytestmark = pytest.mark.e2e
ODD = "*stars* :red[x] `q` <b>"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the studio's person is at home: photos, a table, and what is no easy name."""
    paint(tmp_path / "Pictures" / "my pets", per_class=4)
    rows = [f"my pets/class_{label}/{number}.png,{label}" for label in range(3) for number in range(4)]
    (tmp_path / "Pictures" / "labels.csv").write_text("\n".join(["file,label", *rows]))
    for name in (ODD, "trip 10", "trip 9", ".secret"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def own(home: Path) -> Iterator[Studio]:
    """A studio whose draft is a folder that has yet to be named."""
    (home / "runs").mkdir()
    Recipe().with_value("data.source", {"kind": "folder"}).save(home / "runs" / "draft.yaml")
    made = serve(home / "runs", home / "cache")
    yield made
    made.process.terminate()
    made.process.wait(20)


def opened(page: Page, key: str) -> Locator:
    """The dialog of the path under this key."""
    page.locator(f".st-key-browse-{key}").get_by_role("button", name="Browse").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    return dialog


def path_of(studio: Studio) -> str:
    return load(studio.runs / "draft.yaml").data.source.path


def images(page: Page, number: int) -> None:
    expect(page.get_by_test_id("stMetric").filter(has_text="Images")).to_contain_text(str(number), timeout=MINUTES)


def test_own_photos_are_found_by_looking(own: Studio, home: Path, page: Page) -> None:
    page.goto(f"{own.url}/data")
    expect(page.locator(AT_REST)).to_be_visible(timeout=2 * MINUTES)
    expect(page.get_by_text("Which images?")).to_be_visible()
    dialog = opened(page, "field-data-source-path-again")
    listed = dialog.locator(".st-key-browse-list")
    expect(listed.get_by_role("button", name="trip 10")).to_be_visible()
    names = [text.split("\n")[-1] for text in listed.get_by_role("button").all_inner_texts()]
    order = [
        next(at for at, name in enumerate(names) if each in name) for each in (ODD, "Pictures", "trip 9", "trip 10")
    ]
    assert order == sorted(order), names
    assert not [name for name in names if "secret" in name]

    listed.get_by_role("button", name="Pictures 1 folder").click()
    expect(dialog.locator(".st-key-crumbs")).to_contain_text("Pictures")
    listed.get_by_role("button", name="my pets 3 folders").click()
    expect(listed.get_by_role("button", name="class_0 4 images")).to_be_visible()
    dialog.locator(".st-key-crumbs").get_by_role("button", name="Pictures").click()
    expect(listed).not_to_contain_text("class_0")
    dialog.get_by_placeholder("Filter by name").press_sequentially("nothing like it")
    expect(listed).to_contain_text("Nothing of that name.")
    dialog.get_by_placeholder("Filter by name").fill("PETS")
    listed.get_by_role("button", name="my pets").click()
    expect(dialog.locator(".st-key-crumbs")).to_contain_text("my pets")
    dialog.get_by_role("button", name="Take this folder").click()
    expect(dialog).to_have_count(0)
    images(page, 12)
    assert path_of(own) == str(home / "Pictures" / "my pets")

    # A table is another thing: the folder is none, and comes back with the folder
    page.get_by_text("Table", exact=True).click()
    expect(page.get_by_text("Which images?")).to_be_visible()
    assert path_of(own) == ""
    dialog = opened(page, "field-data-source-path")
    expect(dialog.get_by_role("button", name="my pets", exact=True).first).to_be_visible()  # used last
    dialog.locator(".st-key-crumbs").get_by_role("button", name="Pictures").click()
    dialog.get_by_role("button", name="labels.csv").click()
    expect(dialog).to_have_count(0)
    images(page, 12)
    assert path_of(own) == str(home / "Pictures" / "labels.csv")
    page.get_by_text("Folder", exact=True).first.click()
    until(lambda: path_of(own) == str(home / "Pictures" / "my pets"))
    images(page, 12)


def test_a_pasted_path_is_understood_and_the_last_ones_are_known(own: Studio, home: Path, page: Page) -> None:
    page.goto(f"{own.url}/data")
    expect(page.locator(AT_REST)).to_be_visible(timeout=2 * MINUTES)
    pets = home / "Pictures" / "my pets"
    for pasted, kept in {
        f'"{pets}"': str(pets),
        pets.as_uri(): str(pets),
        "~/Pictures/my pets": "~/Pictures/my pets",
    }.items():
        type_into(page, "Folder", pasted)
        expect(page.get_by_label("Folder", exact=True)).to_have_value(kept)
        images(page, 12)
        assert path_of(own) == kept
        type_into(page, "Folder", "")
        expect(page.get_by_text("Which images?")).to_be_visible()

    page.goto(f"{own.url}/label")  # in another session, on another page
    dialog = opened(page, "pictures")
    expect(dialog.locator(".st-key-crumbs")).to_contain_text("my pets")
    dialog.locator(".st-key-spots").get_by_role("button", name="Home").click()
    listed = dialog.locator(".st-key-browse-list")
    expect(listed.get_by_role("button", name="trip 9")).to_be_visible()
    os.rename(home / "trip 9", home / "trip 8")  # noqa: PTH104 - meanwhile
    listed.get_by_role("button", name="trip 9").click()
    expect(dialog.get_by_text("is not there any more")).to_be_visible()
    page.set_viewport_size({"width": 390, "height": 844})
    dialog.locator(".st-key-spots").get_by_role("button", name="my pets").click()
    expect(listed.get_by_role("button", name="class_0 4 images")).to_be_visible()
    wide = dialog.evaluate("element => element.scrollWidth - element.clientWidth")
    assert wide <= 0, f"{wide} px too wide"
    dialog.get_by_role("button", name="Take this folder").click()
    expect(page.get_by_label("Folder of pictures")).to_have_value(str(pets))
    expect(page.get_by_text("0 of 12 pictures have a label")).to_be_visible()
