"""What earlier range tests say about the rates of a recipe, before it is launched. Without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from finetune_core import places
from finetune_core.errors import Mend, UserError
from finetune_core.finder.question import question, same_ground
from finetune_core.finder.suggest import blow_up, together
from finetune_core.findings import Finding
from finetune_core.parts.numbers import written
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.jobs import RangeTest
from finetune_core.runs.store import Run

CAREFUL = 0.1  # of the rate at which the loss blew up, where a test suggests none
PICKS = ("steepest", "valley", "minimum_tenth", "slide")  # a test's suggestions, the usual one first


@dataclass(frozen=True)
class Limit:
    """From which rate on a range test blew up, and which it suggests."""

    rate: float
    suggested: float


def rates(recipe: Recipe) -> Iterator[Finding]:
    """Look for phases whose rate lies where the newest range test that fits blew up."""
    tests = store.list_runs(job=RangeTest.kind)
    for index, phase in enumerate(recipe.phases):
        newest = next((run for run in tests if _fits(run, recipe, index)), None)
        limit = _limit(newest.path, places.stamp(newest.records_file)) if newest else None
        if limit is None or phase.learning_rate < limit.rate:
            continue
        title = "Learning rate" if len(recipe.phases) == 1 else f"Learning rate in phase {index + 1}"
        above, here = written(limit.rate, 2), written(phase.learning_rate, 3)
        text = f"The range test of this recipe blew up above {above}; the rate is {here}."
        mend = Mend(f"Use {written(limit.suggested)}", f"phases.{index}.learning_rate", limit.suggested)
        yield Finding("warn", title, text, mend=mend)


def _fits(run: Run, recipe: Recipe, index: int) -> bool:
    """Whether a test moved all rates of a phase like this one."""
    try:
        theirs, job = run.recipe, run.job_as(RangeTest)
    except (UserError, TypeError):  # of another version, or damaged: it says nothing here
        return False
    if job.group or job.down or job.index >= len(theirs.phases) or not same_ground(theirs, recipe):
        return False
    return question(theirs, theirs.phases[job.index]) == question(recipe, recipe.phases[index])


@lru_cache(maxsize=200)
def _limit(path: Path, stamp: tuple[int, int] | None) -> Limit | None:
    """What a test says, as long as its records stay the same; nothing where it never blew up."""
    rows = Run(path).records()[0]
    found = blow_up(*together([row for row in rows if row["kind"] == "find"]))
    return None if found is None else Limit(found, _suggested(rows) or float(f"{found * CAREFUL:.2g}"))


def _suggested(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """The rate that a finished test suggests first."""
    last: Mapping[str, Any] = next((row for row in reversed(rows) if row["kind"] == "suggestions"), {})
    return next((float(f"{last[name]:.2g}") for name in PICKS if last.get(name)), None)
