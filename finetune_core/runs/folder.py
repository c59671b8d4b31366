"""A run's folder on disk: which files there are, and writing each of them whole. Only this module knows their names.

recipe.yaml         the whole experiment
job.json            what is to be done with it: a job's kind and knobs
status.json         where the worker stands (replaced as a whole)
metrics.jsonl       one record a line (only ever appended to)
control.json        what a person asked for: {"ask": "stop"}
worker.json         who works on it: process id and start time
worker.log          what the worker printed, with the traceback of a bug
targets.json        what the model's outputs stand for: task, names, units
images.json         the names and the images on either side that it began with
depth.json          of images with more than 8 bits: which values are black and white
checkpoints/        last.safetensors, best.safetensors, phase-1.safetensors …, resume.pt
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from finetune_core import places
from finetune_core.errors import UserError

RECIPE = "recipe.yaml"


class Folder:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        """Wrap a folder, which need not be there yet."""
        self.path = path
        self.recipe_file = path / RECIPE
        self.job_file = path / "job.json"
        self.status_file = path / "status.json"
        self.records_file = path / "metrics.jsonl"
        self.control_file = path / "control.json"
        self.owner_file = path / "worker.json"
        self.targets_file = path / "targets.json"
        self.images_file = path / "images.json"
        self.depth_file = path / "depth.json"
        self.classes_file = path / "classes.json"  # what runs had instead before there were tasks
        self.log = path / "worker.log"
        self.checkpoints = path / "checkpoints"
        self.last = self.checkpoints / "last.safetensors"  # weights after the newest finished epoch or stop
        self.best = self.checkpoints / "best.safetensors"  # weights of the epoch with the best validation score
        self.resume_state = self.checkpoints / "resume.pt"  # all that going on needs, in one file

    def phase_end(self, phase: int) -> Path:
        """Weights after a phase that another one followed; phases count from 0, files from 1."""
        return self.checkpoints / f"phase-{phase + 1}.safetensors"

    def replace(self, path: Path, write: Callable[[Path], object]) -> None:
        """Write a file of the folder as a whole."""
        places.replace_file(path, write)

    def write_text(self, path: Path, text: str) -> None:
        """Write a text file as a whole."""
        self.replace(path, lambda draft: draft.write_text(text, encoding="utf-8"))

    def write_json(self, path: Path, value: Any) -> None:
        """Write plain data as a whole."""
        self.write_text(path, json.dumps(value, indent=1))


def read_json(path: Path, kind: type = dict) -> Any:
    """Plain data of a kind; None where there is no file. A UserError where it is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, kind):
            return found
        raise ValueError(f"It holds {found!r:.80}")
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged.", f"{error}.", "Mend or remove it, or the whole folder.") from error
