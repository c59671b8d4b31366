"""A worker that waits for a run: real processes, taken, killed and left behind."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from finetune_core.places import ROOT
from finetune_core.recipe import Recipe
from finetune_core.runs import launch, standby, store
from finetune_core.runs.store import Run

pytestmark = pytest.mark.slow


def until(true: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def waiting() -> psutil.Process:
    until(standby.held)
    return psutil.Process(standby._waiting[0].pid)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Thread]:
    """One is kept, by a thread that has ended when the test has."""
    monkeypatch.setattr(standby, "SETTLED", 0.0)
    keeper = standby.keep()
    yield keeper
    monkeypatch.setattr(standby, "ROOM", float("inf"))  # no other after this one
    until(lambda: standby._waiting or not keeper.is_alive())
    for worker in standby._waiting:
        worker.kill()
    keeper.join(60)
    assert not keeper.is_alive()


def owner(run: Run) -> int:
    return int(json.loads(run.owner_file.read_text())["pid"])


def test_what_is_launched_goes_to_it_and_is_the_same_work(kept: threading.Thread, tiny: Recipe) -> None:
    first = waiting()
    runs = [store.create(tiny) for _ in range(2)]
    owners = []
    for run in runs:  # the second one finds none yet
        launch.start(run)
        owners.append(owner(run))
        until(lambda run=run: not run.status.active)
    assert owners[0] == first.pid
    losses = [[row["loss"] for row in run.records()[0] if row["kind"] == "step"] for run in runs]
    assert losses[0]
    assert losses[0] == losses[1]
    assert waiting().pid not in owners, "the next one"


def test_its_log_is_the_runs(kept: threading.Thread, tiny: Recipe) -> None:
    worker = waiting()
    run = store.create(tiny.with_value("data.source", {"kind": "folder", "path": "/nowhere"}))
    launch.start(run)
    until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
    assert run.status.state == "failed"
    assert "/nowhere" in run.log.read_text()


def test_who_finds_it_killed_starts_another(kept: threading.Thread, tiny: Recipe) -> None:
    waiting().kill()
    run = store.create(tiny)
    launch.start(run)
    until(lambda: run.status.state == "finished")


def test_what_nobody_has_asked_for_leaves_it_to_others(kept: threading.Thread, tiny: Recipe) -> None:
    first = waiting()
    run = store.create(tiny)
    launch.start(run, awaited=False)
    assert waiting() == first
    until(lambda: not run.status.active)


def test_it_never_outlives_who_keeps_it() -> None:
    code = "from finetune_core.runs import standby; import time; standby.SETTLED = 0; standby.keep(); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as keeper:
        until(lambda: psutil.Process(keeper.pid).children())
        worker = psutil.Process(keeper.pid).children()[0]
        keeper.send_signal(signal.SIGKILL)
    until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
