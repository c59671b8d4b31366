"""The truth check: whether a step did what the recipe says, looked up in the weights themselves.

What is frozen must be the same after the step, bit by bit; what is thawed must have a gradient and an optimizer that
knows it. The check reads and compares, so the training is the same with it and without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from finetune_core.network.freezing import Division
from finetune_core.network.network import LayerGroup

BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # integers by bytes


@dataclass(frozen=True)
class Verdict:
    """What was found, in words, and whether the recipe has been kept to."""

    kept: bool
    text: str


class Witness:
    """Remembers what is frozen before a step and looks again after it.

    The division says what may learn, and whether what is frozen may move its norm statistics. Holds a copy of the
    frozen weights and buffers, on their device.
    """

    def __init__(self, division: Division) -> None:
        self.network, self.thawed, self.frozen = division.network, division.learning, division.still
        self.adapting = set(division.adapting())
        self.weights = {name: value.clone() for group in self.frozen for name, value in self._weights(group)}
        self.buffers = {name: value.clone() for group in self.frozen for name, value in self._buffers(group)}

    def verdict(self, optimizer: torch.optim.Optimizer) -> Verdict:
        """To be asked after the step and before the gradients are cleared."""
        problems = [*self._frozen_problems(), *self._thawed_problems(optimizer)]
        if problems:
            return Verdict(False, f"Truth check failed: {' '.join(problems)}")
        return Verdict(True, f"Truth check: {self._good_news()}")

    def _frozen_problems(self) -> Iterator[str]:
        yield from _sentence(
            "{names} {is_} frozen, but {its} weights moved ({some}).",
            self.frozen,
            lambda group: [name for name, value in self._weights(group) if not _same(value, self.weights[name])],
        )
        yield from _sentence(
            "{names} {is_} frozen, but {its} BatchNorm statistics moved ({some}).",
            self.frozen,
            lambda group: [name for name, value in self._buffers(group) if not _same(value, self.buffers[name])],
        )
        yield from _sentence(
            "{names} {is_} frozen, but received a gradient ({some}).",
            self.frozen,
            lambda group: [name for name in group.parameters if self._gradient(name) is not None],
        )

    def _thawed_problems(self, optimizer: torch.optim.Optimizer) -> Iterator[str]:
        known = {id(parameter) for each in optimizer.param_groups for parameter in each["params"]}
        weight = self.network.module.get_parameter
        yield from _sentence(
            "{names} should learn, but the optimizer does not know {it} ({some}).",
            self.thawed,
            lambda group: [name for name in group.parameters if id(weight(name)) not in known],
        )
        yield from _sentence(
            "{names} should learn, but received no gradient ({some}).",
            self.thawed,
            lambda group: [name for name in group.parameters if self._gradient(name) is None],
        )

    def _good_news(self) -> str:
        still, warm = [group.name for group in self.frozen], [group.name for group in self.thawed]
        but = ", but for their norm statistics" if self.adapting else ""
        parts = [f"{', '.join(still)} {'stands' if len(still) == 1 else 'stand'} still{but}"] if still else []
        parts += [f"{', '.join(warm)} {'learns' if len(warm) == 1 else 'learn'}"] if warm else []
        zero = [group.name for group in self.thawed if not self._pushed(group)]
        word = f" The first gradient of {', '.join(zero)} was exactly zero, though." if zero else ""
        return f"{'; '.join(parts)}.{word}"

    def _pushed(self, group: LayerGroup) -> bool:
        gradients = (self._gradient(name) for name in group.parameters)
        return any(bool(gradient.any()) for gradient in gradients if gradient is not None)

    def _gradient(self, name: str) -> Tensor | None:
        return self.network.module.get_parameter(name).grad

    def _weights(self, group: LayerGroup) -> Iterator[tuple[str, Tensor]]:
        for name in group.parameters:
            yield name, self.network.module.get_parameter(name).detach()

    def _buffers(self, group: LayerGroup) -> Iterator[tuple[str, Tensor]]:
        """Those that have to hold still."""
        for top in group.modules:
            for name, value in self.network.module.get_submodule(top).named_buffers(prefix=top):
                if name.rpartition(".")[0] not in self.adapting:
                    yield name, value


def _same(one: Tensor, other: Tensor) -> bool:
    """Bit by bit: a number that is not one equals itself, and zero differs from minus zero."""
    bits = BITS[one.element_size()]
    return torch.equal(one.view(bits), other.view(bits))


def _sentence(text: str, groups: Sequence[LayerGroup], search: Callable[[LayerGroup], list[str]]) -> Iterator[str]:
    """One sentence about the groups in which a search finds something, or none."""
    found = {group.name: names for group in groups if (names := search(group))}
    if not found:
        return
    first, *more = [name for names in found.values() for name in names]
    is_, its, it = ("is", "its", "it") if len(found) == 1 else ("are", "their", "them")
    some = f"{first} and {len(more)} more" if more else first
    yield text.format(names=", ".join(found), is_=is_, its=its, it=it, some=some)
