"""A run as one zip file: it comes back whole, and nothing else comes in."""

import io
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from finetune_core import cli, places
from finetune_core.errors import UserError
from finetune_core.places import runs_dir
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.shelf import exchange, notes, summaries, trash
from finetune_core.runs.shelf.notes import Notes
from finetune_core.runs.store import Run
from finetune_core.runs.waiting import queue
from finetune_core.runs.work.worker import work
from finetune_core.understand import predict
from finetune_core.understand.compare import compare
from tests.core.runs.states.test_checkpoint import same, stopped_at


def ended(name: str = "one") -> Run:
    run = store.create(Recipe(name=name))
    run.best.write_bytes(os.urandom(50_000))
    run.records_file.write_text('{"kind": "event", "name": "note", "step": 0, "text": "x"}\n' * 3000)
    run.report(state="finished")
    notes.write(run, Notes(star=True, tags=("paper",)))
    return run


def content(run: Run) -> dict[str, bytes]:
    return {str(path.relative_to(run.path)): path.read_bytes() for path in run.path.rglob("*") if path.is_file()}


def left() -> set[str]:
    return {path.name for path in runs_dir().iterdir()} if runs_dir().exists() else set()


def zipped(tmp_path: Path, entries: dict[str | zipfile.ZipInfo, bytes], top: str = "run/") -> Path:
    """A zip file as somebody else might write it, around a good recipe."""
    file = tmp_path / "evil.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{top}recipe.yaml", Recipe().to_yaml())
        archive.writestr(f"{top}job.json", '{"kind": "train"}')
        archive.writestr(f"{top}status.json", '{"state": "finished"}')
        for name, data in entries.items():
            archive.writestr(name, data)
    return file


def special(kind: int, name: str = "run/link") -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (kind | 0o644) << 16
    return info


def test_a_run_comes_back_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ended()
    (run.path / "worker.json").write_text('{"pid": 1}')
    (run.path / ".hidden").write_text("x")
    (run.path / "link").symlink_to("/etc/passwd")
    wanted = {name: data for name, data in content(run).items() if name not in ("worker.json", ".hidden", "link")}
    file = exchange.export_run(run, tmp_path / "there" / "run.zip")
    assert file.stat().st_size < 80_000, "records are squeezed"
    monkeypatch.setenv("THAW_RUNS", str(tmp_path / "elsewhere"))
    made = exchange.import_run(file)
    assert made.id == run.id
    assert content(made) == wanted
    assert made.checkpoints.is_dir()
    assert [one.notes.tags for one in summaries.summaries()] == [("paper",)]


def test_an_id_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    run = ended()
    file = exchange.export_run(run, tmp_path)
    assert file.name == f"{run.id}.zip", "into a folder it goes under the run's id"
    assert exchange.import_run(file).id == f"{run.id}-2"
    assert exchange.import_run(io.BytesIO(file.read_bytes())).id == f"{run.id}-3"
    assert len(summaries.summaries()) == 3


def test_a_bare_run_is_taken_too(tmp_path: Path) -> None:
    file = zipped(tmp_path, {"checkpoints/best.safetensors": b"x"}, top="")
    assert exchange.import_run(file, name="my run (1)").id == "my-run--1"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../outside", "leads out"),
        ("run/../../outside", "leads out"),
        ("/tmp/outside", "leads out"),
        ("run//etc", "leads out"),
        ("C:\\outside", "leads out"),
        ("run\\..\\outside", "leads out"),
        ("run/.hidden", "leads out"),
        ("run/a\nb", "leads out"),
        ("run/" + "x" * 300, "leads out"),
        ("run/a/b/c/d", "too deep"),
        ("elsewhere/file", "in the folder of the run"),
        ("run/RECIPE.yaml", "same name"),
        (special(stat.S_IFLNK), "no plain file"),
        (special(stat.S_IFIFO), "no plain file"),
        (special(stat.S_IFCHR), "no plain file"),
    ],
)
def test_what_is_not_harmless_is_refused(tmp_path: Path, name: str | zipfile.ZipInfo, said: str) -> None:
    with pytest.raises(UserError) as raised:
        exchange.import_run(zipped(tmp_path, {name: b"/etc/passwd"}))
    assert said in str(raised.value)
    assert left() == set()
    assert not (tmp_path / "outside").exists()


def test_a_zip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="not taken"):
        exchange.import_run(zipped(tmp_path, {"run/worker.log": b"0" * 30_000_000}))
    monkeypatch.setattr(exchange, "MOST_FILES", 5)
    with pytest.raises(UserError) as raised:
        exchange.import_run(zipped(tmp_path, {f"run/{number}": b"" for number in range(6)}))
    assert "9 files" in str(raised.value)
    monkeypatch.setattr(exchange, "MOST_BYTES", 10)
    with pytest.raises(UserError, match="not taken"):
        exchange.import_run(zipped(tmp_path, {}))
    assert left() == set()


def test_a_file_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    file = zipped(tmp_path, {"run/worker.log": os.urandom(5000)})
    data = bytearray(file.read_bytes())
    place = data.rindex(b"run/worker.log") - 46 + 24  # the size in the central directory
    data[place : place + 4] = (10).to_bytes(4, "little")
    file.write_bytes(data)
    with pytest.raises(UserError, match="cannot be read as a zip file"):
        exchange.import_run(file)
    assert left() == set()


def test_damaged_files_are_refused_in_words(tmp_path: Path) -> None:
    whole = exchange.export_run(ended(), tmp_path / "run.zip").read_bytes()
    shutil.rmtree(runs_dir())
    flipped = bytearray(whole)
    flipped[whole.index(b"best.safetensors") + 1000] ^= 255
    for damaged in (b"", b"nothing", whole[:-30], whole[: len(whole) // 2], bytes(flipped)):
        file = tmp_path / "damaged.zip"
        file.write_bytes(damaged)
        with pytest.raises(UserError, match="cannot be read"):
            exchange.import_run(file)
        assert left() == set()
    with pytest.raises(UserError, match="There is no file"):
        exchange.import_run(tmp_path / "nothing.zip")


def test_a_zip_file_without_a_run_is_none(tmp_path: Path) -> None:
    file = tmp_path / "photos.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("cats/1.jpg", b"x")
    with pytest.raises(UserError, match="holds no run"):
        exchange.import_run(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("run/recipe.yaml", "data: 5")
    with pytest.raises(UserError):
        exchange.import_run(file)
    assert left() == set()


def test_an_import_that_is_killed_leaves_nothing_in_the_list(tmp_path: Path) -> None:
    file = exchange.export_run(ended(), tmp_path / "run.zip")
    shutil.rmtree(runs_dir())
    code = (
        "import os, signal, sys; from pathlib import Path; from finetune_core.runs.shelf import exchange\n"
        "real = exchange._unpack\n"
        "def unpack(*all):\n"
        "    real(*all)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "exchange._unpack = unpack\n"
        f"exchange.import_run(Path({str(file)!r}))"
    )
    there = {**os.environ, "PYTHONPATH": str(places.ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=there, check=False).returncode == -9
    [draft] = left()
    assert draft.startswith(".draft-")
    assert summaries.summaries() == store.list_runs() == []
    made = exchange.import_run(file)
    assert left() == {made.id}, "and what it left is tidied away"


def test_an_active_run_is_not_exported(tmp_path: Path) -> None:
    run = ended()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        import psutil

        run.claim(psutil.Process(child.pid))
        run.report(state="running")
        with pytest.raises(UserError, match="cannot be exported"):
            exchange.export_run(run, tmp_path / "run.zip")
        child.kill()
    assert not (tmp_path / "run.zip").exists()


def test_a_run_from_elsewhere_opens_is_compared_predicts_and_goes_on(
    tiny: Recipe, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    run = store.create(tiny)
    assert work(run) == 0
    run.report(state="stopped")
    picture = images / "class_0" / "0.png"
    before = predict.load(run)([picture])
    assert cli.main(["export-run", run.id, str(tmp_path / "run.zip")]) == 0
    monkeypatch.setenv("THAW_RUNS", str(tmp_path / "elsewhere"))
    assert cli.main(["import-run", str(tmp_path / "run.zip"), "--runs", str(runs_dir())]) == 0
    assert "Warning" not in capsys.readouterr().err
    made = store.open_run(run.id)
    assert made.path != run.path
    assert predict.load(made)([picture]) == before
    assert made.epochs() == run.epochs()
    second = exchange.import_run(tmp_path / "run.zip")
    [pair] = compare([made, second]).pairs
    assert pair.chance == 1.0
    assert work(made) == 0, "it goes on, or finds that it is done"
    assert made.status.state == "finished"
    images.rename(tmp_path / "moved")
    assert cli.main(["import-run", str(tmp_path / "run.zip"), "--runs", str(runs_dir())]) == 0
    assert f"{images} is not here" in capsys.readouterr().err
    assert np.allclose(predict.load(second)([tmp_path / "moved/class_0/0.png"])[0][0][1], before[0][0][1])


def test_a_run_taken_elsewhere_in_mid_epoch_ends_as_it_would_have_here(
    tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny.with_value("phases.0.epochs", 3)
    whole, run = store.create(recipe), stopped_at(recipe, 5)
    assert work(whole) == 0
    file = exchange.export_run(run, tmp_path / "run.zip")
    monkeypatch.setenv("THAW_RUNS", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("THAW_CACHE", str(tmp_path / "another-cache"))
    made = exchange.import_run(file)
    assert work(made) == 0
    assert made.status.state == "finished"
    same(whole, made)


@pytest.mark.parametrize("way", ["zip", "trash"])
def test_what_waited_in_a_queue_does_not_begin_by_itself_when_it_comes_in(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = queue.submit(Recipe())
    run.engine_file.write_text('{"kind": "slurm"}')
    if way == "zip":
        file = exchange.export_run(run, tmp_path / "run.zip")
        monkeypatch.setenv("THAW_RUNS", str(tmp_path / "elsewhere"))
        made = exchange.import_run(file)
        assert not made.engine_file.exists()
    else:
        trash.throw_away(run)
        made = trash.bring_back(run.id)
    assert made.status.state == "stopped"
    assert not queue.look(runs_dir()).waiting
