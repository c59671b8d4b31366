"""Phases made by rule: whole runs (two stages, gradual unfreezing) and the rates of one phase. Pure, without torch.

Names are a network's layer groups, stem first, `head` last. A phase's multipliers are factors on its learning rate,
which is the rate of its last thawed group, usually the head.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from finetune_core.errors import UserError
from finetune_core.recipe import Phase, plan
from finetune_core.recipe.names import HEAD, freeze_to, matching, thaw_patterns

Phases = tuple[Phase, ...]
NUMBER = Phase.knob("multipliers").each  # a rule's numbers are rates, and what they are divided or multiplied by

HEAD_SHARE = 1 / 3  # of the epochs of a two-stage run: a linear head is soon as good as frozen features let it be
SLICE = 100.0  # between the head's rate and the stem's once everything thaws, as fastai's fine_tune
AT_REST: dict[str, Any] = {"multipliers": {}, "hold": (), "by_name": {}, "norm_statistics": "hold", "norms": {}}
# Of a quick head: on clothing10 with mobilenetv2_100 as good as fresh draws, over three seeds and within a point
QUICK: dict[str, Any] = {"epochs": 20, "learning_rate": 1e-3, "views": 3}
SEED_FALL = (1.0, 0.5, 0.1, 0.05, 0.01, 0.001)  # seed 002: the head's peak in each of its six milestones, from 1e-3
NEWEST = 0.5  # seed 002: the group that has just thawed learns at about half the rate of the others


def with_rates(phase: Phase, names: Sequence[str], rates: Mapping[str, float]) -> Phase:
    """The phase with exactly these peak rates by group; groups at 0, or not named, are frozen.

    A UserError where all are 0.
    """
    thawed = [name for name in names if rates.get(name, 0.0) > 0]
    if not thawed:
        raise UserError("Nothing would train.", "The rate of every layer group is 0.", "Give at least the head a rate.")
    top = rates[thawed[-1]]
    factors = {name: float(f"{rates[name] / top:.15g}") for name in thawed}
    multipliers = {name: factor for name, factor in factors.items() if factor != 1.0}
    return phase.replace(thaw=thaw_patterns(names, thawed), learning_rate=top, multipliers=multipliers)


# Rates of one phase


def between(phase: Phase, names: Sequence[str], low: float, high: float) -> Phase:
    """Rates from `low` for the earliest thawed group to `high` for the last, by the same factor from group to group."""
    thawed = matching(names, phase.thaw)
    steps = max(1, len(thawed) - 1)
    fall = {name: (low / high) ** (step / steps) for step, name in enumerate(reversed(thawed))}
    return with_rates(phase, names, {name: high * factor for name, factor in fall.items()})


def divided(phase: Phase, names: Sequence[str], factor: float) -> Phase:
    """Each group at the rate of the one after it, divided by `factor`."""
    return decayed(phase, names, 1 / factor)


def decayed(phase: Phase, names: Sequence[str], decay: float) -> Phase:
    """Each group at `decay` times the rate of the one after it; frozen groups count too, so thawing moves no rate."""
    fall = {name: decay**step for step, name in enumerate(reversed(names)) if step}
    return _body(phase, names, fall)


def head_times(phase: Phase, names: Sequence[str], factor: float) -> Phase:
    """The head at `factor` times the rate of the whole body; the head keeps its rate."""
    return _body(phase, names, dict.fromkeys(names[:-1], 1 / factor))


def reduced(phase: Phase, names: Sequence[str], rate: float, body: float, head: float) -> Phase:
    """The body at `rate / body`, the head at `rate / head`, where `rate` was good for the head alone."""
    return _body(phase.replace(learning_rate=rate / head), names, dict.fromkeys(names[:-1], head / body))


def _body(phase: Phase, names: Sequence[str], factors: Mapping[str, float]) -> Phase:
    """The phase with factors for its thawed body groups."""
    thawed = matching(names, phase.thaw)
    return phase.replace(
        multipliers={name: float(f"{factor:.15g}") for name, factor in factors.items() if name in thawed}
    )


@dataclass(frozen=True)
class RateRule:
    """A rule for the rates of one phase: `apply(phase, names, *numbers)`; `defaults` offers the numbers."""

    key: str
    title: str
    help: str
    numbers: tuple[str, ...]
    defaults: Callable[[Phases, int], tuple[float, ...]]
    apply: Callable[..., Phase]


RATE_RULES = {
    rule.key: rule
    for rule in (
        RateRule(
            "slice",
            "From … to",
            "The earliest thawed group takes the first rate, the head the second, even steps on a log scale between.",
            ("Earliest group", "Head"),
            lambda phases, index: (_rate(phases[index]) / SLICE, _rate(phases[index])),
            between,
        ),
        RateRule(
            "divide",
            "÷ k per group",
            "Each group learns k times slower than the one after it; 10 to 100 are usual.",
            ("k",),
            lambda *_: (10.0,),
            divided,
        ),
        RateRule(
            "decay",
            "Layer decay",
            "Each group takes this share of the rate of the one after it; 0.65 to 0.9 are usual for transformers.",
            ("Share",),
            lambda *_: (0.75,),
            decayed,
        ),
        RateRule(
            "head",
            "Head × k",
            "One rate for the whole body, and k times as much for the head, which is new and has most to learn.",
            ("k",),
            lambda *_: (10.0,),
            head_times,
        ),
        RateRule(
            "reduce",
            "Body ÷ 50, head ÷ 2",
            "After a phase with the head alone: what was right for it then, cut for the body and for the head now.",
            ("Rate of the head alone", "Body ÷", "Head ÷"),
            lambda phases, index: (_rate(phases[max(0, index - 1)]), 50.0, 2.0),
            reduced,
        ),
    )
}


def apply_rule(phases: Phases, index: int, names: Sequence[str], key: str, numbers: Sequence[float]) -> Phases:
    """The phases with the rates of one set by rule; a UserError for numbers that do not fit."""
    rule = RATE_RULES[key]
    if len(numbers) != len(rule.numbers):
        what = f"The rates “{rule.title}” need {len(rule.numbers)} numbers, not {len(numbers)}."
        raise UserError(what, hint=f"They are: {', '.join(rule.numbers)}.")
    if not all(math.isfinite(number) and number > 0 for number in numbers):
        raise UserError(f"The numbers for “{rule.title}” do not fit.", hint="Each must lie above 0.")
    try:
        made = rule.apply(phases[index], names, *numbers)
    except (ValueError, OverflowError) as error:  # pydantic's: outside the bounds of a phase
        why = "A rate would be larger or smaller than a recipe can hold."
        raise UserError(f"The numbers for “{rule.title}” do not fit.", why, "Take less extreme ones.") from error
    return (*phases[:index], made, *phases[index + 1 :])


# Whole runs


def single(phases: Phases, names: Sequence[str]) -> Phases:
    """One phase, as long as all were together, with what the first thaws; every epoch draws afresh."""
    return (phases[0].replace(epochs=_epochs(phases), views=0),)


def quick(phases: Phases, names: Sequence[str]) -> Phases:
    """The head alone on a few views of each image, which the backbone looks at once."""
    return (phases[0].replace(thaw=(HEAD,), **AT_REST, **QUICK),)


def two_stage(phases: Phases, names: Sequence[str]) -> Phases:
    """The head alone for a third of the epochs, then everything, the head at half its rate, the stem at a 200th."""
    rate, epochs = _rate(phases[0]), _epochs(phases)
    first = max(1, round(epochs * HEAD_SHARE))
    alone = phases[0].replace(epochs=first, thaw=(HEAD,), learning_rate=rate, multipliers={})
    whole = alone.replace(epochs=max(1, epochs - first), thaw=("*",), views=0)
    return (alone, between(whole, names, rate / 2 / SLICE, rate / 2))


def gradual(phases: Phases, names: Sequence[str]) -> Phases:
    """One group more each phase, head first, until everything trains, at rates that fall from phase to phase."""
    rate, count = _rate(phases[0]), len(names)
    each, rest = divmod(max(_epochs(phases), count), count)
    made = []
    for number, fall in enumerate(_fall(count)):
        thawed = freeze_to(-1 - number, names)
        rates = dict.fromkeys(thawed, rate * fall)
        if number:
            rates[thawed[0]] *= NEWEST
        phase = phases[0].replace(epochs=each + (rest if number == count - 1 else 0), views=0)
        made.append(with_rates(phase, names, rates))
    return tuple(made)


def _fall(count: int) -> list[float]:
    """Seed 002's fall of the head's rate, stretched over `count` phases on a log scale."""
    places = np.linspace(0, len(SEED_FALL) - 1, count)
    powers = np.interp(places, range(len(SEED_FALL)), np.log10(SEED_FALL))
    return [float(f"{10**power:.3g}") for power in powers]


def followed(phases: Phases, index: int, names: Sequence[str]) -> Phases:
    """A phase more after one of them: with one group more thawed where any is left, at half its rates."""
    phase = phases[index]
    warm = {name for name, rate in plan.peak_rates(phase, names).items() if rate > 0}
    cold = [name for name in names if name not in warm]
    thaw = thaw_patterns(names, warm | set(cold[-1:]))
    return (*phases[: index + 1], phase.replace(thaw=thaw, learning_rate=phase.learning_rate / 2), *phases[index + 1 :])


@dataclass(frozen=True)
class Preset:
    """A ready list of phases: `make(phases, names)` from the ones there were."""

    key: str
    title: str
    help: str
    make: Callable[[Phases, Sequence[str]], Phases]


PRESETS = {
    preset.key: preset
    for preset in (
        Preset(
            "quick",
            "Quick head",
            "The backbone looks at up to three views of each image, once each; the head learns from that in seconds.",
            quick,
        ),
        Preset("single", "One phase", "The same groups at the same rates from start to end.", single),
        Preset(
            "two_stage",
            "Two phases",
            "First the head alone, then everything, early layers slowest: the usual way to the best accuracy.",
            two_stage,
        ),
        Preset(
            "gradual",
            "Gradual unfreezing",
            "One group more in each phase, head first, at falling rates: gentle on what the backbone knows.",
            gradual,
        ),
    )
}


def is_quick(phases: Phases) -> bool:
    """Whether the head learns alone, on a few views of each image."""
    return len(phases) == 1 and phases[0].views > 0 and phases[0].thaw == (HEAD,)


def current_preset(phases: Phases, names: Sequence[str]) -> str | None:
    """The preset that these phases follow, whatever their epochs and the rate they start from."""
    if len(phases) == 1:
        return "quick" if is_quick(phases) else "single"
    for key in ("two_stage", "gradual"):
        made = PRESETS[key].make(phases, names)
        if [_shape(phase, names) for phase in made] == [_shape(phase, names) for phase in phases]:
            return key
    return None


def _shape(phase: Phase, names: Sequence[str]) -> tuple[object, ...]:
    try:
        return set(matching(names, phase.thaw)), phase.learning_rate, phase.multipliers
    except UserError:
        return (phase.thaw,)


def _epochs(phases: Phases) -> int:
    return sum(phase.epochs for phase in phases)


def _rate(phase: Phase) -> float:
    """The head's rate, to which all else is relative."""
    return float(f"{phase.learning_rate * phase.multipliers.get(HEAD, 1.0):.15g}")
