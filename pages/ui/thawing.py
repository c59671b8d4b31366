"""Edits of which layer groups train and how fast, in the draft's chosen phase."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from finetune_core.errors import UserError
from finetune_core.network import catalogue
from finetune_core.network.refit import with_model
from finetune_core.parts.backbones import Backbone
from finetune_core.recipe import Phase, plan, rules
from finetune_core.recipe.names import HEAD, matching, thawing
from finetune_core.recipe.presets import presets
from pages.ui import phasing, state


def thawed(phase: Phase, names: Sequence[str]) -> tuple[str, ...]:
    """The groups that train in a phase, stem to head; what no group is called by is left out."""
    try:
        return matching(names, phase.thaw)
    except UserError:
        return tuple(name for name in names if name in phase.thaw)


def rates(phase: Phase, names: Sequence[str]) -> dict[str, float]:
    """Each group's peak rate, also the one that a frozen group would have."""
    return plan.peak_rates(_clean(phase, names).replace(thaw=("*",)), names)


def set_thawed(names: Sequence[str], chosen: Collection[str]) -> None:
    """Let exactly these groups train."""
    phasing.edit(_clean(phasing.chosen(), names).replace(thaw=thawing(names, chosen)))


def set_rate(names: Sequence[str], name: str, rate: float) -> None:
    """Give one group its own peak rate; 0 changes nothing.

    The head's is the phase's learning rate, which the others follow.
    """
    if not rate:
        return
    phase = _clean(phasing.chosen(), names)
    if name == HEAD:
        rate = float(f"{rate / phase.multipliers.get(name, 1.0):.6g}")
        state.edit_value(phasing.place("learning_rate"), rate)
    else:
        factor = float(f"{rate / phase.learning_rate:.6g}")
        state.edit_value(phasing.place("multipliers"), {**phase.multipliers, name: factor})


def apply(names: Sequence[str], key: str) -> None:
    """Take over a preset."""
    phasing.edit(_preset(phasing.chosen(), names, key))


def current_preset(phase: Phase, names: Sequence[str]) -> str | None:
    """The preset that a phase equals, if any."""
    now = thawed(phase, names)
    for preset in presets(names) if names else ():
        same = all(phase.multipliers.get(name, 1.0) == preset.multipliers.get(name, 1.0) for name in now)
        if set(preset.thaw) == set(now) and same:
            return preset.key
    return None


def refit(backbone: Backbone) -> None:
    """Make this the draft's backbone: presets hold, and what was said of layers that it has not goes."""
    recipe = state.draft()
    try:
        before: tuple[str, ...] = catalogue.layer_names(recipe.model)
    except UserError:  # an unknown name, written by hand
        before = ()
    model = recipe.model.replace(backbone=backbone, split=(), merge=())
    names = catalogue.layer_names(model)
    key = rules.current_preset(recipe.phases, before) if before else None
    if key is None or key == "single":
        made = tuple(_refitted(phase, before, names) for phase in recipe.phases)
    else:
        made = rules.PRESETS[key].make(recipe.phases, names)
    freed = tuple(phase.replace(hold=()) for phase in made)
    decay = {name: factor for name, factor in recipe.training.decay.items() if name in names}
    state.edit(recipe.replace(model=model, phases=freed, training=recipe.training.replace(decay=decay)))


def regroup(**changes: object) -> None:
    """Change the head or the layer groups of the draft's model; what was thawed stays thawed."""
    recipe = state.draft()
    try:
        state.edit(with_model(recipe, recipe.model.replace(**changes)))
    except UserError as error:
        state.note(error)


def _refitted(phase: Phase, before: Sequence[str], names: Sequence[str]) -> Phase:
    if key := current_preset(phase, before):
        return _preset(phase, names, key)
    kept = thawed(phase, names)
    if set(kept) != set(phase.thaw) and phase.thaw != ("*",):
        phase = phase.replace(thaw=kept or (HEAD,))
    return _clean(phase, names)


def _preset(phase: Phase, names: Sequence[str], key: str) -> Phase:
    preset = next(each for each in presets(names) if each.key == key)
    return phase.replace(thaw=thawing(names, preset.thaw), multipliers=preset.multipliers)


def _clean(phase: Phase, names: Sequence[str]) -> Phase:
    return phase.replace(multipliers={name: each for name, each in phase.multipliers.items() if name in names})
