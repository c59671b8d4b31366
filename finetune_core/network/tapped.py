"""What a layer gives in a forward pass, or what goes into the head: an embedding of each image, as one row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from finetune_core.errors import UserError
from finetune_core.parts.modules import pooled

if TYPE_CHECKING:
    from torch import Tensor, nn

    from finetune_core.network.network import Network

EXAMPLES = 6  # names of layers that an error shows


@contextmanager
def tapped(module: nn.Module, classifier: str, layer: str = "") -> Iterator[list[Tensor]]:
    """The embedding (N, D) of each forward pass within: what `layer` gives, or what goes into the classifier."""
    seen: list[Tensor] = []

    def into(head: nn.Module, given: tuple[Any, ...]) -> None:
        seen.append(pooled(given[0]))

    def out_of(own: nn.Module, given: Any, output: Any) -> None:
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
