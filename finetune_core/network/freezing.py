"""What learns and what stands still: layer groups frozen by mode and by gradient, and as optimizer groups."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from finetune_core.errors import UserError
from finetune_core.network.network import LayerGroup, Network
from finetune_core.recipe import holding, plan
from finetune_core.recipe.names import matching

if TYPE_CHECKING:
    from torch import nn

    from finetune_core.recipe import Phase

Statistics = Literal["hold", "update", "batch"]


@dataclass(frozen=True)
class Division:
    """A network in a phase: what of it learns and what stands still, worked out once.

    A thawed group of which only a part is held is in both: with the rest, and as `layer4 (held)` with that part.
    """

    network: Network
    thawed: tuple[str, ...]  # names of the groups that are not frozen, stem to head
    learning: tuple[LayerGroup, ...]
    still: tuple[LayerGroup, ...]
    statistics: Mapping[str, Statistics]  # what its norm layers normalise by, for each of these

    def freeze(self) -> None:
        """Let exactly what learns have gradients.

        Frozen parameters lose theirs: with a stale gradient an optimizer would keep moving them.
        """
        warm = {name for group in self.learning for name in group.parameters}
        for name, parameter in self.network.module.named_parameters():
            parameter.requires_grad_(name in warm)
            if name not in warm:
                parameter.grad = None

    def train_mode(self) -> None:
        """Put what learns in train mode and what stands still in eval mode.

        So what is frozen is a pure function: its BatchNorm statistics hold still and its dropout is off. Norm layers
        alone may have another mode: they normalise by the batch, and their statistics adapt or are left as they are,
        or both hold still, whether their weights learn or not. Only modes change, so the state dict keeps its keys.
        """
        self.network.module.train(bool(self.learning))
        for group in self.still:
            for name in group.modules:
                self.network.module.get_submodule(name).eval()
        for layer, how in self._norms():
            layer.training = how != "hold"  # not train(), which would wake dropout inside of it
            layer.track_running_stats = how != "batch"  # another phase may have left it otherwise

    def by_batch(self) -> Iterator[Any]:
        """The norm layers that normalise by the batch."""
        return (layer for layer, how in self._norms() if how != "hold")

    def _norms(self) -> Iterable[tuple[Any, Statistics]]:
        """Each norm layer, and what it normalises by; one that is held in part alone goes with its group."""
        found: dict[str, tuple[Any, Statistics]] = {}
        for group in (*self.network.groups, *self.still):
            if how := self.statistics.get(group.name):
                found |= {path: (layer, how) for path, layer in norm_layers(self.network, group)}
        return found.values()

    def adapting(self) -> Iterator[str]:
        """Dotted names of the norm layers that stand still, and yet adapt their statistics."""
        for group in self.still:
            if self.statistics[group.name] == "update":
                yield from (path for path, _ in norm_layers(self.network, group))


def divide(
    network: Network,
    thaw: Collection[str],
    hold: Sequence[str] = (),
    statistics: Statistics = "hold",
    norms: Mapping[str, Statistics] | None = None,
) -> Division:
    """The division where these groups are thawed (names or patterns) but for what `hold` means.

    Norm layers that learn adapt their `statistics`, for others these are given; `norms` says so for single groups.
    """
    warm = matching([group.name for group in network.groups], list(thaw))
    single = norms or {}
    kinds: dict[str, Statistics] = {}
    held = set(holding.held(holding.weights(network.module), hold)) if hold else set()
    learning, still = [], []  # type: tuple[list[LayerGroup], list[LayerGroup]]
    for group in network.groups:
        kept = held.intersection(group.parameters) if group.name in warm else set(group.parameters)
        if group.name in warm and kept:
            still.append(_part(network, group, kept, f"{group.name} (held)"))
            kinds[still[-1].name] = single.get(group.name, statistics)
            group = _part(network, group, set(group.parameters) - kept, group.name)
        if group.parameters:
            (still if group.name not in warm else learning).append(group)
            kinds[group.name] = single.get(group.name, "update" if group.name in warm else statistics)
    return Division(network, warm, tuple(learning), tuple(still), kinds)


def in_phase(network: Network, phase: Phase) -> Division:
    """The division of a phase; a UserError where it thaws or holds what is not there, or leaves nothing to learn."""
    single: Any = plan.norm_statistics(phase, [group.name for group in network.groups])
    division = divide(network, phase.thaw, phase.hold, phase.norm_statistics, single)
    if not division.learning:
        why = f"All that is thawed is held ({', '.join(phase.hold)})." if phase.hold else "Every layer group is frozen."
        raise UserError("Nothing would train.", why, "Thaw the head, or hold less.")
    return division


def _part(network: Network, group: LayerGroup, wanted: set[str], name: str) -> LayerGroup:
    """A group with some of its parameters only, and with the modules that lie wholly inside those."""
    parameters = tuple(each for each in group.parameters if each in wanted)
    count = sum(network.module.get_parameter(each).numel() for each in parameters)
    whole = len(parameters) == len(group.parameters)
    modules = group.modules if whole else tuple(_wholly(network.module, group.modules, wanted))
    return LayerGroup(name, parameters, modules, count)


def _wholly(module: nn.Module, paths: Iterable[str], wanted: set[str]) -> Iterator[str]:
    """The largest modules at or below `paths` whose parameters are all wanted; those without any are not."""
    for path in paths:
        below = module.get_submodule(path)
        names = {f"{path}.{name}" for name, _ in below.named_parameters()}
        if names and names <= wanted:
            yield path
        elif names & wanted:
            yield from _wholly(module, (f"{path}.{name}" for name, _ in below.named_children()), wanted)


def norm_layers(network: Network, group: LayerGroup) -> Iterator[tuple[str, Any]]:
    """The layers of a group that keep running statistics, as BatchNorm does, by dotted name."""
    for top in group.modules:
        for path, layer in network.module.get_submodule(top).named_modules(prefix=top):
            if any(name.startswith("running_") for name, _ in layer.named_buffers(recurse=False)):
                yield path, layer


def param_groups(
    network: Network,
    decay: Mapping[str, float],
    rates: Mapping[str, float],
    decay_all: bool = False,
    rules: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Optimizer groups for all layer groups, also the frozen ones (rate 0 where `rates` has no entry).

    All are made up front, because torch's schedulers and optimizer states cannot take in groups later. Norm layers and
    biases (at most one dimension, timm's rule) come in a dict of their own with the same name, and with no weight decay
    unless `decay_all`; so do parameters that others of these `rules` mean, which stand beside their name. A UserError
    for a rule that means none.
    """
    parameters = dict(network.module.named_parameters())
    meant = holding.rules_of(holding.weights(network.module), rules)
    result = []
    for group in network.groups:
        parts: dict[tuple[bool, tuple[str, ...]], list[Any]] = {}
        for name in group.parameters:
            parts.setdefault((parameters[name].ndim <= 1, meant.get(name, ())), []).append(parameters[name])
        for small, own in sorted(parts):
            made = {"params": parts[small, own], "name": group.name, "lr": float(rates.get(group.name, 0.0))}
            made["weight_decay"] = 0.0 if small and not decay_all else decay[group.name]
            result.append(made | ({"rules": own} if meant else {}))
    return result
