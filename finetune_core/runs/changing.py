"""Changing a run that is running, from outside: what a change would do, before it is asked for. Without torch.

The worker has the last word, since the run goes on meanwhile: what no longer fits then is told as an event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from finetune_core.network import catalogue
from finetune_core.parts import Progress
from finetune_core.recipe.changes import Change, Made, Phases, make
from finetune_core.runs import launch
from finetune_core.runs.store import Run, Status

Rows = Sequence[Mapping[str, Any]]


def names(run: Run, rows: Rows) -> tuple[str, ...]:
    """The run's layer groups, stem to head: as it has logged them, or as they will be."""
    step = next((row for row in rows if row["kind"] == "step"), None)
    return tuple(step["lr"]) if step else catalogue.layer_names(run.recipe.model)


def standing(now: Phases, rows: Rows, status: Status) -> tuple[int, Progress]:
    """The phase that a run is in, and how far that is, by its records."""
    steps = [row for row in rows if row["kind"] == "step"]
    index = min(steps[-1]["phase"], len(now) - 1) if steps else 0
    each = max(1, status.epoch_steps)
    done = sum(row["phase"] == index for row in reversed(steps))
    return index, Progress(done, now[index].epochs * each, each)


def expected(run: Run, change: Change, rows: Rows) -> Made:
    """What a change would make of the run as it stands; a UserError where it cannot be made."""
    now = run.recipe_at().phases
    index, at = standing(now, rows, run.status)
    return make(change, now, index, names(run, rows), at, run.status.step)


def ask(run: Run, change: Change, rows: Rows) -> Made:
    """Ask the worker for a change, and say what will come of it; UserErrors where it does not fit, or nobody works."""
    made = expected(run, change, rows)
    launch.change(run, change.model_dump(mode="json"))
    return made
