"""What learns and what stands still: layer groups frozen by mode and by gradient, and as optimizer groups."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from finetune_core.errors import UserError
from finetune_core.network.network import LayerGroup
from finetune_core.recipe import holding
from finetune_core.recipe.names import matching

if TYPE_CHECKING:
    from torch import nn

    from finetune_core.network.network import Network
    from finetune_core.recipe import Phase


def divided(
    network: Network, thawed: Collection[str], hold: Sequence[str] = ()
) -> tuple[tuple[LayerGroup, ...], tuple[LayerGroup, ...]]:
    """What learns and what stands still where these groups are thawed (names or patterns) but for what `hold` means.

    A thawed group of which only a part is held is in both: with the rest, and as `layer4 (held)` with that part.
    """
    warm = set(matching([group.name for group in network.groups], list(thawed)))
    held = set(holding.held(holding.weights(network.module), hold)) if hold else set()
    learning, still = [], []  # type: tuple[list[LayerGroup], list[LayerGroup]]
    for group in network.groups:
        kept = held.intersection(group.parameters) if group.name in warm else set(group.parameters)
        if group.name in warm and kept:
            still.append(_part(network, group, kept, f"{group.name} (held)"))
            group = _part(network, group, set(group.parameters) - kept, group.name)
        if group.parameters:
            (still if group.name not in warm else learning).append(group)
    return tuple(learning), tuple(still)


def check(network: Network, phase: Phase) -> None:
    """A UserError where a phase thaws or holds what is not there, or where nothing is left to learn."""
    learning, _ = divided(network, phase.thaw, phase.hold)
    if not learning:
        why = f"All that is thawed is held ({', '.join(phase.hold)})." if phase.hold else "Every layer group is frozen."
        raise UserError("Nothing would train.", why, "Thaw the head, or hold less.")


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


def freeze(network: Network, thawed: Collection[str], hold: Sequence[str] = ()) -> None:
    """Let exactly the thawed groups learn (names or patterns), without what `hold` means of them.

    Frozen parameters lose their gradients too: with a stale gradient an optimizer would keep moving them.
    """
    learning, _ = divided(network, thawed, hold)
    warm = {name for group in learning for name in group.parameters}
    for name, parameter in network.module.named_parameters():
        parameter.requires_grad_(name in warm)
        if name not in warm:
            parameter.grad = None


def set_train_mode(
    network: Network,
    thawed: Collection[str],
    norm_statistics: Literal["hold", "update"] = "hold",
    hold: Sequence[str] = (),
) -> None:
    """Put thawed groups in train mode and frozen ones in eval mode (names or patterns), as all that is wholly held.

    So what is frozen is a pure function: its BatchNorm statistics hold still and its dropout is off. With `update` its
    norm layers alone stay in train mode: they normalise by the batch and their statistics adapt, their weights do not.
    Only the mode of the modules changes, so the state dict keeps its keys.
    """
    learning, still = divided(network, thawed, hold)
    network.module.train(bool(learning))
    for group in still:
        for name in group.modules:
            network.module.get_submodule(name).eval()
        if norm_statistics == "update":
            for _, layer in norm_layers(network, group):
                layer.training = True  # not train(), which would wake dropout inside of it


def norm_layers(network: Network, group: LayerGroup) -> Iterator[tuple[str, nn.Module]]:
    """The layers of a group that keep running statistics, as BatchNorm does, by dotted name."""
    for top in group.modules:
        for path, layer in network.module.get_submodule(top).named_modules(prefix=top):
            if any(name.startswith("running_") for name, _ in layer.named_buffers(recurse=False)):
                yield path, layer


def param_groups(
    network: Network, decay: Mapping[str, float], rates: Mapping[str, float], decay_all: bool = False
) -> list[dict[str, Any]]:
    """Optimizer groups for all layer groups, also the frozen ones (rate 0 where `rates` has no entry).

    All are made up front, because torch's schedulers and optimizer states cannot take in groups later. Norm layers and
    biases (at most one dimension, timm's rule) come in a dict of their own with the same name, and with no weight decay
    unless `decay_all`.
    """
    parameters = dict(network.module.named_parameters())
    result = []
    for group in network.groups:
        mine = [parameters[name] for name in group.parameters]
        wanted = decay[group.name]
        for weight_decay, members in (
            (wanted, [each for each in mine if each.ndim > 1]),
            (wanted if decay_all else 0.0, [each for each in mine if each.ndim <= 1]),
        ):
            if members:
                rate = float(rates.get(group.name, 0.0))
                result.append({"params": members, "name": group.name, "lr": rate, "weight_decay": weight_decay})
    return result
