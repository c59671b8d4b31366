"""What both libraries of networks need: what classifies, and words for what cannot be built."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from finetune_core.errors import UserError
from finetune_core.parts.backbones.family import Backbone
from finetune_core.parts.backbones.weights import other_ways


def classifies(layer: object) -> bool:
    """Whether a layer gives one number per class: linear, or a 1×1 convolution."""
    from torch import nn

    return isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and tuple(layer.kernel_size) == (1, 1))


def not_to_plan(backbone: Backbone, arguments: Mapping[str, Any], error: Exception) -> Exception:
    """Words for what a constructor refused; the error itself where nothing special was asked of it."""
    if isinstance(error, TypeError) and any(name in str(error) for name in backbone.drops()):
        return does_not_drop(backbone, f"Its constructor says: {error}")
    if not arguments:
        return error
    asked = ", ".join(f"{key}={value}" for key, value in arguments.items())
    return UserError(
        f"{backbone.title} cannot build {backbone.architecture} with {asked}.",
        f"It says: {str(error).splitlines()[0] if str(error) else type(error).__name__}.",
        "Choose the image size or the architecture that the weights were made for.",
    )


def does_not_drop(backbone: Backbone, why: str) -> UserError:
    """The words for a network that has no such dropout."""
    return UserError(
        f"{backbone.title}'s {backbone.architecture} cannot be told its dropout or stochastic depth.",
        f"{why}.",
        "Set it back to 0, which leaves it to the library, or choose another architecture.",
    )


def unknown(library: str, architecture: str, known: Sequence[str]) -> UserError:
    """The words for a name that the library does not know, with near ones."""
    near = difflib.get_close_matches(architecture.partition(".")[0], known, n=3)
    return UserError(
        f"{library} has no network called {architecture or '(nothing)'}.",
        f"Did you mean {' or '.join(near)}?" if near else "",
        "Choose a name from the list on the model page; a tag of weights is set apart from the name.",
    )


def no_such_tag(backbone: Backbone, tag: str, tags: Sequence[str]) -> UserError:
    """The words for a set of weights that is not published."""
    library, architecture = backbone.title, backbone.architecture
    if not tags:
        what = f"{library} publishes no weights for {architecture}."
        return UserError(what, "Only its design is published.", other_ways(backbone))
    return UserError(
        f"{library} has no weights {tag or '(default)'} for {architecture}.",
        f"There are {', '.join(tags)}.",
        "Choose one of these, or leave the tag empty.",
    )
