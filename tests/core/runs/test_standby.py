"""A process that stands by to fork workers: real ones, at work, killed and left behind."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from finetune_core.data.cache import known
from finetune_core.errors import UserError
from finetune_core.places import ROOT
from finetune_core.recipe import Recipe
from finetune_core.runs import launch, standby, store
from finetune_core.runs.store import Run
from tests.conftest import standby_take


def until(true: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def ready() -> psutil.Process:
    until(standby.held)
    return psutil.Process(standby._ready[0].process.pid)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Thread]:
    """One is kept for this test, by a thread that has ended when the test has."""
    monkeypatch.setattr(standby, "_ready", [])
    monkeypatch.setattr(standby, "take", standby_take)
    keeper = standby.keep()
    yield keeper
    until(lambda: standby._ready or not keeper.is_alive())
    for idle in standby._ready:
        idle.process.kill()
    keeper.join(60)
    assert not keeper.is_alive()


def owner(run: Run) -> psutil.Process:
    return psutil.Process(json.loads(run.owner_file.read_text())["pid"])


def losses(run: Run) -> list[float]:
    return [row["loss"] for row in run.records()[0] if row["kind"] == "step"]


def test_what_is_launched_is_forked_from_it_and_the_same_work(kept: threading.Thread, tiny: Recipe) -> None:
    idle = ready()
    *forked, spawned = [store.create(tiny) for _ in range(3)]
    for run in forked:  # at the same time
        launch.start(run)
    workers = [owner(run) for run in forked]
    assert {each.ppid() for each in workers} == {idle.pid}
    assert {os.getsid(each.pid) for each in workers} == {each.pid for each in workers}
    until(lambda: not any(run.status.active for run in forked))
    idle.kill()
    until(lambda: not standby._ready)
    launch.start(spawned)
    until(lambda: not spawned.status.active)
    assert losses(spawned)
    assert losses(spawned) == losses(forked[0]) == losses(forked[1])


def test_its_log_and_its_environment_are_the_runs(
    kept: threading.Thread, tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready()
    monkeypatch.setenv("THAW_CACHE", str(tmp_path / "another"))
    run = store.create(tiny.with_value("data.source", {"kind": "folder", "path": "/nowhere"}))
    launch.start(run)
    until(lambda: not run.alive())
    assert run.status.state == "failed"
    assert "/nowhere" in run.log.read_text()
    run = store.create(tiny)
    launch.start(run)
    until(lambda: not run.status.active)
    assert known(tiny.data.source.samples(), tiny.data.side), "decoded where this process looks for it"


def test_a_worker_that_was_killed_leaves_nothing(kept: threading.Thread, tiny: Recipe) -> None:
    idle = ready()
    run = store.create(tiny.with_value("phases.0.epochs", 1000))
    launch.start(run)
    until(lambda: run.status.state == "running")
    owner(run).kill()
    until(lambda: run.status.state == "lost")
    until(lambda: not idle.children())
    again = store.create(tiny)
    launch.start(again)
    until(lambda: again.status.state == "finished")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "silent"])
def test_who_finds_it_gone_starts_a_worker_of_its_own(
    kept: threading.Thread, tiny: Recipe, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setattr(standby, "PATIENCE", 0.5)
    monkeypatch.setenv("WIDE", "more than a pipe takes in at once" * 3000)
    ready().send_signal(number)
    run = store.create(tiny)
    launch.start(run)
    until(lambda: run.status.state == "finished")


def test_code_that_was_changed_meanwhile_is_what_works(
    kept: threading.Thread, tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle = ready()
    code = standby._code()
    monkeypatch.setattr(standby, "_code", lambda: code + 1)
    run = store.create(tiny)
    launch.start(run)
    until(lambda: run.status.state == "finished")
    until(lambda: not idle.is_running() or idle.status() == psutil.STATUS_ZOMBIE)
    assert ready().pid != idle.pid, "another one stands by"


def test_a_log_that_cannot_be_written_is_told_at_once(kept: threading.Thread, tiny: Recipe) -> None:
    ready()
    run = store.create(tiny)
    run.log.mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        launch.start(run)


def test_it_asks_for_no_gpu(tmp_path: Path) -> None:
    """Whoever has asked CUDA for anything cannot be forked."""
    code = """
import sys, torch
from importlib import import_module
from finetune_core.runs.work import idle
asked = []
for name in ("is_available", "device_count", "_lazy_init"):
    setattr(torch.cuda, name, lambda *given, name=name: asked.append(name))
for name in idle.HEAVY:
    import_module(name)
sys.exit(bool(asked))
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_it_never_outlives_who_keeps_it() -> None:
    code = "from finetune_core.runs import standby; import time; standby.SETTLED = 0; standby.keep(); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as keeper:
        until(lambda: psutil.Process(keeper.pid).children())
        worker = psutil.Process(keeper.pid).children()[0]
        keeper.send_signal(signal.SIGKILL)
    until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
