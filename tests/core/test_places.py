"""Where things lie: one workspace by flag or variable, each folder apart where a person says so."""

import subprocess
import sys
from pathlib import Path

import pytest

from finetune_core import places
from finetune_core.cli import main
from finetune_core.errors import UserError
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.shelf import exchange


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in (places.RUNS, places.CACHE):
        monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)


def test_a_workspace_holds_runs_and_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert places.runs_dir() == tmp_path / "runs"
    assert places.cache_dir() == Path.home() / ".cache" / "thaw"
    monkeypatch.setenv("THAW_WORKSPACE", "mine")
    assert (places.runs_dir(), places.cache_dir()) == (tmp_path / "mine" / "runs", tmp_path / "mine" / "cache")
    monkeypatch.setenv("THAW_CACHE", str(tmp_path / "large"))
    assert (places.runs_dir(), places.cache_dir()) == (tmp_path / "mine" / "runs", tmp_path / "large")


def test_the_flag_outranks_the_variables(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny.save(tmp_path / "recipe.yaml")
    monkeypatch.setenv("THAW_RUNS", str(tmp_path / "elsewhere"))
    assert main(["train", "recipe.yaml", "--workspace", "mine", "--set", "phases.0.epochs=1"]) == 0
    (run,) = store.list_runs(tmp_path / "mine" / "runs")
    assert (tmp_path / "mine" / "cache" / "decoded").is_dir()
    assert not (tmp_path / "elsewhere").exists()
    capsys.readouterr()
    assert main(["runs", "--workspace", "mine"]) == 0
    assert run.id in capsys.readouterr().out


@pytest.mark.parametrize("words", [["runs"], ["queue"], ["disk"], ["sweep-result"], ["restore", "a"], ["empty-trash"]])
def test_a_folder_of_runs_that_is_none_is_not_an_empty_one(
    words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--runs", "nowhere"]) == 2
    assert "There is no folder nowhere." in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main([*words, "--runs", "file"]) == 2
    assert "file is no folder." in capsys.readouterr().err
    monkeypatch.setenv("THAW_RUNS", "file")
    assert main(words) == 2
    assert "file is no folder." in capsys.readouterr().err


def test_the_folder_of_runs_need_not_be_made_yet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("THAW_RUNS", "later")
    for words in (["runs"], ["runs", "--workspace", "mine"]):
        assert main(words) == 0
        assert "No runs yet" in capsys.readouterr().out


def test_what_cannot_be_a_workspace_is_refused_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["runs", "--workspace", str(tmp_path / "file")]) == 2
    assert "is no folder" in capsys.readouterr().err
    assert main(["studio", "--workspace", str(tmp_path / "file" / "below")]) == 2
    told = capsys.readouterr().err
    assert "There is no place for runs" in told
    assert "--workspace, or the environment variable THAW_WORKSPACE" in told


@pytest.mark.parametrize("folder", ["/sys", "/" + "long" * 2000])
def test_a_folder_that_cannot_be_written_is_refused(folder: str) -> None:
    places.work_in(folder)
    with pytest.raises(UserError, match="no place for runs"):
        places.runs_place().check("runs")


def test_a_folder_that_cannot_be_made_is_told_as_such(
    tmp_path: Path, tiny: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny.save(tmp_path / "recipe.yaml")
    exchange.export_run(store.create(tiny), tmp_path / "run.zip")
    for words in (["train", "recipe.yaml", "--queue"], ["train", "recipe.yaml"], ["import-run", "run.zip"]):
        assert main([*words, "--runs", "/proc/x"]) == 2
        told = capsys.readouterr().err
        assert "/proc/x" in told
        assert "o such file or directory" in told
        assert "There is no file" not in told


def test_processes_that_are_started_from_here_work_there_too(tmp_path: Path) -> None:
    places.work_in("~/of-mine")
    told = subprocess.run(
        [sys.executable, "-c", "from finetune_core import places; print(places.runs_dir())"],
        cwd=places.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == str(Path.home() / "of-mine" / "runs")


PASTED = {
    "{}": "/a b/pets",
    "  {}\n": "/a b/pets",
    '"{}"': "/a b/pets",
    "'{}'": "/a b/pets",
    "“{}”": "/a b/pets",
    "‘{}’": "/a b/pets",
    "«{}»": "/a b/pets",
    "'\"{}\"'": "/a b/pets",
    "file:///a%20b/pets": "/a b/pets",
    '"file:///a%20b/pets"': "/a b/pets",
    "file:///a b/pets": "/a b/pets",
    "file:/a%20b/pets": "/a b/pets",
    "FILE://localhost/a%20b/pets": "/a b/pets",
    "file:///a/b#1?c%23": "/a/b#1?c#",
    "file://nas/photos": "//nas/photos",
    "/a/'b'": "/a/'b'",
    "/a/b /": "/a/b /",
    "'": "'",
    "": "",
}


@pytest.mark.parametrize(("text", "path"), PASTED.items())
def test_what_copying_puts_around_a_path_is_taken_off(text: str, path: str) -> None:
    assert places.bare(text.format("/a b/pets")) == path
    assert places.bare(places.bare(text.format("/a b/pets"))) == path


def test_a_recipe_holds_paths_without_what_was_pasted_around_them(tmp_path: Path) -> None:
    address = (tmp_path / "my pets").as_uri()
    data = Recipe().data.replace(source={"kind": "folder", "path": f'"{address}"'})
    assert data.source.path == str(tmp_path / "my pets")
    weights = (
        Recipe().with_value("model.backbone.weights", {"kind": "file", "path": "'~/a.pth'"}).model.backbone.weights
    )
    assert weights.path == "~/a.pth"
    with pytest.raises(UserError, match="is no text"):
        Recipe().with_value("data.source", {"kind": "folder", "path": "/a/\udcff"})


def test_arguments_are_taken_as_they_are_pasted_too(
    tmp_path: Path, tiny: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, runs = tmp_path / "my recipe.yaml", tmp_path / "my runs"
    address = f'"{recipe.as_uri()}"'
    assert main(["init", address]) == 0
    assert recipe.is_file()
    recipe.unlink()
    tiny.save(recipe)
    assert main(["train", address, "--runs", f"'{runs}'", "--set", "phases.0.epochs=1"]) == 0
    (run,) = store.list_runs(runs)
    packed = tmp_path / "run.zip"
    assert main(["export-run", run.path.as_uri(), packed.as_uri()]) == 0
    assert packed.is_file()
    assert main(["init", "~nobody-by-this-name/r.yaml"]) == 2
    assert "leads nowhere" in capsys.readouterr().err
