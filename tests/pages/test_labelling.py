"""Label pictures: a click each, proposals by a real worker, and on to training."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from finetune_core.data import labelling
from finetune_core.recipe import Recipe
from tests.pages.conftest import draft, saved
from tests.pages.test_running import button, page, texts
from tests.pages.test_straining import over


@pytest.fixture
def unsorted(tmp_path: Path, tiny: Recipe) -> Path:
    """Twenty pictures, dark and light, in no classes."""
    folder = tmp_path / "unsorted"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(20):
        pixels = rng.integers(0, 60, (40, 40, 3)) + (150 if number % 2 else 0)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:02}.png")
    saved(tiny.with_value("data.source.path", str(folder)).replace(model=Recipe().model, phases=Recipe().phases))
    return folder


def named(app: AppTest, key: str):
    return next(each for each in app.button if each.key.startswith(key))


def test_from_no_label_to_a_data_set(unsorted: Path) -> None:
    app = page("label")
    assert not [each for each in app.button if each.key == "label-1"]
    app.text_input(key="label:new:0").set_value("dark").run()
    app.text_input(key="label:new:1").set_value("light").run()
    assert dict(labelling.read(str(unsorted)).labels) == {"00.png": "dark", "01.png": "light"}
    assert named(app, "primary").disabled, "one of each is too few"
    named(app, "label-1").click().run()
    named(app, "label-1").click().run()  # wrong
    named(app, "label-undo").click().run()
    assert "03.png" not in labelling.read(str(unsorted)).labels
    named(app, "label-2").click().run()
    assert "4 of 20 pictures have a label" in next(each.text for each in app.get("progress"))
    button(app, "Propose the rest").click().run()
    over("embed")
    app.run()
    assert "has looked at the pictures" in texts(app)
    assert "% sure" in named(app, "label-yes").label
    app.button_group(key="label:way").set_value("grid").run()
    assert not app.exception
    shown = app.checkbox
    assert len(shown) == 8, "half of what is left"
    odd = shown[0].key.removeprefix("tick:")
    shown[0].set_value(False).run()
    named(app, "label-all").click().run()
    assert [each.key for each in app.checkbox] == [f"tick:{odd}"], "what was unticked comes last, not again and again"
    labels = labelling.read(str(unsorted)).labels
    assert len(labels) == 11
    assert all(label == ("light" if int(name[:2]) % 2 else "dark") for name, label in labels.items())
    named(app, "primary").click().run()
    assert draft().data.source.kind == "table"
    assert {metric.label: metric.value for metric in app.metric}["Images"] == "11"


def test_skipped_pictures_come_last(unsorted: Path) -> None:
    app = page("label")
    named(app, "label-skip").click().run()
    assert r"01.png" in texts(app).replace("\\", "")
    for _ in range(19):
        named(app, "label-skip").click().run()
    assert "00.png" in texts(app).replace("\\", "")


def test_a_damaged_picture_waits_to_the_end_and_is_not_looked_at_for_ever(unsorted: Path) -> None:
    (unsorted / "0-cut.png").write_bytes(b"nothing")
    labelling.give(unsorted, {f"{number:02}.png": ("dark", "light")[number % 2] for number in range(6)})
    app = page("label")
    button(app, "Propose the rest").click().run()
    over("embed")
    app.run()
    assert "has looked at the pictures" in texts(app)
    assert "cannot be read" not in texts(app)
    assert not [each for each in app.button if each.label == "Propose the rest"]


def test_a_strange_table_beside_them_is_told(unsorted: Path) -> None:
    (unsorted / "labels.csv").write_text("who,what\nme,this\n")
    app = page("label")
    assert "another table" in texts(app)
    app.text_input(key="pictures").set_value("/nowhere").run()
    assert not app.exception
    assert "There is no folder" in texts(app) or "no folder" in texts(app)
