"""Runs: folders that any process can open, follow and write to. See `folder` for what lies in one."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import psutil

from finetune_core import places
from finetune_core.data.depth import UP_TO_16_BITS, Depth
from finetune_core.data.kept import Kept
from finetune_core.errors import UserError
from finetune_core.parts import Job
from finetune_core.parts.tasks import ONE_CLASS, Targets
from finetune_core.recipe import Recipe, parse, text_of, tree_of
from finetune_core.records import Record
from finetune_core.runs.folder import RECIPE, Folder, read_json
from finetune_core.runs.jobs import Train

SomeJob = TypeVar("SomeJob", bound=Job)

ACTIVE = ("starting", "preparing", "running")
SETTLING = ("starting", "preparing")


@dataclass(frozen=True)
class Status:
    """Where a run stands. `state` is one of starting, preparing, running, finished, stopped, failed, lost.

    `lost` is never written: it is what readers see when the process of an active run is gone.
    Times are seconds since 1970; `valid_score` holds one value per finished epoch.
    """

    state: str = "starting"
    message: str = ""
    step: int = 0
    steps: int = 0
    epoch: int = 0
    epochs: int = 0
    epoch_steps: int = 0
    done: float = 0.0  # while preparing: of `total`, in `unit`
    total: float = 0.0
    unit: str = ""
    seconds_left: float | None = None
    error: dict[str, str] | None = None
    started: float = 0.0
    updated: float = 0.0
    best_score: float | None = None
    valid_score: list[float | None] = field(default_factory=list)

    @property
    def active(self) -> bool:
        """Whether a living process is at work on the run."""
        return self.state in ACTIVE

    @property
    def settling(self) -> bool:
        """Whether the work itself has not begun yet."""
        return self.state in SETTLING

    @property
    def share(self) -> float:
        """How much is done, in [0, 1]: of the work, or before it begins of what is being prepared."""
        done, total = (self.done, self.total) if self.settling else (self.step, self.steps)
        return min(1.0, done / total) if total else 0.0


class Run(Folder):
    """A run folder, seen from any process."""

    def __init__(self, path: Path) -> None:
        """Wrap an existing folder; see `create` and `open_run`."""
        super().__init__(path)
        self.id = path.name

    @property
    def recipe(self) -> Recipe:
        """The recipe as it was launched; parsed once as long as its file stays the same."""
        return _recipe(self.recipe_file, places.stamp(self.recipe_file))

    @property
    def job(self) -> Job:
        """What is to be done with the recipe. A UserError for a job that this version does not know."""
        return Job.parsed(_job_today(read_json(self.job_file) or {}), "The job")

    def job_as(self, kind: type[SomeJob]) -> SomeJob:
        """The job of a run that is known to be of this kind."""
        job = self.job
        if not isinstance(job, kind):
            raise TypeError(f"{self.id} is no {kind.__name__} but a {type(job).__name__}")
        return job

    @property
    def status(self) -> Status:
        """Where the run stands now, judged by the process too."""
        try:
            saved = Status(**_known(_today(read_json(self.status_file) or {})))
        except UserError as error:
            return Status(state="failed", message=error.what, error=error.words())
        return replace(saved, state="lost") if saved.active and not self.alive() else saved

    def report(self, **changes: Any) -> None:
        """Replace parts of the status (the worker's side)."""
        saved = read_json(self.status_file) or {}
        self.write_json(self.status_file, {**saved, **changes, "updated": time.time()})

    def report_start(self, message: str) -> None:
        """A worker is on its way: what the last one said of itself no longer holds."""
        self.report(state="starting", message=message, error=None, done=0, total=0, unit="")

    def append(self, record: Record) -> None:
        """Add one record, as a whole line."""
        with self.records_file.open("a", encoding="utf-8") as file:
            file.write(record.line() + "\n")

    def records(self, cursor: int = 0) -> tuple[list[dict[str, Any]], int]:
        """The records after byte `cursor`, and the new cursor; a half-written last line waits for the next call."""
        try:
            with self.records_file.open("rb") as file:
                file.seek(cursor)
                whole, _, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return [], cursor
        if not whole:
            return [], cursor
        return [_today(json.loads(line)) for line in whole.splitlines()], cursor + len(whole) + 1

    def keep_records(self, steps: int) -> None:
        """Forget step and epoch records from optimizer step `steps` on, so that a resumed run has no doubles."""
        kept = [r for r in self.records()[0] if _before(r, steps)]
        self.write_text(self.records_file, "".join(json.dumps(r) + "\n" for r in kept))

    def ask(self, what: str) -> None:
        """Ask the worker for something: "stop"."""
        self.write_json(self.control_file, {"ask": what})

    def wish(self) -> str:
        """What the worker was asked for, else an empty string."""
        return (read_json(self.control_file) or {}).get("ask", "")

    def claim(self, process: psutil.Process) -> None:
        """Say that `process` works on this run; a UserError where another one does, but for the one that started it."""
        pid = self.worker_pid()
        if pid and pid in [parent.pid for parent in process.parents()]:
            return
        if (
            pid == process.pid and self.status.state == "starting"
        ):  # who started it has said so, and may have asked to stop
            return
        if pid not in (None, process.pid):
            raise UserError(
                f"The run {self.id} is already being worked on.", f"Process {pid} has it.", "Stop it first."
            )
        self.control_file.unlink(missing_ok=True)
        self.write_json(self.owner_file, {"pid": process.pid, "create_time": process.create_time()})

    def worker_pid(self) -> int | None:
        """The process at work, judged by id and start time (ids are used again), zombies left out."""
        try:
            owner = read_json(self.owner_file) or {}
            process = psutil.Process(owner["pid"])
            same = abs(process.create_time() - owner["create_time"]) < 1.0
            return process.pid if same and process.status() != psutil.STATUS_ZOMBIE else None
        except (KeyError, TypeError, ValueError, UserError, psutil.Error):  # nobody, or nobody that can be told
            return None

    def alive(self) -> bool:
        """Whether a process is at work on this run."""
        return self.worker_pid() is not None

    @property
    def targets(self) -> Targets | None:
        """What the model's outputs stand for; None before the worker has read the data."""
        if saved := read_json(self.targets_file):
            return Targets(**{name: _frozen(value) for name, value in saved.items()})
        earlier = read_json(self.classes_file, list)
        return Targets(ONE_CLASS.key, tuple(earlier)) if earlier else None

    def save_targets(self, targets: Targets) -> None:
        """Keep them."""
        self.write_json(self.targets_file, asdict(targets))

    @property
    def begun(self) -> Kept | None:
        """What the run began with: of earlier runs the names alone, None before the worker has read the data."""
        if saved := read_json(self.images_file):
            return Kept(**{name: tuple(paths) for name, paths in saved.items()})
        return Kept(self.targets.names) if self.targets else None

    def save_begun(self, images: Kept) -> None:
        """Keep it, once and for all."""
        if not self.images_file.exists():
            self.write_json(self.images_file, asdict(images))

    @property
    def depth(self) -> Depth:
        """The range that deep images were read by; runs that kept none took all that 16 bits can hold."""
        saved = read_json(self.depth_file)
        return UP_TO_16_BITS if saved is None else Depth.restored(saved)

    def save_depth(self, depth: Depth) -> None:
        """Keep it."""
        self.write_json(self.depth_file, asdict(depth))

    def log_tail(self, lines: int = 40) -> str:
        """The end of the worker's log."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    @property
    def weights(self) -> dict[str, Path]:
        """The checkpoints that there are, by what people call them."""
        phases = self.recipe.phases[:-1]
        ends = {f"end of phase {phase + 1}": self.phase_end(phase) for phase in range(len(phases))}
        return {name: path for name, path in {"best": self.best, **ends, "end": self.last}.items() if path.exists()}

    @property
    def megabytes(self) -> float:
        """Disk space of the whole folder."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file()) / 1e6


class Bystander(Run):
    """A run folder seen by a process that trains beside the first one: it reads, and leaves the writing to that."""

    def report(self, **changes: Any) -> None:
        """Leave it to the first process."""

    def append(self, record: Record) -> None:
        """Leave it to the first process."""

    def replace(self, path: Path, write: Callable[[Path], object]) -> None:
        """Leave it to the first process."""

    def claim(self, process: psutil.Process) -> None:
        """Leave it to the first process."""


def create(what: Recipe, job: Job | None = None, runs: Path | None = None) -> Run:
    """A new run folder, ready for a worker; named by time, job and backbone. Without a `job` it is to be trained."""
    job = job or Train()
    runs = runs or places.runs_dir()
    stem = "-".join(filter(None, (time.strftime("%Y%m%d-%H%M%S"), "" if job.trains else job.kind, _slug(what))))
    for number in range(1, 1000):
        path = runs / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir(parents=True)
            break
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(
                f"The run folder {path} cannot be made.", f"{error.strerror}.", "Choose another folder."
            ) from error
    run = Run(path)
    run.checkpoints.mkdir()
    what.save(run.recipe_file)
    run.write_json(run.job_file, job.model_dump(mode="json"))
    status = Status(started=time.time(), epochs=what.epochs, message="Waiting to start")
    run.write_json(run.status_file, asdict(status))
    return run


def open_run(name: str | Path, runs: Path | None = None) -> Run:
    """The run of this id or path; a UserError where there is none."""
    runs = runs or places.runs_dir()
    for path in (runs / name, Path(name)):
        if (path / RECIPE).is_file():
            return Run(path)
    raise UserError(
        f"There is no run {name}.", f"No such folder in {runs}.", "See them all with `python -m finetune_core runs`."
    )


def checkpoint(name: str | Path, runs: Path | None = None) -> Path:
    """The best weights of the run of this id or path, or the checkpoint of this path; a UserError without any."""
    runs = runs or places.runs_dir()
    files = [path for path in (runs / name, Path(name)) if path.suffix == ".safetensors" and path.is_file()]
    file = files[0] if files else open_run(name, runs).best
    if not file.exists():
        raise UserError(f"The run {name} has no weights yet.", "Its first epoch has not ended.", "Wait for it.")
    return file.absolute()


def list_runs(runs: Path | None = None, job: str = "train") -> list[Run]:
    """All runs of a kind of job, newest first."""
    return sorted(_runs(runs or places.runs_dir(), job), key=lambda run: run.id, reverse=True)


def _runs(folder: Path, job: str) -> Iterator[Run]:
    for path in folder.glob(f"*/{RECIPE}"):
        run = Run(path.parent)
        if _kind(run) == job and not run.id.startswith("."):
            yield run


def _kind(run: Run) -> str:
    """The kind of a run's job; what is damaged is listed with the trainings, where whoever opens it is told."""
    try:
        return str(_job_today(read_json(run.job_file) or {})["kind"])
    except UserError:
        return Train.kind


def _slug(what: Recipe) -> str:
    name = what.name or what.model.backbone.architecture
    return "".join(letter if letter.isalnum() or letter in "_." else "-" for letter in name)[:40].strip("-.")


def _before(record: dict[str, Any], steps: int) -> bool:
    # A step record carries its own index; epochs and what ends a stretch carry the number of steps done by then.
    ends = record["kind"] == "epoch" or record.get("name") in ("stopped", "phase_end")
    return record["step"] <= steps if ends else record["step"] < steps


# Names of earlier runs, which knew classes alone.
EARLIER = {"valid_accuracy": "valid_score", "train_accuracy": "train_score", "best_accuracy": "best_score"}


def _today(saved: dict[str, Any]) -> dict[str, Any]:
    """A record or status with the names of today, so that runs of an earlier version can still be seen."""
    if EARLIER.keys().isdisjoint(saved):
        return saved
    renamed = {EARLIER.get(name, name): value for name, value in saved.items()}
    return {"scores": {"accuracy": renamed.get("valid_score")}, "by_name": {}, **renamed}


def _known(saved: dict[str, Any]) -> dict[str, Any]:
    names = {each.name for each in fields(Status)}
    return {name: value for name, value in saved.items() if name in names}


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _job_today(saved: dict[str, Any]) -> dict[str, Any]:
    """A job as this version writes it: version 1 said "job" for its kind, and counted phases from 0."""
    if "kind" in saved:
        return saved
    rest = {name: value for name, value in saved.items() if name != "job"}
    phase = {"phase": saved["phase"] + 1} if "phase" in saved else {}
    return {"kind": saved.get("job", Train.kind), **rest, **phase}


@lru_cache(maxsize=2000)
def _recipe(path: Path, stamp: tuple[int, int] | None) -> Recipe:
    """A run's recipe. As plain data it is kept in the cache folder, for all processes.

    YAML takes ten to fifty times as long as JSON, and a list of runs reads hundreds.
    """
    text = text_of(path)
    kept = places.cache_dir() / "recipes" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
    try:
        tree = json.loads(kept.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # a cache: what is not there, or damaged, is made anew
        tree = tree_of(text, str(path))
        with suppress(OSError, TypeError, RecursionError):  # what cannot be kept is parsed each time
            plain = json.dumps(tree)
            if json.loads(plain) == tree:  # YAML knows dates, and keys that are numbers
                kept.parent.mkdir(parents=True, exist_ok=True)
                places.write_whole(kept, plain)
    return parse(tree)
