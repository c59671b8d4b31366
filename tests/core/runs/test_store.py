"""A run folder read and written from several processes."""

import json
import os
import subprocess
import sys
import time

import psutil
import pytest

from finetune_core import cli, places
from finetune_core.errors import UserError
from finetune_core.recipe import Recipe, schema
from finetune_core.records import Event, Step
from finetune_core.runs import launch, standby, store


def _step(number: int) -> Step:
    return Step(number, 0, 0, float("nan"), {"head": 0.1}, 1.0, {"head": 1.0}, 10.0, 1.0, 0.1)


def test_a_run_keeps_its_recipe_and_is_found_again() -> None:
    run = store.create(Recipe(name="my try"))
    assert store.open_run(run.id).recipe == Recipe(name="my try")
    assert store.open_run(run.path).id == run.id
    assert run.id.endswith("my-try")
    assert [one.id for one in store.list_runs()] == [run.id]
    assert store.list_runs(job="find") == []


def test_two_runs_in_the_same_second_do_not_meet() -> None:
    assert len({store.create(Recipe()).id for _ in range(3)}) == 3


def test_records_are_read_once_and_half_a_line_waits() -> None:
    run = store.create(Recipe())
    run.append(_step(0))
    first, cursor = run.records()
    assert first[0]["lr"] == {"head": 0.1}
    assert first[0]["loss"] is None, "NaN is not JSON"
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "event", ')
    assert run.records(cursor) == ([], cursor)
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('"name": "note", "step": 1, "text": "ü"}\n')
    second, cursor = run.records(cursor)
    assert [record["text"] for record in second] == ["ü"]
    assert run.records(cursor)[0] == []


def test_going_on_forgets_what_will_be_done_again() -> None:
    run = store.create(Recipe())
    for number in range(4):
        run.append(_step(number))
    run.append(Event("note", 4, "late"))
    run.keep_records(2, {"epoch": 1, "course": {"first": 0}})
    assert [record["step"] for record in run.records()[0]] == [0, 1]


def test_a_dead_worker_is_lost_not_running() -> None:
    run = store.create(Recipe())
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    run.claim(psutil.Process(child.pid))
    run.report(state="running")
    assert run.status.state == "running"
    child.kill()
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert run.status.state == "lost", "a zombie does no work"
    child.wait()
    assert run.status.state == "lost"


def test_a_run_whose_worker_has_no_name_yet_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else who waits for it would take it for over: a sweep said that none of its runs was to come."""
    run, seen = store.create(Recipe()), []

    def spawn(*_: object) -> int:
        seen.append(store.open_run(run.id).status.state)
        return os.getpid()

    monkeypatch.setattr(launch, "spawn", spawn)
    monkeypatch.setattr(standby, "take", lambda *_: None)
    launch.start(run)
    assert [*seen, run.status.state] == ["starting", "starting"]
    run.owner_file.unlink()
    assert run.status.state == "lost", "nobody starts one any more"


def test_a_process_id_used_again_is_another_process() -> None:
    run = store.create(Recipe())
    me = psutil.Process()
    (run.path / "worker.json").write_text(json.dumps({"pid": me.pid, "create_time": me.create_time() - 1000}))
    assert not run.alive()


def test_a_run_that_is_not_there() -> None:
    with pytest.raises(UserError, match="no run nothing"):
        store.open_run("nothing")


def test_a_folder_that_cannot_be_made(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        store.create(Recipe(), runs=tmp_path / "file")


def test_a_run_of_before_there_were_tasks_can_still_be_seen() -> None:
    run = store.create(Recipe())
    saved = {"state": "finished", "valid_accuracy": [0.5, 0.9], "best_accuracy": 0.9}
    (run.path / "status.json").write_text(json.dumps(saved), encoding="utf-8")
    (run.path / "classes.json").write_text('["cat", "dog"]', encoding="utf-8")
    epoch = {"kind": "epoch", "epoch": 0, "step": 5, "train_accuracy": 0.4, "valid_accuracy": 0.9, "valid_loss": 1.0}
    (run.path / "metrics.jsonl").write_text(json.dumps(epoch) + "\n", encoding="utf-8")
    assert (run.status.best_score, run.status.valid_score) == (0.9, [0.5, 0.9])
    [row] = run.records()[0]
    assert (row["train_score"], row["valid_score"], row["scores"], row["by_name"]) == (0.4, 0.9, {"accuracy": 0.9}, {})
    assert run.targets is not None
    assert run.targets.names == ("cat", "dog")


def test_a_recipe_is_parsed_once_and_anew_when_its_file_changes(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    run = store.create(tiny)
    assert run.recipe is run.recipe, "in one process"
    store._recipe.cache_clear()
    monkeypatch.setattr(schema.yaml, "load", lambda *_: pytest.fail("parsed again"))
    assert run.recipe == tiny, "nor in another"
    monkeypatch.undo()
    tiny.replace(name="by hand").save(run.recipe_file)
    assert run.recipe.name == "by hand"
    store._recipe.cache_clear()
    for kept in (places.cache_dir() / "recipes").iterdir():
        kept.write_text("{damaged")
    assert run.recipe.name == "by hand"


@pytest.mark.parametrize("name", ["job.json", "status.json", "worker.json", "recipe.yaml"])
@pytest.mark.parametrize("text", ["{", "", "[1]", '"x"', "null"])
def test_a_damaged_folder_hides_no_other(tiny: Recipe, name: str, text: str, capsys: pytest.CaptureFixture) -> None:
    good, bad = store.create(tiny.replace(name="good")), store.create(tiny.replace(name="bad"))
    (bad.path / name).write_text(text)
    assert cli.main(["runs"]) == 0
    assert good.id in capsys.readouterr().out
    assert cli.main(["show", bad.id]) in (0, 2)
