"""The plan: every group's learning rate at every step, before anything runs. The loop uses the same functions."""

from collections.abc import Sequence
from typing import Any

from finetune_core.errors import UserError
from finetune_core.parts import Progress
from finetune_core.recipe import Phase, Recipe, Training
from finetune_core.recipe.names import matching


def peak_rates(phase: Phase, names: Sequence[str]) -> dict[str, float]:
    """Each group's peak rate in a phase, stem to head; 0 for frozen groups. UserErrors for names that match nothing."""
    thawed = matching(names, phase.thaw)
    if unknown := set(phase.multipliers) - set(names):
        what = f"There is no layer group called {sorted(unknown)[0]}."
        raise UserError(what, f"The groups are {', '.join(names)}.", "Mend the rate per group in the recipe.")
    return {name: phase.learning_rate * phase.multipliers.get(name, 1.0) if name in thawed else 0.0 for name in names}


def decay_factors(training: Training, names: Sequence[str]) -> dict[str, float]:
    """Each group's factor on the weight decay, stem to head. UserErrors for names that match nothing."""
    return dict.fromkeys(names, 1.0) | {
        name: factor for pattern, factor in training.decay.items() for name in matching(names, [pattern])
    }


def full_length(recipe: Recipe) -> list[int]:
    """The epochs of each phase if none ends early."""
    return [phase.epochs for phase in recipe.phases]


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
    recipe: Recipe, names: Sequence[str], epoch_steps: int, lasting: Sequence[int] = (), every: int = 1
) -> list[dict[str, Any]]:
    """`{"step", "lr": {group: rate}}` for every optimizer step of all phases.

    `lasting` are the epochs that each phase really takes, where some ended early. With `every` above 1 only so many
    steps are worked out, and the last of each phase: enough to be looked at.
    """
    rows: list[dict[str, Any]] = []
    first = 0
    for phase, epochs in zip(recipe.phases, lasting or full_length(recipe), strict=True):
        peaks, steps, lasts = peak_rates(phase, names), phase.epochs * epoch_steps, epochs * epoch_steps
        for step in sorted({*range(0, lasts, every), lasts - 1} - {-1}):
            rows.append({"step": first + step, "lr": rates(phase, peaks, Progress(step, steps, epoch_steps))})
        first += lasts
    return rows
