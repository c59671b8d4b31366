"""Who works on a run and what it hears: one worker at a time; stop and pause land at once and are never lost."""

import errno
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

from finetune_core import places
from finetune_core.errors import UserError
from finetune_core.places import ROOT
from finetune_core.recipe import Recipe
from finetune_core.records import Record
from finetune_core.runs import holding, launch, store
from finetune_core.runs.work import worker
from finetune_core.runs.work.hearing import EARLY, Ear
from finetune_core.runs.work.worker import work


@pytest.fixture
def endless(tiny: Recipe) -> Recipe:
    return tiny.with_value("phases.0.epochs", 900)


def until(condition: Callable[[], object], seconds: float = 120) -> float:
    """Wait, and say how long that took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, "waited too long"
        time.sleep(0.02)
    return time.monotonic() - start


def contents(run: store.Run) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}


def test_a_second_worker_writes_nothing(tiny: Recipe) -> None:
    run = store.create(tiny)
    with holding.held(run):
        before = contents(run)
        second = subprocess.run(
            [sys.executable, "-m", "finetune_core.runs.work.worker", str(run.path)],
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
        )
        assert second.returncode == 2
        assert "already being worked on" in second.stderr
        assert contents(run) == before
        with pytest.raises(UserError, match="already being worked on"):
            launch.start(run)
    assert not run.alive() or run.worker_pid() == os.getpid()


def test_two_launches_at_once_start_one_worker(endless: Recipe) -> None:
    run = store.create(endless)
    code = "import sys; from finetune_core.runs import launch, store; launch.start(store.open_run(sys.argv[1]))"
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(run.path)], cwd=ROOT, stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]
    assert sorted(child.wait(120) for child in both) == [0, 1]
    until(lambda: run.status.step > 1)
    launch.stop(run, wait=True)
    assert run.status.state == "stopped"
    steps = [row["step"] for row in run.records()[0] if row["kind"] == "step"]
    assert steps == list(range(len(steps)))


def test_a_run_that_goes_on_and_is_stopped_while_it_prepares_is_where_it_was(tiny: Recipe) -> None:
    run = store.create(tiny)
    work(run, watch=lambda record: run.ask("stop") if record.kind == "step" and record.step == 2 else None)
    before, records = run.status.step, run.records()[0]
    run.report_start("Waking up")
    assert work(run, report=lambda what, *_: what == "Waking up" or run.ask("stop")) == 0
    assert (run.status.state, run.status.step, run.status.message) == ("stopped", before, EARLY)
    assert run.records()[0] == records


@pytest.mark.parametrize("after", [0.0, 1.0])
def test_a_stop_in_the_first_seconds_lands(endless: Recipe, after: float) -> None:
    run = store.create(endless)
    launch.start(run)
    pid = run.worker_pid()
    assert pid
    time.sleep(after)
    children = psutil.Process(pid).children(recursive=True)
    launch.stop(run)
    assert run.status.state == "stopping"
    until(lambda: not run.alive())
    assert run.status.state == "stopped"
    assert not [child for child in children if child.is_running()]


def test_a_worker_that_hears_nothing_while_it_prepares_is_ended(endless: Recipe, tmp_path: Path) -> None:
    """Preparation that sits in foreign code, deaf to signals."""
    run = store.create(endless)
    deaf = tmp_path / "deaf.py"
    deaf.write_text(
        "import sys, ctypes\n"
        "from finetune_core.runs import jobs\nfrom finetune_core.runs.work import worker\n"
        "jobs.Train.run = lambda self, work: [ctypes.CDLL(None).poll(None, 0, 999) for _ in iter(int, 1)]\n"
        "sys.exit(worker.main())\n"
    )
    child = subprocess.Popen([sys.executable, str(deaf), str(run.path)], env={**os.environ, "PYTHONPATH": str(ROOT)})
    until(lambda: run.status.state == "preparing")
    launch.stop(run)
    assert child.wait(10) == 0
    assert run.status.state == "stopped"


def test_paused_and_resumed_it_is_the_same_run(tiny: Recipe) -> None:
    recipe = tiny.with_value("phases.0.epochs", 40)
    whole, run = store.create(recipe), store.create(recipe)
    assert work(whole) == 0
    launch.start(run)
    until(lambda: run.status.step > 5)
    launch.pause(run)
    until(lambda: run.status.state == "paused")
    at = run.status.step
    time.sleep(1)
    assert run.status.step == at
    assert run.states, "what it has learned is saved"
    launch.resume(run)
    until(lambda: run.status.state == "finished")
    events = [row["name"] for row in run.records()[0] if row["kind"] == "event"]
    assert [name for name in events if name in ("paused", "resumed")] == ["paused", "resumed"]
    losses = [[row["loss"] for row in each.records()[0] if row["kind"] == "step"] for each in (whole, run)]
    assert losses[0] == losses[1]


def test_a_worker_that_is_quicker_than_its_name_leaves_what_is_asked_for(endless: Recipe) -> None:
    run = store.create(endless)
    with holding.starting(run):
        run.report_start("Starting the worker")
        worker = subprocess.Popen([sys.executable, "-m", "finetune_core.runs.work.worker", str(run.path)], cwd=ROOT)
        time.sleep(1)  # until the launcher goes on
        run.claim(psutil.Process(worker.pid))
    launch.pause(run)
    until(lambda: run.status.state == "paused")
    asked = [json.loads(line)["ask"] for line in run.control_file.read_text().splitlines()]
    assert asked == ["go", "pause"], "a second go, once a pause has been asked for, takes that back"
    launch.stop(run, now=True)
    worker.wait()


def test_a_pause_longer_than_the_time_between_two_saves_ends_too(endless: Recipe) -> None:
    run = store.create(endless.with_value("training.save_minutes", 0.01))
    launch.start(run)
    launch.pause(run)
    until(lambda: run.status.state == "paused")
    time.sleep(1.5)
    at = run.status.step
    launch.resume(run)
    until(lambda: run.status.step > at + 3)
    launch.stop(run, wait=True)
    assert run.status.state == "stopped"


def test_a_paused_run_is_stopped_and_a_killed_one_goes_on(endless: Recipe) -> None:
    run = store.create(endless)
    launch.start(run)
    until(lambda: run.status.step > 2)
    launch.pause(run)
    until(lambda: run.status.state == "paused")
    launch.stop(run, wait=True)
    assert run.status.state == "stopped"
    launch.start(run)
    until(lambda: run.status.state == "running")
    launch.stop(run, now=True)
    assert run.status.state == "stopped"
    assert not run.alive()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_signals_save_and_stop(endless: Recipe, name: str) -> None:
    run = store.create(endless)
    launch.start(run)
    until(lambda: run.status.step > 2)
    os.kill(run.worker_pid() or 0, getattr(signal, name))
    until(lambda: not run.alive())
    assert run.status.state == "stopped"
    assert run.states


def test_what_cannot_be_done_is_said(tiny: Recipe) -> None:
    run = store.create(tiny)
    for ask in (launch.stop, launch.pause):
        with pytest.raises(UserError, match="not running"):
            ask(run)
    assert work(run) == 0
    with pytest.raises(UserError, match="finished"):
        launch.resume(run)


@pytest.mark.parametrize("comes_back", [True, False])
def test_records_that_find_no_room_at_the_end_are_waited_for_and_told(
    tiny: Recipe, monkeypatch: pytest.MonkeyPatch, comes_back: bool
) -> None:
    run = store.create(tiny)
    append, refused = run.append, []

    def full(record: Record) -> None:
        if getattr(record, "step", 0) >= 5 and (len(refused) < 8 or not comes_back):
            refused.append(record)
            raise OSError(errno.ENOSPC, "No space left on device")
        append(record)

    monkeypatch.setattr(run, "append", full)
    monkeypatch.setattr(worker, "LAST_SECONDS", 10.0 if comes_back else 0.5)
    assert work(run) == 0
    epochs = [row for row in run.records()[0] if row["kind"] == "epoch"]
    assert run.status.state == "finished"
    assert len(epochs) == (2 if comes_back else 1)
    assert ("are lost" in run.status.message) != comes_back


def test_a_last_word_that_finds_no_room_is_said_again(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    run = store.create(tiny)
    report, refused = run.report, []

    def full(**facts: object) -> None:
        if facts.get("state") == "finished" and not refused:
            refused.append(facts)
            raise OSError(errno.ENOSPC, "No space left on device")
        report(**facts)

    monkeypatch.setattr(run, "report", full)
    assert work(run) == 0
    assert refused
    assert run.status.state == "finished"


def test_a_newer_wish_outlasts_one_that_another_thread_has_read_before(
    tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.create(tiny)
    run.ask("go")
    ear, read, go_on, wish = Ear(run), threading.Event(), threading.Event(), run.wish

    def slowly() -> str:
        found = wish()
        if not read.is_set():
            read.set()
            assert go_on.wait(60)
        return found

    monkeypatch.setattr(run, "wish", slowly)
    first, second = threading.Thread(target=ear.look), threading.Thread(target=ear.look)
    first.start()
    assert read.wait(60)
    run.ask("stop")
    second.start()
    second.join(0.5)
    go_on.set()
    first.join(60)
    second.join(60)
    assert ear.asked == "stop"


def test_a_wish_of_a_life_before_is_forgotten(tiny: Recipe) -> None:
    run = store.create(tiny)
    launch.start(run)
    launch.end_by_force(run)
    run.ask("stop")
    assert run.status.state == "lost"
    assert work(run) == 0
    assert run.status.state == "finished"


@pytest.fixture
def bystander(tiny: Recipe) -> Iterator[tuple[store.Run, psutil.Process]]:
    """A run that is at work on another machine, and a process of this one that has the same id as its worker."""
    run = store.create(tiny)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        run.write_json(run.owner_file, {**holding.described(psutil.Process(child.pid)), "host": "another"})
        run.report(state="running")
        yield run, psutil.Process(child.pid)
        child.kill()


def test_a_process_of_this_machine_is_not_taken_for_the_worker_of_another(
    bystander: tuple[store.Run, psutil.Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, process = bystander
    monkeypatch.setattr(launch, "GRACE_SECONDS", 0.2)
    assert run.status.state == "running"
    with pytest.raises(UserError, match="another machine, another"):
        launch.stop(run, now=True)
    launch.stop(run, wait=True)
    assert run.status.state == "stopping", "it was asked, and is waited for no longer"
    run.report(state="stopped")
    with pytest.raises(UserError, match="already being worked on"):
        launch.resume(run)
    assert process.status() != psutil.STATUS_ZOMBIE


def test_a_worker_of_another_machine_is_waited_for(bystander: tuple[store.Run, psutil.Process]) -> None:
    run, _ = bystander

    def end() -> None:
        until(lambda: run.wish() == "stop")
        run.report(state="stopped")
        run.owner_file.unlink()

    worker = threading.Thread(target=end)
    worker.start()
    launch.stop(run, wait=True)
    worker.join()
    assert run.status.state == "stopped"


def test_a_stop_at_once_leaves_no_half_written_file(endless: Recipe) -> None:
    run = store.create(endless)
    launch.start(run)
    until(lambda: run.status.state == "running")
    pid = run.worker_pid()
    draft = run.checkpoints / f".step-00000012.safetensors.{pid}.1{places.DRAFT}"
    draft.write_bytes(b"half of it")
    launch.stop(run, now=True)
    assert run.status.state == "stopped"
    assert not list(run.path.rglob(".*"))


def test_the_last_word_of_a_worker_outlives_a_stop_at_once(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    run = store.create(tiny)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        run.claim(psutil.Process(child.pid))
        run.report(state="running")
        kill = psutil.Process.kill

        def finish_first(process: psutil.Process) -> None:
            run.report(state="finished")
            kill(process)

        monkeypatch.setattr(psutil.Process, "kill", finish_first)
        launch.stop(run, now=True)
    assert run.status.state == "finished"


def test_a_process_that_cannot_be_killed_is_told(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    run = store.create(tiny)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        run.claim(psutil.Process(child.pid))
        run.report(state="running")
        monkeypatch.setattr(launch, "GRACE_SECONDS", 0.1)
        monkeypatch.setattr(psutil.Process, "kill", lambda process: None)  # as where it waits for a disk
        with pytest.raises(UserError, match="has not ended yet"):
            launch.stop(run, now=True)
        assert run.status.state == "running"
        child.kill()
