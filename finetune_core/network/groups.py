"""Layer groups: any network as an ordered list of parts, stem to head, that freeze and learn at their own rate.

The head is exactly the new classifier, nothing that came with pretrained weights. Everything else is the body: the
stem, then the stages as timm groups them, or as our own rule finds them where timm has no say (torchvision, some
families).
A norm layer after the body belongs to the last body group; a pretrained layer with weights between body and
classifier (conv_head, VGG's big linear layers) is a group of its own, because it can hold most of the parameters.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from finetune_core.network.network import LayerGroup
from finetune_core.network.stages import Stage, inside, stages, with_pieces
from finetune_core.recipe.names import HEAD
from finetune_core.recipe.regroup import regrouped

if TYPE_CHECKING:
    from torch import nn


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
