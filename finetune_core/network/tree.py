"""A network as a tree of modules, as plain data: what `print(model)` shows, with sizes and layer groups (seed 001).

It is built without its weights, on torch's meta device, so that it takes no memory and hardly any time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetune_core.network.build import with_head
from finetune_core.network.network import Network
from finetune_core.network.stages import inside
from finetune_core.parts.backbones.spec import Plan
from finetune_core.recipe import holding
from finetune_core.recipe.holding import Weight

if TYPE_CHECKING:
    from finetune_core.recipe import Model


@dataclass(frozen=True)
class Node:
    """One module: dotted name, class, parameters in it and below; its layer group, empty where it spans several."""

    path: str
    type: str
    parameters: int
    group: str

    @property
    def depth(self) -> int:
        """How far down in the tree; 0 for a child of the network."""
        return self.path.count(".")


@dataclass(frozen=True)
class Tree:
    """All modules in the network's order, its parameters, and the layer group of each of those."""

    nodes: tuple[Node, ...]
    weights: tuple[Weight, ...]
    groups: Mapping[str, str]

    def held(self, rules: Sequence[str]) -> dict[str, int]:
        """How many parameters of each layer group are held by these rules; a UserError for a rule that means none."""
        return Counter(self.groups[name] for name in holding.held(self.weights, rules))


def above(names: Iterable[str]) -> Counter[str]:
    """How many of some parameters each module holds, in it and below, by dotted name."""
    steps = [name.split(".") for name in names]
    return Counter(".".join(each[:depth]) for each in steps for depth in range(1, len(each)))


def build(model: Model, outputs: int, image_size: int | None = None) -> Tree:
    """The tree of a recipe's network with a head for so many outputs; UserErrors as the network's own."""
    network = skeleton(model, outputs, image_size)
    groups = {name: group.name for group in network.groups for name in group.parameters}
    return Tree(_nodes(network, groups), holding.weights(network.module), groups)


def skeleton(model: Model, outputs: int, image_size: int | None = None) -> Network:
    """The network of a recipe without its weights: to be looked at, not to be run."""
    import torch

    plan = Plan(outputs, image_size)
    try:
        with torch.device("meta"):
            return with_head(model.backbone.bare(plan), model, outputs)
    except (NotImplementedError, RuntimeError):  # some networks compute with tensors, for which meta has no numbers
        return with_head(model.backbone.bare(plan), model, outputs)


def _nodes(network: Network, groups: Mapping[str, str]) -> tuple[Node, ...]:
    tops = {top: group.name for group in network.groups for top in group.modules}
    nodes = []
    for path, module in network.module.named_modules():
        if not path:
            continue
        owners = {groups[name] for name, _ in module.named_parameters(prefix=path) if name in groups}
        home = next((group for top, group in tops.items() if inside(path, top)), "")
        count = sum(parameter.numel() for parameter in module.parameters())
        nodes.append(Node(path, type(module).__name__, count, owners.pop() if len(owners) == 1 else home))
    return tuple(nodes)
