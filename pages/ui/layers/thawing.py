"""Edits of which layer groups train and how fast, in the draft's chosen phase."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from finetune_core.errors import UserError
from finetune_core.network import refit
from finetune_core.parts.backbones import Backbone
from finetune_core.recipe import presets
from pages.ui.kit import phasing, state


def set_thawed(names: Sequence[str], chosen: Collection[str]) -> None:
    """Let exactly these groups train."""
    phasing.edit(presets.with_thawed(phasing.chosen(), names, chosen))


def set_rate(names: Sequence[str], name: str, rate: float) -> None:
    """Give one group its own peak rate; a UserError where a recipe cannot hold it."""
    field, value = presets.group_rate(phasing.chosen(), names, name, rate)
    state.change_value(phasing.place(field), value)


def apply(names: Sequence[str], key: str) -> None:
    """Take over a preset."""
    phasing.edit(presets.with_preset(phasing.chosen(), names, key))


def take(backbone: Backbone) -> None:
    """Make this the draft's backbone, and fit what is thawed to it."""
    state.change(lambda draft: refit.with_backbone(draft, backbone))


def regroup(**changes: object) -> None:
    """Change the head or the layer groups of the draft's model; what was thawed stays thawed."""
    try:
        state.change(lambda draft: refit.with_model(draft, draft.model.replace(**changes)))
    except UserError as error:
        state.note(error)
