"""Finding a network's stages: its body's parameters as a few named, ordered bundles, stem first.

timm says for most of its families which parameters belong together. For torchvision and the rest there is a rule of
our own: open the child that holds most parameters until the stages lie open, in registration order.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

from finetune_core.recipe.names import HEAD

if TYPE_CHECKING:
    from torch import nn

MOST_BODY_GROUPS = 7  # between stem and head; more are bundled, because nobody wants to thaw 48 blocks one by one
BUNDLES = 4  # what a long run of equal blocks becomes: four "stages", as in a ResNet
WEIGHTS_OF_A_STAGE = 2  # a unit with fewer weight tensors is a mere connection between stages


@dataclass(frozen=True)
class _Unit:
    """The smallest piece that is never split: a readable module path and its parameters."""

    path: str
    parameters: tuple[str, ...]


def stages(module: nn.Module, body: Mapping[str, int], classifier: str) -> dict[str, tuple[str, ...]]:
    """The body's groups of parameters by name, stem first.

    `body` holds the size of every parameter outside the classifier; each is in exactly one group.
    """
    units = _timm_units(module, body, classifier) or _own_units(module, body, classifier)
    return _named([[units[0]], *_bundled(units[1:])]) if units else {}


@dataclass(frozen=True)
class Stage:
    """One group: its parameters, and the same by the pieces that it can be taken apart into, in the same order."""

    parameters: tuple[str, ...]
    pieces: Mapping[str, tuple[str, ...]]


def with_pieces(module: nn.Module, named: Mapping[str, tuple[str, ...]]) -> dict[str, Stage]:
    """Groups with their pieces: the blocks of a stage, the layers of a lone block; every name is there once."""
    found = {group: _pieces(module, names) for group, names in named.items()}
    several = {group: units for group, units in found.items() if len(units) > 1}
    taken = [group for group in named if group not in several] + [HEAD]
    name = _unique([unit.path for units in several.values() for unit in units], taken)
    return {
        group: Stage(
            parameters,
            {name[unit.path]: unit.parameters for unit in several[group]} if group in several else {group: parameters},
        )
        for group, parameters in named.items()
    }


def _unique(paths: Sequence[str], taken: Sequence[str]) -> dict[str, str]:
    """A name for each path, as short as can be without being another's: `denseblock1.denselayer1`."""
    names = {path: _short(path) for path in paths}
    while True:
        counts = Counter([*names.values(), *taken])
        longer = {path: _longer(path, name) for path, name in names.items() if counts[name] > 1}
        if all(names[path] == name for path, name in longer.items()):
            return names
        names |= longer


def _longer(path: str, name: str) -> str:
    """The end of a path with one step more."""
    return ".".join(path.split(".")[-1 - len(name.split(".")) :])


def _pieces(module: nn.Module, names: Sequence[str]) -> list[_Unit]:
    """A group opened until it falls into several pieces, lists of equal blocks among them into those blocks."""
    units = _children_of(module, "", set(names))
    while (index := _next_to_open(module, units)) is not None:
        units[index : index + 1] = _children_of(module, units[index].path, set(units[index].parameters))
    return _with_loose(module, units)


def _next_to_open(module: nn.Module, units: list[_Unit]) -> int | None:
    """The index of a unit that is no piece yet: shared with another group, alone, or a list of equal blocks."""
    children = dict(module.named_modules())
    real = [index for index, unit in enumerate(units) if unit.path in children and _weights(module, unit)]
    for index in real:
        below = _children_of(module, units[index].path, set(units[index].parameters))
        shared = len(units[index].parameters) < sum(1 for _ in children[units[index].path].parameters())
        if shared or (len(real) == 1 and any(unit.path in children for unit in below)):
            return index
        blocks = [unit for unit in below if _weights(module, unit) >= WEIGHTS_OF_A_STAGE]
        if len(blocks) > 1 and len(blocks) == len(below) and len({_numbered(unit.path)[0] for unit in blocks}) == 1:
            return index
    return None


def _with_loose(module: nn.Module, units: list[_Unit]) -> list[_Unit]:
    """Units that are no modules (tokens, positions) or hold no weights joined to their neighbours."""
    children = dict(module.named_modules())
    result: list[_Unit] = []
    waiting: tuple[str, ...] = ()
    for unit in units:
        if unit.path in children and _weights(module, unit):
            result.append(_Unit(unit.path, waiting + unit.parameters))
            waiting = ()
        elif result:
            result[-1] = _Unit(result[-1].path, result[-1].parameters + unit.parameters)
        else:
            waiting += unit.parameters
    return result


def inside(name: str, path: str) -> bool:
    """Whether a dotted name is `path` or lies below it."""
    return name == path or name.startswith(f"{path}.")


def _timm_units(module: nn.Module, body: Mapping[str, int], classifier: str) -> list[_Unit]:
    """The units as timm's coarse matcher sees them; none where the family has no matcher or a useless one."""
    matcher: Any = getattr(module, "group_matcher", None)
    if matcher is None:
        return []
    from timm.models import group_parameters

    try:
        ordered = list(group_parameters(module, matcher(coarse=True)).values())
    except AssertionError:  # a family that offers fine groups only
        return []
    # timm puts whatever it has no rule for together with the classifier, at the end
    loose = [name for name in ordered[-1] if name in body] if any(inside(n, classifier) for n in ordered[-1]) else []
    matched = [[name for name in names if name in body and name not in loose] for names in ordered]
    matched = [names for names in matched if names]
    if len(matched) < 3:
        return []
    units = [_Unit("stem", tuple(matched[0]))]
    units += [_Unit(_main_path(module, names), tuple(names)) for names in matched[1:]]
    units += [
        _Unit(_main_path(module, unit.parameters), unit.parameters) for unit in _children_of(module, "", set(loose))
    ]
    return _without_scraps(module, units)


def _own_units(module: nn.Module, body: Mapping[str, int], classifier: str) -> list[_Unit]:
    """The units by our own rule: open the largest child until the stages lie open, in registration order."""
    units = _children_of(module, "", set(body))
    while (large := _worth_opening(module, units, body, classifier)) is not None:
        opened = _children_of(module, units[large].path, set(units[large].parameters))
        units[large : large + 1] = opened
    children = dict(module.named_modules())
    loose = [name for unit in units if unit.path not in children for name in unit.parameters]  # class tokens, positions
    units = [unit for unit in units if unit.path in children]
    if not units:
        return [_Unit("stem", tuple(loose))] if loose else []
    units[0] = _Unit("stem", (*units[0].parameters, *loose))
    return _with_connections(module, _without_scraps(module, units))


def _worth_opening(module: nn.Module, units: list[_Unit], body: Mapping[str, int], classifier: str) -> int | None:
    """The index of the unit to open next: an ancestor of the classifier, else the largest while stages are few."""
    children = dict(module.named_modules())
    for index, unit in enumerate(units):
        if unit.path and inside(classifier, unit.path):
            return index
    stages = [unit for unit in units if _weights(module, unit) >= WEIGHTS_OF_A_STAGE]
    if len(stages) >= 3:
        return None
    parent = classifier.rpartition(".")[0]
    open_to_us = [
        index
        for index, unit in enumerate(units)
        if unit.path in children
        and not (parent and inside(unit.path, parent))  # a layer beside the classifier is no stage
        and len(_children_of(module, unit.path, set(unit.parameters))) > 0
        and _has_stages(module, children[unit.path], unit)
    ]
    if not open_to_us:
        return None
    return max(open_to_us, key=lambda index: sum(body[name] for name in units[index].parameters))


def _has_stages(module: nn.Module, child: nn.Module, unit: _Unit) -> bool:
    """Whether opening the unit leads on: it holds several weights, in more than one child or one level deeper."""
    return _weights(module, unit) > 1 and any(True for _ in child.children())


def _children_of(module: nn.Module, path: str, wanted: set[str]) -> list[_Unit]:
    """The wanted parameters below `path`, by child in registration order; single parameters stand alone."""
    depth = len(path.split(".")) + 1 if path else 1
    names = [name for name, _ in module.get_submodule(path).named_parameters(prefix=path) if name in wanted]
    grouped: dict[str, list[str]] = {}
    for name in names:
        grouped.setdefault(".".join(name.split(".")[:depth]), []).append(name)
    return [_Unit(child, tuple(members)) for child, members in grouped.items()]


def _without_scraps(module: nn.Module, units: list[_Unit]) -> list[_Unit]:
    """Norm layers and other units without weights joined to the unit before them (the first one's: after)."""
    result: list[_Unit] = []
    for unit in units:
        if result and not _weights(module, unit):
            result[-1] = _Unit(result[-1].path, result[-1].parameters + unit.parameters)
        else:
            result.append(unit)
    if len(result) > 1 and not _weights(module, result[0]):
        result[:2] = [_Unit(result[0].path, result[0].parameters + result[1].parameters)]
    return result


def _with_connections(module: nn.Module, units: list[_Unit]) -> list[_Unit]:
    """Downsampling layers between stages joined to the stage that they lead to."""
    weights = sorted(_weights(module, unit) for unit in units[1:])
    if not weights or weights[len(weights) // 2] <= WEIGHTS_OF_A_STAGE:
        return units
    result, waiting = units[:1], ()  # type: tuple[list[_Unit], tuple[str, ...]]
    for index, unit in enumerate(units[1:], 1):
        following = units[index + 1] if index + 1 < len(units) else None
        leads_on = following is not None and _weights(module, following) > WEIGHTS_OF_A_STAGE
        if _weights(module, unit) < WEIGHTS_OF_A_STAGE and leads_on:
            waiting += unit.parameters
        else:
            result.append(_Unit(unit.path, waiting + unit.parameters))
            waiting = ()
    return result


def _weights(module: nn.Module, unit: _Unit) -> int:
    """How many of the unit's parameters are matrices or filters rather than norms and biases."""
    return sum(1 for name in unit.parameters if module.get_parameter(name).ndim > 1)


def _main_path(module: nn.Module, names: Sequence[str]) -> str:
    """The module that best stands for some parameters: lies wholly inside and holds most of their tensors."""
    wanted = set(names)
    held: dict[str, list[int]] = {}
    spilled: set[str] = set()
    for name, parameter in module.named_parameters():
        steps = name.split(".")
        for path in (".".join(steps[:depth]) for depth in range(1, len(steps))):
            if name in wanted:
                held.setdefault(path, []).append(parameter.numel())
            else:
                spilled.add(path)
    whole = [path for path in held if path not in spilled]
    return max(whole, key=lambda path: (len(held[path]), sum(held[path]), -len(path)), default=names[0])


def _bundled(units: list[_Unit]) -> list[list[_Unit]]:
    """Neighbours put together until at most MOST_BODY_GROUPS remain; runs of equals become BUNDLES equal parts."""
    if len(units) <= MOST_BODY_GROUPS:
        return [[unit] for unit in units]
    runs = [list(members) for _, members in groupby(units, key=lambda unit: _numbered(unit.path)[0])]
    long = sum(len(run) for run in runs if len(run) > 1)
    result: list[list[_Unit]] = []
    for run in runs:
        result += _cut(run, max(1, round(BUNDLES * len(run) / long)) if len(run) > 1 else 1)
    if len(result) > MOST_BODY_GROUPS:
        result = _cut(units, MOST_BODY_GROUPS - 1)
    return result


def _cut(units: list[_Unit], parts: int) -> list[list[_Unit]]:
    """Contiguous parts of nearly equal length, the longer ones first."""
    parts = min(parts, len(units))
    size, more = divmod(len(units), parts)
    starts = [index * size + min(index, more) for index in range(parts + 1)]
    return [units[start:stop] for start, stop in pairwise(starts)]


def _named(bundles: list[list[_Unit]]) -> dict[str, tuple[str, ...]]:
    names = [_short(_spanning(bundle)) for bundle in bundles]
    if len(set(names)) < len(names):  # a clash: say it in full
        names = [_spanning(bundle) for bundle in bundles]
    names = ["neck" if name == HEAD else name for name in names]  # what stands before the classifier in such a head
    return {
        name: tuple(parameter for unit in bundle for parameter in unit.parameters)
        for name, bundle in zip(names, bundles, strict=True)
    }


def _spanning(bundle: list[_Unit]) -> str:
    """One name for neighbours: `blocks.0-2`; where they are not all numbered alike, that of most of them."""
    alike = [list(members) for _, members in groupby(bundle, key=lambda unit: _numbered(unit.path)[0])]
    most = max(alike, key=len)
    first, last = most[0].path, most[-1].path
    return first if len(most) == 1 else f"{first}-{_numbered(last)[1]}"


def _numbered(path: str) -> tuple[str, str]:
    """A path cut before its final number: `layer4` to (`layer`, `4`), `inception3a` to (`inception`, `3a`)."""
    found = re.fullmatch(r"(.*?)(\d+[a-z]?)", path)
    return (found[1], found[2]) if found else (path, "")


def _short(path: str) -> str:
    """The end of a path that still tells what it is: `layers.0-2` rather than `encoder.layers.0-2`."""
    steps = path.split(".")
    while len(steps) > 1 and not any(step[:1].isdigit() for step in steps[:2]):
        steps = steps[1:]
    return ".".join(steps)
