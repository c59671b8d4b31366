"""All backbones as data, so that a page can list, search and draw them without importing torch.

`describe` writes the file anew from the installed timm and torchvision.
"""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from finetune_core.errors import UserError
from finetune_core.parts.backbones.hub import Published
from finetune_core.parts.backbones.library import no_such_tag
from finetune_core.places import ASSETS
from finetune_core.recipe.names import HEAD
from finetune_core.recipe.regroup import regrouped

if TYPE_CHECKING:
    from finetune_core.parts.backbones import Backbone
    from finetune_core.parts.heads import Head
    from finetune_core.recipe import Model

FILE = ASSETS / "catalogue.json"
LIBRARIES = ("timm", "torchvision")
GOOD_FIRST = (
    "resnet10t",
    "mobilenetv3_large_100",
    "resnet18",
    "efficientnet_b0",
    "resnet50",
    "convnext_tiny",
    "vit_small_patch16_224",
)
QUICK, ACCURATE = ("MobileNet", "mobilenet_v3_large"), ("ConvNeXt", "convnext_small")  # torchvision's: with accuracies


SIZES = {  # in words, from so many weights up to so many
    "≤ 5 M": (0.0, 5e6),
    "5–25 M": (5e6, 25e6),
    "25–100 M": (25e6, 100e6),
    "> 100 M": (100e6, float("inf")),
}

# How those who made them spell the families; others are told in plain words
_SPELLED = (
    "AlexNet, BEiT, CaiT, CoaT, ConViT, ConvMixer, ConvNeXt, CSPNet, CSPNeXt, DaViT, DeepSeek ViT, DenseNet, DLA, "
    "DPN, EdgeNeXt, EfficientNet, EfficientViT MIT, EfficientViT MSRA, EVA, FasterNet, FastViT, FocalNet, GCViT, "
    "Gemma4 ViT, GhostNet, GoogLeNet, HGNet, Hieradet SAM2, HRNet, iFormer, Inception NeXt, Inception ResNet v2, "
    "LCNetV2, LeViT, LowFormer, MambaOut, MaxViT, MaxxViT, MetaFormer, MLP Mixer, MNASNet, MobileNetV2, "
    "MobileNetV3, MobileNetV5, MViTv2, NaFlexViT, NASNet, NesT, NextViT, NFNet, PiT, PNASNet, PVT v2, Qwen3 ViT, "
    "RDNet, RegNet, RepGhost, ResNet, ResNetV2, ReXNet, SelecSLS, SENet, ShuffleNetV2, SHViT, SqueezeNet, StarNet, "
    "Swin Transformer, Swin Transformer V2, Swin Transformer V2 CR, TinyViT, TNT, TResNet, VGG, Vision Transformer, "
    "Vision Transformer RelPos, Vision Transformer SAM, VoVNet, XCiT"
)
SPELLED = {each.lower().replace(" ", ""): each for each in _SPELLED.split(", ")}

Counts = tuple[tuple[str, int], ...]
"""Names, each with a number of weights."""


@dataclass(frozen=True)
class Tag:
    """One published set of weights."""

    name: str
    licence: str = ""  # as the library states it; empty where it says nothing
    top1: float | None = None  # per cent on ImageNet-1k, where the library publishes it
    source: str = ""  # where it is published, as `hub.Published` has it


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
    drops: tuple[str, ...] = ()  # which of drop_rate and drop_path_rate the network can be told
    single: Counts = ()  # groups and pieces whose batch norm has one value per channel up to so many px; 0: at any size
    one_size: bool = False  # whether what it has learned at that size cannot be stretched to another

    @property
    def pretrained(self) -> bool:
        """Whether any weights are published."""
        return bool(self.tags)

    @property
    def title(self) -> str:
        """The family in words, as those who made it spell it."""
        return SPELLED.get(self.family.replace("_", ""), self.family.replace("_", " ").capitalize())

    @property
    def size(self) -> int:
        """Weights without a head."""
        return sum(count for _, count in self.groups)

    @property
    def top1(self) -> float | None:
        """Of the default weights, per cent on ImageNet-1k, where it is published."""
        return self.tags[0].top1 if self.tags else None

    def weights_words(self) -> str:
        """How many sets of weights are published."""
        return f"{len(self.tags)} set{'' if len(self.tags) == 1 else 's'} of weights"

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

    def single_at(self, image_size: int) -> frozenset[str]:
        """The pieces whose batch norm sees one value per channel of an image of this side, and so cannot train on it.

        Networks whose convolutions do not pad may have more of them.
        """
        pieces = {group: [name for name, _ in parts] for group, parts in self.pieces}
        found = (name for name, side in self.single if not side or image_size <= side)
        return frozenset(piece for name in found for piece in pieces.get(name, [name]))

    def parameters(self, outputs: int = 1000) -> int:
        """Weights of the whole network with a linear head for so many classes."""
        return self.size + self.features * outputs + outputs


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
    found = find(library, architecture)
    if found is None:
        names = [name for kind, name in _by_name() if kind == library]
        near = difflib.get_close_matches(architecture, names, n=3)
        raise UserError(
            f"{library} has no network called {architecture or '(nothing)'} that Thaw can train.",
            f"Did you mean {' or '.join(near)}?" if near else "",
            "Choose a name from the list on the model page.",
        )
    return found


def find(library: str, architecture: str) -> Entry | None:
    """One architecture, or None where there is none."""
    return _by_name().get((library, architecture))


@cache
def _by_name() -> dict[tuple[str, str], Entry]:
    return {(each.library, each.architecture): each for each in entries()}


def published(backbone: Backbone) -> Published | None:
    """The published set of weights that a backbone asks for; None where it asks for none.

    UserError where there is no such network or no such set.
    """
    wanted = backbone.weights.set_wanted()
    if wanted is None:
        return None
    tags = {tag.name: tag for tag in entry(backbone.kind, backbone.architecture).tags}
    if not tags or wanted not in ("", *tags):
        raise no_such_tag(backbone, wanted, list(tags))
    return Published((tags[wanted] if wanted else next(iter(tags.values()))).source)


def search(
    words: str,
    libraries: Collection[str] = LIBRARIES,
    sizes: Collection[str] = (),
    families: Collection[str] = (),
) -> list[Entry]:
    """The networks whose name or family holds every word, in any order; of these `SIZES` and families, if any."""
    wanted, bounds = words.lower().split(), [SIZES[size] for size in sizes]
    return [
        each
        for each in entries()
        if each.library in libraries
        and all(word in f"{each.architecture} {each.family}" for word in wanted)
        and (not bounds or any(low <= each.size < high for low, high in bounds))
        and (not families or each.title in families)
    ]


def families(libraries: Collection[str] = LIBRARIES) -> dict[str, int]:
    """The families of these libraries by their titles, in alphabetic order, each with its number of networks."""
    found = Counter(each.title for each in entries() if each.library in libraries)
    return dict(sorted(found.items(), key=lambda each: each[0].casefold()))


def good_first() -> list[Entry]:
    """Small to middling networks of different kinds, all with published weights: where to start."""
    return [entry("timm", name) for name in GOOD_FIRST]


def advice() -> str:
    """Which kind of network for what, with the catalogue's own figures."""
    (quick, small), (accurate, large) = ((name, entry("torchvision", each)) for name, each in (QUICK, ACCURATE))
    return (
        f"Must it answer quickly, or on a small machine? Take few MACs, such as a {quick} ({small.macs:.2g} G, "
        f"{small.tags[0].top1:.0f} % on ImageNet). Is accuracy worth more? Such as a {accurate} ({large.macs:.2g} G, "
        f"{large.tags[0].top1:.0f} %), with images enough to teach it."
    )


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
            "tags": tuple(
                Tag(**{"source": usual_source(tree["architecture"], tag["name"]), **tag}) for tag in tree["tags"]
            ),
            "unused": tuple(tree.get("unused", ())),
            "drops": tuple(tree.get("drops", ())),
            "single": _counts(tree.get("single", ())),
            "pieces": tuple((group, _counts(pieces)) for group, pieces in tree.get("pieces", ())),
        }
    )


def usual_source(architecture: str, tag: str) -> str:
    """Where nearly all of timm's sets are published; the file names the others."""
    return f"timm/{architecture}.{tag}"


def _counts(pairs: Sequence[tuple[str, int]]) -> Counts:
    return tuple((name, count) for name, count in pairs)
