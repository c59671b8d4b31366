"""Thawing further: what comes next below the groups that train, and how fast it may learn. Pure, without torch.

Early layers see edges and colours, which fit any task, so each group that joins learns slower than those above it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from finetune_core.recipe import Phase, Recipe
from finetune_core.recipe.names import thaw_patterns, thawed

TENTH = 0.1  # of the rate of the next thawed group above: the usual step between stages
LEAST = 1e-3  # below a thousandth of the phase's rate a group stands still in any run of ordinary length
SHARE = 4  # a stage more is about a quarter of all groups: one of a ResNet's six, three of a transformer's fourteen


def further(phase: Phase, names: Sequence[str], more: Collection[str]) -> Phase:
    """The phase with more groups thawed, each without a rate of its own at a tenth of the next thawed one above."""
    chosen = {*thawed(phase.thaw, names), *more}
    factors, above = dict(phase.multipliers), None
    for name in reversed(names):
        if name in more and name not in factors and above is not None:
            factors[name] = _slower(above)
        if name in chosen:
            above = factors.get(name, 1.0)
    return phase.replace(thaw=thaw_patterns(names, chosen), multipliers=factors)


def _slower(factor: float) -> float:
    return float(f"{min(factor, max(factor * TENTH, LEAST)):.3g}")


def next_groups(phase: Phase, names: Sequence[str]) -> tuple[str, ...]:
    """What would thaw next: what is frozen among the thawed groups, and some groups below; nothing where all train."""
    warm = thawed(phase.thaw, names)
    first = names.index(warm[0]) if warm else len(names)
    start = max(0, first - max(1, len(names) // SHARE)) if first else 0
    return tuple(name for name in names[start:] if name not in warm)


def thawed_more(recipe: Recipe, names: Sequence[str]) -> Recipe:
    """The recipe of the next stage: one phase, in which more groups thaw, at a tenth of the rate and half the epochs.

    Where everything is thawed already it only goes on at the lower rate. The weights to start from are left to others.
    """
    last = recipe.phases[-1]
    more = next_groups(last, names)
    stage = further(last, names, more) if more else last
    epochs = -(-last.epochs // 2)
    rate = max(float(f"{last.learning_rate * TENTH:.3g}"), Phase.knob("learning_rate").low or 0.0)
    return recipe.replace(phases=(stage.replace(epochs=epochs, learning_rate=rate),))


def next_words(recipe: Recipe, names: Sequence[str]) -> str:
    """What `thawed_more` does, in a sentence."""
    more = next_groups(recipe.phases[-1], names)
    if not more:
        return "Everything is thawed already, so this goes on with the same layers at a tenth of the rate."
    return f"Thaws {', '.join(more)} too, from the weights of this run, at a tenth of its rate."
