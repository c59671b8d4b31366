"""A network with a new head, in layer groups, stem to head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from finetune_core.parts import Call
from finetune_core.parts.backbones.spec import Sighted


@dataclass(frozen=True)
class LayerGroup:
    """Some parameters and modules that a person treats as one thing.

    `parameters` are names in the state dict, `modules` the largest modules that lie wholly inside, `count` the number
    of single weights.
    """

    name: str
    parameters: tuple[str, ...]
    modules: tuple[str, ...]
    count: int


@dataclass(frozen=True)
class Fitting:
    """How a head is put on a network: code that opens the `model` for it, then new layers by dotted name."""

    classifier: str  # where the head then is
    layers: tuple[tuple[str, Call], ...]
    opening: tuple[str, ...] = ()


@dataclass
class Network(Sighted):
    """A network with its new head, whose dotted name is now that of the classifier."""

    groups: tuple[LayerGroup, ...]
    fitting: Fitting
    arguments: Mapping[str, Any] = field(default_factory=dict)  # what the library's constructor was given besides
    notes: tuple[str, ...] = ()  # what a person should know of its weights, such as what was left out
