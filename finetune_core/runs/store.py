"""Runs: folders that any process can open, follow and write to. See `folder` for what lies in one."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import psutil
from pydantic import TypeAdapter

from finetune_core import places
from finetune_core.data.depth import UP_TO_16_BITS, Depth
from finetune_core.data.kept import Kept
from finetune_core.errors import UserError
from finetune_core.parts import Fix, Job
from finetune_core.parts.tasks import ONE_CLASS, Targets
from finetune_core.recipe import Recipe, parse, text_of, tree_of
from finetune_core.recipe.changes import applied, kept
from finetune_core.records import Evaluated, Record, whole
from finetune_core.runs import holding
from finetune_core.runs.folder import Folder, check_plain, damaged, is_run, read_json, read_lines, shaped
from finetune_core.runs.jobs import Train
from finetune_core.wording import shown

SomeJob = TypeVar("SomeJob", bound=Job)

SETTLING = ("starting", "preparing")
ACTIVE = (*SETTLING, "running", "paused", "stopping")
ENDED = ("finished", "stopped", "diverged", "failed")
EPOCH = b'{"kind": "epoch"'  # how the line of an epoch record begins
LATEST = 253402300799  # seconds since 1970 until the year 10000
WRITTEN = ("queued", *SETTLING, "running", "paused", *ENDED)


@dataclass(frozen=True)
class Status:
    """Where a run stands.

    `state` is one of queued, starting, preparing, running, paused, stopping, finished, stopped, diverged, failed, lost,
    unreadable. The last two and stopping are never written: they are what readers see where the process of an active
    run is gone, where the status is damaged, and where a stop was asked for and has not come yet.
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
    def changeable(self) -> bool:
        """Whether it can be changed on its way: a wish that comes later would be carried out when the run goes on."""
        return self.state in ("running", "paused")

    @property
    def settling(self) -> bool:
        """Whether the work itself has not begun yet."""
        return self.state in SETTLING

    @property
    def share(self) -> float:
        """How much is done, in [0, 1]: of the work, or before it begins of what is being prepared."""
        done, total = (self.done, self.total) if self.settling else (self.step, self.steps)
        return min(1.0, done / total) if total else 0.0


_STATUS, _TARGETS, _KEPT = TypeAdapter(Status), TypeAdapter(Targets), TypeAdapter(Kept)
_FIXES = TypeAdapter(tuple[Fix, ...])


class Run(Folder):
    """A run folder, seen from any process."""

    def __init__(self, path: Path) -> None:
        """Wrap an existing folder; see `create` and `open_run`."""
        super().__init__(path)
        self.id = path.name

    @property
    def recipe(self) -> Recipe:
        """The recipe as it was launched; parsed once as long as its file stays the same."""
        check_plain(self.recipe_file)
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
            saved = self.said()
            if not saved.active:
                return saved
            if not self.alive() and not self._being_started(saved):
                return replace(saved, state="lost")
            return replace(saved, state="stopping") if self.wish() == "stop" else saved
        except UserError as error:
            return Status(state="unreadable", message=error.what, error=error.words())

    def _being_started(self, saved: Status) -> bool:
        """Whether its worker is still to be named, or was just now: until then it looks as if there were none."""
        return saved.state == "starting" and (holding.being_started(self) or self.alive())

    def said(self) -> Status:
        """Where the worker itself has said that the run stands; a UserError where that is damaged."""
        found = _known(today(read_json(self.status_file) or {}))
        try:
            status = _STATUS.validate_python(found)
            if status.state not in WRITTEN:
                raise ValueError(f"It knows no state {shown(status.state)}")
            if wrong := _beyond(status):
                raise ValueError(f"Its {wrong} is no such number")
        except ValueError as error:
            why = f"{str(error).splitlines()[0]}."
            raise UserError(f"{self.status_file} is damaged.", why, "Resume the run, or remove its folder.") from error
        return status

    def report(self, **changes: Any) -> None:
        """Replace parts of the status (the worker's side); a damaged one is written anew."""
        try:
            saved = asdict(self.said())
        except UserError:
            saved = {}
        self.write_json(self.status_file, {**saved, **changes, "updated": time.time()})

    def announced(self) -> bool:
        """Whether somebody has said that it starts; waits for a launcher that has still to name the worker."""
        holding.await_start(self)
        return self.status.state in ("starting", "stopping")

    def report_start(self, message: str) -> None:
        """A worker is on its way: what the last one said of itself, and was asked for, no longer holds."""
        self.ask("go")
        self.report(state="starting", message=message, error=None, done=0, total=0, unit="")

    def append(self, record: Record) -> None:
        """Add one record, as a whole line."""
        places.append_line(self.records_file, record.line())

    def records(self, cursor: int = 0) -> tuple[list[dict[str, Any]], int]:
        """The records after byte `cursor`, and the new cursor; a half-written last line waits for the next call."""
        rows, cursor, _ = read_lines(self.records_file, cursor)
        return [today(row) for row in rows if "kind" in row], cursor

    def epochs(self) -> list[dict[str, Any]]:
        """The epoch records alone, as they are now: quick however many steps lie between them."""
        return [row for row in map(today, read_lines(self.records_file, begins=EPOCH)[0]) if whole(row)]

    def keep_records(self, steps: int, position: Mapping[str, Any]) -> int:
        """Forget what was recorded after a trainer's `position`, `steps` done, so that a resumed run has no doubles.

        Returns how many records could not be read, and are left out.
        """
        rows, _, damaged = read_lines(self.records_file)
        whole = [today(row) for row in rows if "kind" in row and isinstance(row.get("step"), int)]
        lines = (json.dumps(row) + "\n" for row in whole if _before(row, steps, position))
        self.write_text(self.records_file, "".join(lines))
        return damaged + len(rows) - len(whole)

    def ask(self, what: str) -> None:
        """Ask the worker for something: "stop", "pause", or "go" on; the last wish holds."""
        with self.writing():
            places.append_line(self.control_file, json.dumps({"ask": what}))

    def ask_change(self, change: Mapping[str, Any]) -> None:
        """Ask the worker to change something on the way."""
        # Its number is no other's, of this file or of one that was removed: what was dealt with is known by it
        with self.writing():
            places.append_line(self.control_file, json.dumps({"set": dict(change), "wish": time.time_ns()}))

    def changes(self) -> list[dict[str, Any]]:
        """The changes that were made on the way, in order, each with the `step` before which it was made.

        A UserError where they are damaged.
        """
        rows = read_lines(self.changes_file)[0]
        try:
            kept(rows)
        except UserError as error:
            raise damaged(self.changes_file, f"{error.what} {error.why}".removesuffix(".")) from error
        return rows

    def recipe_at(self, step: int | None = None) -> Recipe:
        """The recipe as the changes made before a step (all of them, by default) have left it."""
        made = [each for each in kept(self.changes()) if step is None or each.step <= step]
        return self.recipe.replace(phases=applied(self.recipe.phases, made))

    def keep_change(self, change: Mapping[str, Any]) -> None:
        """Keep one that is about to be made."""
        places.append_line(self.changes_file, json.dumps(dict(change)))

    def tests(self) -> list[dict[str, Any]]:
        """What each look at the test images has shown, in order."""
        found = [row for row in read_lines(self.tests_file)[0] if whole({"kind": Evaluated.kind, **row})]
        return [{**row, "look": place} for place, row in enumerate(found, start=1)]

    def keep_test(self, found: Evaluated) -> None:
        """Keep what a look at the test images has shown. A UserError where the disk refuses it."""
        with self.writing("what the test has shown"):
            places.append_line(self.tests_file, found.line())

    def mended(self) -> tuple[Fix, ...]:
        """What people have mended on its pictures, for a run to come."""
        saved = read_json(self.mended_file, list)
        return shaped(self.mended_file, _FIXES, saved) if saved else ()

    def keep_mended(self, fixes: Sequence[Fix]) -> None:
        """Keep it. A UserError where the disk refuses it."""
        with self.writing("what was mended"):
            self.write_json(self.mended_file, [fix.model_dump(mode="json") for fix in fixes])

    def wanted_changes(self) -> list[tuple[int, dict[str, Any]]]:
        """The changes that were asked for and not dealt with yet, each with the number of the wish."""
        dealt = [row.get("wish") for row in self.changes()]
        return [(number, each) for number, each in self._wishes() if number not in dealt]

    def asked_changes(self) -> list[dict[str, Any]]:
        """All changes that were ever asked for, in order."""
        return [change for _, change in self._wishes()]

    def _wishes(self) -> list[tuple[int, dict[str, Any]]]:
        """All of them with their numbers: in earlier versions a wish had none but its place."""
        rows = [row for row in read_lines(self.control_file)[0] if isinstance(row.get("set"), dict)]
        return [(row.get("wish", place), row["set"]) for place, row in enumerate(rows)]

    def wish(self) -> str:
        """What the worker was asked for last, else an empty string."""
        asked = [row["ask"] for row in read_lines(self.control_file)[0] if isinstance(row.get("ask"), str)]
        return asked[-1] if asked else ""

    def claim(self, process: psutil.Process) -> None:
        """Write down that `process` works on this run; its lock it holds itself (see `holding`)."""
        holding.name_worker(self, process)

    def worker_pid(self) -> int | None:
        """The process at work; None where there is none."""
        return holding.living(self)

    def alive(self) -> bool:
        """Whether a process is at work on this run."""
        return self.worker_pid() is not None

    @property
    def targets(self) -> Targets | None:
        """What the model's outputs stand for; None before the worker has read the data."""
        if saved := read_json(self.targets_file):
            return shaped(self.targets_file, _TARGETS, saved)
        earlier = read_json(self.classes_file, list)
        return Targets(ONE_CLASS.key, tuple(earlier)) if earlier else None

    def save_targets(self, targets: Targets) -> None:
        """Keep them."""
        self.write_json(self.targets_file, asdict(targets))

    @property
    def begun(self) -> Kept | None:
        """What the run began with: of earlier runs the names alone, None before the worker has read the data."""
        if saved := read_json(self.images_file):
            return shaped(self.images_file, _KEPT, saved)
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
        if not self.log.is_file():
            return ""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    @property
    def weights(self) -> dict[str, Path]:
        """The checkpoints that there are, by what people call them."""
        phases = self.recipe.phases[:-1]
        ends = {f"end of phase {phase + 1}": self.phase_end(phase) for phase in range(len(phases))}
        return {name: path for name, path in {"best": self.best, **ends, "end": self.last}.items() if path.exists()}


class Bystander(Run):
    """A run folder seen by a process that trains beside the first one: it reads, and leaves the writing to that."""

    def report(self, **changes: Any) -> None:
        """Leave it to the first process."""

    def append(self, record: Record) -> None:
        """Leave it to the first process."""

    def keep_change(self, change: Mapping[str, Any]) -> None:
        """Leave it to the first process."""

    def wish(self) -> str:
        """What the first process hears."""
        return ""

    def wanted_changes(self) -> list[tuple[int, dict[str, Any]]]:
        """What the first process hears."""
        return []

    def replace(self, path: Path, write: Callable[[Path], object], lasting: bool = False) -> None:
        """Leave it to the first process."""

    def remove(self, path: Path) -> None:
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
    for path in (runs / name, places.expanded(name)):
        if is_run(path):  # of a damaged run it is told later what is wrong with it
            return Run(path)
    raise _missing(name, runs)


def among(name: str, runs: Path | None = None) -> Run:
    """The run of this id, which a stranger may have written: only a folder in sight among the runs. UserErrors."""
    if Path(name).name != name or not name or name.startswith("."):
        raise UserError("This is not the name of a run.", hint="See all runs on the Runs page.")
    folder = runs or places.runs_dir()
    if not is_run(folder / name):
        raise _missing(name, folder)
    return Run(folder / name)


def _missing(name: str | Path, runs: Path) -> UserError:
    return UserError(
        f"There is no run {shown(name)[:80]}.",
        f"No such folder in {runs}.",
        "See them all with `python -m finetune_core runs`.",
    )


def checkpoint(name: str | Path, runs: Path | None = None) -> Path:
    """The best weights of the run of this id or path, or the checkpoint of this path; a UserError without any."""
    runs = runs or places.runs_dir()
    files = [path for path in (runs / name, places.expanded(name)) if path.suffix == ".safetensors" and path.is_file()]
    file = files[0] if files else open_run(name, runs).best
    if not file.exists():
        raise UserError(f"The run {name} has no weights yet.", "Its first epoch has not ended.", "Wait for it.")
    return file.absolute()


def list_runs(runs: Path | None = None, job: str = "train") -> list[Run]:
    """All runs of a kind of job, newest first."""
    found = (run for run in every_run(runs) if kind_of(run) == job)
    return sorted(found, key=lambda run: run.id, reverse=True)


def every_run(runs: Path | None = None) -> Iterator[Run]:
    """The runs of all kinds of jobs, in no order."""
    for path in (runs or places.runs_dir()).glob("*"):
        if not path.name.startswith(".") and is_run(path):
            yield Run(path)


def kind_of(run: Run) -> str:
    """The kind of a run's job; what is damaged is listed with the trainings, where whoever opens it is told."""
    try:
        kind = _job_today(read_json(run.job_file) or {})["kind"]
    except UserError:
        return Train.kind
    return kind if isinstance(kind, str) else Train.kind


def _slug(what: Recipe) -> str:
    name = what.name or what.model.backbone.architecture
    return "".join(letter if letter.isalnum() or letter in "_." else "-" for letter in name)[:40].strip("-.")


BETWEEN = ("stopped", "phase_end", "paused", "resumed")  # events between two steps; a change is made again


def _before(record: dict[str, Any], steps: int, position: Mapping[str, Any]) -> bool:
    # A step record carries its own index; epochs and what ends a stretch carry the number of steps done by then, when
    # it is up to the position whether they had ended.
    if record["kind"] == "epoch":
        return record["epoch"] < position["epoch"]
    if record.get("name") == "phase_end" and record["step"] == steps:
        return position["course"]["first"] == position["epoch"]
    return record["step"] <= steps if record.get("name") in BETWEEN else record["step"] < steps


# Names of earlier runs, which knew classes alone.
EARLIER = {"valid_accuracy": "valid_score", "train_accuracy": "train_score", "best_accuracy": "best_score"}


def today(saved: dict[str, Any]) -> dict[str, Any]:
    """A record or status with the names of today, so that runs of an earlier version can still be seen."""
    if EARLIER.keys().isdisjoint(saved):
        return saved
    renamed = {EARLIER.get(name, name): value for name, value in saved.items()}
    return {"scores": {"accuracy": renamed.get("valid_score")}, "by_name": {}, **renamed}


def _beyond(status: Status) -> str:
    """The name of a number that is none, or of a time that no calendar has; empty where all are sound."""
    for each in fields(status):
        said = getattr(status, each.name)
        numbers = [one for one in (said if isinstance(said, list) else [said]) if isinstance(one, int | float)]
        most = LATEST if each.name in ("started", "updated") else sys.float_info.max
        if not all(abs(one) <= most for one in numbers):  # what is no number is not, either
            return each.name
    return ""


def _known(saved: dict[str, Any]) -> dict[str, Any]:
    names = {each.name for each in fields(Status)}
    return {name: value for name, value in saved.items() if name in names}


def targets_said(saved: Mapping[str, Any]) -> Targets:
    """What a model's outputs stand for, from plain data."""
    return _TARGETS.validate_python(saved)


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
