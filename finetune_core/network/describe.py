"""The catalogue written anew: every architecture built on torch's meta device, and what it is.

`python -m finetune_core.network.describe` writes the file from the installed timm and torchvision; the catalogue's test
says when that is due.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune_core.errors import UserError
from finetune_core.network.stages import inside

if TYPE_CHECKING:
    from torch import Tensor, nn

    from finetune_core.network.stages import Stage
    from finetune_core.parts.backbones import Backbone
    from finetune_core.parts.backbones.spec import Body

from finetune_core.network.catalogue import FILE, Counts, Entry, Tag, usual_source

SMALLEST = 32  # px, the smallest image that a recipe takes
LARGEST = 1_000_000_000  # weights; nobody fine-tunes more than that on one machine's GPU with a click


def write(path: Path) -> None:
    """Build every architecture (on torch's meta device, so without memory) and write down what it is."""
    import timm
    from torchvision import models

    from finetune_core.parts.backbones import Timm, Torchvision

    backbones: list[Backbone] = [Timm(architecture=name) for name in timm.list_models()]
    backbones += [Torchvision(architecture=name) for name in models.list_models(module=models)]
    found: list[Entry] = []
    skipped: dict[str, str] = {}
    for backbone in backbones:
        name = f"{backbone.kind} {backbone.architecture}"
        try:
            described = describe(backbone)
        except UserError as error:
            skipped[name] = error.why
        except Exception as error:  # noqa: BLE001 - a library's own network that cannot be built here is left out, and said so
            skipped[name] = f"{type(error).__name__}: {error}"
        else:
            if described.parameters() <= LARGEST:
                found.append(described)
            else:
                skipped[name] = "It has more than a billion weights."
    lines = ",\n".join(json.dumps(_tree(each), separators=(",", ":")) for each in found)
    path.write_text(f'{{"left_out":{json.dumps(skipped, indent=0)},\n"entries":[\n{lines}\n]}}\n', encoding="utf-8")
    sys.stdout.write(f"{path}: {len(found)} networks; left out: {len(skipped)}\n")


def describe(backbone: Backbone) -> Entry:
    """The entry of one backbone, from the network itself; UserError where Thaw cannot train it."""
    import torch

    try:
        with torch.device("meta"):
            return _described(backbone)
    except (NotImplementedError, RuntimeError):  # some networks compute with tensors, for which meta has no numbers
        return _described(backbone)


def _described(backbone: Backbone) -> Entry:
    from finetune_core.network.groups import body_groups
    from finetune_core.parts.backbones.spec import Plan

    body = backbone.bare(Plan(1000))
    layer = body.module.get_submodule(body.classifier)
    sizes = {name: parameter.numel() for name, parameter in body.module.named_parameters()}
    stages = body_groups(body.module, body.classifier)
    about = _timm_facts if backbone.kind == "timm" else _torchvision_facts
    known = about(backbone.architecture, body.module)
    macs, single = _forward(body, stages)
    one_size = known["fixed_size"] and _one_size(backbone, body)
    unpooled, unused = _unpooled(backbone, body, stages)

    def weights(names: Sequence[str]) -> int:
        return sum(sizes[name] for name in names)

    return Entry(
        library=backbone.kind,
        architecture=backbone.architecture,
        features=int(getattr(layer, "in_features", 0) or getattr(layer, "in_channels", 0)),
        groups=tuple((group, weights(stage.parameters)) for group, stage in stages.items()),
        macs=macs,
        unpooled=unpooled,
        unused=unused,
        pieces=tuple(
            (group, tuple((piece, weights(names)) for piece, names in stage.pieces.items()))
            for group, stage in stages.items()
            if len(stage.pieces) > 1
        ),
        drops=backbone.droppable(type(body.module)),
        single=single,
        one_size=one_size,
        **known,
    )


def _forward(body: Body, stages: Mapping[str, Stage]) -> tuple[float, Counts]:
    """What a forward pass of one image on the meta device tells: `macs` and `single` of an entry."""
    import copy

    import torch
    from torch.utils.flop_counter import FlopCounterMode

    module = copy.deepcopy(body.module).to("meta").eval().requires_grad_(False)
    image = torch.zeros(1, 3, body.side, body.side, device="meta")
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad(), _watched(module) as values:
            module(image)
    except (NotImplementedError, RuntimeError):  # a network that looks at numbers, which meta has not
        return 0.0, ()
    return float(f"{counter.get_total_flops() / 2e9:.3g}"), tuple(_single(values, stages, body.side))


@contextmanager
def _watched(module: nn.Module) -> Iterator[dict[str, int]]:
    """How many values per channel each batch norm sees of an image, filled in as the network answers, by its weight."""
    from torch.nn.modules.batchnorm import _BatchNorm

    values: dict[str, int] = {}

    def look(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def seen(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
            here = given[0].numel() // given[0].shape[1]
            values[name] = min(here, values.get(name, here))

        return seen

    norms = [(name, layer) for name, layer in module.named_modules() if isinstance(layer, _BatchNorm)]
    hooks = [layer.register_forward_pre_hook(look(f"{name}.weight")) for name, layer in norms]
    yield values
    for hook in hooks:
        hook.remove()


def _single(values: Mapping[str, int], stages: Mapping[str, Stage], side: int) -> Iterator[tuple[str, int]]:
    """By group, or else by piece, the image's side at which the smallest map of its batch norms has one place left.

    0 where it is pooled; sides below any that Thaw takes are left out.
    """
    for group, stage in stages.items():
        sides = {piece: _side(names, values, side) for piece, names in stage.pieces.items()}
        alike = {group: sides.popitem()[1]} if len(set(sides.values())) == 1 else sides
        yield from ((name, shrunk) for name, shrunk in alike.items() if shrunk is not None)


def _side(names: Sequence[str], values: Mapping[str, int], side: int) -> int | None:
    """Of one piece, whose maps are a power of two smaller than the image, rounded up."""
    smallest = min((values[name] for name in names if name in values), default=side * side)
    shrunk = 2 ** round(math.log2(side / math.sqrt(smallest)))
    return 0 if smallest == 1 else shrunk if shrunk >= SMALLEST else None


def _unpooled(backbone: Backbone, body: Body, stages: Mapping[str, Stage]) -> tuple[int, tuple[str, ...]]:
    """The width of the features before they are pooled, and what goes with the pooling. Opens the body."""
    try:
        socket = backbone.socket(body)
    except UserError:
        return 0, ()
    left = {name for name, _ in body.module.named_parameters() if not inside(name, socket.classifier)}
    parts = [(group, stage.parameters) for group, stage in stages.items()]
    parts += [part for stage in stages.values() if len(stage.pieces) > 1 for part in stage.pieces.items()]
    return socket.features.width, tuple(name for name, names in parts if not left & set(names))


def _one_size(backbone: Backbone, body: Body) -> bool:
    """Whether its weights fit no network for images of another size; asked before the body is opened."""
    from finetune_core.parts.backbones.spec import Plan

    for side in (128, 2 * body.side, 256, 224):
        with suppress(UserError):
            if side != body.side:
                return bool(backbone.found(backbone.bare(Plan(1000, side)), body.module.state_dict()).misfit)
    return True


def _timm_facts(architecture: str, module: Any) -> dict[str, Any]:
    import timm

    from finetune_core.parts.backbones.timm import source

    def tags() -> Iterator[Tag]:
        default = timm.get_pretrained_cfg(architecture, allow_unregistered=True)
        first = default.tag if default else None
        names = [each.partition(".")[2] for each in timm.list_pretrained(f"{architecture}.*")]
        for name in sorted(names, key=lambda each: (each != first, each)):
            tagged = timm.get_pretrained_cfg(f"{architecture}.{name}")
            yield Tag(name, (tagged.license if tagged else None) or "", source=source(tagged) if tagged else "")

    cfg = module.pretrained_cfg
    return {
        "family": type(module).__module__.rpartition(".")[2],
        "input_size": cfg["input_size"][-1],
        "fixed_size": bool(cfg.get("fixed_input_size")),
        "tags": tuple(tags()),
    }


def _torchvision_facts(architecture: str, module: Any) -> dict[str, Any]:
    from torchvision import models

    sets = list(models.get_model_weights(architecture))
    default = models.get_model_weights(architecture)["DEFAULT"]
    tags = []
    for each in sorted(sets, key=lambda each: each is not default):
        top1 = each.meta.get("_metrics", {}).get("ImageNet-1K", {}).get("acc@1")
        tags.append(Tag(each.name, top1=None if top1 is None or math.isnan(top1) else top1, source=each.url))
    return {
        "family": type(module).__module__.rpartition(".")[2],
        "input_size": default.transforms().crop_size[0],
        "fixed_size": architecture.startswith(("vit_", "maxvit")),
        "tags": tuple(tags),
    }


def _tree(described: Entry) -> dict[str, Any]:
    tree = asdict(described)
    tree["tags"] = [
        {
            key: value
            for key, value in tag.items()
            if value not in ("", None, usual_source(described.architecture, tag["name"]))
        }
        for tag in tree["tags"]
    ]
    return {
        key: value
        for key, value in tree.items()
        if key not in ("macs", "unpooled", "unused", "pieces", "drops", "single", "one_size") or value
    }


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else FILE)
