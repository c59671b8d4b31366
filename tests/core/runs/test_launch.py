"""Commands as pages show them."""

import shlex
import sys
from pathlib import Path

import pytest

from finetune_core import places
from finetune_core.runs import launch


@pytest.fixture(autouse=True)
def _nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (places.RUNS, places.WORKSPACE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(places.ROOT)


def test_a_command_names_the_interpreter_as_it_is_called_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "bin"
    home.mkdir()
    for name in ("python", "python3.11"):
        (home / name).touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(home / "python3.11"))
    monkeypatch.setenv("PATH", str(home))
    assert launch.command("train", Path("a b.yaml")) == "python -m finetune_core train 'a b.yaml'"
    monkeypatch.setenv("PATH", "/usr/bin")
    assert launch.command("runs") == f"{home}/python3.11 -m finetune_core runs"
    monkeypatch.setattr(sys, "executable", str(places.ROOT / ".venv/bin/python"))
    assert launch.command("runs") == ".venv/bin/python -m finetune_core runs"


def test_a_command_names_the_folder_of_runs_where_it_is_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def last() -> list[str]:
        return shlex.split(launch.command("show", "RUN"))[3:]

    assert last() == ["show", "RUN"]
    monkeypatch.setenv(places.WORKSPACE, str(tmp_path / "my work"))
    assert last() == ["show", "RUN", "--workspace", str(tmp_path / "my work")]
    monkeypatch.setenv(places.RUNS, str(tmp_path / "runs"))
    assert last() == ["show", "RUN", "--runs", str(tmp_path / "runs")]
    monkeypatch.delenv(places.RUNS)
    monkeypatch.delenv(places.WORKSPACE)
    monkeypatch.chdir(tmp_path)
    assert last() == ["show", "RUN", "--runs", str(tmp_path / "runs")], "a studio that was started elsewhere"


def test_a_path_within_the_project_is_named_from_there(tmp_path: Path) -> None:
    assert launch.near(places.ROOT / "runs" / "draft.yaml") == Path("runs/draft.yaml")
    assert launch.near(tmp_path / "draft.yaml") == tmp_path / "draft.yaml"
