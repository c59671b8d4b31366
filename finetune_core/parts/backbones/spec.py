"""What a network is built from and to: the values that backbones and weights hand each other. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from finetune_core.parts.base import Call
from finetune_core.records import Report

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Plan:
    """What a network is to be built for."""

    outputs: int  # classes
    image_size: int | None = None  # px, side of the square; only networks of fixed size care; None: the library's own
    arguments: Mapping[str, Any] = field(default_factory=dict)  # more for the library's constructor, such as pad_type


@dataclass
class Sighted:
    """A network, and how its images are normalised: with `mean` and `std` per channel, of values in 0..1."""

    module: nn.Module
    classifier: str  # dotted name of the classifying layer
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def channels(self) -> int:
        """Of the images that it takes."""
        return len(self.mean)


@dataclass
class Body(Sighted):
    """A network as its library built it, still with a classifier of the library's own making."""

    arguments: Mapping[str, Any]  # given to the library's constructor beside name and classes
    side: int  # px, of images that the network takes
    trained: Any = None  # what was read of a whole network, to be filled in under its head
    notes: tuple[str, ...] = ()  # what a person should know of its weights, such as what was left out


@dataclass(frozen=True)
class Translation:
    """A library's own way to make another's or an earlier version's state dict one of today's.

    `apply` takes it and the network and may raise where it does not know the names; `code` is the same, speaking of
    `weights` and `model`.
    """

    code: str
    apply: Callable[[dict[str, Tensor], nn.Module], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Origin:
    """How a network gets its weights: what constructs it, and the file that is filled in after that.

    The constructor may have loaded the file by itself; then there is no `state`, the expression for its state dict.
    """

    call: Call
    file: Path | None = None  # None: there is none, or it is not on this machine
    state: str | None = None
    mean: tuple[float, ...] = ()  # of the images that the weights were trained on; empty: as the library says
    std: tuple[float, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)  # for the constructor, that the file asks for


class Maker(Protocol):
    """A backbone as its weights see it: what builds the network, and what the library publishes for it."""

    kind: ClassVar[str]
    title: ClassVar[str]

    @property
    def architecture(self) -> str:
        """The library's name for the network."""

    def call(self, plan: Plan) -> Call:
        """The library's constructor for this network, to plan and with random weights."""

    def made(self, call: Call, plan: Plan) -> Body:
        """What a call of the constructor gives."""

    def published(self, tag: str, plan: Plan, report: Report | None) -> Origin:
        """The weights of the library's hub."""

    def take(self, channels: int, network: Sighted) -> None:
        """Make a network one for so many channels."""

    def fill(self, body: Body, tree: Any, source: str) -> None:
        """Copy what belongs to the network, of all that was read from a file, into it."""
