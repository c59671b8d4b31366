"""Choosing by looking: the dialog at every path, and choices that wait for something to be said without a red word."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from finetune_core import places
from finetune_core.data import browsing
from finetune_core.parts import Source, Weights
from finetune_core.recipe import Recipe
from tests.pages.conftest import draft, saved

Open = Callable[[str], AppTest]
RED = ":red[:material/error:]"
NEXT = ":blue[:material/arrow_circle_right:]"


def texts(app: AppTest) -> str:
    return "\n".join(element.value for element in [*app.subheader, *app.markdown, *app.caption, *app.text])


def key(kind: str, path: Path) -> str:
    return f"{kind}:{os.fsencode(path).hex()}"


def of(app: AppTest, kind: str, path: Path) -> bool:
    return key(kind, path) in [button.key for button in app.button]


@pytest.fixture
def folder(tiny: Recipe, images: Path) -> Path:
    """The draft's own photos are a folder that has yet to be named; images were found in another one last."""
    saved(tiny.with_value("data.source", {"kind": "folder"}))
    browsing.remember(str(images))
    return images


def test_a_folder_is_found_and_taken(open_page: Open, folder: Path) -> None:
    app = open_page("data")
    app.button(key="browse:field:data.source.path").click().run()
    assert not app.exception
    assert of(app, "into", folder / "class_0")
    assert "Here: 3 folders." in texts(app)
    app.button(key="browse-take").click().run()  # the test bench closes the dialog first, and then takes it
    assert not app.exception
    assert draft().data.source.path == str(folder)
    assert {metric.label: metric.value for metric in app.metric}["Images"] == "24"


def test_a_file_is_offered_where_one_is_wanted(open_page: Open, folder: Path) -> None:
    (folder / "labels.csv").write_text("file,label\nclass_0/0.png,a\nclass_1/0.png,b\n")
    (folder / "notes.pdf").touch()
    saved(draft().with_value("data.source", {"kind": "table"}))
    app = open_page("data")
    app.button(key="browse:field:data.source.path:again").click().run()
    assert "browse-take" not in [button.key for button in app.button], "a folder is no table"
    assert not of(app, "take", folder / "notes.pdf")
    app.button(key=key("take", folder / "labels.csv")).click().run()
    assert draft().data.source.path == str(folder / "labels.csv")


def test_what_is_wrong_with_a_folder_is_told_in_the_dialog(open_page: Open, folder: Path) -> None:
    app = open_page("data")
    app.session_state["browse:at"] = folder
    app.button(key="browse:field:data.source.path").click().run()
    app.session_state["browse:at"] = gone = folder / "gone"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(browsing, "beginning", lambda named: gone)
        app.button(key="browse:field:data.source.path").click().run()
    assert not app.exception
    assert "is not there any more" in texts(app)
    assert of(app, "crumb", folder), "the way up"


def test_a_name_that_is_no_text_is_refused_in_words(open_page: Open, folder: Path) -> None:
    odd = folder / os.fsdecode(b"caf\xe9")
    try:
        odd.mkdir()
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    browsing.remember(str(odd))
    app = open_page("data")
    app.button(key="browse:field:data.source.path").click().run()
    assert not app.exception
    app.button(key="browse-take").click().run()
    assert not app.exception
    assert "is no text" in texts(app)
    assert not draft().data.source.path


def test_a_path_that_would_be_taken_for_a_pasted_one_is_kept_whole(open_page: Open, folder: Path) -> None:
    odd = folder.parent / "photos "
    folder.rename(odd)
    browsing.remember(f"{odd}{os.sep}")
    app = open_page("data")
    app.button(key="browse:field:data.source.path").click().run()
    app.button(key="browse-take").click().run()
    assert places.expanded(draft().data.source.path) == odd
    assert {metric.label: metric.value for metric in app.metric}["Images"] == "24"


def test_what_was_pasted_is_shown_as_it_is_kept(open_page: Open, folder: Path) -> None:
    app = open_page("data")
    app.text_input(key="field:data.source.path").set_value(f'"{folder.as_uri()}"').run()
    assert app.text_input(key="field:data.source.path").value == str(folder)
    assert draft().data.source.path == str(folder)
    assert browsing.last()[0] == folder


def test_other_paths_can_be_looked_for_too(open_page: Open, folder: Path) -> None:
    app = open_page("label")
    app.button(key="browse:pictures").click().run()
    app.button(key="browse-take").click().run()
    assert app.text_input(key="pictures").value == str(folder)
    app = open_page("data")
    app.text_input(key="collect:folder").set_value(str(folder / "not yet")).run()
    app.button(key="browse:collect:folder").click().run()
    app.button(key="browse-take").click().run()
    assert app.text_input(key="collect:folder").value == str(folder)


def test_another_kind_of_source_comes_back_with_what_was_said_of_it(open_page: Open, folder: Path) -> None:
    app = open_page("data")
    app.text_input(key="field:data.source.path").set_value(str(folder)).run()
    app.button_group(key="kind:data.source").set_value("table").run()
    assert draft().data.source.path == "", "a folder is no table"
    app.button_group(key="kind:data.source").set_value("folder").run()
    assert draft().data.source.path == str(folder)


@pytest.mark.parametrize("kind", [kind for kind, source in Source.kinds().items() if source().unsaid()])
def test_a_source_that_was_just_chosen_asks_and_does_not_complain(open_page: Open, tiny: Recipe, kind: str) -> None:
    saved(tiny.with_value("data.source", "published"))
    app = open_page("data")
    app.button_group(key="kind:data.source").set_value(kind).run()
    assert not app.exception
    assert RED not in texts(app)
    assert "Which images?" in texts(app)
    for page in ("augment", "rate", "train") if kind == "folder" else ("train",):
        app = open_page(page)
        assert RED not in texts(app), page
    assert NEXT in texts(app)
    assert app.button(key="primary").disabled
    assert app.button(key="primary").help == "Still open: data."


@pytest.mark.parametrize("kind", [kind for kind, weights in Weights.kinds().items() if weights().unsaid()])
def test_weights_that_were_just_chosen_ask_and_do_not_complain(open_page: Open, tiny: Recipe, kind: str) -> None:
    saved(tiny)
    app = open_page("layers")
    app.button_group(key="kind:model.backbone.weights").set_value(kind).run()
    assert not app.exception
    assert RED not in texts(app)
    assert "No weights file is chosen yet." in texts(app)
