"""The plan: every group's learning rate at every step, before anything runs. The loop uses the same functions."""

from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any

from finetune_core.errors import UserError
from finetune_core.parts import Progress
from finetune_core.recipe import Phase, Recipe, Training
from finetune_core.recipe.changes import Made, applied
from finetune_core.recipe.names import HEAD, matching

HEAD_TURN = 4  # epochs: decision 25


def peak_rates(phase: Phase, names: Sequence[str]) -> dict[str, float]:
    """Each group's peak rate in a phase, stem to head; 0 for frozen groups. UserErrors for names that match nothing."""
    thawed = matching(names, phase.thaw)
    if unknown := set(phase.multipliers) - set(names):
        what = f"There is no layer group called {sorted(unknown)[0]}."
        raise UserError(what, f"The groups are {', '.join(names)}.", "Mend the rate per group in the recipe.")
    return {name: phase.learning_rate * phase.multipliers.get(name, 1.0) if name in thawed else 0.0 for name in names}


def turn(thawed: Collection[str]) -> int:
    """How many epochs in a row see the same of the views that are kept, so that the first ones need one view only.

    A head alone learns from them as well; where more layers learn, they soon know a view by heart.
    """
    return HEAD_TURN if set(thawed) == {HEAD} else 1


def decay_factors(training: Training, names: Sequence[str]) -> dict[str, float]:
    """Each group's factor on the weight decay, stem to head. UserErrors for names that match nothing."""
    return dict.fromkeys(names, 1.0) | {
        name: factor for pattern, factor in training.decay.items() for name in matching(names, [pattern])
    }


def norm_statistics(phase: Phase, names: Sequence[str]) -> dict[str, str]:
    """What a phase asks of the norm layers of single groups. UserErrors for names that match nothing."""
    return {name: how for pattern, how in phase.norms.items() for name in matching(names, [pattern])}


def full_length(recipe: Recipe, changes: Sequence[Made] = ()) -> list[int]:
    """The epochs of each phase if none ends early, as the changes have left them."""
    return [phase.epochs for phase in applied(recipe.phases, changes)]


def starts(lasting: Sequence[int], epoch_steps: int) -> list[int]:
    """The first step of each phase, where phases last so many epochs."""
    return [sum(lasting[:index]) * epoch_steps for index in range(len(lasting))]


def rates(phase: Phase, peaks: dict[str, float], progress: Progress) -> dict[str, float]:
    """Each group's rate at one step of a phase."""
    factor = phase.schedule.multiplier(progress)
    return {name: peak * factor for name, peak in peaks.items()}


def momentum(phase: Phase, progress: Progress) -> float | None:
    """The optimizer's momentum at one step of a phase; None where the schedule leaves it alone."""
    return phase.schedule.momentum(progress) if phase.schedule.moves_momentum else None


def plan(
    recipe: Recipe,
    names: Sequence[str],
    epoch_steps: int,
    lasting: Sequence[int] = (),
    changes: Sequence[Made] = (),
    every: int = 1,
) -> list[dict[str, Any]]:
    """`{"step", "lr": {group: rate}}` for every optimizer step of all phases.

    `lasting` are the epochs that each phase really takes, where some ended early; each of the `changes` that were made
    holds from its own step on. With `every` above 1 only so many steps are worked out, and the first and last of each
    stretch: enough to be looked at.
    """
    rows: list[dict[str, Any]] = []
    end = 0
    for index, epochs in enumerate(lasting or full_length(recipe, changes)):
        first, end = end, end + epochs * epoch_steps
        marks = {each.step for each in changes if each.phase == index and first < each.step < end}
        for start, until in pairwise(sorted({first, *marks, end})):
            phase = applied(recipe.phases, [each for each in changes if each.step <= start])[index]
            peaks, steps = peak_rates(phase, names), phase.epochs * epoch_steps
            for step in sorted({*range(start, until, every), until - 1}):
                rows.append({"step": step, "lr": rates(phase, peaks, Progress(step - first, steps, epoch_steps))})
    return rows
