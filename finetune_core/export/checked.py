"""What the check of an exported model has shown, and finding it again. Importing this needs no torch."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

from finetune_core.parts.sources.archives import BROKEN
from finetune_core.places import stamp
from finetune_core.runs.store import Run
from finetune_core.wording import count


@dataclass(frozen=True)
class Check:
    """What the exported model answered to validation images, against the run's own.

    `worst` is the largest difference of a probability, or of a number; `right_…` count images answered rightly where
    that can be said (`judged`).
    """

    images: int
    same: int
    worst: float
    right_before: int
    right_after: int
    judged: bool
    weights: str  # which they were: see `weights_of`
    failed: int = 0  # images that the run's model answered, and this one did not

    def line(self) -> str:
        """In one sentence."""
        same = "the same answer to all" if self.same == self.images else f"the same answer to {self.same:,}"
        failed = f" {count(self.failed, 'image')} it could not read." if self.failed else ""
        words = f"Asked about {count(self.images, 'validation image')}: {same}, at most {self.worst:.2g} apart.{failed}"
        lost = self.right_before - self.right_after
        if not self.judged or not lost:
            return words
        rights = f"{self.right_after:,} instead of {self.right_before:,} are right"
        return f"{words} {rights}."


def weights_of(run: Run) -> str:
    """Tells the run's weights, and what was fitted to their answers, from earlier and later ones."""
    return repr((stamp(run.best), stamp(run.fitted_file)))


def taken(run: Run, key: str) -> tuple[Path, Check] | None:
    """What was made before, by the weights as they are now; None where nothing was, or it cannot be read."""
    file = run.exports / f"{key}.zip"
    try:
        with zipfile.ZipFile(file) as archive:
            [said] = [name for name in archive.namelist() if name.endswith("/check.json")]
            found = Check(**json.loads(archive.read(said)))
        return (file, found) if found.weights == weights_of(run) else None
    except (*BROKEN, TypeError, KeyError, RuntimeError):
        return None
