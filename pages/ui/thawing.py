"""Edits of which layer groups train and how fast, in the draft's chosen phase."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from finetune_core import groups, phases, plan
from finetune_core.errors import UserError
from finetune_core.recipe import Phase
from pages.ui import phasing, state


def thawed(phase: Phase, names: Sequence[str]) -> tuple[str, ...]:
    """The groups that train in a phase, stem to head; what no group is called by is left out."""
    try:
        return groups.matching(names, phase.thaw)
    except UserError:
        return tuple(name for name in names if name in phase.thaw)


def rates(phase: Phase, names: Sequence[str]) -> dict[str, float]:
    """Each group's peak rate, also the one that a frozen group would have."""
    return plan.peak_rates(_clean(phase, names).replace(thaw=("*",)), names)


def set_thawed(names: Sequence[str], chosen: Collection[str]) -> None:
    """Let exactly these groups train."""
    phasing.edit(_clean(phasing.chosen(), names).replace(thaw=phases.thawing(names, chosen)))


def set_rate(names: Sequence[str], name: str, rate: float) -> None:
    """Give one group its own peak rate. The head's is the phase's learning rate, which the others follow."""
    phase = _clean(phasing.chosen(), names)
    if name == groups.HEAD:
        rate = float(f"{rate / phase.multipliers.get(name, 1.0):.6g}")
        state.edit_value(phasing.place("learning_rate"), rate)
    elif rate > 0:
        factor = float(f"{rate / phase.learning_rate:.6g}")
        state.edit_value(phasing.place("multipliers"), {**phase.multipliers, name: factor})


def apply(names: Sequence[str], key: str) -> None:
    """Take over a preset."""
    phasing.edit(_preset(phasing.chosen(), names, key))


def current_preset(phase: Phase, names: Sequence[str]) -> str | None:
    """The preset that a phase equals, if any."""
    now = thawed(phase, names)
    for preset in groups.presets(names) if names else ():
        same = all(phase.multipliers.get(name, 1.0) == preset.multipliers.get(name, 1.0) for name in now)
        if set(preset.thaw) == set(now) and same:
            return preset.key
    return None


def refit(before: Sequence[str], names: Sequence[str]) -> None:
    """After a change of backbone, from the layer groups it had to those it has: presets hold, names unknown now go."""
    recipe = state.draft()
    key = phases.current_preset(recipe.phases, before) if before else None
    if key is None or key == "single":
        made = tuple(_refitted(phase, before, names) for phase in recipe.phases)
    else:
        made = phases.PRESETS[key].make(recipe.phases, names)
    if made != recipe.phases:
        state.edit(recipe.replace(phases=made))


def _refitted(phase: Phase, before: Sequence[str], names: Sequence[str]) -> Phase:
    if key := current_preset(phase, before):
        return _preset(phase, names, key)
    kept = thawed(phase, names)
    if set(kept) != set(phase.thaw) and phase.thaw != ("*",):
        phase = phase.replace(thaw=kept or (groups.HEAD,))
    return _clean(phase, names)


def _preset(phase: Phase, names: Sequence[str], key: str) -> Phase:
    preset = next(each for each in groups.presets(names) if each.key == key)
    return phase.replace(thaw=phases.thawing(names, preset.thaw), multipliers=preset.multipliers)


def _clean(phase: Phase, names: Sequence[str]) -> Phase:
    return phase.replace(multipliers={name: each for name, each in phase.multipliers.items() if name in names})
