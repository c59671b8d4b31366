"""Thrown away, brought back, slimmed: nothing is gone before the trash is emptied."""

import errno
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from finetune_core import cli, places
from finetune_core.errors import UserError
from finetune_core.recipe import Recipe
from finetune_core.runs import holding, store
from finetune_core.runs.shelf import summaries, trash
from finetune_core.runs.store import Run


def ended(name: str = "one", state: str = "finished", size: int = 1_000_000) -> Run:
    run = store.create(Recipe(name=name))
    run.report(state=state)
    for file in (run.best, run.last, run.phase_end(0)):
        file.write_bytes(b"0" * size)
    return run


def ids() -> set[str]:
    return {one.id for one in summaries.summaries()}


def test_a_run_is_thrown_away_and_brought_back_whole() -> None:
    run, other = ended(), ended("other")
    before = sorted(path.relative_to(run.path) for path in run.path.rglob("*"))
    trash.throw_away(run)
    assert ids() == {other.id}
    assert store.list_runs() == [] or {one.id for one in store.list_runs()} == {other.id}
    [gone] = trash.thrown_away()
    assert (gone.id, gone.title) == (run.id, "one")
    assert trash.in_trash() >= 3_000_000
    back = trash.bring_back(run.id)
    assert back.path == run.path
    assert sorted(path.relative_to(back.path) for path in back.path.rglob("*")) == before
    assert ids() == {run.id, other.id}
    assert trash.thrown_away() == []


def test_a_run_that_is_named_twice_counts_once(capsys: pytest.CaptureFixture) -> None:
    run = ended()
    again = str(run.path / ".." / run.id)
    assert cli.main(["slim", run.id, again]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert cli.main(["trash", run.id, run.id, again]) == 0
    assert cli.main(["restore", run.id, run.id]) == 0
    assert ids() == {run.id}
    capsys.readouterr()
    assert cli.main(["compare", run.id, again]) == 2
    assert "two" in capsys.readouterr().err.lower()


def test_names_that_are_taken_by_now_get_a_number() -> None:
    run = ended()
    trash.throw_away(run)
    places.runs_dir().joinpath(run.id).mkdir()
    assert trash.bring_back(run.id).id == f"{run.id}-2"
    for _ in range(2):
        trash.throw_away(ended("same"))
    assert len(trash.thrown_away()) == 2


def test_the_trash_is_emptied_for_good_and_says_what_that_frees(capsys: pytest.CaptureFixture) -> None:
    for name in ("one", "two"):
        trash.throw_away(ended(name))
    kept = ended("three")
    assert cli.main(["empty-trash"]) == 2
    said = capsys.readouterr().err
    assert "deletes 2 runs (6.0 MB) for good" in said
    assert len(trash.thrown_away()) == 2, "not yet"
    assert cli.main(["empty-trash", "--yes"]) == 0
    assert trash.thrown_away() == []
    assert trash.in_trash() == 0
    assert ids() == {kept.id}


def test_what_a_process_works_on_stays() -> None:
    run = ended(state="running")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        run.claim(psutil.Process(child.pid))
        for act in (trash.throw_away, trash.slim):
            with pytest.raises(UserError, match="cannot be"):
                act(run)
        child.kill()
    assert run.best.exists()
    trash.throw_away(run)


def test_slimming_keeps_the_best_weights_of_a_finished_run() -> None:
    run = ended()
    assert trash.slim(run) == 2_000_000
    assert [path.name for path in run.checkpoints.iterdir()] == ["best.safetensors"]
    with pytest.raises(UserError, match="has not finished"):
        trash.slim(ended(state="stopped"))
    run.best.unlink()
    with pytest.raises(UserError, match="no best weights"):
        trash.slim(run)


def test_what_the_system_will_not_delete_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    run = ended()
    (run.checkpoints / "folder").mkdir()
    with pytest.raises(UserError, match="folder cannot be deleted"):
        trash.slim(run)
    trash.throw_away(run)

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(UserError, match="cannot be deleted"):
        trash.empty()


def test_a_damaged_run_can_be_thrown_away_too(capsys: pytest.CaptureFixture) -> None:
    run = ended()
    run.recipe_file.write_bytes(b"\xff")
    run.status_file.write_text("{")
    assert cli.main(["trash", run.id]) == 0
    assert ids() == set()
    assert cli.main(["restore", run.id]) == 0
    assert ids() == {run.id}
    assert cli.main(["restore", run.id]) == 2
    assert "It holds: nothing" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "..", "../x", "/etc", "."])
def test_only_what_lies_in_the_trash_is_brought_back(name: str) -> None:
    trash.throw_away(ended())
    with pytest.raises(UserError, match="no run"):
        trash.bring_back(name)


def test_nothing_is_thrown_away_where_one_of_several_is_not_there(capsys: pytest.CaptureFixture) -> None:
    run = ended()
    assert cli.main(["trash", run.id, "nothing"]) == 2
    assert ids() == {run.id}


def test_disk_use_is_told(capsys: pytest.CaptureFixture) -> None:
    large, small = ended("large", size=5_000_000), ended("small", size=1_000)
    trash.throw_away(ended("gone"))
    (large.checkpoints / "again.safetensors").hardlink_to(large.best)
    assert cli.main(["disk"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines[:2]] == [large.id, small.id]
    assert lines[0].split()[:2] == ["15.0", "MB"], "one file with two names takes its space once"
    assert lines[-3].split()[:2] == ["3.0", "MB"]
    assert lines[-2].split()[:2] == ["0.0", "MB"], "nothing is kept of frozen layers"
    assert lines[-1].split()[:2] == ["0.0", "MB"], "and no image was decoded"


def test_a_link_in_the_trash_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "photo.jpg").write_text("")
    trash.throw_away(ended())
    (places.runs_dir() / ".trash" / "link").symlink_to(tmp_path / "precious")
    trash.empty()
    assert (tmp_path / "precious" / "photo.jpg").exists()


def test_a_run_that_begins_meanwhile_is_not_thrown_away() -> None:
    run = ended(state="queued")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        with ThreadPoolExecutor(1) as thread, holding.queue_locked(run.path.parent):  # as the dispatcher has it
            thrown = thread.submit(trash.throw_away, run)
            time.sleep(0.3)
            run.claim(psutil.Process(child.pid))
            run.report(state="starting")
        with pytest.raises(UserError, match="Stop it first"):
            thrown.result(60)
        assert run.path.exists()
        child.kill()
