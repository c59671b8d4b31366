"""Edits of which layer groups train and how fast, in the draft's first phase."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from finetune_core import groups, plan
from finetune_core.errors import UserError
from finetune_core.recipe import Phase, Recipe
from pages.ui import state


def thawed(recipe: Recipe, names: Sequence[str]) -> tuple[str, ...]:
    """The groups that train in the first phase, stem to head; what no group is called by is left out."""
    patterns = recipe.phases[0].thaw
    try:
        return groups.matching(names, patterns)
    except UserError:
        return tuple(name for name in names if name in patterns)


def rates(recipe: Recipe, names: Sequence[str]) -> dict[str, float]:
    """Each group's peak rate, also the one that a frozen group would have."""
    return plan.peak_rates(_clean(recipe.phases[0], names).replace(thaw=("*",)), names)


def set_thawed(names: Sequence[str], chosen: Collection[str]) -> None:
    """Let exactly these groups train."""
    _edit(_clean(state.draft().phases[0], names).replace(thaw=tuple(name for name in names if name in chosen)))


def set_rate(names: Sequence[str], name: str, rate: float) -> None:
    """Give one group its own peak rate. The head's is the recipe's learning rate, which the others follow."""
    phase = _clean(state.draft().phases[0], names)
    if name == groups.HEAD:
        state.edit_value("phases.0.learning_rate", rate)
    elif rate > 0:
        factor = float(f"{rate / phase.learning_rate:.6g}")
        state.edit_value("phases.0.multipliers", {**phase.multipliers, name: factor})


def apply(names: Sequence[str], key: str) -> None:
    """Take over a preset."""
    preset = next(each for each in groups.presets(names) if each.key == key)
    _edit(state.draft().phases[0].replace(thaw=preset.thaw, multipliers=preset.multipliers))


def current_preset(recipe: Recipe, names: Sequence[str]) -> str | None:
    """The preset that the draft's first phase equals, if any."""
    phase, now = recipe.phases[0], thawed(recipe, names)
    for preset in groups.presets(names):
        same = all(phase.multipliers.get(name, 1.0) == preset.multipliers.get(name, 1.0) for name in now)
        if set(preset.thaw) == set(now) and same:
            return preset.key
    return None


def refit(names: Sequence[str]) -> None:
    """After a change of backbone: forget groups that the new one does not have, and train at least its head."""
    recipe = state.draft()
    kept = thawed(recipe, names)
    if set(kept) != set(recipe.phases[0].thaw) or set(recipe.phases[0].multipliers) - set(names):
        _edit(_clean(recipe.phases[0], names).replace(thaw=kept or (groups.HEAD,)))


def _clean(phase: Phase, names: Sequence[str]) -> Phase:
    return phase.replace(multipliers={name: each for name, each in phase.multipliers.items() if name in names})


def _edit(phase: Phase) -> None:
    recipe = state.draft()
    state.edit(recipe.replace(phases=(phase, *recipe.phases[1:])))
