"""All backbones as data, so that a page can list, search and draw them without importing torch.

`python -m finetune_core.catalogue` writes the file anew from the installed timm and torchvision; the test of this
module says when that is due.
"""

from __future__ import annotations

import difflib
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune_core.errors import UserError
from finetune_core.places import ASSETS
from finetune_core.recipe.names import HEAD
from finetune_core.recipe.regroup import regrouped
from finetune_core.stages import inside

if TYPE_CHECKING:
    from finetune_core.parts.backbones import Backbone
    from finetune_core.parts.backbones.spec import Body
    from finetune_core.parts.heads import Head
    from finetune_core.recipe import Model
    from finetune_core.stages import Stage

FILE = ASSETS / "catalogue.json"
LARGEST = 1_000_000_000  # weights; nobody fine-tunes more than that on one machine's GPU with a click


Counts = tuple[tuple[str, int], ...]
"""Names, each with a number of weights."""


@dataclass(frozen=True)
class Tag:
    """One published set of weights."""

    name: str
    licence: str = ""  # as the library states it; empty where it says nothing
    top1: float | None = None  # per cent on ImageNet-1k, where the library publishes it


@dataclass(frozen=True)
class Entry:
    """One architecture: what it is called, how large it is, which weights are published (the default first)."""

    library: str
    architecture: str
    family: str  # the library's module, such as vision_transformer
    features: int  # width of what the head receives
    input_size: int  # px, the side of the square that the default weights were trained on
    fixed_size: bool  # whether the network takes images of that size only
    groups: Counts  # name and weights of each layer group before the head, stem first
    tags: tuple[Tag, ...]
    macs: float = 0.0  # multiplications and additions for one image of that size, in 10⁹; 0 where they are not known
    unpooled: int = 0  # width of the features before they are pooled; 0 where no head can have them
    unused: tuple[str, ...] = ()  # groups and pieces that a head of that kind leaves out of the network
    pieces: tuple[tuple[str, Counts], ...] = ()  # of each group that can be split, the same of its pieces

    @property
    def pretrained(self) -> bool:
        """Whether any weights are published."""
        return bool(self.tags)

    @property
    def title(self) -> str:
        """The family in words."""
        return self.family.replace("_", " ").capitalize()

    def features_for(self, head: Head) -> int:
        """Width of what this head receives."""
        return self.unpooled if head.pools else self.features

    def body_under(self, head: Head) -> dict[str, dict[str, int]]:
        """The pieces of each layer group that are left under this head, with their weights, stem first."""
        gone, pieces = self.unused if head.pools else (), dict(self.pieces)
        return {
            group: {piece: weights for piece, weights in pieces.get(group, ((group, count),)) if piece not in gone}
            for group, count in self.groups
            if group not in gone
        }

    def parameters(self, outputs: int = 1000) -> int:
        """Weights of the whole network with a linear head for so many classes."""
        return sum(count for _, count in self.groups) + self.features * outputs + outputs


@cache
def entries() -> tuple[Entry, ...]:
    """Every architecture, timm's first, each library's in alphabetical order."""
    return tuple(_entry(each) for each in _read()["entries"])


def left_out() -> dict[str, str]:
    """Architectures that Thaw does not offer (`timm name`), and why."""
    return dict(_read()["left_out"])


@cache
def _read() -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return tree


def entry(library: str, architecture: str) -> Entry:
    """One architecture of `timm` or `torchvision`; UserError with near names where there is none."""
    found = _by_name().get((library, architecture))
    if found is None:
        names = [name for kind, name in _by_name() if kind == library]
        near = difflib.get_close_matches(architecture, names, n=3)
        raise UserError(
            f"{library} has no network called {architecture or '(nothing)'} that Thaw can train.",
            f"Did you mean {' or '.join(near)}?" if near else "",
            "Choose a name from the list on the model page.",
        )
    return found


@cache
def _by_name() -> dict[tuple[str, str], Entry]:
    return {(each.library, each.architecture): each for each in entries()}


def layer_pieces(model: Model) -> dict[str, tuple[str, ...]]:
    """The layer groups of a recipe's network before its head, each as the pieces it consists of, stem first.

    The worker, the pages and the command line all go by these names. A UserError where the backbone is unknown, or
    where its groups cannot be split or merged as the recipe wants.
    """
    body = entry(model.backbone.kind, model.backbone.architecture).body_under(model.head)
    return regrouped({group: tuple(pieces) for group, pieces in body.items()}, model.split, model.merge)


def layer_names(model: Model) -> tuple[str, ...]:
    """The names of all layer groups of a recipe's network, stem first, the head last; UserErrors as `layer_pieces`."""
    return (*layer_pieces(model), HEAD)


def layer_counts(model: Model, outputs: int) -> dict[str, int]:
    """The weights of each of them, with a head for so many outputs."""
    known = entry(model.backbone.kind, model.backbone.architecture)
    weights = {piece: count for pieces in known.body_under(model.head).values() for piece, count in pieces.items()}
    body = {group: sum(weights[piece] for piece in pieces) for group, pieces in layer_pieces(model).items()}
    return {**body, HEAD: model.head.parameters(known.features_for(model.head), outputs)}


def _entry(tree: dict[str, Any]) -> Entry:
    return Entry(
        **{
            **tree,
            "groups": _counts(tree["groups"]),
            "tags": tuple(Tag(**tag) for tag in tree["tags"]),
            "unused": tuple(tree.get("unused", ())),
            "pieces": tuple((group, _counts(pieces)) for group, pieces in tree.get("pieces", ())),
        }
    )


def _counts(pairs: list[tuple[str, int]]) -> Counts:
    return tuple((name, count) for name, count in pairs)


# --- writing ---------------------------------------------------------------------------------------------------------


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
    from finetune_core.groups import body_groups
    from finetune_core.parts.backbones.spec import Plan

    body = backbone.bare(Plan(1000))
    layer = body.module.get_submodule(body.classifier)
    sizes = {name: parameter.numel() for name, parameter in body.module.named_parameters()}
    stages = body_groups(body.module, body.classifier)
    about = _timm_facts if backbone.kind == "timm" else _torchvision_facts
    known = about(backbone.architecture, body.module)
    macs = _macs(body)
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
        **known,
    )


def _macs(body: Body) -> float:
    """Multiplications with additions for one image, in 10⁹, from a forward pass on the meta device."""
    import copy

    import torch
    from torch.utils.flop_counter import FlopCounterMode

    module = copy.deepcopy(body.module).to("meta").eval().requires_grad_(False)
    image = torch.zeros(1, 3, body.side, body.side, device="meta")
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            module(image)
    except (NotImplementedError, RuntimeError):  # a network that looks at numbers, which meta has not
        return 0.0
    return float(f"{counter.get_total_flops() / 2e9:.3g}")


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


def _timm_facts(architecture: str, module: Any) -> dict[str, Any]:
    import timm

    def tags() -> Iterator[Tag]:
        default = timm.get_pretrained_cfg(architecture, allow_unregistered=True)
        first = default.tag if default else None
        names = [each.partition(".")[2] for each in timm.list_pretrained(f"{architecture}.*")]
        for name in sorted(names, key=lambda each: (each != first, each)):
            tagged = timm.get_pretrained_cfg(f"{architecture}.{name}")
            yield Tag(name, (tagged.license if tagged else None) or "")

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
        tags.append(Tag(each.name, top1=None if top1 is None or math.isnan(top1) else top1))
    return {
        "family": type(module).__module__.rpartition(".")[2],
        "input_size": default.transforms().crop_size[0],
        "fixed_size": architecture.startswith(("vit_", "maxvit")),
        "tags": tuple(tags),
    }


def _tree(described: Entry) -> dict[str, Any]:
    tree = asdict(described)
    tree["tags"] = [{key: value for key, value in tag.items() if value not in ("", None)} for tag in tree["tags"]]
    return {key: value for key, value in tree.items() if key not in ("macs", "unpooled", "unused", "pieces") or value}


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else FILE)
