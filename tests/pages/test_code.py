"""Show the code: closed at first, live from the draft, and complete: it runs with what the pages before it show."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest

from finetune_core import places
from finetune_core.export import script
from finetune_core.recipe import Recipe
from pages.ui.kit import scripts

Open = Callable[[str], AppTest]
PHASES = [{"epochs": 1, "thaw": ["head"]}, {"epochs": 1, "thaw": ["layer4", "head"], "hold": ["type:BatchNorm2d"]}]


@pytest.fixture
def draft(tiny: Recipe) -> Recipe:
    recipe = tiny.with_value("phases", PHASES).with_value("training.loss", {"kind": "focal"})
    places.runs_dir().mkdir(parents=True, exist_ok=True)
    recipe.save(places.runs_dir() / "draft.yaml")
    return recipe


def shown(open_page: Open, page: str) -> str:
    app = open_page(page)
    closed = [element.value for element in app.code]
    app.session_state["code"] = True
    app.run()
    assert not app.exception, app.exception[0].value
    (text,) = [element.value for element in app.code if element.value not in closed]
    assert "finetune_core" not in text
    return text


def test_the_pages_code_runs_from_page_to_page(open_page: Open, draft: Recipe) -> None:
    """Images, views of them, the network: what the last two pages begin with."""
    names: dict = {"device": torch.device("cpu")}
    for page in ("data", "augment", "layers"):
        exec(shown(open_page, page), names)
    assert len(names["train"]) + len(names["valid"]) == len(names["paths"]) == 24
    assert names["augment"](torch.zeros(3, 48, 56, dtype=torch.uint8)).shape == (3, 32, 32)
    learning = {name for name, weight in names["model"].named_parameters() if weight.requires_grad}
    assert learning == {"fc.weight", "fc.bias"}, "of the phase that is looked at"
    for page in ("rate", "train"):
        compile(shown(open_page, page), page, "exec")


def test_the_code_is_that_of_the_draft(open_page: Open, draft: Recipe) -> None:
    assert "class FocalLoss" in shown(open_page, "train")
    assert "range(100)" in shown(open_page, "rate")
    draft.with_value("training.optimizer", {"kind": "lion"}).save(places.runs_dir() / "draft.yaml")
    assert "timm.optim.Lion(" in shown(open_page, "train")


def test_what_is_wrong_is_told_where_the_code_would_be(open_page: Open, draft: Recipe) -> None:
    draft.with_value("data.source.path", "/nowhere").save(places.runs_dir() / "draft.yaml")
    app = open_page("train")
    app.session_state["code"] = True
    app.run()
    assert not app.exception
    assert not any("optimizer" in element.value for element in app.code)
    assert app.get("download_button")[-1].proto.disabled, "no script of a recipe that cannot run"


def test_the_download_is_the_exported_script(draft: Recipe, tmp_path: Path) -> None:
    assert scripts.whole(draft) == script.whole(draft, script.gather(draft, lambda text: None))
