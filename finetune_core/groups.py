"""Layer groups: any network as an ordered list of parts, stem to head, that freeze and learn at their own rate.

The head is exactly the new classifier, nothing that came with pretrained weights. Everything else is the body: the
stem, then the stages as timm groups them, or as our own rule finds them where timm has no say (torchvision, some
families).
A norm layer after the body belongs to the last body group; a pretrained layer with weights between body and
classifier (conv_head, VGG's big linear layers) is a group of its own, because it can hold most of the parameters.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from finetune_core.errors import UserError
from finetune_core.recipe import holding
from finetune_core.recipe.names import HEAD, matching
from finetune_core.recipe.regroup import regrouped
from finetune_core.stages import Stage, inside, stages, with_pieces

if TYPE_CHECKING:
    from torch import nn

    from finetune_core.model import Network
    from finetune_core.recipe import Phase


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


def layer_groups(
    module: nn.Module,
    classifier: str,
    known: Mapping[str, Stage] | None = None,
    split: Sequence[str] = (),
    merge: Sequence[Sequence[str]] = (),
) -> tuple[LayerGroup, ...]:
    """The groups of a network, stem first, `head` last; `classifier` is the head's dotted name.

    Every parameter is in exactly one group, and every module that holds parameters or buffers of its own. `known` are
    the body's groups as `body_groups` found them before the head was changed; of what is left of them, `split` names
    those to be taken apart and `merge` neighbours to be joined.
    """
    sizes = {name: parameter.numel() for name, parameter in module.named_parameters()}
    left = {name for name in sizes if not inside(name, classifier)}
    named = _regrouped(body_groups(module, classifier) if known is None else known, left, split, merge)
    named[HEAD] = tuple(name for name in sizes if inside(name, classifier))
    modules = _modules(module, named)
    return tuple(
        LayerGroup(name, parameters, tuple(modules[name]), sum(sizes[each] for each in parameters))
        for name, parameters in named.items()
    )


def _regrouped(
    known: Mapping[str, Stage], left: Collection[str], split: Sequence[str], merge: Sequence[Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """The body's parameters that are left, by group as a person wants them."""
    place = {name: index for index, name in enumerate(each for stage in known.values() for each in stage.parameters)}
    parts = {part: [n for n in names if n in left] for stage in known.values() for part, names in stage.pieces.items()}
    there = {group: [part for part in stage.pieces if parts[part]] for group, stage in known.items()}
    made = regrouped({group: pieces for group, pieces in there.items() if pieces}, split, merge)
    return {
        group: tuple(sorted((name for piece in pieces for name in parts[piece]), key=place.__getitem__))
        for group, pieces in made.items()
    }


def body_groups(module: nn.Module, classifier: str) -> dict[str, Stage]:
    """The body's groups and their pieces, stem first.

    To be asked of a network as its library built it: timm's own rules may look for the classifier that they know.
    """
    sizes = {name: parameter.numel() for name, parameter in module.named_parameters()}
    body = {name: size for name, size in sizes.items() if not inside(name, classifier)}
    return with_pieces(module, stages(module, body, classifier))


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


def _modules(module: nn.Module, named: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    """The largest modules of each group.

    A module without parameters (activation, pooling, dropout) goes with what stands before it, since it works on that
    group's output; after the body's last parameter it goes with the head, as dropout before a classifier must.
    """
    owner = {parameter: group for group, parameters in named.items() for parameter in parameters}
    body = [name for name, _ in module.named_parameters() if owner[name] != HEAD]
    groups, result = list(named), {group: [] for group in named}  # type: tuple[list[str], dict[str, list[str]]]
    last_seen, seen = groups[0], 0

    def place(child: nn.Module, path: str) -> None:
        nonlocal last_seen, seen
        below = [f"{path}.{name}" for name, _ in child.named_parameters()]
        owners = {owner[name] for name in below if name in owner}
        if len(owners) > 1:
            for name, grandchild in child.named_children():
                place(grandchild, f"{path}.{name}")
            return
        if owners:
            (last_seen,) = owners
            seen += sum(1 for name in below if owner.get(name, HEAD) != HEAD)
            result[last_seen].append(path)
        else:
            result[HEAD if seen >= len(body) - loose else last_seen].append(path)

    # parameters of opened containers themselves (class tokens, positions) belong to no child
    loose = _loose(module, owner)
    for name, child in module.named_children():
        place(child, name)
    return result


def _loose(module: nn.Module, owner: Mapping[str, str]) -> int:
    count = 0
    for path, child in module.named_modules():
        prefix = f"{path}." if path else ""
        if len({owner[prefix + name] for name, _ in child.named_parameters() if prefix + name in owner}) > 1:
            count += sum(1 for name, _ in child.named_parameters(recurse=False) if owner[prefix + name] != HEAD)
    return count
