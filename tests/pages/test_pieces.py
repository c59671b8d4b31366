"""Pieces of page that are drawn by themselves: their errors are told, and they come to rest with what they watch."""

import pytest
from streamlit.testing.v1 import AppTest

from finetune_core.recipe import Recipe
from finetune_core.runs.store import Run
from finetune_core.runs.waiting import queue
from tests.pages.conftest import ROOT, pieces
from tests.pages.test_queueing import at_work  # noqa: F401 - a fixture
from tests.pages.test_running import button, page, texts


def waiting(app: AppTest) -> str:
    """The links of the sidebar, of which the last tells who waits."""
    return " ".join(link.proto.label for link in app.sidebar.get("page_link"))


def titles(app: AppTest) -> list[str]:
    """None where only pieces were drawn."""
    return [each.value for each in app.title]


def test_no_page_makes_pieces_otherwise() -> None:
    made = {file.name for file in (ROOT / "pages").rglob("*.py") if "st.fragment" in file.read_text(encoding="utf-8")}
    assert made == {"pieces.py"}


def test_a_click_that_fails_in_a_piece_is_told_at_the_head_of_the_page(at_work: Run) -> None:  # noqa: F811
    at_work.report(state="paused")
    app = page("run", run=at_work.id)
    at_work.report(state="running")
    button(app, "Resume").click()
    assert f"The run {at_work.id} cannot be resumed." in texts(pieces(app)).replace("\\", "")


@pytest.mark.parametrize("name", ["home", "runs"])
def test_a_waiting_run_that_has_gone_is_told(at_work: Run, name: str) -> None:  # noqa: F811
    first, second = (queue.submit(Recipe(name=each)) for each in ("first", "second"))
    app = page(name)
    queue.cancel(second)
    app.button(key=f"queue-up:{second.id}").click()
    assert f"The run {second.id} does not wait in the queue." in texts(pieces(app)).replace("\\", "")
    assert queue.look().waiting[0].id == first.id


def test_a_piece_without_a_word_to_say_leaves_the_page_alone(at_work: Run) -> None:  # noqa: F811
    app = page("run", run=at_work.id)
    assert not titles(pieces(app))


def test_the_whole_page_is_drawn_when_the_state_changes_and_its_buttons_with_it(at_work: Run) -> None:  # noqa: F811
    at_work.report(state="running")
    app = page("run", run=at_work.id)
    assert not titles(pieces(app))
    at_work.report(state="paused")
    assert titles(pieces(app))
    assert button(app, "Resume")


def test_the_badge_goes_with_its_run_and_rests(at_work: Run) -> None:  # noqa: F811
    app = page("rate")
    assert not titles(pieces(app))
    at_work.report(state="finished")
    assert titles(pieces(app)) == ["Learning rate"]
    assert "at \\*work\\*" not in texts(app)
    assert not app._fragment_storage._fragments, "nothing is asked for any more"


def test_the_line_about_the_queue_goes_with_the_last_who_waits(at_work: Run) -> None:  # noqa: F811
    run = queue.submit(Recipe(name="first"))
    app = page("rate")
    assert "1 run waits" in waiting(app)
    queue.cancel(run)
    assert not titles(pieces(app))
    assert "1 run waits" not in waiting(app)
