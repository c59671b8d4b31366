"""What a script has to know beside the recipe: the images that there are, and the network as its library builds it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from PIL import ExifTags, Image

from finetune_core.data.cache import decoded, depth_of
from finetune_core.data.chosen import arranged
from finetune_core.data.depth import Depth, kind_of
from finetune_core.data.image import FORMATS, HIGH, MAX_ASPECT
from finetune_core.data.split import Split, readable
from finetune_core.network.build import with_head
from finetune_core.network.freezing import divide
from finetune_core.network.network import Fitting, LayerGroup, Network
from finetune_core.parts.backbones import reading, state_dicts, weight_files
from finetune_core.parts.backbones.spec import Origin, Plan
from finetune_core.parts.backbones.state_dicts import Found
from finetune_core.parts.sources.samples import Samples
from finetune_core.parts.tasks import Targets, targets_from
from finetune_core.recipe import Phase, Recipe, holding
from finetune_core.recipe.holding import Weight
from finetune_core.records import Report

if TYPE_CHECKING:
    from torch import nn


DEEP, CLEAR, ODD, LONG, TALL = "more than 8 bits", "transparent", "neither grey nor colour", "long", "tall"
HEIF = "as phones write it"
LARGE, TURNED = "a JPEG larger than it is needed", "perhaps taken with a turned camera"
SIMPLE = ("L", "RGB", "CMYK")  # modes that can be scaled as they are


@dataclass(frozen=True)
class Pictures:
    """The images: which, how they are split, what they are labelled with, and what is special about their files."""

    listed: Samples  # all that the source has
    samples: Samples  # those that take part, as they were mended
    parts: Split
    targets: Targets
    damaged: tuple[int, ...] = ()  # indices of files that cannot be read and are left out
    traits: frozenset[str] = frozenset()
    depth: Depth | None = None  # the range that deep images are read by


@dataclass(frozen=True)
class Blueprint:
    """The network, as code needs to know it: where everything is, in names."""

    origin: Origin
    allowing: tuple[str, ...]  # code that goes before the reading, where the file holds more than tensors
    own: tuple[str, ...]  # names in Thaw's own modules that this code speaks of
    adapting: tuple[str, ...]  # code that makes `weights` fit, where the file holds other names
    versioned: bool  # whether the network asks for the version of what it loads
    old_classifier: str
    fitting: Fitting
    keeps_head: bool  # whether the weights hold a head that fits
    places: dict[str, str]  # an expression for each dotted name that the code speaks of
    last: str  # an expression for the last layer
    groups: dict[str, tuple[str, ...]]  # how the names of each layer group's parameters and modules begin
    held: tuple[tuple[str, ...], ...]  # of each phase: how the names begin that are held in thawed groups
    factors: tuple[dict[str, float], ...]  # of each phase: parameters with a factor on their group's rate
    channels: tuple[int, int]  # to be adapted to before the weights are filled in, and after; 0: as it is
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Facts:
    """Both."""

    pictures: Pictures
    blueprint: Blueprint


def gather(recipe: Recipe, report: Report | None = None) -> Facts:
    """Look at the images and the network of a recipe. UserErrors as a run would raise them.

    With `report` as thoroughly as a run, which takes what must be drawn, decoded and downloaded; without it only
    what is there at once.
    """
    pictures = look(recipe, recipe.data.source.samples(), thorough=report is not None)
    return Facts(pictures, outline(recipe, len(pictures.targets.names), report))


def look(recipe: Recipe, listed: Samples, thorough: bool = False) -> Pictures:
    """What there is to say about the images; every file is opened only if `thorough`."""
    data = recipe.data
    samples, whole = arranged(listed, data)
    bad: tuple[tuple[int, str], ...] = ()
    if thorough:
        bad = decoded(samples, data.side, data.unreadable, channels=data.channels).bad
    damaged = tuple(index for index, _ in bad)
    parts = readable(samples, whole, damaged)
    targets = targets_from(samples.task, samples.classes, [samples.labels[index] for index in parts.train])
    traits = frozenset(_traits(samples, parts, data.side) if thorough else ())
    depth = depth_of(samples) if DEEP in traits else None
    return Pictures(listed, samples, whole, targets, damaged, traits, depth)


def _traits(samples: Samples, parts: Split, side: int) -> Iterator[str]:
    """What the headers of the files show."""
    for index in (*parts.train, *parts.valid):
        with Image.open(samples.paths[index], formats=FORMATS) as image:
            yield from _shape(image, side)
            if image.format == "HEIF":
                yield HEIF
            if kind_of(image.mode):
                yield DEEP
            elif image.has_transparency_data:
                yield CLEAR
            elif image.mode not in SIMPLE:
                yield ODD


def _shape(image: Image.Image, side: int) -> Iterator[str]:
    if max(image.size) > MAX_ASPECT * min(image.size):
        yield LONG
    if max(image.size) > HIGH * min(image.size):  # as it is, or turned
        yield TALL
    if image.format in ("JPEG", "MPO") and min(image.size) > 2 * side:
        yield LARGE
    # a PNG file may say it at its very end
    if image.format == "PNG" or image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        yield TURNED


def outline(recipe: Recipe, outputs: int, report: Report | None = None) -> Blueprint:
    """The network without its weights; these are downloaded first if told `report`."""
    model = recipe.model
    plan = Plan(outputs, recipe.data.image_size)
    origin = model.backbone.weights.origin(model.backbone, plan, report)
    body = model.backbone.empty(replace(plan, arguments={**plan.arguments, **origin.arguments}))
    usual, old_classifier = body.channels, body.classifier
    model.backbone.take(len(origin.mean) or usual, body)
    body.mean, body.std = origin.mean or body.mean, origin.std or body.std
    file = weight_files.opened(origin.file) if origin.file and origin.state else None
    head_too = model.backbone.weights.with_head
    tree = reading.read(file) if file else {}
    found = model.backbone.fitted(body, tree, file.path.name) if file and not head_too else Found()
    first = body.channels if body.channels != usual else 0
    network = with_head(body, model, outputs)
    if file and head_too:
        body.classifier = network.classifier
        found = model.backbone.fitted(body, tree, file.path.name)
    then = recipe.data.channels if recipe.data.channels != network.channels else 0
    model.backbone.take(recipe.data.channels, network)
    last, weights = _last(network), holding.weights(network.module)
    spoken = (old_classifier, *(place for place, _ in network.fitting.layers), last)
    return Blueprint(
        origin,
        reading.allowing(file) if file else (),
        reading.own(file) if file else (),
        found.steps,
        state_dicts.versioned(network.module),
        old_classifier,
        network.fitting,
        head_too and _head_fits(network, tree),
        {name: expression(network.module, name) for name in spoken if _exists(network.module, name)},
        expression(network.module, last),
        {group.name: _begins(network.module, group) for group in network.groups},
        tuple(_held(network, phase.thaw, phase.hold) for phase in recipe.phases),
        tuple(_factors(weights, phase) for phase in recipe.phases),
        (first, then),
        network.mean,
        network.std,
    )


def _factors(weights: Sequence[Weight], phase: Phase) -> dict[str, float]:
    meant = holding.rules_of(weights, phase.by_name)
    return {name: holding.factor(phase.by_name, rules) for name, rules in meant.items()}


def _last(network: Network) -> str:
    from torch import nn

    head = network.module.get_submodule(network.classifier)
    layers = [
        path
        for path, layer in head.named_modules(prefix=network.classifier)
        if isinstance(layer, (nn.Linear, nn.Conv2d))
    ]
    return layers[-1]


def _head_fits(network: Network, named: Any) -> bool:
    under = f"{network.classifier}."
    theirs = {name.removeprefix(under): value for name, value in named.items() if name.startswith(under)}
    return state_dicts.fits(network.module.get_submodule(network.classifier), theirs)


def _exists(module: nn.Module, path: str) -> bool:
    return any(name == path for name, _ in module.named_modules())


def expression(module: nn.Module, path: str) -> str:
    """A submodule as Python writes it: `model.classifier[1]`."""
    from torch import nn

    shown, node = "model", module
    for step in path.split("."):
        in_row = step.isdigit() and isinstance(node, (nn.Sequential, nn.ModuleList))
        shown += f"[{step}]" if in_row else f".{step}"
        node = node.get_submodule(step)
    return shown


def _begins(module: nn.Module, group: LayerGroup) -> tuple[str, ...]:
    """The beginnings that tell what belongs to a group: its modules, and parameters outside of them."""
    return _prefixes(group.modules, group.parameters)


def _held(network: Network, thawed: Sequence[str], hold: Sequence[str]) -> tuple[str, ...]:
    if not hold:
        return ()
    names = {group.name for group in network.groups}
    parts = [part for part in divide(network, thawed, hold).still if part.name not in names]
    return tuple(begin for part in parts for begin in _prefixes(part.modules, part.parameters))


def _prefixes(modules: Sequence[str], parameters: Sequence[str]) -> tuple[str, ...]:
    whole = tuple(f"{module}." for module in modules)
    return (*whole, *(f"{name}." for name in parameters if not name.startswith(whole)))
