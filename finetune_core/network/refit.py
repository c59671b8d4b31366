"""A recipe fitted to another network: what was chosen of layer groups goes along where it can."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence

from finetune_core.network import catalogue
from finetune_core.recipe import Model, Phase, Recipe
from finetune_core.recipe.names import HEAD, thawing
from finetune_core.recipe.regroup import neighbours, splittable


def with_model(recipe: Recipe, model: Model) -> Recipe:
    """The recipe with another head, or other layer groups, of the same backbone.

    What was thawed stays thawed, at its rate and with its weight decay; the head where nothing else is left. Splits and
    merges that are no longer possible go.
    """
    model = _possible(model)
    before, after = _pieces(_possible(recipe.model)), _pieces(model)
    owner = {piece: group for group, pieces in before.items() for piece in pieces}
    owners = {group: [owner[piece] for piece in pieces if piece in owner] for group, pieces in after.items()}
    factors = {name: f for key, f in recipe.training.decay.items() for name in fnmatch.filter(before, key)}
    decay = {group: factors[mine[-1]] for group, mine in owners.items() if mine and mine[-1] in factors}
    changed = tuple(_moved(phase, list(before), owners) for phase in recipe.phases)
    return recipe.replace(model=model, phases=changed, training=recipe.training.replace(decay=decay))


def _possible(model: Model) -> Model:
    body = catalogue.entry(model.backbone.kind, model.backbone.architecture).body_under(model.head)
    able = splittable(body)
    model = model.replace(split=tuple(name for name in model.split if name in able))
    names = list(catalogue.layer_pieces(model.replace(merge=())))
    return model.replace(merge=tuple(members for members in model.merge if neighbours(names, members)))


def _pieces(model: Model) -> dict[str, tuple[str, ...]]:
    return {**catalogue.layer_pieces(model), HEAD: (HEAD,)}


def _moved(phase: Phase, before: Sequence[str], owners: Mapping[str, Sequence[str]]) -> Phase:
    """The phase for groups of which each stems from some of those before."""
    warm = {name for pattern in phase.thaw for name in fnmatch.filter(before, pattern)}
    thawed = [group for group, mine in owners.items() if warm.intersection(mine)]
    factors = {
        group: phase.multipliers[mine[-1]] for group, mine in owners.items() if mine and mine[-1] in phase.multipliers
    }
    if warm and not thawed:
        thawed = [HEAD]
    return phase.replace(thaw=thawing(list(owners), thawed), multipliers=factors)
