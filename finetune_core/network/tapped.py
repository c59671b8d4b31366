"""What a layer gives in a forward pass, or what goes into the head: an embedding of each image, as one row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor

from finetune_core.errors import UserError
from finetune_core.parts.modules import pooled

if TYPE_CHECKING:
    from torch import nn

    from finetune_core.network.network import Network

EXAMPLES = 6  # names of layers that an error shows


@contextmanager
def tapped(module: nn.Module, classifier: str, layer: str = "") -> Iterator[list[Tensor]]:
    """The embedding (N, D) of each forward pass within: what `layer` gives, or what goes into the classifier.

    A UserError where a layer gives something else than numbers for each image, as attention in torchvision does.
    """
    seen: list[Tensor] = []

    def into(head: nn.Module, given: tuple[Any, ...]) -> None:
        seen.append(pooled(given[0]))

    def out_of(own: nn.Module, given: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            what, why = f"What {layer} gives cannot be compared.", f"It is a {type(output).__name__}, not a tensor."
            raise UserError(what, why, "Name a layer within it, or the one around it.")
        seen.append(pooled(output))

    place = module.get_submodule(layer or classifier)
    hook = place.register_forward_hook(out_of) if layer else place.register_forward_pre_hook(into)
    try:
        yield seen
    finally:
        hook.remove()


def check(network: Network, layer: str) -> None:
    """A UserError where a network has no such layer."""
    known = [name for name, _ in network.module.named_modules() if name]
    if layer and layer not in known:
        some = known[:: max(1, len(known) // EXAMPLES)][:EXAMPLES]
        what, why = f"There is no layer called {layer}.", f"There are {len(known)}, such as {', '.join(some)}."
        raise UserError(what, why, "Find its name by `tree`, or in the table on Model & layers.")
