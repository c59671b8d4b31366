"""Model & layers tells what a backbone's features alone are good for, without being asked: a real worker finds it."""

import time
from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from finetune_core.finder import probes
from finetune_core.recipe import Recipe
from finetune_core.runs import launch, store
from finetune_core.runs.store import Run
from tests.pages.conftest import draft, pieces, saved
from tests.pages.test_queueing import at_work  # noqa: F401 - a fixture
from tests.pages.test_running import page, texts


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch, tiny: Recipe) -> Iterator[Recipe]:
    """Pages probe by themselves; the draft has few images and the bundled weights."""
    monkeypatch.setattr(probes, "on", lambda: not (probes._folder() / probes.OFF).exists())
    yield saved(tiny.with_value("model", Recipe().model.model_dump(mode="json")).with_value("phases.0.multipliers", {}))
    for run in begun():
        if run.status.active:
            launch.stop(run, wait=True)


def begun() -> list[Run]:
    return store.list_runs(probes.runs_dir(), job="scout")


def ended() -> Run:
    """The probe that was begun, once it is over."""
    (run,) = begun()
    return over(run)


def over(run: Run) -> Run:
    end = time.monotonic() + 120
    while run.status.active:
        assert time.monotonic() < end
        time.sleep(0.1)
    return run


def switch(app: AppTest):
    return next(each for each in app.toggle if each.label == "Try each that I choose")


def test_the_figure_comes_without_a_click_and_stays(on: Recipe) -> None:
    app = page("layers")
    assert "good for" in "".join(each.proto.text for each in app.get("progress"))
    assert ended().status.state == "finished"
    pieces(app)
    assert "These features alone give **100.0%" in texts(app)
    assert not store.list_runs(job="scout"), "nobody has asked for it, so it is not among the runs"
    again = page("layers")
    assert "These features alone give **100.0%" in texts(again)
    assert len(begun()) == 1


def test_switched_off_nothing_starts_until_it_is_switched_on(on: Recipe) -> None:
    probes.switch(False)
    app = page("layers")
    assert not begun()
    switch(app).set_value(True).run()
    assert len(begun()) == 1
    switch(app).set_value(False).run()
    for run in begun():
        over(run)
    assert not probes.on()


def test_another_choice_ends_the_probe_before(on: Recipe) -> None:
    app = page("layers")
    (first,) = begun()
    saved(on.with_value("data.image_size", 64))
    app.run()
    assert sorted(run.recipe.data.image_size for run in begun()) == [32, 64]
    over(first)
    assert first.status.state == "stopped"


def test_a_run_that_somebody_starts_ends_the_probe_which_begins_again_after_it(on: Recipe) -> None:
    app = page("layers")
    (probe,) = begun()
    run = store.create(on.with_value("phases.0.epochs", 1))
    launch.start(run)
    assert over(probe).status.state == "stopped"
    app.run()
    assert "could not be tried" not in texts(app)
    assert over(run).status.state == "finished", run.log_tail()
    app.run()
    assert len(begun()) == 2


def test_nothing_starts_beside_a_run_or_without_images(on: Recipe, request: pytest.FixtureRequest) -> None:
    saved(on.with_value("data.source.path", "/nowhere"))
    page("layers")
    saved(on)
    request.getfixturevalue("at_work")
    saved(on)
    page("layers")
    assert not begun()


def test_what_fails_is_told_once_and_not_tried_again(on: Recipe, tmp_path) -> None:
    for file in (tmp_path / "images").rglob("*.png"):
        file.write_bytes(b"no image")
    app = page("layers")
    ended()
    pieces(app)
    assert "could not be tried" in texts(app)
    count = len(begun())
    app.run()
    assert len(begun()) == count, "the page was drawn again, and began none"
    assert draft() == on
