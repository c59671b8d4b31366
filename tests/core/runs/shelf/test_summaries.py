"""What lists say of runs: quick, shared, and never stopped by a damaged one."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from finetune_core import cli, places
from finetune_core.errors import UserError
from finetune_core.recipe import Recipe
from finetune_core.recipe.changes import Made
from finetune_core.records import Epoch
from finetune_core.runs import folder, store
from finetune_core.runs.jobs import RangeTest
from finetune_core.runs.shelf import notes, summaries
from finetune_core.runs.shelf.notes import Notes
from finetune_core.runs.shelf.summaries import Summary, matching
from finetune_core.runs.store import Run
from finetune_core.runs.telling import history

FILES = ["status.json", "job.json", "recipe.yaml", "notes.json"]
DAMAGES: dict[str, Callable[[Path], object]] = {
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe\x00garbage"),
    "garbage": lambda path: path.write_text("]{ : nothing"),
    "another kind": lambda path: path.write_text("[1, 2]"),
    "another type": lambda path: path.write_text(
        '{"state": 5, "kind": 7, "valid_score": "high", "tags": 3, "data": 1}'
    ),
    "a folder": lambda path: (path.unlink(missing_ok=True), path.mkdir()),
    "a pipe": lambda path: (path.unlink(missing_ok=True), os.mkfifo(path)),
    "a link to itself": lambda path: (path.unlink(missing_ok=True), path.symlink_to(path)),
}


def listed() -> dict[str, Summary]:
    return {one.id: one for one in summaries.summaries()}


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs whose files are read, one by one."""
    seen: list[str] = []
    real = summaries.summary
    monkeypatch.setattr(summaries, "summary", lambda run: (seen.append(run.id), real(run))[1])
    return seen


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_makes_one_run_unreadable_and_no_other(
    name: str, damage: str, capsys: pytest.CaptureFixture
) -> None:
    good, bad = store.create(Recipe(name="good")), store.create(Recipe(name="bad"))
    good.report(state="finished")
    bad.report(state="finished")
    DAMAGES[damage](bad.path / name)
    found = listed()
    assert found[good.id].status.state == "finished"
    assert found[bad.id].status.state == "unreadable"
    assert name in str(found[bad.id].status.error), "which file it is"
    assert cli.main(["show", bad.id]) == 2
    assert name in capsys.readouterr().err
    assert cli.main(["runs"]) == 0
    out = capsys.readouterr().out
    assert "good" in out
    assert "finished" in out


@pytest.mark.parametrize("name", ["worker.json", "targets.json", "images.json", "control.json", "predictions.npz"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_lists_do_not_need_does_not_stop_them(name: str, damage: str) -> None:
    run = store.create(Recipe())
    run.report(state="finished")
    DAMAGES[damage](run.path / name)
    assert listed()[run.id].status.state == "finished"


@pytest.mark.parametrize("left", ["status.json", "job.json", "checkpoints/last.safetensors"])
def test_a_run_without_its_recipe_is_listed_as_unreadable_and_can_be_thrown_away(
    left: str, capsys: pytest.CaptureFixture
) -> None:
    run = store.create(Recipe())
    shutil.rmtree(run.path)
    (run.path / left).parent.mkdir(parents=True)
    (run.path / left).write_text("{}")
    (places.runs_dir() / "others/checkpoints").mkdir(parents=True)
    assert [(one.id, one.status.state) for one in listed().values()] == [(run.id, "unreadable")]
    assert [one.id for one in store.list_runs()] == [run.id]
    assert cli.main(["show", run.id]) == 2
    assert "recipe.yaml" in capsys.readouterr().err
    assert cli.main(["trash", run.id]) == 0
    assert listed() == {}
    assert cli.main(["empty-trash"]) == 2
    assert run.id in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("metrics.jsonl", Run.epochs),
        ("metrics.jsonl", lambda run: history.read(run.records_file)),
        ("control.jsonl", Run.wish),
        ("changes.jsonl", Run.recipe_at),
    ],
)
def test_a_pipe_in_the_place_of_lines_is_told(name: str, read: Callable[[Run], object]) -> None:
    run = store.create(Recipe())
    os.mkfifo(run.path / name)
    with pytest.raises(UserError, match=f"{name} is damaged. It is no plain file."):
        read(run)


def test_a_file_that_comes_and_goes_is_never_taken_for_a_pipe() -> None:
    file = store.create(Recipe()).control_file
    done = threading.Event()

    def come_and_go() -> None:
        while not done.is_set():
            file.touch()
            file.unlink()

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        for _ in range(5_000):
            folder.check_plain(file)
    finally:
        done.set()
        other.join()


def test_a_pipe_in_the_place_of_the_log_holds_nothing() -> None:
    run = store.create(Recipe())
    os.mkfifo(run.log)
    assert run.log_tail() == ""


@pytest.mark.parametrize("name", ["x" * 5000, "a/" * 3000, "nul\0byte", "![x](http://evil.example/a.png)", "..", "."])
def test_no_name_is_too_much(name: str, capsys: pytest.CaptureFixture) -> None:
    store.create(Recipe())
    assert cli.main(["show", name]) == 2
    assert "There is no run" in (said := capsys.readouterr().err)
    assert len(said) < 500


@pytest.mark.parametrize("line", ["garbage", "5", "[]", '{"no": "kind"}', '{"kind": "epoch", "half'])
def test_a_bad_line_of_the_records_is_passed_over(line: str, capsys: pytest.CaptureFixture) -> None:
    run = store.create(Recipe())
    run.report(state="finished")
    good = Epoch(0, 0, 5, 1.0, 0.5, 1.0, 0.5, {"accuracy": 0.5}, {}, True, 1.0).line()
    run.records_file.write_text(f"{line}\n{good}\n")
    assert listed()[run.id].readable
    assert len(run.epochs()) == 1
    assert cli.main(["show", run.id]) == 0
    assert "epoch   1" in capsys.readouterr().out


def test_a_settled_run_is_read_once(reads: list[str]) -> None:
    runs = [store.create(Recipe(name=f"run {number}")) for number in range(5)]
    for run in runs:
        run.report(state="finished", best_score=0.5)
    summaries.summaries()
    assert sorted(reads) == sorted(run.id for run in runs)
    reads.clear()
    for _ in range(3):
        assert len(summaries.summaries()) == 5
    assert reads == []
    runs[2].report(state="finished", best_score=0.75)
    assert listed()[runs[2].id].status.best_score == 0.75
    assert reads == [runs[2].id], "and that alone"


def test_while_a_run_is_active_it_alone_is_read(reads: list[str]) -> None:
    settled, active = store.create(Recipe(name="settled")), store.create(Recipe(name="active"))
    settled.report(state="stopped")
    active.report(state="running")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        active.claim(psutil.Process(child.pid))
        summaries.summaries()
        reads.clear()
        assert listed()[active.id].status.state == "running"
        assert reads == [active.id]
        child.kill()
    assert listed()[active.id].status.state == "lost", "although no file has changed"


@pytest.mark.parametrize(
    "change",
    [
        lambda run: notes.write(run, Notes(star=True)),
        lambda run: run.recipe_file.write_text(run.recipe_file.read_text() + "\n"),
        lambda run: (run.checkpoints / "best.safetensors").write_bytes(b"0" * 1000),
        lambda run: run.records_file.write_text('{"kind": "event"}\n'),
        lambda run: (run.path / "anything").write_text("new"),
    ],
    ids=["notes", "recipe", "checkpoint", "records", "any file"],
)
def test_every_change_is_seen(change: Callable[[Run], object], reads: list[str]) -> None:
    run = store.create(Recipe())
    run.report(state="finished")
    summaries.summaries()
    reads.clear()
    change(run)
    summaries.summaries()
    assert reads == [run.id]


def test_a_run_that_was_changed_is_listed_as_it_is_now() -> None:
    run = store.create(Recipe())
    run.report(state="finished")
    before = listed()[run.id].thawed
    run.keep_change(Made(step=3, phase=0, values={"thaw": ["layer4", "head"]}).saved())
    assert (before, listed()[run.id].thawed) == ("last two stages", "last stage")


def test_another_process_reads_what_this_one_has_kept() -> None:
    for number in range(3):
        store.create(Recipe(name=f"run {number}")).report(state="finished")
    code = (
        "from finetune_core.runs.shelf import summaries as s\n"
        "real, seen = s.summary, []\n"
        "s.summary = lambda run: (seen.append(run.id), real(run))[1]\n"
        "print(len(s.summaries()), len(seen))"
    )
    there = {**os.environ, "PYTHONPATH": str(places.ROOT)}

    def elsewhere() -> str:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=there, check=True)
        return done.stdout.strip()

    assert elsewhere() == "3 3"
    assert elsewhere() == "3 0"
    [kept] = (places.cache_dir() / "summaries").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    assert elsewhere() == "3 3", "a damaged cache is made anew"


def test_other_jobs_have_lists_of_their_own() -> None:
    store.create(Recipe()).report(state="finished")
    search = store.create(Recipe(), RangeTest())
    assert [one.id for one in summaries.summaries(job="find")] == [search.id]
    assert search.id not in listed()


def test_notes_are_kept_tidy_and_drawn_from_any_text() -> None:
    run = store.create(Recipe(name="recipe's"))
    notes.write(run, Notes("two\nlines", True, ("b", " b ", "a" * 99, "", "a\x00\x1b[31m"), "  # text <b>\n\nmore "))
    said = notes.read(run)
    assert said.name == "two lines"
    assert said.tags == ("a [31m", "a" * 40, "b")
    assert said.text == "# text <b>\n\nmore"
    assert listed()[run.id].title == "two lines"
    assert run.recipe.name == "recipe's", "the recipe is not touched"


def test_what_a_person_looks_for_is_found() -> None:
    names = {"first": "finished", "second": "stopped", "third": "finished"}
    runs = {name: store.create(Recipe(name=name)) for name in names}
    for name, state in names.items():
        runs[name].report(state=state)
    notes.write(runs["third"], Notes(star=True, tags=("keep", "paper"), text="the Good one"))
    all_of_them = summaries.summaries()

    def found(*text: str, **wanted: object) -> set[str]:
        return {one.name for one in matching(all_of_them, *text, **wanted)}

    assert found("FIRST") == {"first"}
    assert found("good one") == found("keep") == found(starred=True) == found(tags=["keep", "paper"]) == {"third"}
    assert found(states=["finished"]) == {"first", "third"}
    assert found("blooms", states=["stopped"]) == {"second"}
    assert found(tasks=["regression"]) == found("nothing like this") == set()
    assert found() == {*names}


def test_the_command_line_filters_too(capsys: pytest.CaptureFixture) -> None:
    for name in ("first", "second"):
        store.create(Recipe(name=name)).report(state="finished", best_score=0.5)
    run = next(one for one in summaries.summaries() if one.name == "second")
    assert cli.main(["note", run.id, "--tag", "paper", "two words", "--star", "--text", "good"]) == 0
    assert "#paper  #two words" in capsys.readouterr().out
    assert cli.main(["runs", "--tag", "paper", "--starred", "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert (row["name"], row["star"], row["notes"]) == ("second", True, "good")
    assert cli.main(["note", run.id, "--untag", "paper", "--no-star", "--name", "renamed"]) == 0
    assert cli.main(["runs", "--find", "renamed"]) == 0
    assert "#two words" in capsys.readouterr().out
    assert cli.main(["runs", "--starred"]) == 0
    assert "None of the 2 runs" in capsys.readouterr().out


def test_five_hundred_runs_are_listed_from_one_small_file(reads: list[str]) -> None:
    first = store.create(Recipe())
    first.report(state="finished", valid_score=[0.1, 0.2])
    for number in range(499):
        shutil.copytree(first.path, places.runs_dir() / f"20250101-{number:06d}-copy")
    summaries.summaries()
    reads.clear()
    assert len(summaries.summaries()) == 500
    assert reads == []
    [kept] = (places.cache_dir() / "summaries").iterdir()
    assert kept.stat().st_size < 1_000_000
