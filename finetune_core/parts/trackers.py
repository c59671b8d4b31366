"""Trackers: where else a training's numbers are written, by the library of whoever reads them there.

A tracker changes nothing in what is learned, so it belongs to the job and not to the recipe. Its library is imported
only when a run begins; one that is not installed is told before that.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

from finetune_core.errors import UserError
from finetune_core.parts.base import Part, knob


class Log(Protocol):
    """What a tracker writes to during one run."""

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        """Numbers by name, as they stood at an optimizer step."""

    def text(self, name: str, text: str, step: int) -> None:
        """Words on something that happened."""

    def close(self) -> None:
        """Nothing more is to come."""


class Tracker(Part):
    """Where else a training's numbers are written."""

    package: ClassVar[str] = ""  # what must be installed

    def check(self) -> None:
        """A UserError where its library is not installed."""
        if importlib.util.find_spec(self.package) is None:
            hint = "Install it: pip install -r requirements-extras.txt"
            raise UserError(
                f"{self.title} cannot be written to.", f"The package {self.package} is not installed.", hint
            )

    def begin(self, folder: Path, recipe: Mapping[str, Any], step: int) -> Log:
        """Begin to write for the run in this folder, or go on from an optimizer step: what is later comes again."""
        raise NotImplementedError


class TensorBoard(Tracker):
    """Event files in the run's folder `tensorboard`, for TensorBoard and for whatever else reads them."""

    kind: ClassVar[str] = "tensorboard"
    title: ClassVar[str] = "TensorBoard"
    package: ClassVar[str] = "tensorboardX"

    def begin(self, folder: Path, recipe: Mapping[str, Any], step: int) -> Log:
        """Files beside each other make one run; readers forget what an earlier one says of steps that come again."""
        writer = importlib.import_module(self.package).SummaryWriter
        own = f".{time.time_ns()}"  # else a run that goes on in the same second would write over its own file
        place = str(folder / "tensorboard")
        return _EventFiles(writer(place, purge_step=step or None, flush_secs=5, filename_suffix=own))


class _EventFiles:
    def __init__(self, writer: Any) -> None:
        self.writer = writer

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def text(self, name: str, text: str, step: int) -> None:
        self.writer.add_text(name, text, step)

    def close(self) -> None:
        self.writer.close()


class MLflow(Tracker):
    """A run in MLflow: on the server that MLFLOW_TRACKING_URI names, else in the file `mlflow.db` beside the runs."""

    kind: ClassVar[str] = "mlflow"
    title: ClassVar[str] = "MLflow"
    package: ClassVar[str] = "mlflow"
    experiment: str = knob("Thaw", "Experiment", "The experiment that the run is filed under.")

    def begin(self, folder: Path, recipe: Mapping[str, Any], step: int) -> Log:
        """The run of this folder's name, found again where it was begun before."""
        client = importlib.import_module(self.package).MlflowClient
        if os.environ.get("MLFLOW_TRACKING_URI"):
            return _MLflowRun(client(), self.experiment, None, folder.name, recipe)
        runs = folder.parent.absolute()
        own = client(f"sqlite:///{runs / 'mlflow.db'}")
        return _MLflowRun(own, self.experiment, (runs / "mlflow").as_uri(), folder.name, recipe)


class _MLflowRun:
    def __init__(self, client: Any, experiment: str, files: str | None, name: str, recipe: Mapping[str, Any]) -> None:
        found = client.get_experiment_by_name(experiment)
        place = found.experiment_id if found else client.create_experiment(experiment, artifact_location=files)
        tags = {"thaw_run": name.replace("'", ""), "mlflow.runName": name}
        known = client.search_runs([place], f"tags.thaw_run = '{tags['thaw_run']}'", max_results=1)
        run = known[0] if known else client.create_run(place, tags=tags)
        self.client, self.run = client, run.info.run_id
        if not known:
            client.log_dict(self.run, dict(recipe), "recipe.json")

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.client.log_metric(self.run, _mlflow_name(name), value, step=step)

    def text(self, name: str, text: str, step: int) -> None:
        self.client.set_tag(self.run, _mlflow_name(f"{name}/{step}"), text[:5000])

    def close(self) -> None:
        self.client.set_terminated(self.run)


class WandB(Tracker):
    """A run in Weights & Biases; without internet it is kept in the run's folder, for `wandb sync`."""

    kind: ClassVar[str] = "wandb"
    title: ClassVar[str] = "Weights & Biases"
    package: ClassVar[str] = "wandb"
    project: str = knob("thaw", "Project", "The project that the run is filed under.")
    offline: bool = knob(True, "Offline", "Keep it on this machine until `wandb sync`; else it is sent as it comes.")

    def begin(self, folder: Path, recipe: Mapping[str, Any], step: int) -> Log:
        """The run of this folder's name; one that goes on is the same run there."""
        wandb = importlib.import_module(self.package)
        mode = "offline" if self.offline else "online"
        same = {"id": folder.name[-64:], "name": folder.name, "resume": "allow", "dir": str(folder)}
        return _WandBRun(wandb.init(project=self.project, mode=mode, config=dict(recipe), **same))


class _WandBRun:
    def __init__(self, run: Any) -> None:
        self.run = run

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        self.run.log(dict(values), step=step)

    def text(self, name: str, text: str, step: int) -> None:
        self.run.log({name: text}, step=step)

    def close(self) -> None:
        self.run.finish()


def _mlflow_name(name: str) -> str:
    """MLflow takes letters, digits and a few marks."""
    return "".join(letter if letter.isalnum() or letter in "_-./ " else "_" for letter in name)[:200]
