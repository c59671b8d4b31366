"""The queue with real processes: nothing is lost and nothing runs twice, whoever is killed and whatever is damaged."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from finetune_core import places
from finetune_core.cli import main
from finetune_core.errors import UserError
from finetune_core.machine import Gpu, Machine, facts
from finetune_core.recipe import Recipe
from finetune_core.runs import holding, store
from finetune_core.runs.store import Run
from finetune_core.runs.waiting import devices, dispatcher, queue

ONE = Machine(cores=2, memory_gb=8, free_disk_gb=9)
TWO_GPUS = Machine(cores=2, memory_gb=8, free_disk_gb=9, gpus=(Gpu("A", 8, 8.0), Gpu("B", 8, 8.0)))


def until(true: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def children(module: str) -> list[psutil.Process]:
    """The living processes of this test run that were started as this module, also those whose parent is gone."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = process.info["cmdline"] or []
        if f"finetune_core.runs.{module}" in line and str(places.runs_dir()) in line[-1]:
            found += [process] if process.info["status"] != psutil.STATUS_ZOMBIE else []
    return found


@pytest.fixture(autouse=True)
def _nobody_stays() -> Iterator[None]:
    yield
    forked = [psutil.Process(pid) for run in store.list_runs() if (pid := run.worker_pid())]
    for process in [*children("waiting.dispatcher"), *children("work.worker"), *forked]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


@pytest.fixture
def busy(tiny: Recipe) -> Iterator[Run]:
    """A run that is at work on the processor until its process is killed."""
    run = store.create(tiny.replace(name="busy"))
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as child:
        run.claim(psutil.Process(child.pid))
        run.report(state="running")
        yield run
        child.kill()


def waiting() -> list[str]:
    return [run.recipe.name for run in queue.look().waiting]


def submit(recipe: Recipe, *names: str) -> list[Run]:
    return [queue.submit(recipe.replace(name=name)) for name in names]


def dispatched() -> bool:
    return holding.living_in(places.runs_dir() / queue.DISPATCHER) is not None


def kill_the_dispatcher() -> None:
    until(lambda: children("waiting.dispatcher"))
    (one,) = children("waiting.dispatcher")
    one.kill()
    until(lambda: not children("waiting.dispatcher"))


def kill(run: Run) -> None:
    pid = run.worker_pid()
    assert pid
    os.kill(pid, signal.SIGKILL)


# With real workers


def test_runs_begin_one_after_another_and_a_failed_or_killed_one_stops_nobody(tiny: Recipe, images: Path) -> None:
    short = tiny.with_value("phases.0.epochs", 1)
    broken = short.with_value("data.source.path", str(images / "gone"))
    (bad,), (long,), (good,) = (
        submit(broken, "bad"),
        submit(tiny.with_value("phases.0.epochs", 500), "long"),
        submit(short, "good"),
    )
    until(lambda: long.status.state == "running")
    assert bad.status.state == "failed"
    assert good.status.state == "queued"
    kill(long)
    until(lambda: good.status.state == "finished")
    assert long.status.state == "lost", "what had begun is not begun again by itself"
    until(lambda: not children("work.worker") and not children("waiting.dispatcher"))
    began = [line.split()[2] for line in (places.runs_dir() / queue.LOG).read_text().splitlines()]
    assert began == [bad.id, long.id, good.id]


# With a device that is busy


def test_the_recipe_is_that_of_the_submission(tiny: Recipe, busy: Run, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    tiny.save(file)
    assert main(["train", str(file), "--queue", "--set", "training.seed=7"]) == 0
    tiny.with_value("training.seed", 8).save(file)
    (run,) = queue.look().waiting
    assert run.recipe == tiny.with_value("training.seed", 7)
    assert run.status.state == "queued"


def test_it_is_reordered_and_cancelled_from_the_command_line(
    tiny: Recipe, busy: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b, c = submit(tiny, "a", "b", "c")
    for run, where, then in [(c, "first", "cab"), (c, "down", "acb"), (b, "up", "abc"), (a, "last", "bca")]:
        assert main(["move", run.id, where]) == 0
        assert waiting() == [*then]
    assert main(["cancel", b.id]) == 0
    assert (b.status.state, b.status.message) == ("stopped", "Cancelled before it began")
    capsys.readouterr()
    assert main(["queue", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["id"], row["state"], row["place"]) for row in rows] == [
        (busy.id, "running", None),
        (c.id, "queued", 1),
        (a.id, "queued", 2),
    ]
    assert main(["cancel", b.id]) == main(["move", busy.id, "first"]) == 2
    assert "does not wait in the queue. It is stopped" in capsys.readouterr().err


def test_a_killed_dispatcher_is_followed_by_another(tiny: Recipe, busy: Run) -> None:
    submit(tiny, "a", "b")
    kill_the_dispatcher()
    assert waiting() == ["a", "b"]
    assert main(["queue"]) == 0
    assert dispatched()
    queue.ensure()
    second = [sys.executable, "-m", "finetune_core.runs.waiting.dispatcher", str(places.runs_dir())]
    assert subprocess.run(second, cwd=places.ROOT, check=True, timeout=60).returncode == 0, "two are one too many"
    assert len(children("waiting.dispatcher")) == 1
    assert waiting() == ["a", "b"]


def test_who_was_just_being_started_when_the_dispatcher_was_killed_is_not_lost(tiny: Recipe, busy: Run) -> None:
    a, b = submit(tiny, "a", "b")
    kill_the_dispatcher()
    a.report_start("Starting the worker")  # as far as it came: no process yet, and it is still listed
    assert waiting() == ["a", "b"]
    kill(busy)
    queue.ensure()
    until(lambda: a.status.state in ("preparing", "running", "finished"))
    assert b.status.state == "queued"
    assert len(children("work.worker")) == 1


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"order": 5}', '{"order": ["nobody", {}, 1]}', "\0\0", None])
def test_a_damaged_order_loses_no_run(tiny: Recipe, busy: Run, text: str | None) -> None:
    submit(tiny, "a", "b")
    file = places.runs_dir() / queue.ORDER
    file.unlink() if text is None else file.write_text(text)
    assert waiting() == ["a", "b"]
    submit(tiny, "c")
    assert waiting() == ["a", "b", "c"]
    assert json.loads(file.read_text())["order"] == [run.id for run in queue.look().waiting]


def test_a_run_whose_folder_is_thrown_away_is_passed_over(tiny: Recipe, busy: Run) -> None:
    a, b, c = submit(tiny, "a", "b", "c")
    shutil.rmtree(a.path)
    b.recipe_file.write_text("{")
    until(lambda: b.id not in queue._order(places.runs_dir()) or b.status.state == "queued")
    kill(busy)
    until(lambda: c.status.active)
    assert b.status.state == "failed"
    assert b.status.error
    assert not a.path.exists()


def test_a_recipe_that_the_system_refuses_to_read_stops_nobody(tiny: Recipe, busy: Run) -> None:
    a, b = submit(tiny, "a", "b")
    a.recipe_file.unlink()
    a.recipe_file.mkdir()
    kill(busy)
    until(lambda: b.status.active)
    assert a.status.state == "failed"


def test_a_disk_that_is_full_is_waited_for_and_told_once(
    tiny: Recipe, busy: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (run,) = submit(tiny, "a")
    kill_the_dispatcher()
    turns = iter([*[errno.ENOSPC] * 3, 0])

    def turn(folder: Path, here: Machine) -> bool:
        if number := next(turns):
            raise OSError(number, os.strerror(number))
        return False

    monkeypatch.setattr(dispatcher, "EVERY", 0)
    monkeypatch.setattr(dispatcher, "_turn", turn)
    dispatcher.serve(places.runs_dir())
    assert capsys.readouterr().out.count("no room") == 1
    assert run.status.state == "queued"


def test_a_run_of_another_user_is_left_to_them_and_holds_nobody_up(
    tiny: Recipe, busy: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, mine = submit(tiny, "theirs", "mine")
    kill_the_dispatcher()
    kill(busy)
    until(lambda: not busy.alive())
    monkeypatch.setattr(os, "access", lambda path, mode: path != theirs.path)
    begun: list[Run] = []
    monkeypatch.setattr(queue, "begin", lambda run, gpus=(): begun.append(run))
    assert not dispatcher._turn(places.runs_dir(), ONE)
    assert [run.id for run in begun] == [mine.id]
    assert theirs.status.state == "queued"
    assert [run.id for run in queue.look().ours] == [mine.id], "so that nobody starts a dispatcher for it alone"


def test_submissions_from_many_processes_all_arrive_once(tiny: Recipe, busy: Run, tmp_path: Path) -> None:
    tiny.save(tmp_path / "recipe.yaml")
    code = """
import pathlib, sys
from finetune_core.recipe import load
from finetune_core.runs.waiting import queue
for number in range(4):
    queue.submit(load(pathlib.Path(sys.argv[1])))
"""
    tasks = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "recipe.yaml")]) for _ in range(3)]
    assert [task.wait(120) for task in tasks] == [0, 0, 0]
    ids = [run.id for run in queue.look().waiting]
    assert len(ids) == len({*ids}) == 12
    assert ids == queue._order(places.runs_dir())
    until(lambda: children("waiting.dispatcher"))
    assert len(children("waiting.dispatcher")) == 1


def test_a_waiting_run_can_be_started_at_once(tiny: Recipe, busy: Run) -> None:
    _, b = submit(tiny, "a", "b")
    queue.start_now(b)
    assert b.status.state == "starting"
    assert waiting() == ["a"]
    with pytest.raises(UserError, match="does not wait"):
        queue.start_now(b)


def test_a_relative_folder_is_the_same_for_dispatcher_and_worker(
    tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = queue.submit(tiny.with_value("phases.0.epochs", 1), runs=Path("there"))
    until(lambda: run.status.state == "finished")
    assert run.path.parent == tmp_path / "there"


def test_without_a_place_to_write_it_is_said(tiny: Recipe, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="no place for the queue"):
        queue.submit(tiny, runs=tmp_path / "file" / "runs")


# Pure


def test_moving_keeps_the_others_in_order_and_other_lanes_where_they_are() -> None:
    names = [*"abcd"]
    assert [queue.moved(names, "c", where) for where in queue.MOVES] == [[*"cabd"], [*"acbd"], [*"abdc"], [*"abdc"]]
    assert queue.moved(names, "a", "up") == queue.moved(names, "a", "first") == names
    assert queue.woven([*"a1b2c"], [*"cab"]) == [*"c1a2b"]


def test_a_run_gets_as_many_gpus_as_it_has_processes(tiny: Recipe) -> None:
    one, two = (tiny.with_value("training.device", "auto").with_value("training.processes", n) for n in (1, 2))
    assert devices.free_for(one, frozenset(), TWO_GPUS) == ("cuda:0",)
    assert devices.free_for(one, frozenset({"cuda:0", "cpu"}), TWO_GPUS) == ("cuda:1",)
    assert devices.free_for(two, frozenset({"cuda:0"}), TWO_GPUS) == ()
    assert devices.free_for(two, frozenset({"cpu"}), TWO_GPUS) == ("cuda:0", "cuda:1")
    assert devices.free_for(two.with_value("training.processes", 4), frozenset(), TWO_GPUS) == ("cuda:0", "cuda:1")
    assert devices.free_for(two, frozenset({"cuda:0"}), ONE) == ("cpu",)
    assert devices.gpus(("cuda:1", "cuda:3")) == ["1", "3"]


def test_what_a_worker_sees_of_the_gpus_is_what_it_holds(tiny: Recipe, busy: Run) -> None:
    assert devices.held(busy, facts()) == {"cpu"}
    run = store.create(tiny.with_value("training.device", "cuda"))
    with subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], env={**os.environ, devices.VISIBLE: "1"}
    ) as child:
        run.claim(psutil.Process(child.pid))
        until(psutil.Process(child.pid).environ)  # for a moment it has none
        assert devices.held(run, TWO_GPUS) == {"cuda:1"}
        child.kill()
    assert devices.held(run, TWO_GPUS) == frozenset()


def test_an_id_stands_by_itself_however_long_it_is(tiny: Recipe, busy: Run, capsys: pytest.CaptureFixture[str]) -> None:
    long = queue.submit(tiny).path
    long = long.rename(long.with_name("l" * 60))
    odd = store.create(tiny).path
    odd = odd.rename(odd.with_name("two\nlines"))
    for words in (["queue"], ["runs"], ["disk"]):
        assert main(words) == 0
        lines = capsys.readouterr().out.splitlines()
        assert any(long.name in line.split() for line in lines)
        assert words == ["queue"] or any("two\\nlines" in line.split() for line in lines)


def test_the_command_line_says_so_where_nobody_waits(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["queue"]) == 0
    assert "Nobody waits" in capsys.readouterr().out
    assert not dispatched()
