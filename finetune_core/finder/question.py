"""What a range test or a race answers: for which recipes its result speaks. Pure, without torch."""

from __future__ import annotations

from finetune_core.parts.backbones import Checkpoint
from finetune_core.recipe import Model, Phase, Recipe


def same_ground(one: Recipe, other: Recipe) -> bool:
    """Whether two recipes are of the same data and network, wherever its weights came from."""
    return one.data.source == other.data.source and without_weights(one.model) == without_weights(other.model)


def question(recipe: Recipe, phase: Phase, group: str = "") -> tuple[object, ...]:
    """What else decides the result of a test in a phase, in which one group's rate moved, or all; equal ones fit."""
    training = recipe.training
    ratios = {name: factor for name, factor in phase.multipliers.items() if name != group}
    weights = recipe.model.backbone.weights
    decay = training.decay, training.decay_all
    single = phase.by_name, phase.norm_statistics, phase.norms
    return set(phase.thaw), set(phase.hold), ratios, single, training.optimizer, decay, training.batch_size, weights


def without_weights(model: Model) -> Model:
    """What a model is, apart from what it has learned."""
    return model.replace(backbone=model.backbone.replace(weights=Checkpoint()))
