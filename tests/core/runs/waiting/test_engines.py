"""Where a run goes: submitit's own executor on this machine, several machines by torchrun, and what is refused."""

import importlib.util
import json
from pathlib import Path

import psutil
import pytest

from finetune_core.cli import main
from finetune_core.errors import UserError
from finetune_core.recipe import Recipe
from finetune_core.runs import launch, store
from finetune_core.runs.waiting import engines, queue
from finetune_core.runs.waiting.engines import Here, Nodes, Slurm
from tests.core.runs.waiting.test_queue import until

WITH_SUBMITIT = pytest.mark.skipif(
    importlib.util.find_spec("submitit") is None,
    reason="submitit is not installed: pip install -r requirements-extras.txt",
)
LOCAL = ["--on", "slurm", "--set-on", "cluster=local", "--set-on", "gpus=0"]


@pytest.fixture
def no_worker(monkeypatch: pytest.MonkeyPatch) -> list[store.Run]:
    """The runs whose worker would have been started on this machine."""
    started: list[store.Run] = []
    monkeypatch.setattr(launch, "start", lambda run, gpus=(): started.append(run))
    return started


@pytest.fixture
def file(tiny: Recipe, tmp_path: Path) -> Path:
    tiny.save(tmp_path / "recipe.yaml")
    return tmp_path / "recipe.yaml"


def begin(capsys: pytest.CaptureFixture[str], *arguments: object) -> store.Run:
    assert main(["train", *map(str, arguments), "--json"]) == 0
    return store.open_run(json.loads(capsys.readouterr().out)["run"])


@WITH_SUBMITIT
def test_submitit_runs_the_same_worker_to_the_end(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = begin(capsys, file, *LOCAL)
    assert engines.of(run) == Slurm(cluster="local", gpus=0)
    assert not queue.look().waiting, "the queue of this machine leaves it alone"
    until(lambda: run.status.state in ("finished", "failed", "stopped"), 300)
    assert run.status.state == "finished", run.status
    assert len([row for row in run.records()[0] if row["kind"] == "epoch"]) == 2
    assert run.best.exists()


@WITH_SUBMITIT
def test_a_stop_reaches_it_there(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = begin(capsys, file, *LOCAL, "--set", "phases.0.epochs=500")
    until(lambda: run.status.state == "running", 300)
    launch.stop(run, wait=True)
    assert run.status.state == "stopped"
    assert run.states


@WITH_SUBMITIT
def test_without_a_cluster_it_is_said_before_a_folder_is_made(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["train", str(file), "--on", "slurm"]) == 2
    assert "no Slurm here" in capsys.readouterr().err
    assert not list(store.every_run())


def test_without_submitit_it_is_said_how_to_get_it(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Slurm, "package", "submitit_is_not_here")
    assert not Slurm.installed()
    with pytest.raises(UserError, match="not installed"):
        engines.begin(tiny, Slurm())


def test_several_machines_are_told_what_to_type(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = begin(capsys, file, "--on", "nodes", "--set-on", "nodes=3", "--set-on", "endpoint=a:1")
    engine = engines.of(run)
    assert engine == Nodes(nodes=3, endpoint="a:1")
    assert "torchrun --nnodes 3 --nproc-per-node 1" in engine.words(run)
    assert str(run.path) in engine.words(run)
    assert run.status.state == "queued"
    assert not queue.look().waiting
    assert main(["cancel", run.id]) == 0
    assert run.status.state == "stopped"


def test_a_meeting_point_that_nobody_has_named_is_refused_before_a_folder_is_made(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(file), "--on", "nodes"]) == 2
    assert "no meeting point yet" in capsys.readouterr().err
    assert not list(store.every_run())


@pytest.mark.parametrize(
    ("pairs", "said"),
    [(["gpus"], "has no '='"), (["gpus=many"], "does not fit"), (["colour=red"], "unknown field colour")],
)
def test_knobs_that_do_not_fit_are_said(pairs: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        engines.parsed("slurm", pairs)


def test_a_run_without_a_word_is_one_of_this_machine(tiny: Recipe) -> None:
    assert engines.of(store.create(tiny)) == Here()


def test_what_was_elsewhere_goes_on_elsewhere(
    file: Path, capsys: pytest.CaptureFixture[str], no_worker: list[store.Run]
) -> None:
    run = begin(capsys, file, "--on", "nodes", "--set-on", "endpoint=a:1")
    run.report(state="failed", error={"what": "x"})
    assert main(["resume", run.id]) == 0
    assert "torchrun --nnodes 2" in capsys.readouterr().out
    assert (run.status.state, run.status.error) == ("queued", None)
    branched = store.create(run.recipe)
    engines.start(branched, like=run)
    assert engines.of(branched) == engines.of(run)
    assert not no_worker
    run.report(state="paused")
    run.claim(psutil.Process())
    engines.resume(run)
    assert run.wish() == "go"


def test_what_was_here_goes_on_here(tiny: Recipe, no_worker: list[store.Run]) -> None:
    run = store.create(tiny)
    run.report(state="stopped")
    engines.resume(run)
    assert no_worker == [run]
