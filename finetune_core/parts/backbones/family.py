"""Backbones: the network that has already learned to see, as its library builds it.

torch and the libraries are imported when a network is built, not before.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import SerializeAsAny

from finetune_core.errors import UserError
from finetune_core.parts.backbones import sockets, state_dicts
from finetune_core.parts.backbones.spec import Body, Origin, Plan, Sighted, Translation
from finetune_core.parts.backbones.state_dicts import Found
from finetune_core.parts.backbones.weights import Hub, Weights
from finetune_core.parts.base import Call, Part, knob
from finetune_core.records import Report

DROPS = ("drop_rate", "drop_path_rate")
RGB = 3  # channels that published networks are made for
IMAGES = {1: "grey images", 3: "colour images", 4: "images with transparency"}  # by channels
ALPHA_MEAN, ALPHA_STD = 1.0, 0.5  # so that what is opaque, as all of a photo, is 0


class Backbone(Part):
    """The network that has already learned to see."""

    architecture: str = knob("", "Architecture", "The library's name for the network.")
    weights: SerializeAsAny[Weights] = Hub()
    drop_rate: float = knob(
        0.0,
        "Dropout",
        "Share of features silenced at random in training, mostly before the head; 0 leaves it to the library.",
        low=0.0,
        high=0.9,
        more=True,
    )
    drop_path_rate: float = knob(
        0.0,
        "Stochastic depth",
        "Chance that the last block is skipped in training, less for those before it; 0 leaves it to the library.",
        low=0.0,
        high=0.9,
        more=True,
    )

    SIZES: ClassVar[Sequence[str]] = ()  # arguments by which constructors are told the size of images
    SIDE_BRANCHES: ClassVar[Sequence[str]] = ()  # layers that only the first training used; files may hold them

    def arguments(self, plan: Plan) -> dict[str, Any]:
        """What the library's constructor is told beside name, outputs and dropout."""
        raise NotImplementedError

    def call(self, plan: Plan) -> Call:
        """The library's constructor for this network, to plan and with random weights."""
        raise NotImplementedError

    def published(self, tag: str, plan: Plan, report: Report | None) -> Origin:
        """The weights of the library's hub; without `report` only what is on this machine already."""
        raise NotImplementedError

    def made(self, call: Call, plan: Plan) -> Body:
        """What a call of the constructor gives; UserError if there is no such network or it cannot be built to plan."""
        raise NotImplementedError

    def bare(self, plan: Plan) -> Body:
        """The network with random weights; UserError as in `made`."""
        return self.made(self.call(plan), plan)

    def translations(self, body: Body) -> Sequence[Translation]:
        """The library's own ways to names and shapes of today, in the order in which they are tried."""
        raise NotImplementedError

    def empty(self, plan: Plan) -> Body:
        """The network without memory for its weights, on torch's meta device; UserErrors as `made`."""
        import torch

        try:
            with torch.device("meta"):
                return self.bare(plan)
        except (NotImplementedError, RuntimeError):  # some compute with tensors, for which meta has no numbers
            return self.bare(plan)

    def fill(self, body: Body, tree: Any, source: str) -> None:
        """Copy what belongs to the network, of all that was read from a file, into it, but for its classifier.

        UserErrors as in `fitted`, and where what is stored is no numbers. `source` is what people call the file.
        """
        found = self.fitted(body, tree, source)
        state_dicts.fill(body.module, found, source)
        body.notes = tuple(filter(None, (found.note(),)))

    def fitted(self, body: Body, tree: Any, source: str) -> Found:
        """What of a file belongs to the network, which becomes one for grey images or alpha where the file's is.

        UserError with the true cause where it does not fit.
        """
        found = self.found(body, tree)
        if channels := found.misfit.channels(body.channels):
            self.take(channels, body)
            found = self.found(body, tree)
        if not found.misfit:
            return found
        self._check_size(body, tree, source)
        raise state_dicts.misfitting(tree, found, source)

    def found(self, body: Body, tree: Any) -> Found:
        """What of a file comes nearest to the network, whether it fits or not."""
        return state_dicts.find(tree, body.module, (body.classifier, *self.SIDE_BRANCHES), self.translations(body))

    def _check_size(self, body: Body, tree: Any, source: str) -> None:
        """UserError where a file does not fit because the network was made for another size of images."""
        rest = {name: value for name, value in body.arguments.items() if name not in self.SIZES}
        if rest == dict(body.arguments):
            return
        usual = self.empty(Plan(2, arguments=rest))
        if not self.found(usual, tree).misfit:
            raise one_size(self, source, usual.side, body.side)

    def socket(self, body: Body) -> sockets.Socket:
        """Open the network for a head that pools by itself; UserError where its features cannot be had unpooled."""
        raise NotImplementedError

    def take(self, channels: int, network: Sighted) -> None:
        """Make a network for colour images one for so many channels, if it is not; UserError where it cannot be."""
        if channels == network.channels:
            return
        from finetune_core.parts.modules import with_channels

        what = f"{self.title}'s {self.architecture} cannot take {IMAGES[channels]}"
        hint = "Choose other channels (on the data page, under More), or another architecture."
        if network.channels != RGB:
            raise UserError(f"{what}.", f"Its weights were made for {IMAGES[network.channels]}.", hint)
        try:
            with_channels(network.module, channels)
        except NotImplementedError as error:
            raise UserError(f"{what}.", str(error), hint) from error
        network.mean = _per_channel(network.mean, channels, ALPHA_MEAN)
        network.std = _per_channel(network.std, channels, ALPHA_STD)

    def drops(self) -> dict[str, Any]:
        """What the library's constructor is told of dropout and stochastic depth: nothing where left to it."""
        rates = (self.drop_rate, self.drop_path_rate)
        return {name: rate for name, rate in zip(self.drop_names(), rates, strict=True) if rate > 0}

    def droppable(self, made: type) -> tuple[str, ...]:
        """Which of `drop_rate` and `drop_path_rate` a class of the library's can be told."""
        known = inspect.signature(made).parameters
        return tuple(field for field, name in zip(DROPS, self.drop_names(), strict=True) if name in known)

    def drop_names(self) -> tuple[str, str]:
        """The constructor's words for dropout and stochastic depth."""
        raise NotImplementedError


def one_size(backbone: Backbone, source: str, usual: int, wanted: int) -> UserError:
    """The words for weights that cannot be had for images of another size than theirs."""
    return UserError(
        f"This network takes images of {usual} px only; the recipe has {wanted}.",
        f"What {backbone.architecture} knows of places in an image cannot be stretched to other sizes ({source}).",
        f"Use {usual} px (data.image_size), or choose another architecture.",
    )


def _per_channel(colours: tuple[float, ...], channels: int, alpha: float) -> tuple[float, ...]:
    """A mean or standard deviation of three colours as that of grey images, or of colour and alpha."""
    return (sum(colours) / len(colours),) if channels == 1 else (*colours, alpha)
