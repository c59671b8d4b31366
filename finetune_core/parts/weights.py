"""Weights: where a backbone's knowledge comes from. torch is imported when a network is built, not before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from finetune_core import places, weight_files
from finetune_core.errors import UserError
from finetune_core.parts.base import Part, knob

if TYPE_CHECKING:
    from torch import nn

    from finetune_core.parts.backbones import Backbone

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What a network is to be built for."""

    outputs: int  # classes
    image_size: int | None = None  # px, side of the square; only networks of fixed size care; None: the library's own
    arguments: Mapping[str, Any] = field(default_factory=dict)  # more for the library's constructor, such as pad_type


@dataclass
class Body:
    """A network as its library built it, still with a classifier of the library's own making."""

    module: nn.Module
    classifier: str  # dotted name of the classifying layer
    mean: tuple[float, ...]
    std: tuple[float, ...]
    arguments: Mapping[str, Any]  # given to the library's constructor beside name and classes
    side: int  # px, of images that the network takes


class Weights(Part):
    """Where the backbone's weights come from."""

    trained: ClassVar[bool] = True

    def build(self, backbone: Backbone, plan: Plan, progress: Progress) -> Body:
        """The backbone with these weights; UserError where they cannot be had or do not fit."""
        raise NotImplementedError

    def facts(self, backbone: Backbone) -> str:
        """One line on what these weights are, without torch; UserError where they are not there."""
        raise NotImplementedError


class Bundled(Weights):
    """The small backbone that comes with Thaw: works offline, made for trying things out."""

    kind: ClassVar[str] = "bundled"
    title: ClassVar[str] = "Bundled with Thaw"

    def build(self, backbone: Backbone, plan: Plan, progress: Progress) -> Body:
        """From the assets, like any other file."""
        return _from_file(backbone, self._file(backbone), plan, progress)

    def facts(self, backbone: Backbone) -> str:
        """Size and architecture of the bundled file."""
        return f"Bundled with Thaw: {_said(backbone, self._file(backbone)).line()}"

    def _file(self, backbone: Backbone) -> Path:
        folder = places.ASSETS / "backbones"
        path = folder / f"{backbone.architecture}_thaw.safetensors"
        if backbone.kind != "timm" or not path.is_file():
            there = ", ".join(sorted(each.stem.removesuffix("_thaw") for each in folder.glob("*_thaw.safetensors")))
            raise UserError(
                f"Thaw brings no weights for {backbone.kind} {backbone.architecture}.",
                f"Bundled is: {there or 'nothing'}.",
                "Choose a bundled backbone, published weights, a weights file, or random weights.",
            )
        return path


class Hub(Weights):
    """The weights that the library's authors publish; downloaded once, then read from this machine."""

    kind: ClassVar[str] = "hub"
    title: ClassVar[str] = "Published weights"
    tag: str = knob("", "Tag", "Which of several published sets, such as a1_in1k; empty means the library's default.")

    def build(self, backbone: Backbone, plan: Plan, progress: Progress) -> Body:
        """From the library's hub, or from what was downloaded before."""
        return backbone.published(self.tag, plan, progress)

    def facts(self, backbone: Backbone) -> str:
        """Which set of which library."""
        tag = f"set {self.tag}" if self.tag else "the default set"
        return f"Published by {backbone.title}: {tag} for {backbone.architecture}, downloaded once"


class File(Weights):
    """A weights file of your own for this architecture: .safetensors, or .pth / .pt holding tensors only."""

    kind: ClassVar[str] = "file"
    title: ClassVar[str] = "A file"
    path: str = knob("", "Path", "Where the file lies on this machine.")

    def build(self, backbone: Backbone, plan: Plan, progress: Progress) -> Body:
        """From the file; its classifier, if it has one, is left out."""
        return _from_file(backbone, Path(self.path).expanduser(), plan, progress)

    def facts(self, backbone: Backbone) -> str:
        """What the file says about itself; UserError where it is missing, damaged or made for another network."""
        path = Path(self.path).expanduser()
        return f"{path.name}: {_said(backbone, path).line()}"


class RandomWeights(Weights):
    """No knowledge at all: every weight starts at random. Only useful to see what pretraining is worth."""

    kind: ClassVar[str] = "random"
    title: ClassVar[str] = "Random (untrained)"
    trained: ClassVar[bool] = False

    def build(self, backbone: Backbone, plan: Plan, progress: Progress) -> Body:
        """As the library initialises it; the caller has seeded."""
        return backbone.bare(plan)

    def facts(self, backbone: Backbone) -> str:
        """A warning."""
        return f"RANDOM WEIGHTS: this {backbone.architecture} has learned nothing yet and must learn to see first"


def _said(backbone: Backbone, path: Path) -> weight_files.FileFacts:
    """What a file says about itself; UserError where it says that it was made for another network."""
    facts = weight_files.facts(path)
    if facts.architecture and (facts.library or backbone.kind, facts.architecture) != (
        backbone.kind,
        backbone.architecture,
    ):
        raise UserError(
            f"The weights in {path.name} do not fit {backbone.kind} {backbone.architecture}.",
            f"The file says that it was made for {' '.join(filter(None, (facts.library, facts.architecture)))}.",
            "Choose that architecture, or another file.",
        )
    return facts


def _from_file(backbone: Backbone, path: Path, plan: Plan, progress: Progress) -> Body:
    """A network filled from a file, built with the settings and normalisation that the file asks for."""
    said = _said(backbone, path)
    progress(f"Loading {path.name}")
    body = backbone.bare(replace(plan, arguments=said.arguments))
    backbone.fill(body, weight_files.tensors(path), path.name)
    body.mean, body.std = said.mean or body.mean, said.std or body.std
    return body
