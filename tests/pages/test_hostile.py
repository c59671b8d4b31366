"""Words of strangers, in a recipe or a run folder from elsewhere, are drawn as words on every page.

Every string that a page sends to the browser is looked at, in whatever element: one that holds the stranger's words
must be in a place that Streamlit draws as it stands (`AS_IT_STANDS`), or must have been made plain. A new element on
one of these pages is held to it without a line here.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Block

from finetune_core import places
from finetune_core.parts.tasks import single_label
from finetune_core.recipe import Recipe
from finetune_core.records import Epoch, Event, Step, Suggestions
from finetune_core.runs import store
from finetune_core.runs.jobs import Measure, RangeTest
from tests.conftest import paint
from tests.pages.conftest import saved

APP = Path(__file__).resolve().parents[2] / "app.py"
LINK = "http://evil.example"
EVIL = f"![x]({LINK}/i.png) <img src={LINK}/j.png onerror=alert(1)> [l](javascript:alert(1))\n# big :red[r] $x$ \u202e"
NAME = "![x](http:evil.example) <b>b [l](javascript:x)"  # as a folder may be called
LONG = "a" * 10_000
DANGEROUS = re.compile(r"(?<!\\)(?:!\[|\]\(|<img|<b>|# big|:red\[r|\$x\$)|\n#|\u202e|a{1000}")
AS_IT_STANDS = {
    "text": {"body"},
    "code": {"code_text"},
    "text_input": {"default", "value"},
    "text_area": {"default", "value"},
    "selectbox": {"options", "raw_value"},
    "multiselect": {"options", "raw_values"},
    "image": {"alt", "url"},
    "plotly_chart": {"alt"},  # for its spec see `unsafe`
    "arrow_data_frame": {"data", "columns", "alt"},
    "download_button": {"url"},
    "bidi_component": {"js_content", "css_content", "html_content"},  # ours; for its data see `unsafe`
}
CHARTS = ("plotly_chart", "bidi_component")
MARKUP = re.compile(r"(?:<|u003c)(?:img|b\b)|a{1000}|\u202e")  # what Plotly reads; Markdown is nothing to it
TEXT = re.compile(r"a{1000}|\u202e")  # of what timeline.js writes as text alone
STRIP = '{"phases": [{"words": '  # how its data begins
IDS = {"id", "element_id", "form_id", "user_key", "css_class", "query_string", "query_params", "url_pathname"}


def strings(message: Message, inside: str = "") -> Iterator[tuple[str, str]]:
    """Every (field, text) of a protobuf message."""
    for field, value in message.ListFields():
        several = value if isinstance(value, (list, tuple)) or hasattr(value, "extend") else [value]
        for one in several:
            if isinstance(one, Message):
                yield from strings(one, field.name)
            elif field.type == FieldDescriptor.TYPE_STRING and isinstance(one, str):
                yield field.name, one


def drawn(node: Any) -> Iterator[tuple[str, str, str]]:
    """Every (element, field, text) of a page."""
    proto = getattr(node, "proto", None)
    if isinstance(proto, Message):
        for name, text in strings(proto):
            yield node.type, name, text
    if isinstance(node, Block) or hasattr(node, "children"):
        for child in node.children.values():
            yield from drawn(child)


def unsafe(app: AppTest) -> list[tuple[str, str, str]]:
    found = []
    for kind, name, text in drawn(app._tree):
        plain = name in IDS or name in AS_IT_STANDS.get(kind, ())
        means = TEXT if text.startswith(STRIP) else MARKUP if kind in CHARTS else DANGEROUS
        if not plain and means.search(text):
            found.append((kind, name, text[:300]))
    return found


def look(page: str, **query: str) -> AppTest:
    app = AppTest.from_file(str(APP), default_timeout=90)
    for key, value in query.items():
        app.query_params[key] = value
    app = app.switch_page(f"pages/views/{page}.py").run()
    assert not app.exception, app.exception[0].value
    return app


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Images whose classes are called by somebody who means harm."""
    folder = paint(tmp_path / "![x](http:evil.example)")
    for label, name in enumerate((NAME, "<img src=x onerror=alert(1)>", "a" * 250)):
        (folder / f"class_{label}").rename(folder / name)
    return folder


@pytest.fixture
def recipe(tiny: Recipe, photos: Path) -> Recipe:
    return tiny.with_value("data.source.path", str(photos)).with_value("name", EVIL)


def hostile_run(recipe: Recipe, state: str = "finished", folder: str = "", **status: Any) -> store.Run:
    """A run folder in which all words are a stranger's."""
    run = store.create(recipe)
    names, rates = [EVIL, NAME, LONG], {EVIL: 0.1, NAME: 0.01, LONG: 0.001}
    for step in range(4):
        run.append(Step(step, 0, 0, 1.0, rates, 1.0, rates, 10.0, 100.0, 0.1 * step))
    for kind in ("truth_failed", "overflow", "phase", EVIL):
        run.append(Event(kind, 2, f"{EVIL} {LONG}"))
    scores = {"accuracy": 0.5, "macro_f1": 0.5}
    run.append(Epoch(0, 0, 4, 1.0, 0.5, 1.0, 0.5, scores, dict.fromkeys(names, 0.5), True, 1.0))
    run.save_targets(_targets(names))
    facts = {"steps": 4, "step": 4, "epoch": 1, "epochs": 1, "epoch_steps": 4, "valid_score": [0.5], "best_score": 0.5}
    run.report(state=state, **{**facts, **status})
    run.log.write_text(f"{EVIL}\n{LONG}")
    if folder:
        run.path.rename(run.path.with_name(folder))
        run = store.Run(run.path.with_name(folder))
    return run


def _targets(names: list[str]) -> Any:
    from dataclasses import replace

    made = single_label([4] * 3)
    return replace(made, names=tuple(names))


ERROR = {"what": EVIL, "why": f"{EVIL} {LONG}", "hint": EVIL}
STATES: list[dict[str, Any]] = [
    {"state": "finished"},
    {"state": "finished", "folder": NAME},
    {"state": "failed", "message": EVIL, "error": ERROR},
    {"state": "stopped", "message": EVIL},
    {"state": "preparing", "message": f"{EVIL} {LONG}", "done": 1, "total": 2, "unit": EVIL},
]


@pytest.mark.parametrize("page", ["home", "data", "augment", "layers", "rate", "train", "runs"])
def test_a_draft_and_runs_of_strangers_are_drawn_as_words(recipe: Recipe, page: str) -> None:
    saved(recipe)
    for status in STATES:
        run = hostile_run(recipe, **status)
    run.claim(psutil.Process(os.getpid()))  # the last one looks alive, so that the badge shows it
    app = look(page)
    assert not unsafe(app)


@pytest.mark.parametrize("status", STATES, ids=lambda status: "-".join(map(str, status.values()))[:20])
@pytest.mark.parametrize("tab", ["Charts", "Scores", "Recipe", "Code", "Log"])
def test_a_run_of_a_stranger_is_drawn_as_words(recipe: Recipe, status: dict[str, Any], tab: str) -> None:
    run = hostile_run(recipe, **status)
    if status["state"] == "preparing":
        run.claim(psutil.Process(os.getpid()))
    assert not unsafe(look("run", run=run.id, tab=tab))


def test_a_search_and_a_measurement_of_strangers_are_drawn_as_words(recipe: Recipe) -> None:
    saved(recipe)
    search = store.create(recipe, RangeTest())
    search.append(Suggestions(1e-3, 1e-2, None, note=EVIL, why=f"{EVIL} {LONG}", confidence="low"))
    search.report(state="finished")
    assert not unsafe(look("rate"))
    run = store.create(recipe, Measure())
    run.report(state="running", message=EVIL, steps=3)
    run.claim(psutil.Process(os.getpid()))
    assert not unsafe(look("layers"))


WORDS = {
    "data.source": [{"kind": "folder", "path": f"/{EVIL}"}, {"kind": "table", "path": f"/{EVIL}.csv", "labels": EVIL}],
    "model.backbone.architecture": [EVIL, LONG],
    "model.backbone.weights": [{"kind": "checkpoint", "path": f"/{EVIL}"}, {"kind": "file", "path": f"/{EVIL}"}],
    "model.split": [[EVIL]],
    "model.merge": [[[EVIL, NAME]]],
    "phases.0.thaw": [[EVIL], [LONG]],
    "phases.0.hold": [[EVIL]],
    "phases.0.multipliers": [{EVIL: 0.5}],
    "training.decay": [{EVIL: 0.5}],
}


@pytest.mark.parametrize("path", WORDS)
@pytest.mark.parametrize("page", ["home", "data", "layers", "rate", "train"])
def test_every_word_of_a_draft_is_drawn_as_a_word(recipe: Recipe, path: str, page: str) -> None:
    for value in WORDS[path]:
        saved(recipe.with_value(path, value))
        assert not unsafe(look(page))


def test_a_folder_that_is_no_name_for_a_run_is_told_as_words() -> None:
    app = look("run", run=EVIL)
    assert not unsafe(app)
    assert places.runs_dir().name == "runs"
    assert json.dumps(EVIL)
