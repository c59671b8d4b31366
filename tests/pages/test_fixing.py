"""Data tells what is wrong with the images, mends it by a click, and takes that back; Train asks before it goes on."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from finetune_core.recipe import Recipe
from finetune_core.runs import store
from tests.core.data.test_doctor import photo
from tests.pages.conftest import draft, pieces, saved
from tests.pages.test_running import page, texts


@pytest.fixture
def disputed(tmp_path: Path, tiny: Recipe) -> Recipe:
    """A picture stands under two labels."""
    for place, name in enumerate(("cup", "hat")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(12):
            photo(100 * place + number).save(tmp_path / "photos" / name / f"{chr(97 + number)}.png")
    photo(3).save(tmp_path / "photos" / "hat" / "zz.png")
    return saved(tiny.with_value("data.source.path", str(tmp_path / "photos")))


def button(app: AppTest, label: str):
    return next(each for each in app.button if each.label == label)


def labels(app: AppTest) -> list[str]:
    return [each.label for each in app.button]


def test_a_fix_is_taken_and_taken_back(disputed: Recipe) -> None:
    app = page("data")
    assert "1 picture stands under two labels" in texts(app)
    button(app, "Leave the odd ones out").click().run()
    assert [fix.images for fix in draft().data.fixes] == [("cup/d.png", "hat/zz.png")]
    assert "two labels" not in texts(app)
    assert "2 images, such as cup/d.png" in texts(app).replace("\\", "")
    assert next(each.value for each in app.metric if each.label == "Images") == "23"
    button(app, "Take back").click().run()
    assert not draft().data.fixes
    assert "1 picture stands under two labels" in texts(app)
    assert "Take back" not in labels(app)


def test_train_asks_first_and_goes_on_if_told_to(disputed: Recipe) -> None:
    page("data")
    app = page("train")
    assert "1 picture stands under two labels" in texts(app)
    button(app, "Launch").click().run()
    assert not store.list_runs()
    assert {"See them on Data", "Launch anyway"} <= {*labels(app)}
    button(app, "Launch anyway").click()
    pieces(app)
    [run] = store.list_runs()
    assert run.recipe == disputed


def test_what_was_mended_launches_at_once(disputed: Recipe) -> None:
    app = page("data")
    button(app, "Leave the odd ones out").click().run()
    app = page("train")
    button(app, "Launch").click().run()
    assert len(store.list_runs()) == 1
