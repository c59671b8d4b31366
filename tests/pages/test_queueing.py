"""The queue on the pages: Train offers it where the device is at work, and who waits is listed, moved and taken out."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator

import psutil
import pytest
from streamlit.testing.v1 import AppTest

from finetune_core import places
from finetune_core.parts.trackers import WandB
from finetune_core.recipe import Recipe
from finetune_core.runs import holding, store
from finetune_core.runs.store import Run
from finetune_core.runs.waiting import queue
from tests.pages.conftest import saved
from tests.pages.test_running import button, page, texts


@pytest.fixture
def at_work() -> Iterator[Run]:
    """A run on the processor, until its process is killed, and what dispatchers it keeps waiting."""
    run = store.create(Recipe(name="at *work*"))
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as child:
        run.claim(psutil.Process(child.pid))
        run.report(state="running", epochs=5, epoch=1, epoch_steps=10, seconds_left=40.0, step=15, steps=50)
        yield run
        file = places.runs_dir() / queue.DISPATCHER
        if pid := holding.living_in(file):
            psutil.Process(pid).kill()
        child.kill()


def waiting() -> list[str]:
    return [run.recipe.name for run in queue.look().waiting]


def labels(app: AppTest) -> list[str]:
    return [each.label for each in app.button]


def test_a_free_device_is_launched_on_and_a_busy_one_waited_for(at_work: Run) -> None:
    saved(Recipe(name="mine"))
    app = page("train")
    assert "Launch" not in labels(app)
    assert "Waits for at \\*work\\* (Epoch 2 of 5 · 40 s left)." in texts(app)
    button(app, "Add to the queue").click().run()
    assert not app.exception
    assert waiting() == ["mine"]
    assert "and 1 other." in texts(app)
    assert "Number 1 in the queue for" in texts(app)
    assert not app.toast, "it would cover the button"
    assert "1 run waits" in " ".join(link.proto.label for link in app.sidebar.get("page_link"))
    assert "Number 1 in the queue for" not in texts(app.run()), "said once"
    (run,) = queue.look().waiting
    saved(Recipe(name="changed"))
    assert run.recipe.name == "mine"


def test_what_is_below_keeps_its_place_where_a_run_must_wait(at_work: Run) -> None:
    """Else the browser takes More for another one, and closes it."""
    saved(Recipe())
    app = page("train")
    busy = place_of_more(app)
    at_work.report(state="finished")
    assert "Launch" in labels(app.run())
    assert place_of_more(app) == busy


def place_of_more(app: AppTest) -> int:
    return next(at for at, each in app.main.children.items() if getattr(each, "label", "") == "More")


def test_a_free_device_is_launched_on() -> None:
    saved(Recipe())
    assert "Launch" in labels(page("train"))


@pytest.mark.parametrize("name", ["home", "runs"])
def test_who_waits_is_moved_and_taken_out(at_work: Run, name: str, open_page: Callable[[str], AppTest]) -> None:
    first, second = (queue.submit(Recipe(name=each)) for each in ("first", "second"))
    app = open_page(name)
    assert app.button(key=f"queue-up:{first.id}").disabled
    assert app.button(key=f"queue-down:{second.id}").disabled
    app.button(key=f"queue-up:{second.id}").click().run()
    assert waiting() == ["second", "first"]
    app.button(key=f"queue-out:{second.id}").click().run()
    assert waiting() == ["first"]
    app.button(key=f"queue-out:{first.id}").click().run()
    assert not app.exception
    assert waiting() == []
    assert "**Queue**" not in texts(app)


def test_a_waiting_run_says_its_place_and_can_be_cancelled(at_work: Run) -> None:
    queue.submit(Recipe(name="first"))
    run = queue.submit(Recipe(name="second"))
    app = page("run", run=run.id)
    assert not app.exception
    assert "Number 2 in the queue for" in texts(app)
    assert "Waits for at \\*work\\* (Epoch 2 of 5 · 40 s left) and 1 other." in texts(app)
    assert "Resume" not in labels(app)
    button(app, "Cancel").click().run()
    assert waiting() == ["first"]
    assert run.status.state == "stopped"
    assert button(app, "Start again"), "nothing was saved"


def test_a_waiting_run_can_be_started_at_once(at_work: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(queue, "begin", lambda run: started.append(run.id))
    run = queue.submit(Recipe(name="first"))
    button(page("run", run=run.id), "Start now").click().run()
    assert started == [run.id]


def test_an_open_page_starts_a_dispatcher_where_somebody_waits(
    at_work: Run, open_page: Callable[[str], AppTest]
) -> None:
    queue.submit(Recipe(name="first"))
    file = places.runs_dir() / queue.DISPATCHER
    before = json.loads(file.read_text())["pid"]
    psutil.Process(before).kill()
    psutil.Process(before).wait(10)
    open_page("home")
    assert holding.living_in(file) not in (None, before)


def test_what_keeps_a_run_out_of_the_queue_is_told_at_once(at_work: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WandB, "package", "nobody_has_this")
    saved(Recipe(name="mine"))
    app = page("train")
    app.session_state["thaw:trackers"] = ["wandb"]
    button(app, "Add to the queue").click().run()
    assert not app.exception
    assert "cannot be written to." in texts(app)
    assert not waiting()


def test_a_run_elsewhere_whose_engine_cannot_be_read_says_so(at_work: Run) -> None:
    run = queue.submit(Recipe(name="first"))
    run.engine_file.write_text("{")
    app = page("run", run=run.id)
    assert not app.exception
    assert "engine.json is damaged." in texts(app).replace("\\", "")
