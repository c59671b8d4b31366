"""Pictures on pages are those that the model sees: deep ones by the range of their data set, and no other formats."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from finetune_core.data import sheet
from finetune_core.data.depth import Depth
from finetune_core.data.kept import kept
from finetune_core.data.split import split
from finetune_core.parts.sources.folders import list_folder
from finetune_core.recipe import Data, Recipe
from finetune_core.runs import store
from finetune_core.runs.work.worker import work
from pages.ui.kit import dataset
from pages.ui.run import try_image
from tests.conftest import paint
from tests.pages.conftest import saved

Open = Callable[[str], AppTest]


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """12 bits in 16: the second class is half as bright."""
    random = np.random.default_rng(0)
    for number, name in enumerate("ab"):
        (tmp_path / "deep" / name).mkdir(parents=True)
        for index in range(6):
            pixels = random.integers(0, 4096 // (number + 1), (40, 44)).astype(np.uint16)
            Image.fromarray(pixels).save(tmp_path / "deep" / name / f"{index}.png")
    return tmp_path / "deep"


def test_the_contact_sheet_goes_by_the_whole_data_set(deep: Path, images: Path) -> None:
    samples, white = list_folder(deep), (255, 255, 255)
    shown = samples.paths[6:9]  # of the darker class
    depth = dataset.depth(samples, shown)
    assert depth == Depth(int16=(0, 4095))
    drawn = np.asarray(Image.open(io.BytesIO(dataset.contact_sheet(shown, 3, 96, white, (), 3, depth))))
    tiles = sheet.thumbnails(shown, 96, depth=depth)
    assert np.abs(drawn[20:70, 20:70].mean() - np.asarray(tiles[0])[20:70, 20:70].mean()) < 3
    assert drawn[20:70, 20:70].mean() < 90
    assert dataset.depth(list_folder(images), list_folder(images).paths) is None


def test_data_and_the_run_show_deep_images_and_refuse_others(open_page: Open, tiny: Recipe, deep: Path) -> None:
    recipe = saved(tiny.with_value("data.source.path", str(deep)).with_value("phases.0.epochs", 1))
    open_page("data")
    run = store.create(recipe)
    assert work(run) == 0
    new = io.BytesIO()
    Image.fromarray(np.full((40, 60), 1000, np.uint16)).save(new, "PNG")
    assert np.unique(try_image._seen(run, new)).tolist() == [round(1000 / 4095 * 255)]
    app = open_page("run")
    app.session_state["tab"] = "Try an image"
    app.run()
    app.file_uploader(key=f"upload:{run.id}").upload("new.png", new.getvalue(), "image/png").run()
    assert not app.exception
    assert "sure." in " ".join(each.value for each in app.markdown)
    assert looked_at(app) == "Your image"
    app.button(key=f"draw:{run.id}").click().run()
    assert looked_at(app).startswith("It is: "), "what was asked for last"
    icon = io.BytesIO()
    Image.new("RGB", (32, 32)).save(icon, "ICO")
    app.file_uploader(key=f"upload:{run.id}").upload("icon.jpg", icon.getvalue(), "image/jpeg").run()
    assert not app.exception
    said = " ".join(each.value for each in [*app.error, *app.markdown])
    assert "cannot be read" in said
    assert "sure." not in said


def looked_at(app: AppTest) -> str:
    return next(each.proto.imgs[0].caption for each in app.get("image") if each.proto.imgs[0].caption)


def test_what_a_run_was_measured_on_stays_so_when_images_are_added(tmp_path: Path) -> None:
    folder = paint(tmp_path / "photos")
    recipe = Recipe().with_value("data.source", {"kind": "folder", "path": str(folder)})
    samples = recipe.data.source.samples()
    run, begun = store.create(recipe), kept(samples, split(samples, Data(valid_share=0.2, split_seed=0)))
    run.save_begun(begun)
    for number in range(20):
        Image.new("RGB", (40, 40)).save(folder / "class_1" / f"new{number}.png")
    shown = {str(try_image._from_validation(run, place)[0].relative_to(folder)) for place in np.linspace(0, 0.99, 50)}
    assert shown == set(begun.valid)
