"""The studio in Streamlit's own test bench: no browser, no server."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
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


def component(app: AppTest, name: str) -> Any:
    """One of our own front-end pieces on the page, by its component's name; None where it is not there."""
    found = [each.proto for each in app.get("bidi_component") if each.proto.component_name == name]
    return found[0] if found else None


def tell(app: AppTest, name: str, event: str, *values: Any) -> AppTest:
    """Let one of them tell of an event, as its browser side does; of several values one after another in one breath."""
    states = app._tree.get_widget_states()
    told = [{"event": event, "value": value} for value in values]
    key = f"$$STREAMLIT_INTERNAL_KEY_{component(app, name).id}__events"
    states.widgets.add(id=key, json_trigger_value=json.dumps(told))
    app._run(states)
    assert not app.exception, app.exception[0].value
    return app
