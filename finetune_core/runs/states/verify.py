"""Proof that a run goes on exactly: a stretch between two of its states is trained again, and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from finetune_core.errors import UserError
from finetune_core.parts.numbers import written
from finetune_core.recipe.changes import kept
from finetune_core.records import Report, Step, silent
from finetune_core.runs.states import checkpoint
from finetune_core.runs.store import Run
from finetune_core.training.loop import Trainer
from finetune_core.training.session import prepare


@dataclass(frozen=True)
class Verdict:
    """The stretch that was trained again (optimizer steps), and the largest differences that were found."""

    first: int
    last: int
    weights: float
    losses: float

    @property
    def same(self) -> bool:
        """Whether every number is the same."""
        return self.weights == self.losses == 0

    def words(self) -> str:
        """In one line."""
        found = f"max |Δ| {written(self.weights, 3)} in the weights, {written(self.losses, 3)} in the losses"
        sure = "to the last bit the same run" if self.same else "not the same to the last bit"
        return f"Steps {self.first:,} to {self.last:,} trained again: {found}: {sure}."


def verify(run: Run, report: Report = silent) -> Verdict:
    """Train from the older of the two newest states (or the start) to the newest again; nothing is written.

    UserErrors where nothing was saved, a state is damaged, or the run is at work.
    """
    if run.alive():
        raise UserError(f"The run {run.id} is at work.", "Its checkpoints come and go.", "Pause or stop it first.")
    paths = run.states[:2]
    if not paths:
        raise UserError(f"The run {run.id} has saved nothing yet.", "", "Let it train for an epoch.")
    end = checkpoint.read(paths[0])
    trainer = Trainer(prepare(run.recipe, report, run.begun), kept(run.changes()))
    if len(paths) > 1:
        trainer.restore(checkpoint.read(paths[1]).trainer)
    first = trainer.done
    losses = _replayed(trainer, end, report)
    before = {row["step"]: row["loss"] for row in run.records()[0] if row["kind"] == "step"}
    apart = max(
        (abs(loss - before[step]) for step, loss in losses.items() if before.get(step) is not None), default=0.0
    )
    return Verdict(first, end.step, _apart(trainer.state()["kept"], end.trainer["kept"]), apart)


def _replayed(trainer: Trainer, end: checkpoint.State, report: Report) -> dict[int, float]:
    """The losses of the steps on the way to where the other state stands."""
    goal, first = _place(end.trainer["position"]), trainer.done
    losses: dict[int, float] = {}
    if _place(trainer.at.saved()) == goal:
        return losses
    for made in trainer.run():
        if isinstance(made, Step):
            losses[made.step] = made.loss
            report("Training the stretch again", trainer.done - first, end.step - first, "steps")
        if _place(trainer.at.saved()) == goal:
            return losses
    raise UserError("The newest checkpoint was not reached again.", "The run took another course.", "See its log.")


def _place(position: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(position[name] for name in ("phase", "epoch", "batch"))


def _apart(mine: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> float:
    return max(float((mine[name].cpu().double() - theirs[name].double()).abs().max()) for name in theirs)
