"""A run's folder on disk: which files there are, and writing each of them whole. Only this module knows their names.

recipe.yaml         the whole experiment
job.json            what is to be done with it: a job's kind and knobs
status.json         where the worker stands (replaced as a whole)
metrics.jsonl       one record a line (only ever appended to)
control.jsonl       what people asked for, one wish a line: {"ask": "stop"}, {"set": {…}, "wish": 17…} (appended to)
changes.jsonl       the changes that were made on the way, each with the optimizer step before which it was made
worker.lock         held by the worker for its life
worker.json         who that is: process id, start time, host
worker.log          what the worker printed, with the traceback of a bug
targets.json        what the model's outputs stand for: task, names, units
images.json         the names and the images on either side that it began with
lineage.json        of a run that began where another one stood: which, at which step, and what was changed
sweep.json          of a run that is one of a sweep: which one, and at which values
engine.json         of a run that is at work elsewhere: which engine has it, with its knobs
depth.json          of images with more than 8 bits: which values are black and white
notes.json          what people say of it: a name, a star, tags, a text
mended.json         what people have mended on its pictures, for a run to come
tests.jsonl         what each look at its test images has shown (appended to)
predictions.npz     what its best epoch answered to each validation image
fitted.json         what was fitted to those answers: a temperature, or thresholds of tags
exports/            onnx.zip …: its model as it was taken away, made anew whenever it is asked for
checkpoints/        step-00000120.safetensors …: all that going on from there needs, the newest few;
                    last.safetensors, best.safetensors, phase-1.safetensors …: weights alone
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil
from pydantic import TypeAdapter, ValidationError

from finetune_core import places
from finetune_core.errors import UserError

RECIPE = "recipe.yaml"
ALSO = ("job.json", "status.json")  # what tells a run's folder, too, where its recipe is gone
DRAFT = ".draft-"  # how the names of folders begin in which a run is being made

Shape = TypeVar("Shape")


class Folder:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        """Wrap a folder, which need not be there yet; a relative path is one of now, wherever a worker begins."""
        self.path = path = path.absolute()
        self.recipe_file = path / RECIPE
        self.job_file = path / "job.json"
        self.status_file = path / "status.json"
        self.records_file = path / "metrics.jsonl"
        self.control_file = path / "control.jsonl"
        self.changes_file = path / "changes.jsonl"
        self.lock_file = path / "worker.lock"
        self.owner_file = path / "worker.json"
        self.targets_file = path / "targets.json"
        self.images_file = path / "images.json"
        self.sweep_file = path / "sweep.json"
        self.engine_file = path / "engine.json"
        self.depth_file = path / "depth.json"
        self.lineage_file = path / "lineage.json"
        self.notes_file = path / "notes.json"
        self.tests_file = path / "tests.jsonl"
        self.mended_file = path / "mended.json"
        self.predictions_file = path / "predictions.npz"
        self.fitted_file = path / "fitted.json"
        self.classes_file = path / "classes.json"  # what runs had instead before there were tasks
        self.log = path / "worker.log"
        self.exports = path / "exports"
        self.checkpoints = path / "checkpoints"
        self.last = self.checkpoints / "last.safetensors"  # weights after the newest finished epoch or stop
        self.best = self.checkpoints / "best.safetensors"  # weights of the epoch with the best validation score
        self.best_before = self.checkpoints / "best-before.safetensors"  # the best until the newest best
        self.resume_state = self.checkpoints / "resume.pt"  # what runs had instead of states before version 3

    def phase_end(self, phase: int) -> Path:
        """Weights after a phase that another one followed; phases count from 0, files from 1."""
        return self.checkpoints / f"phase-{phase + 1}.safetensors"

    def state_file(self, step: int) -> Path:
        """All that going on from an optimizer step needs."""
        return self.checkpoints / f"step-{step:08}.safetensors"

    @property
    def states(self) -> list[Path]:
        """All of those, the newest first."""
        return sorted(self.checkpoints.glob("step-*.safetensors"), reverse=True)

    def writing(self, what: str = "the run") -> AbstractContextManager[None]:
        """Turn the refusal of a full or write-protected disk into a UserError."""
        return places.writing(what, place=places.Place(self.path, "THAW_RUNS"))

    def replace(self, path: Path, write: Callable[[Path], object], lasting: bool = False) -> None:
        """Write a file of the folder as a whole; a `lasting` one survives a power cut."""
        if path.parent == self.checkpoints:  # it may have been cleared away
            self.checkpoints.mkdir(exist_ok=True)
        places.replace_file(path, write, lasting)

    def copy(self, path: Path, target: Path) -> None:
        """Copy a file to a place in the folder, whole and lasting."""
        self.replace(target, lambda draft: shutil.copyfile(path, draft), lasting=True)

    def remove(self, path: Path) -> None:
        """Remove a file of the folder."""
        path.unlink(missing_ok=True)

    def write_text(self, path: Path, text: str) -> None:
        """Write a text file as a whole."""
        self.replace(path, lambda draft: draft.write_text(text, encoding="utf-8"))

    def write_json(self, path: Path, value: Any) -> None:
        """Write plain data as a whole."""
        self.write_text(path, json.dumps(value, indent=1))


@contextmanager
def draft_in(runs: Path) -> Iterator[Path]:
    """A hidden folder to make a run in, to be renamed once all of it is there; gone afterwards.

    What a process of this machine that was killed has left half made goes, too.
    """
    host = socket.gethostname()
    draft = runs / f"{DRAFT}{host}-{os.getpid()}-{time.time_ns()}"
    with places.writing("the run", place=places.Place(runs, "THAW_RUNS")):
        for left in runs.glob(f"{DRAFT}{host}-*"):
            maker = left.name.split("-")[-2]
            if not (maker.isdigit() and psutil.pid_exists(int(maker))):
                shutil.rmtree(left, ignore_errors=True)
        draft.mkdir(parents=True)
        try:
            yield draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def is_run(path: Path) -> bool:
    """Whether a folder is that of a run, whatever may be gone of it."""
    if any(os.path.lexists(path / name) for name in (RECIPE, *ALSO)):
        return True
    with suppress(OSError, ValueError):  # no folder, or no name for one
        # Checkpoints count by their files: other programs keep folders of this name, too
        return any(path.glob("checkpoints/*.safetensors"))
    return False


def free_name(folder: Path, name: str) -> Path:
    """The path of this name in a folder, or the first of `name-2`, `name-3` … that is free."""
    tried = (folder / (name if number == 1 else f"{name}-{number}") for number in range(1, 10_000))
    return next(path for path in tried if not path.exists())


def read_json(path: Path, kind: type = dict) -> Any:
    """Plain data of a kind; None where there is no file. A UserError where it is damaged."""
    check_plain(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, kind):
            return found
        raise ValueError(f"It holds {found!r:.80}")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, error) from error


def shaped(path: Path, shape: TypeAdapter[Shape], saved: Any) -> Shape:
    """What was saved in a file as the value that it was made from. A UserError where it does not fit."""
    try:
        return shape.validate_python(saved)
    except ValidationError as error:
        first = error.errors()[0]
        raise damaged(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def damaged(path: Path, why: object) -> UserError:
    """The words for a file that does not hold what it should, or cannot be read."""
    return UserError(f"{path} is damaged.", f"{why}.", "Mend or remove it, or the whole folder.")


def check_plain(path: Path) -> None:
    """A UserError where neither a file nor a folder is in a file's place: whoever reads a pipe waits for ever."""
    with suppress(OSError, ValueError):  # what cannot be looked at cannot be read, either: its reader says why
        kind = path.stat().st_mode  # one look: between two, another process may have made the file
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise damaged(path, "It is no plain file")


def read_lines(path: Path, cursor: int = 0, begins: bytes = b"") -> tuple[list[dict[str, Any]], int, int]:
    """The rows after byte `cursor` of a file with one JSON object a line, the new cursor, and how many are damaged.

    Where it is told how a line `begins`, the others are passed over, which is quicker than to read them.

    A half-written last line waits for the next call; a damaged one within is passed over.
    """
    check_plain(path)
    try:
        with path.open("rb") as file:
            file.seek(cursor)
            whole, ended, _ = file.read().rpartition(b"\n")
    except FileNotFoundError:
        return [], cursor, 0
    except OSError as error:  # a folder in its place, or no permission
        raise damaged(path, error) from error
    lines = [line for line in whole.split(b"\n") if line.strip() and line.startswith(begins)]
    rows = [row for row in map(_row, lines) if row is not None]
    return rows, cursor + len(whole) + len(ended), len(lines) - len(rows)


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
