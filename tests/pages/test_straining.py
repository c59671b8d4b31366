"""Augment says whether a transform is too much, and Data whose label is doubted: real workers find it."""

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from finetune_core.finder import probes
from finetune_core.parts.transforms import HorizontalFlip, VerticalFlip
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from tests.pages.conftest import draft, saved
from tests.pages.test_running import button, page, texts


@pytest.fixture
def halves(tmp_path: Path, tiny: Recipe) -> Recipe:
    """Two classes that differ by which half is dark; one image lies in the wrong one."""
    rng = np.random.default_rng(0)
    for name, rows in (("above", slice(0, 24)), ("below", slice(24, 48))):
        (tmp_path / "halves" / name).mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(150, 250, (48, 48, 3))
            pixels[rows] -= 140
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "halves" / name / f"{number}.png")
    (tmp_path / "halves/above/7.png").rename(tmp_path / "halves/below/wrong.png")
    recipe = tiny.with_value("data.source.path", str(tmp_path / "halves")).with_value("phases.0.multipliers", {})
    return saved(recipe.replace(model=Recipe().model, augment=(HorizontalFlip(), VerticalFlip())))


def over(kind: str) -> None:
    """Wait for the worker that was asked for."""
    (run,) = store.list_runs(probes.runs_dir(asked=True), job=kind)
    end = time.monotonic() + 120
    while run.status.active and time.monotonic() < end:
        time.sleep(0.2)
    assert run.status.state == "finished", run.log_tail()


def opened(key: str, panel: str) -> AppTest:
    app = page(key)
    app.session_state[panel] = True
    app.run()
    assert not app.exception
    return app


def test_too_much_is_told_and_a_click_takes_it_out(halves: Recipe) -> None:
    app = opened("augment", "lab")
    button(app, "Try the transforms").click().run()
    assert not app.exception
    over("lab")
    app.run()
    said = texts(app)
    assert "of above become below" in said
    assert "remove" in said
    button(app, "Switch it off").click().run()
    assert not draft().augment[1].active
    assert "What was changed since is not shown" in texts(app)


def test_a_wrong_label_is_doubted_and_mended(halves: Recipe) -> None:
    app = page("data")
    button(app, "Look for wrong labels and near copies").click().run()
    assert not app.exception
    over("scout")
    app.run()
    assert "below/wrong.png (below, or above?)" in texts(app).replace("\\", "")
    button(app, "Relabel them so").click().run()
    right = {name: fix.label for fix in draft().data.fixes for name in fix.images}
    assert right["below/wrong.png"] == "above"
    assert "doubted" not in texts(app)
    assert "has looked at the labels" in texts(app)
