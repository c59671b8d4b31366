"""Ready choices of thawed groups for one phase. Pure, without torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from finetune_core.parts.numbers import Scale
from finetune_core.recipe import Phase, plan
from finetune_core.recipe.names import HEAD, thaw_patterns, thawed
from finetune_core.recipe.thawing import LEAST

THIRD = 0.33  # of the head's rate; `Recipe()` has the same


@dataclass(frozen=True)
class Preset:
    """A ready choice of thawed groups and of factors on the learning rate."""

    key: str
    title: str
    help: str
    thaw: tuple[str, ...]
    multipliers: dict[str, float]


def presets(names: Sequence[str]) -> list[Preset]:
    """The usual ways to fine-tune a network whose groups are `names`, stem first."""
    everything, body = tuple(names), list(names[:-1])
    tenfold = {name: max(10.0**-step, LEAST) for step, name in enumerate(reversed(names)) if step}
    return [
        Preset(
            "head_only",
            "Head only",
            "Train the new head on what the backbone already sees: fastest, hardest to spoil, best for few images.",
            (HEAD,),
            {},
        ),
        Preset(
            "last_stage",
            "Last stage",
            "Thaw the last body group too, at a tenth of the head's rate: its features are the most task-bound.",
            everything[-2:],
            dict.fromkeys(body[-1:], 0.1),
        ),
        Preset(
            "last_two",
            "Last two stages",
            "Thaw the last two body groups, at a third of the head's rate: what a fresh recipe begins with.",
            everything[-3:],
            dict.fromkeys(body[-2:], THIRD),
        ),
        Preset(
            "everything",
            "Everything",
            "Thaw all groups, the whole body at a tenth of the head's rate: best with many images, slowest.",
            everything,
            dict.fromkeys(body, 0.1),
        ),
        Preset(
            "tenfold",
            "÷10 per group",
            "Thaw all groups, each at a tenth of the rate of the one after it: early layers see edges and colours, "
            "which fit any task. From a thousandth on the rate stays, or the stem would not move at all.",
            everything,
            {name: tenfold[name] for name in body},
        ),
    ]


KEYS = tuple(each.key for each in presets(("body", HEAD)))


def current_preset(phase: Phase, names: Sequence[str]) -> str | None:
    """The preset that a phase equals, if any."""
    now = thawed(phase.thaw, names)
    for preset in presets(names) if names else ():
        same = all(phase.multipliers.get(name, 1.0) == preset.multipliers.get(name, 1.0) for name in now)
        if set(preset.thaw) == set(now) and same:
            return preset.key
    return None


def with_preset(phase: Phase, names: Sequence[str], key: str) -> Phase:
    """The phase with what a preset thaws, at its rates."""
    preset = next(each for each in presets(names) if each.key == key)
    return phase.replace(thaw=thaw_patterns(names, preset.thaw), multipliers=preset.multipliers)


def with_thawed(phase: Phase, names: Sequence[str], chosen: Collection[str]) -> Phase:
    """The phase with exactly these groups thawed, and no rate for a group that is not there."""
    return known_only(phase, names).replace(thaw=thaw_patterns(names, chosen))


def group_rate(phase: Phase, names: Sequence[str], name: str, rate: float) -> tuple[str, Any]:
    """Which value of a phase gives one group its own peak rate: (name of the field, what it becomes).

    The head's is the phase's learning rate, which the others follow.
    """
    phase = known_only(phase, names)
    if name == HEAD:
        return "learning_rate", float(f"{rate / phase.multipliers.get(name, 1.0):.15g}")
    return "multipliers", {**phase.multipliers, name: float(f"{rate / phase.learning_rate:.15g}")}


def group_scale(phase: Phase, name: str) -> Scale:
    """Which peak rates `group_rate` can give a group: those of a phase, as far as a factor reaches."""
    rates, factors = phase.knob("learning_rate").each, phase.knob("multipliers").each
    if name == HEAD:
        return rates.times(phase.multipliers.get(name, 1.0))
    return rates.within(factors.times(phase.learning_rate))


def all_rates(phase: Phase, names: Sequence[str]) -> dict[str, float]:
    """Each group's peak rate, also the one that a frozen group would have."""
    return plan.peak_rates(known_only(phase, names).replace(thaw=("*",)), names)


def known_only(phase: Phase, names: Sequence[str]) -> Phase:
    """The phase without rates and norm statistics for groups that are not there."""
    multipliers = {name: each for name, each in phase.multipliers.items() if name in names}
    norms = {key: how for key, how in phase.norms.items() if any(fnmatchcase(name, key) for name in names)}
    return phase.replace(multipliers=multipliers, norms=norms)
