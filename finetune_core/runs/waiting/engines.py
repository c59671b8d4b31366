"""The engines: this machine, several nodes by torchrun, a Slurm cluster by submitit.

All of them start the same worker on the same run folder, which nodes and clusters see on a shared disk. So state, stop
and charts are the same wherever it is at work. A run that is elsewhere says so in `engine.json`; the queue of this
machine leaves it alone.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, ClassVar, Literal

from finetune_core import places
from finetune_core.errors import UserError
from finetune_core.parts import Job
from finetune_core.parts.base import knob
from finetune_core.parts.engines import Engine
from finetune_core.recipe import Recipe
from finetune_core.runs import launch, store
from finetune_core.runs.folder import read_json
from finetune_core.runs.store import Run


class Here(Engine):
    """On this machine, in a process that goes on when the studio is closed."""

    kind: ClassVar[str] = "here"
    title: ClassVar[str] = "This machine"

    def start(self, run: Run) -> None:
        """At once."""
        launch.start(run)


class Nodes(Engine):
    """On several machines at once that share the run's folder: you start torchrun on each of them."""

    kind: ClassVar[str] = "nodes"
    title: ClassVar[str] = "Several machines"
    nodes: int = knob(2, "Machines", "How many machines share each batch.", low=2, high=1000)
    gpus: int = knob(1, "Processes each", "Processes on each machine: one for each of its GPUs.", low=1, high=64)
    endpoint: str = knob("HOST:29500", "Meeting point", "Name and port of one of them, where they find each other.")

    def check(self) -> None:
        """Whether it is said where they meet."""
        if self.endpoint.partition(":")[0] in ("", "HOST"):
            why, hint = f"{self.endpoint} stands for the name of one of them.", "Write its name, as in node1:29500."
            raise UserError("The machines have no meeting point yet.", why, hint)

    def start(self, run: Run) -> None:
        """Only told: the run begins when torchrun is started on every machine."""
        _elsewhere(run, self, "Waiting for torchrun on its machines")

    def words(self, run: Run) -> str:
        """The command for each machine."""
        torchrun = ["torchrun", "--nnodes", str(self.nodes), "--nproc-per-node", str(self.gpus), "--rdzv-id", run.id]
        meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", self.endpoint]
        command = shlex.join([*torchrun, *meeting, "-m", "finetune_core.runs.work.worker", str(run.path)])
        return f"Type this on each of the {self.nodes} machines, in the folder of Thaw:\n{command}"


class Slurm(Engine):
    """On a Slurm cluster whose nodes see the run's folder; what the cluster may leave out keeps its own default."""

    kind: ClassVar[str] = "slurm"
    title: ClassVar[str] = "Slurm cluster"
    package: ClassVar[str] = "submitit"
    partition: str = knob("", "Partition", "Which part of the cluster.")
    gpus: int = knob(1, "GPUs", "GPUs of one node; 0 trains on its processor.", low=0, high=64)
    cpus: int = knob(4, "CPU cores", "CPU cores, which read and augment the images.", low=1, high=1024)
    memory: int = knob(16, "Memory", "Memory of the node.", low=1, high=10_000, unit="GB")
    hours: float = knob(
        4.0, "Time", "After this time the cluster ends it; it saves before.", low=0.1, high=1000, unit="h"
    )
    account: str = knob("", "Account", "Whom the time is charged to.", more=True)
    constraint: str = knob("", "Constraint", "Features that the node must have, such as a100.", more=True)
    cluster: Literal["slurm", "local"] = knob(
        "slurm", "Executor", "Submitit's own: slurm, or local, which tries it out on this machine.", more=True
    )

    def check(self) -> None:
        """Whether submitit is installed, and Slurm's programs can be called."""
        if not self.installed():
            raise UserError(
                "submitit is not installed.", "It hands runs to Slurm.", f"Run `pip install {self.package}`."
            )
        if self.cluster == "slurm" and not shutil.which("srun"):
            hint = "Start Thaw where srun and sbatch can be called, or choose another place."
            raise UserError("There is no Slurm here.", "The program srun was not found.", hint)

    def start(self, run: Run) -> None:
        """Hand it to the cluster's own queue."""
        executor = self._executor(run)
        _elsewhere(run, self, "Waiting in the queue of the cluster")
        command = import_module("submitit").helpers.CommandFunction
        try:
            job = executor.submit(command(launch.program(run), cwd=places.ROOT))
        except Exception as error:  # sbatch's words reach us as any kind of error
            run.report(state="failed", message="The cluster refused the run.")
            raise UserError("The cluster refused the run.", " ".join(str(error).split())[:300], "Mend that.") from error
        run.write_text(run.path / "slurm" / "job", str(job.job_id))

    def cancel(self, run: Run) -> None:
        """Take it out of the cluster's queue."""
        with suppress(OSError):
            submitit = import_module("submitit")
            kind = submitit.LocalJob if self.cluster == "local" else submitit.SlurmJob
            job_id = (run.path / "slurm" / "job").read_text(encoding="utf-8")
            kind(folder=run.path / "slurm", job_id=job_id).cancel()

    def _executor(self, run: Run) -> Any:
        executor = import_module("submitit").AutoExecutor(folder=run.path / "slurm", cluster=self.cluster)
        named = {"slurm_partition": self.partition, "slurm_account": self.account, "slurm_constraint": self.constraint}
        executor.update_parameters(
            name=run.id,
            timeout_min=max(1, round(self.hours * 60)),
            gpus_per_node=self.gpus,
            cpus_per_task=self.cpus,
            mem_gb=self.memory,
            **{name: value for name, value in named.items() if value},
        )
        return executor


def start(run: Run, like: Run | None = None) -> None:
    """Start a run where it was at work, or where another one was that it is `like`. UserErrors as that engine's own."""
    engine = of(like or run)
    engine.check()
    engine.start(run)


def resume(run: Run) -> None:
    """Let a run go on where it was at work. UserErrors as `launch.resume` and its engine's own."""
    launch.resume(run, start)


def of(run: Run) -> Engine:
    """Where a run is at work, or was."""
    saved = read_json(run.engine_file)
    return Engine.parsed(saved, "The engine") if saved else Here()


def parsed(kind: str, pairs: Sequence[str]) -> Engine:
    """An engine with knobs changed, each as `NAME=VALUE`. A UserError where one does not fit."""
    knobs = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign:
            raise UserError(f"--set-on {pair} has no '='.", hint="Write it as --set-on partition=gpu.")
        knobs[name.strip()] = value.strip()
    return Engine.parsed({"kind": kind, **knobs}, "Where it runs")


def begin(recipe: Recipe, engine: Engine, job: Job | None = None, runs: Any = None) -> Run:
    """A new run that is started by an engine. UserErrors as `store.create` and the engine's own."""
    engine.check()
    run = store.create(recipe, job, runs)
    engine.start(run)
    return run


def _elsewhere(run: Run, engine: Engine, message: str) -> None:
    """It waits until a worker takes it, wherever that is."""
    run.write_json(run.engine_file, engine.model_dump(mode="json"))
    run.report(state="queued", message=message, error=None)
