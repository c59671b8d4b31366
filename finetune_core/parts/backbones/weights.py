"""Weights: where a backbone's knowledge comes from. torch is imported when a network is built, not before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

from finetune_core import places
from finetune_core.errors import UnsaidError, UserError
from finetune_core.parts.backbones import reading, weight_files
from finetune_core.parts.backbones.spec import Body, Maker, Origin, Plan
from finetune_core.parts.base import Part, knob
from finetune_core.records import Report

ENDINGS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".pth.tar")  # usual ones: what a file is, its content says
Asks = Literal["", "path", "tag", "run"]


class Weights(Part):
    """Where the backbone's weights come from."""

    trained: ClassVar[bool] = True
    with_head: ClassVar[bool] = False  # whether a trained head may come along
    made_here: ClassVar[bool] = False  # by Thaw, for images of the recipe's size
    asks: ClassVar[Asks] = ""  # what a person has to say of them

    def origin(self, backbone: Maker, plan: Plan, report: Report | None) -> Origin:
        """Where they are to be had, downloaded first if told `report`; UserError where they are not to be had."""
        raise NotImplementedError

    def build(self, backbone: Maker, plan: Plan, report: Report) -> Body:
        """The backbone with these weights; UserError where they cannot be had or do not fit.

        What comes with a head waits in the body's `trained` until the recipe's own head is on.
        """
        origin = self.origin(backbone, plan, report)
        if origin.file:
            report(f"Loading {origin.file.name}")
        body = backbone.made(origin.call, replace(plan, arguments={**plan.arguments, **origin.arguments}))
        backbone.take(len(origin.mean) or body.channels, body)
        body.mean, body.std = origin.mean or body.mean, origin.std or body.std
        if origin.file and origin.state:
            tree = reading.read(weight_files.opened(origin.file))
            if self.with_head:
                body.trained = tree
            else:
                backbone.fill(body, tree, origin.file.name)
        return body

    def facts(self, backbone: Maker) -> str:
        """One line on what these weights are, without torch; UserError where they are not there."""
        raise NotImplementedError

    def offered(self, backbone: Maker) -> bool:
        """Whether such weights can be had for a backbone, as far as can be told at once."""
        return True

    def unsaid(self) -> str:
        """What has yet to be said before they can be had, in a sentence; empty where nothing has."""
        return ""

    def missing(self) -> str:
        """The same, or what else needs a look before they are of use, seen at a glance."""
        return self.unsaid()

    def set_wanted(self) -> str | None:
        """The tag of the published set that they are, empty for the library's default; None where they are none."""
        return None


class Bundled(Weights):
    """The small backbone that comes with Thaw: works offline, made for trying things out."""

    kind: ClassVar[str] = "bundled"
    title: ClassVar[str] = "Bundled with Thaw"
    made_here: ClassVar[bool] = True

    def origin(self, backbone: Maker, plan: Plan, report: Report | None) -> Origin:
        """From the assets, like any other file."""
        return _from_file(backbone, self._file(backbone), plan)

    def facts(self, backbone: Maker) -> str:
        """Size and architecture of the bundled file."""
        return f"Bundled with Thaw: {_said(backbone, self._file(backbone)).line()}"

    def offered(self, backbone: Maker) -> bool:
        """Whether Thaw brings a file for it."""
        return backbone.kind == "timm" and self._path(backbone).is_file()

    def _path(self, backbone: Maker) -> Path:
        return places.ASSETS / "backbones" / f"{backbone.architecture}_thaw.safetensors"

    def _file(self, backbone: Maker) -> Path:
        path = self._path(backbone)
        if not self.offered(backbone):
            folder = path.parent
            there = ", ".join(sorted(each.stem.removesuffix("_thaw") for each in folder.glob("*_thaw.safetensors")))
            raise UserError(
                f"Thaw brings no weights for {backbone.kind} {backbone.architecture}.",
                f"Bundled is: {there or 'nothing'}.",
                "Choose a bundled backbone, or other weights for this one.",
            )
        return path


class Hub(Weights):
    """The weights that the library's authors publish; downloaded once, then read from this machine."""

    kind: ClassVar[str] = "hub"
    title: ClassVar[str] = "Published weights"
    asks: ClassVar[Asks] = "tag"
    tag: str = knob("", "Tag", "Which of several published sets, such as a1_in1k; empty means the library's default.")

    def origin(self, backbone: Maker, plan: Plan, report: Report | None) -> Origin:
        """From the library's hub, or from what was downloaded before."""
        return backbone.published(self.tag, plan, report)

    def set_wanted(self) -> str | None:
        """The tag."""
        return self.tag

    def facts(self, backbone: Maker) -> str:
        """Which set of which library."""
        tag = f"set {self.tag}" if self.tag else "the default set"
        return f"Published by {backbone.title}: {tag} for {backbone.architecture}"


class OnDisk(Weights):
    """Weights in a file on this machine."""

    path: str = knob("", "Path", "Where the file lies on this machine.", path=ENDINGS)

    def origin(self, backbone: Maker, plan: Plan, report: Report | None) -> Origin:
        """From the file."""
        return _from_file(backbone, self.file(), plan)

    def unsaid(self) -> str:
        """The file."""
        return "" if self.path else "Say where the weights file lies."

    def missing(self) -> str:
        """The file."""
        there = places.is_there(self.path, file=True)
        return self.unsaid() or ("" if there else "The weights file is not there.")

    def file(self) -> Path:
        """Where the file lies."""
        if self.unsaid():
            raise UnsaidError("No weights file is chosen yet.", hint=f"{self.unsaid()} Or choose other weights.")
        return places.expanded(self.path)


class File(OnDisk):
    """A weights file of your own for this architecture: a safetensors file, or a state dict saved by torch.save."""

    kind: ClassVar[str] = "file"
    title: ClassVar[str] = "A file"
    asks: ClassVar[Asks] = "path"

    def facts(self, backbone: Maker) -> str:
        """What the file says about itself; UserError where it is missing, damaged or made for another network."""
        path = self.file()
        return f"{path.name}: {_said(backbone, path).line()}"


class Checkpoint(OnDisk):
    """What a run has learned: its whole network, also the head where that is like this recipe's."""

    kind: ClassVar[str] = "checkpoint"
    title: ClassVar[str] = "A trained run"
    made_here: ClassVar[bool] = True
    asks: ClassVar[Asks] = "run"
    with_head: ClassVar[bool] = True
    path: str = knob("", "Path", "A .safetensors file among a run's checkpoints.", path=(".safetensors",))

    def unsaid(self) -> str:
        """The run."""
        return "" if self.path else "Choose the run to start from."

    def facts(self, backbone: Maker) -> str:
        """What the file says about itself; UserError where it is missing, damaged or made for another network."""
        path = self.file()
        said = _said(backbone, path)
        return f"{'/'.join(path.parts[-3:])}: {said.line()}; its head for {said.outputs} classes stays where it fits"


class RandomWeights(Weights):
    """No knowledge at all: every weight starts at random. Only useful to see what pretraining is worth."""

    kind: ClassVar[str] = "random"
    title: ClassVar[str] = "Random (untrained)"
    trained: ClassVar[bool] = False

    def origin(self, backbone: Maker, plan: Plan, report: Report | None) -> Origin:
        """As the library initialises it; the caller has seeded."""
        return Origin(backbone.call(plan))

    def missing(self) -> str:
        """All knowledge."""
        return "Random weights: this backbone has learned nothing yet."

    def facts(self, backbone: Maker) -> str:
        """A warning."""
        return f"RANDOM WEIGHTS: this {backbone.architecture} has learned nothing yet and must learn to see first"


def _said(backbone: Maker, path: Path) -> weight_files.FileFacts:
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


def _from_file(backbone: Maker, path: Path, plan: Plan) -> Origin:
    """A file, for a network with the settings and normalisation that it asks for."""
    said = _said(backbone, path)
    call = backbone.call(replace(plan, arguments={**plan.arguments, **said.arguments}))
    path = path.absolute()
    return Origin(call, path, reading.code(weight_files.opened(path)), said.mean, said.std, said.arguments)


def other_ways(backbone: Maker) -> str:
    """What else than published weights a backbone can be given."""
    bundled = "the bundled weights, " if Bundled().offered(backbone) else ""
    return f"Choose {bundled}a weights file of your own, or random weights."
