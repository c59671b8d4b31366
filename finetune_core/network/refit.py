"""A recipe fitted to another network: what was chosen of layer groups goes along where it can."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

from finetune_core.errors import UserError
from finetune_core.network import catalogue
from finetune_core.network.catalogue import Entry
from finetune_core.parts.backbones import Backbone, Bundled, File, Hub, RandomWeights
from finetune_core.recipe import Model, Phase, Recipe, presets, rules
from finetune_core.recipe.names import HEAD, thaw_patterns, thawed
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
    decay = _carried(recipe.training.decay, list(before), owners)
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
    if warm and not thawed:
        thawed = [HEAD]
    multipliers, norms = (_carried(each, before, owners) for each in (phase.multipliers, phase.norms))
    return phase.replace(thaw=thaw_patterns(list(owners), thawed), multipliers=multipliers, norms=norms)


def _carried(values: Mapping[str, Any], before: Sequence[str], owners: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What was said of groups by name or pattern, for those that stem from them; the last of several counts."""
    single = {name: value for key, value in values.items() for name in fnmatch.filter(before, key)}
    return {group: single[mine[-1]] for group, mine in owners.items() if mine and mine[-1] in single}


def with_backbone(recipe: Recipe, backbone: Backbone) -> Recipe:
    """The recipe with another backbone: presets hold, and what was said of layers that it has not goes.

    A UserError where there is no such backbone.
    """
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
    freed = tuple(presets.known_only(phase, names).replace(hold=(), by_name={}) for phase in made)
    decay = {name: factor for name, factor in recipe.training.decay.items() if name in names}
    return recipe.replace(model=model, phases=freed, training=recipe.training.replace(decay=decay))


def _refitted(phase: Phase, before: Sequence[str], names: Sequence[str]) -> Phase:
    if key := presets.current_preset(phase, before):
        return presets.with_preset(phase, names, key)
    kept = thawed(phase.thaw, names)
    if set(kept) != set(phase.thaw) and phase.thaw != ("*",):
        phase = phase.replace(thaw=kept or (HEAD,))
    return presets.known_only(phase, names)


def named(text: str) -> Backbone:
    """A backbone by its name, `resnet18` or `torchvision/resnet18`, with the best weights or those of `name=file`.

    A UserError where there is no such network.
    """
    name, _, file = text.partition("=")
    library, _, architecture = name.strip().rpartition("/")
    libraries = [library] if library else catalogue.LIBRARIES
    found = next(filter(None, (catalogue.find(each, architecture) for each in libraries)), None)
    backbone = best_backbone(found or catalogue.entry(libraries[0], architecture))
    return backbone.replace(weights=File(path=file.strip())) if file else backbone


def name_of(backbone: Backbone) -> str:
    """The name by which `named` finds it again, but for weights that are neither the best nor a file's."""
    file = f"={backbone.weights.path}" if isinstance(backbone.weights, File) else ""
    return f"{backbone.kind}/{backbone.architecture}{file}"


def best_backbone(entry: Entry) -> Backbone:
    """An architecture with the best weights that there are for it: bundled, else published, else random."""
    backbone = Backbone.kinds()[entry.library](architecture=entry.architecture)
    ways = (Bundled(), Hub()) if entry.pretrained else (Bundled(),)
    weights = next((way for way in ways if way.offered(backbone)), RandomWeights())
    return backbone.replace(weights=weights)
