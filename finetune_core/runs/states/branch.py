"""Branches: a new run that begins where another one stood, exactly, with something changed from there on.

What may change without making the past another one: rates, schedules, thawed groups and lengths of what is still to
come, augmentation, loss, micro-batches. For anything else a new run takes the weights alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from finetune_core.errors import UserError
from finetune_core.recipe import Recipe
from finetune_core.recipe.diff import differences
from finetune_core.runs import store
from finetune_core.runs.folder import draft_in, free_name
from finetune_core.runs.states import facts
from finetune_core.runs.states.lineage import Lineage
from finetune_core.runs.store import Run

# What a state goes on with; the optimizer's own knobs and the size of a batch belong to what it holds.
GOES_ON = (
    "name",
    "phases.",
    "augment",
    "training.accumulate",
    "training.clip_norm",
    "training.l1",
    "training.loss",
    "training.device",
    "training.save_minutes",
    "training.checkpoints",
    "training.truth_every",
)


def _check(then: Recipe, recipe: Recipe, run: str) -> None:
    """A UserError where a branch with this recipe cannot go on from a state that was saved with another one."""
    other = [place for place, _, _ in differences(then, recipe) if not place.startswith(GOES_ON)]
    if other:
        raise UserError(
            f"A run cannot go on with another {other[0]}.",
            "What its optimizer and its records hold belongs to the one that it had.",
            f"Begin anew with its weights: `train RECIPE --from {run}`.",
        )


def branch(run: Run, recipe: Recipe, step: int | None = None) -> Run:
    """A new run, stopped at the newest state of this one (not after `step`), with another recipe from there on.

    The state before it comes along, for where the newest is damaged. UserErrors where the recipe does not go with it,
    or nothing was saved.
    """
    paths = [path for path in run.states if facts.read(path) and (step is None or facts.step(path) <= step)][:2]
    if not paths:
        raise UserError(f"The run {run.id} has no checkpoint to go on from.", "", "Begin anew with its best weights.")
    position, step = facts.position(paths[0]), facts.step(paths[0])
    _check(facts.recipe(paths[0]), recipe, run.id)
    before = run.recipe_at(step)
    _check_past(before, recipe, position)
    origin = Lineage(run.id, step, tuple(differences(before, recipe)))
    with draft_in(run.path.parent) as draft:  # gigabytes are copied, and no list shows it before they are there
        made = store.create(recipe, run.job, draft)
        _take_along(made, run, paths, position)
        made.write_json(made.lineage_file, vars(origin))
        made.report(**_said(run, position), step=step, state="stopped", message=origin.words())
        return Run(made.path.rename(free_name(run.path.parent, made.id)))


def _take_along(made: Run, run: Run, paths: list[Path], position: dict[str, Any]) -> None:
    """Copy what a branch goes on with: states, what it learns from, its best so far, and the records until then."""
    kept = [*paths, run.targets_file, run.images_file, run.depth_file, run.records_file]
    for file in filter(Path.exists, kept):
        made.copy(file, made.path / file.relative_to(run.path))
    for best in (run.best, run.best_before):
        if facts.read(best).get("step") == str(position["best_step"]):
            made.copy(best, made.best)
            if best == run.best and run.predictions_file.exists():  # what it answered
                made.copy(run.predictions_file, made.predictions_file)
            if best == run.best and run.fitted_file.exists():  # and what was fitted to it
                made.copy(run.fitted_file, made.fitted_file)
    made.keep_records(facts.step(paths[0]), position)


def _said(run: Run, position: dict[str, Any]) -> dict[str, Any]:
    """What the status of a run said at a position."""
    said, epoch = run.said(), position["epoch"]
    scores = said.valid_score[:epoch]  # what came later is another run's
    shared = {name: getattr(said, name) for name in ("steps", "epochs", "epoch_steps")}
    return {**shared, "epoch": epoch, "valid_score": scores, "best_score": run.recipe.task.score.best(scores)}


def go_on(run: Run, recipe: Recipe, step: int | None = None) -> Run:
    """The same; where no state is early enough, a run that begins anew, with the best weights where those are."""

    def early(reached: int) -> bool:
        return step is None or reached <= step

    if any(early(facts.step(path)) for path in run.states):
        return branch(run, recipe, step)
    if (reached := facts.read(run.best).get("step", "")).isdigit() and early(int(reached)):
        recipe = recipe.with_value("model.backbone.weights", {"kind": "checkpoint", "path": str(run.best)})
    made = store.create(recipe, run.job, run.path.parent)
    made.write_json(made.lineage_file, vars(Lineage(run.id, 0, tuple(differences(run.recipe, recipe)))))
    return made


def _check_past(before: Recipe, after: Recipe, at: dict[str, Any]) -> None:
    """A UserError where the recipe changes a phase that is over, or ends one before where it stands."""
    over = at["phase"]
    for number, (one, other) in enumerate(zip(before.phases[:over], after.phases[:over], strict=False), start=1):
        if one != other:
            raise UserError(f"Phase {number} is over at this checkpoint.", "It cannot be changed any more.")
    if over < len(before.phases) and over >= len(after.phases):
        raise UserError(
            f"The recipe ends before phase {over + 1}, where this checkpoint stands.", "", "Keep its phases."
        )
    done = at["epoch"] - at["course"]["first"] + bool(at["batch"])
    if over < len(after.phases) and after.phases[over].epochs < done:
        what = f"Phase {over + 1} has begun {done} epochs and the recipe gives it {after.phases[over].epochs}."
        raise UserError(what, "", "Give it as many at least.")
