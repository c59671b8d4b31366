"""Trackers: their own readers find what metrics.jsonl holds, and nothing that they do stops a training."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from finetune_core.errors import UserError
from finetune_core.parts import Job, Tracker
from finetune_core.parts.trackers import Log, MLflow, TensorBoard, WandB, _EventFiles
from finetune_core.recipe import Recipe
from finetune_core.records import parse
from finetune_core.runs import store
from finetune_core.runs.jobs import Train
from finetune_core.runs.work.tracking import numbers, place
from finetune_core.runs.work.worker import work


def written(run: store.Run) -> dict[tuple[str, int], float]:
    """Every number of the run's own records, by name and step."""
    records = [parse(row) for row in run.records()[0] if row["kind"] in ("step", "epoch")]
    return {(name, place(record)): value for record in records for name, value in numbers(record).items()}


def read(run: store.Run) -> tuple[dict[tuple[str, int], float], list[str]]:
    """What TensorBoard's own reader finds: numbers by name and step, and the names of texts. No step may come twice."""
    reader = EventAccumulator(str(run.path / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0}).Reload()
    found = [(name, event.step, event.value) for name in reader.Tags()["scalars"] for event in reader.Scalars(name)]
    assert len({(name, step) for name, step, _ in found}) == len(found)
    return {(name, step): value for name, step, value in found}, reader.Tags()["tensors"]


def test_tensorboards_own_reader_finds_the_numbers_of_the_records(tiny: Recipe) -> None:
    run = store.create(tiny)
    assert work(run) == 0
    found, texts = read(run)
    assert found == pytest.approx(written(run), rel=1e-6)
    assert {"train/loss", "rate/stem", "grad_norm/head", "epoch/valid_score", "scores/accuracy"} <= {
        n for n, _ in found
    }
    assert any(name.startswith("events/") for name in texts)


@pytest.mark.parametrize("stopped_at", [3, 5])
def test_a_resumed_run_goes_on_without_a_step_twice(tiny: Recipe, stopped_at: int) -> None:
    run = store.create(tiny)

    def stop(record: Any) -> None:
        if getattr(record, "step", 0) == stopped_at:
            run.ask("stop")

    assert work(run, watch=stop) == 0
    assert run.status.state == "stopped"
    assert work(run) == 0
    assert run.status.state == "finished"
    assert read(run)[0] == pytest.approx(written(run), rel=1e-6)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> type[Tracker]:
    """A tracker whose library fails at its fourth number."""
    monkeypatch.setattr(Tracker, "_kinds", dict(Tracker.kinds()))

    class Broken(Tracker):
        """Fails."""

        kind: ClassVar[str] = "broken"
        title: ClassVar[str] = "Broken"
        package: ClassVar[str] = "json"

        def begin(self, folder: Path, recipe: Mapping[str, Any], step: int) -> Log:
            return _Failing()

    class _Failing:
        left = 3

        def numbers(self, values: Mapping[str, float], step: int) -> None:
            self.left -= 1
            if not self.left:
                raise ConnectionError("the server is gone")

        def text(self, name: str, text: str, step: int) -> None: ...

        def close(self) -> None:
            raise ConnectionError("still gone")

    return Broken


def test_a_tracker_that_fails_is_told_once_and_stops_nothing(tiny: Recipe, broken: type[Tracker]) -> None:
    run = store.create(tiny, Train(trackers=(broken(), TensorBoard())))
    assert work(run) == 0
    assert run.status.state == "finished"
    told = [row["text"] for row in run.records()[0] if row.get("name") == "tracker"]
    assert told == ["Broken gets nothing more of this run. ConnectionError: the server is gone"]
    assert read(run)[0] == pytest.approx(written(run), rel=1e-6)


@pytest.mark.parametrize("asked", ["nothing", "stop", "mistake"])
def test_what_a_tracker_cannot_finish_is_told_before_the_last_word(
    tiny: Recipe, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    states: list[str] = []

    def close(log: _EventFiles) -> None:
        log.writer.close()
        states.append(run.status.state)
        raise ConnectionError("the upload broke off")

    def watch(record: Any) -> None:
        if record.kind == "step" and asked == "stop":
            run.ask("stop")
        if record.kind == "step" and asked == "mistake":
            raise UserError("A mistake.")

    run = store.create(tiny)
    monkeypatch.setattr(_EventFiles, "close", close)
    work(run, watch=watch)
    told = [row["text"] for row in run.records()[0] if row.get("name") == "tracker"]
    assert told == ["TensorBoard may lack the end of this run. ConnectionError: the upload broke off"]
    assert states == ["stopping" if asked == "stop" else "running"]
    assert run.status.state == {"nothing": "finished", "stop": "stopped", "mistake": "failed"}[asked]


def test_a_library_that_is_missing_is_told_before_anything_starts(
    tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job.parsed({"kind": "train", "trackers": ["wandb"]}, "The job")
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="cannot be written to") as told:
        job.prepared(tiny)
    assert "requirements-extras.txt" in told.value.hint


def test_a_job_of_before_there_were_trackers_writes_event_files() -> None:
    assert Job.parsed({"kind": "train"}, "The job") == Train(trackers=(TensorBoard(),))
    assert Train(trackers=()).trackers == ()


def test_mlflows_own_reader_finds_the_run_once(tiny: Recipe) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed (requirements-extras.txt)")
    run = store.create(tiny, Train(trackers=(MLflow(),)))

    def stop(record: Any) -> None:
        if getattr(record, "step", 0) == 3:
            run.ask("stop")

    assert work(run, watch=stop) == 0
    assert work(run) == 0
    assert not [row for row in run.records()[0] if row.get("name") == "tracker"]
    client = mlflow.MlflowClient(f"sqlite:///{run.path.parent / 'mlflow.db'}")
    (found,) = client.search_runs([client.get_experiment_by_name("Thaw").experiment_id])
    history = {each.step: each.value for each in client.get_metric_history(found.info.run_id, "train/loss")}
    assert history == {step: value for (name, step), value in written(run).items() if name == "train/loss"}


def test_weights_and_biases_keeps_the_run_offline(tiny: Recipe) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed (requirements-extras.txt)")
    run = store.create(tiny, Train(trackers=(WandB(),)))
    assert work(run) == 0
    assert not [row for row in run.records()[0] if row.get("name") == "tracker"]
    (file,) = run.path.rglob("*.wandb")
    end = time.monotonic() + 30  # its own process writes the file
    while file.stat().st_size < 1000:
        assert time.monotonic() < end
        time.sleep(0.1)
