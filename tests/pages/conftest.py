"""The studio in Streamlit's own test bench: no browser, no server."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest
from streamlit.runtime.pages_manager import PagesManager
from streamlit.runtime.scriptrunner import RerunData
from streamlit.testing.v1 import AppTest, local_script_runner

from finetune_core import places
from finetune_core import recipe as recipes
from finetune_core.finder import probes
from finetune_core.recipe import Recipe

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(autouse=True)
def _no_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages start no worker that a test has not asked for."""
    monkeypatch.setattr(probes, "on", lambda: False)


@pytest.fixture
def open_page(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], AppTest]:
    """Open the studio at a page, as a fresh session; fails where the page raises."""
    monkeypatch.chdir(ROOT)

    def open_page(key: str = "home") -> AppTest:
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
        if key != "home":
            app = app.switch_page(f"pages/views/{key}.py").run()
        assert not app.exception, app.exception[0].value
        return app

    return open_page


def saved(recipe: Recipe) -> Recipe:
    """Make this the draft."""
    places.runs_dir().mkdir(parents=True, exist_ok=True)
    recipe.save(places.runs_dir() / "draft.yaml")
    return recipe


def draft() -> Recipe:
    """The draft as it is on disk."""
    return recipes.load(places.runs_dir() / "draft.yaml")


def pieces(app: AppTest) -> AppTest:
    """Draw nothing but the pieces of the page that are drawn by themselves, with what was clicked, as a browser does.

    The test bench itself always draws the whole page.
    """
    alone = partial(RerunData, fragment_id_queue=list(app._fragment_storage._fragments))
    known = dict(app._registered_pages)
    with (
        patch.object(local_script_runner, "RerunData", alone),
        patch.object(PagesManager, "get_pages", lambda _: known),
    ):
        app.run()
    assert not app.exception, app.exception[0].value
    return app
