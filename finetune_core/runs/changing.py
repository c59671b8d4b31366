"""Changing a run that is running, from outside: what a change would do, before it is asked for. Without torch.

The worker has the last word, since the run goes on meanwhile: what no longer fits then is told as an event.
"""

from __future__ import annotations

from contextlib import suppress

from finetune_core.errors import UserError
from finetune_core.network import catalogue
from finetune_core.parts import Progress
from finetune_core.recipe.changes import Change, Made, Phases, applied, make
from finetune_core.runs import launch
from finetune_core.runs.store import Run, Status
from finetune_core.runs.telling.history import LOSS, History


def names(run: Run, history: History) -> tuple[str, ...]:
    """The run's layer groups, stem to head: as it has logged them, or as they will be."""
    return tuple(history.of("lr")) or catalogue.layer_names(run.recipe.model)


def standing(now: Phases, history: History, status: Status) -> tuple[int, Progress]:
    """The phase that a run is in, and how far that is, by what it has said."""
    phase, each = history.latest("phase"), max(1, status.epoch_steps)
    index = min(int(phase[-1]), len(now) - 1) if len(phase) else 0
    first = max((row["step"] for row in history.epochs if row["phase"] < index), default=0)
    done = int(history.lines[LOSS].x[-1]) + 1 - first if LOSS in history.lines else 0
    return index, Progress(done, now[index].epochs * each, each)


def pending(run: Run, history: History) -> tuple[Phases, list[Made]]:
    """The phases as the run will have them before its next step, and what is still to be made of them until then."""
    phases = run.recipe_at().phases
    waiting: list[Made] = []
    for _, each in run.wanted_changes():
        with suppress(UserError):  # the worker will say it
            made = _made(run, Change.parsed(each, "The change"), phases, history)
            waiting.append(made)
            phases = applied(phases, [made])
    return phases, waiting


def expected(run: Run, change: Change, history: History) -> Made:
    """What a change would make of the run after those that wait; a UserError where it cannot be made."""
    return _made(run, change, pending(run, history)[0], history)


def _made(run: Run, change: Change, phases: Phases, history: History) -> Made:
    index, at = standing(phases, history, run.status)
    return make(change, phases, index, names(run, history), at, run.status.step)


def ask(run: Run, change: Change, history: History) -> Made:
    """Ask the worker for a change, and say what will come of it; UserErrors where it does not fit, or nobody works."""
    made = expected(run, change, history)
    launch.change(run, change.model_dump(mode="json"))
    return made
