"""Two tabs, one draft: what one has changed is not launched by the other unseen, and not overwritten either."""

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from finetune_core.recipe import Recipe
from finetune_core.runs import launch, store
from tests.pages.conftest import draft, saved

Open = Callable[[str], AppTest]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[store.Run]:
    """Runs whose worker would have been started."""
    runs: list[store.Run] = []
    monkeypatch.setattr(launch, "start", runs.append)
    return runs


def test_a_click_on_what_is_no_longer_so_starts_nothing_and_says_so(
    open_page: Open, tiny: Recipe, started: list[store.Run]
) -> None:
    saved(tiny)
    old, new = open_page("train"), open_page("train")
    new.text_input(key="field:phases.0.epochs").set_value("7").run()
    old.button(key="primary").click().run()
    assert not started
    assert not store.list_runs()
    assert "changed in another tab" in " ".join(each.value for each in old.text)
    assert old.text_input(key="field:phases.0.epochs").value == "7", "the page shows it as it is now"
    old.button(key="primary").click().run()
    assert [run.recipe.phases[0].epochs for run in started] == [7]


def test_the_tab_that_changed_it_starts_at_once(open_page: Open, tiny: Recipe, started: list[store.Run]) -> None:
    saved(tiny)
    app = open_page("train")
    app.text_input(key="field:phases.0.epochs").set_value("7").run()
    app.button(key="primary").click().run()
    assert [run.recipe.phases[0].epochs for run in started] == [7]


def test_a_draft_that_another_tab_saves_as_it_was_has_not_changed(open_page: Open) -> None:
    app = open_page("layers")
    open_page("train")  # whose command speaks of the draft's file
    assert draft() == Recipe()
    app.button(key="primary").click().run()
    assert app.title[0].value == "Learning rate"


def test_an_edit_and_a_start_in_one_breath_in_the_old_tab_start_nothing(
    open_page: Open, tiny: Recipe, started: list[store.Run]
) -> None:
    saved(tiny)
    old, new = open_page("train"), open_page("train")
    new.text_input(key="field:training.batch_size").set_value("3").run()
    old.text_input(key="field:phases.0.epochs").set_value("5")
    old.button(key="primary").click().run()
    assert not started
    assert (draft().phases[0].epochs, draft().training.batch_size) == (5, 3), "neither edit is lost"


def test_an_edit_in_the_old_tab_keeps_what_the_other_has_changed(open_page: Open, tiny: Recipe) -> None:
    saved(tiny)
    old, new = open_page("layers"), open_page("layers")
    new.text_input(key="decay:layer1").set_value("0.5").run()
    old.text_input(key="decay:head").set_value("0").run()
    assert draft().training.decay == {"layer1": 0.5, "head": 0.0}
    assert any("changed in another tab" in each.value for each in old.toast)
