"""What to do about a run that broke: for each kind of failure one way to go on, which a page offers as a click."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from finetune_core.errors import UserError
from finetune_core.recipe import Recipe
from finetune_core.runs.states import facts
from finetune_core.runs.store import Run
from finetune_core.training import divergence

GENTLER = 0.1  # of the rate, after a run diverged
LEAST = 2  # images of a micro-batch: batch norm needs two


@dataclass(frozen=True)
class Way:
    """A way to go on: what it is called, and the recipe that the run goes on with from its last good checkpoint."""

    title: str
    recipe: Recipe
    why: str
    step: int | None = None  # from a checkpoint that is not after this one


def way(run: Run) -> Way | None:
    """How a broken run may go on with a changed recipe; None where it goes on as it is, or not at all."""
    kind = (run.status.error or {}).get("kind", "")
    make = _WAYS.get(kind)
    return make(run) if make and run.job.trains else None


def _smaller(run: Run) -> Way | None:
    """The same step in half the memory."""
    recipe, training = run.recipe_at(), run.recipe.training
    parts = 2 * training.accumulate
    if training.batch_size // parts < LEAST:
        return None
    why = f"Each batch of {training.batch_size} is worked through in {parts} parts: the same step in half the memory."
    return Way("Go on in half the memory", recipe.with_value("training.accumulate", parts), why)


def _gentler(run: Run) -> Way:
    """A tenth of every rate that is still to come, from before the loss rose."""
    recipe, (step, begins) = run.recipe_at(), _good(run)
    for number, phase in list(enumerate(recipe.phases))[begins:]:
        recipe = recipe.with_value(f"phases.{number}.learning_rate", float(f"{phase.learning_rate * GENTLER:.15g}"))
    why = "From the last checkpoint before the loss rose; from the start where there is none."
    return Way("Go on at a tenth of the rate", recipe, why, step)


def _good(run: Run) -> tuple[int, int]:
    """The step and the phase (from 0) of the newest checkpoint at which training still went well; 0 without one."""
    for path in run.states:
        with suppress(UserError):  # a damaged one is none to go on from
            at = facts.position(path)
            if divergence.sound(at.get("recent", ()), at.get("start", 0.0)):
                return facts.step(path), at["phase"]
    return 0, 0


_WAYS: dict[str, Callable[[Run], Way | None]] = {"memory": _smaller, "diverged": _gentler}
