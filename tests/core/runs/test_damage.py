"""A run whose files came to harm, or whose disk refuses: it is listed, and goes on or says why not."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from finetune_core import places
from finetune_core.cli import main
from finetune_core.errors import UserError
from finetune_core.places import ROOT
from finetune_core.recipe import Recipe
from finetune_core.records import Record, Step
from finetune_core.runs import launch, store
from finetune_core.runs.work.worker import work
from tests.core.runs.states.test_checkpoint import flip, same, stopped_at
from tests.core.runs.work.test_control import until


@pytest.fixture
def recipe(tiny: Recipe) -> Recipe:
    return tiny.with_value("phases.0.epochs", 3)


def into_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


@pytest.mark.parametrize("name", ["status.json", "metrics.jsonl", "control.jsonl", "worker.json", "job.json"])
def test_a_folder_where_a_file_should_be_is_told(recipe: Recipe, name: str, capsys: pytest.CaptureFixture) -> None:
    run = store.create(recipe)
    run.report(state="running")
    into_folder(run.path / name)
    assert run.status.state in ("lost", "unreadable")
    assert name == "metrics.jsonl" or run.records() == ([], 0)
    assert main(["runs"]) == 0
    assert run.id in "".join(capsys.readouterr())
    child = subprocess.run(
        [sys.executable, "-m", "finetune_core.runs.work.worker", str(run.path)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert child.returncode == 2
    assert "Traceback" not in child.stderr
    assert "directory" in child.stderr.lower()


def test_damaged_records_are_counted_and_leave_no_gap_in_the_scores(recipe: Recipe) -> None:
    run = stopped_at(recipe, 7)
    lines = run.records_file.read_bytes().splitlines(keepends=True)
    first_epoch = next(number for number, line in enumerate(lines) if b'"kind": "epoch"' in line)
    lines[0], lines[first_epoch], lines[1] = b"\xff\xfe\n", b"garbage\n", b'{"kind": "step", "stdp": 0}\n'
    run.records_file.write_bytes(b"".join(lines))
    assert work(run) == 0
    said = [row["text"] for row in run.records()[0] if row.get("name") == "checkpoint"]
    assert said == ["3 records could not be read and will be missing."]
    scores = run.status.valid_score
    assert scores[0] is None
    assert len(scores) == 3
    assert None not in scores[1:]


def test_damaged_best_weights_are_noticed_when_the_run_goes_on(recipe: Recipe) -> None:
    """Their metadata may be whole."""
    whole, run = store.create(recipe), stopped_at(recipe, 7)
    assert work(whole) == 0
    best = [row["step"] for row in whole.records()[0] if row["kind"] == "epoch" and row["best"]]
    assert best == [3, 6, 9]
    flip(run.best)
    work(run, watch=lambda record: run.ask("stop"))
    said = [row["text"] for row in run.records()[0] if row.get("name") == "checkpoint"]
    assert said == ["The best weights so far are not there; the best of the epochs that follow takes their place."]
    flip(run.last)
    assert work(run) == 0
    same(run, whole)


def refuse(patch: pytest.MonkeyPatch, number: int) -> None:
    """The disk takes nothing any more."""

    def refusing(path: Path, *_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    patch.setattr(places, "replace_file", refusing)
    patch.setattr(places, "append_line", refusing)


def test_on_a_full_disk_a_stop_is_refused_in_words_and_stop_now_ends_all_the_same(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.create(recipe.with_value("phases.0.epochs", 900))
    launch.start(run)
    until(lambda: run.status.step > 1)
    with monkeypatch.context() as patch:
        refuse(patch, errno.ENOSPC)
        for wish in (launch.stop, launch.pause):
            with pytest.raises(UserError, match="no room for the run"):
                wish(run)
        launch.stop(run, now=True)
    assert not run.alive()
    assert run.status.state == "lost"
    assert run.id in [each.id for each in store.list_runs()]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_worker_that_may_write_nothing_says_so(recipe: Recipe, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    run = store.create(recipe)
    with monkeypatch.context() as patch:
        refuse(patch, number)
        with pytest.raises(UserError, match=r"no room for the run|no place for the run"):
            work(run)
        with pytest.raises(UserError, match=r"no room for the run|no place for the run"):
            launch.start(run)
    assert work(run) == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("updated", "Infinity"), ("started", "1e300"), ("best_score", "NaN"), ("valid_score", "[-Infinity]")],
)
def test_a_number_that_is_none_makes_one_run_unreadable_and_no_list(
    recipe: Recipe, name: str, value: str, capsys: pytest.CaptureFixture
) -> None:
    run, other = store.create(recipe), store.create(recipe)
    run.status_file.write_text(f'{{"state": "finished", "{name}": {value}}}')
    assert run.status.state == "unreadable"
    assert main(["runs"]) == 0
    assert other.id in (said := capsys.readouterr().out)
    assert f"Its {name} is no such number" in said
    assert main(["runs", "--json"]) == 0
    json.loads(capsys.readouterr().out, parse_constant=pytest.fail)


def test_a_status_that_is_harmed_while_the_run_works_is_whole_again(recipe: Recipe) -> None:
    run = store.create(recipe)

    states = []

    def harm(record: Record) -> None:
        states.append(run.status.state)
        if isinstance(record, Step) and record.step == 4:
            run.status_file.write_text("{")

    work(run, watch=harm)
    assert run.status.state == "finished"
    assert (run.status.step, run.status.epochs) == (run.status.steps, recipe.epochs)
    assert "starting" not in states


@pytest.mark.parametrize("moved", [False, True])
def test_a_worker_ends_whose_folder_is_gone_and_brings_nothing_of_it_back(
    recipe: Recipe, tmp_path: Path, moved: bool
) -> None:
    run = store.create(recipe)

    def vanish(record: Record) -> None:
        if isinstance(record, Step) and record.step == 4:
            run.path.rename(tmp_path / "moved") if moved else shutil.rmtree(run.path)

    assert work(run, watch=vanish) == 2
    assert not run.path.exists()


def test_checkpoints_that_are_cleared_away_while_the_run_works_are_made_again(recipe: Recipe) -> None:
    run = store.create(recipe)

    def clear(record: Record) -> None:
        if isinstance(record, Step) and record.step == 4:
            shutil.rmtree(run.checkpoints)

    assert work(run, watch=clear) == 0
    assert run.status.state == "finished"
    assert run.best.exists()


def test_a_run_whose_states_are_gone_does_not_begin_anew_over_its_weights(recipe: Recipe) -> None:
    run = stopped_at(recipe, 7)
    for path in run.states:
        path.unlink()
    kept = {path: path.read_bytes() for path in (run.best, run.last, run.records_file)}
    assert work(run) == 2
    assert run.status.error
    assert run.status.error["what"] == "The checkpoints of this run are gone."
    assert {path: path.read_bytes() for path in kept} == kept


def test_a_run_that_diverged_is_shown(recipe: Recipe, capsys: pytest.CaptureFixture) -> None:
    run = stopped_at(recipe, 7)
    text = run.records_file.read_text()
    run.records_file.write_text(re.sub(r'"valid_loss": [^,]+', '"valid_loss": null', text))
    assert main(["show", run.id]) == 0
    assert "validation loss –" in capsys.readouterr().out
