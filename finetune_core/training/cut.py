"""The cut: where the frozen beginning of a network ends, so that what it gives can be kept and the rest run without it.

It is found by watching one forward pass, and proven by a second: with the kept numbers in place and nothing but zeros
from all frozen modules before them, whatever comes after must see the same. So it needs no knowledge of a family, and
where a network cannot be cut (skip connections over the cut, say) it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils._pytree import tree_leaves, tree_map

from finetune_core.parts import modules

TRIED = 4  # places, from the last one back, at which a cut is tried
IMAGES = 3  # that the proof looks at
# Modules without weights that do the same to each image in training as in evaluation
STEADY = (
    nn.Identity,
    nn.Flatten,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.AvgPool2d,
    nn.MaxPool2d,
    nn.ReLU,
    nn.ReLU6,
    nn.Hardswish,
    nn.SiLU,
    nn.GELU,
    modules.TokenPool,
)
STEADY_IN_TIMM = ("SelectAdaptivePool2d", "FastAdaptiveAvgPool", "AdaptiveAvgMaxPool2d", "AdaptiveCatAvgMaxPool2d")


@dataclass(frozen=True)
class Cut:
    """Where a network is cut: behind the module `last`, whose output is kept; none of the `skipped` need run then.

    `stands` are their outputs for `IMAGES` images, by name and call, as shapes (tensors on the meta device); `image` is
    the shape of one, `row` that of what is kept of it, `order` the order in which the row's dimensions lie in memory.
    """

    last: str
    skipped: tuple[str, ...]
    stands: Mapping[str, Sequence[Any]]
    image: tuple[int, ...]
    row: tuple[int, ...]
    order: tuple[int, ...]
    dtype: torch.dtype

    @property
    def row_bytes(self) -> int:
        """Bytes that are kept of one image."""
        return self.dtype.itemsize * torch.Size(self.row).numel()

    def front(self, module: nn.Module, images: Tensor) -> Tensor:
        """What is kept of normalised images (N, C, H, W): the output of the frozen beginning alone."""
        found: list[Tensor] = []

        def reached(layer: nn.Module, given: Any, output: Tensor) -> None:
            found.append(output)
            raise _Reached

        with hooked(module.get_submodule(self.last).register_forward_hook(reached)), suppress(_Reached):
            module(images)
        return found[0]

    def rest(self, module: nn.Module, kept: Tensor) -> Tensor:
        """The outputs for what `front` gave."""
        inner = module.module if isinstance(module, DistributedDataParallel) else module
        images = kept.new_zeros((), dtype=torch.float32).expand(len(kept), *self.image)
        with self._standing_in(inner, kept):
            answer: Tensor = module(images)
        return answer

    @contextmanager
    def _standing_in(self, module: nn.Module, kept: Tensor) -> Iterator[None]:
        """Let the skipped modules answer at once: the last one with what was kept, the others with zeros."""
        layers = [module.get_submodule(name) for name in self.skipped]
        for name, layer in zip(self.skipped, layers, strict=True):
            answers = iter([kept] if name == self.last else [_zeros(each, kept) for each in self.stands[name]])
            layer.forward = _answering(answers)
        try:
            yield
        finally:
            for layer in layers:
                del layer.forward


class _Reached(Exception):  # noqa: N818 - it is what was wanted
    """The forward pass has come to the cut."""


def _answering(answers: Iterator[Any]) -> Callable[..., Any]:
    return lambda *given, **named: next(answers)


def _zeros(stand: Any, like: Tensor) -> Any:
    """Zeros of these shapes, for as many images as `like` has; they take no memory."""

    def zeros(each: Any) -> Any:
        if not isinstance(each, Tensor):
            return each
        rows = each.shape[0] // IMAGES * len(like) if each.ndim else 0
        shape = (rows, *each.shape[1:]) if each.ndim else ()
        return torch.zeros((), dtype=each.dtype, device=like.device).expand(shape)

    return tree_map(zeros, stand)


@dataclass(frozen=True)
class _Call:
    """A module that has answered, or (without an answer) one that learns or adapts and is about to."""

    name: str
    answer: Any = None


def find(module: nn.Module, learns: set[str], image: Sequence[int]) -> Cut | None:
    """Where a network can be cut that is in training mode; None where nothing before its first thawed layer is frozen.

    `learns` are the names of the parameters that do; all modules that stand still must be in evaluation mode. `image`
    is the shape (C, H, W) that it sees. To be called in the precision of the training. Nothing is changed, and no
    random number drawn.
    """
    training = {name: layer.training for name, layer in module.named_modules()}
    still = _largest(
        module, {name for name, layer in module.named_modules() if name and _is_still(name, layer, learns)}
    )
    images = probe(module, image)
    module.eval()
    try:
        calls = _watched(module, still, learns, training, images)
        for end in _candidates(calls)[:TRIED]:
            cut = _cut(calls, end, images)
            if _is_proven(cut, module, images):
                return cut
    finally:
        for name, layer in module.named_modules():
            layer.training = training[name]
    return None


def probe(module: nn.Module, image: Sequence[int]) -> Tensor:
    """A few images of this shape (C, H, W), always the same noise, to try a network on."""
    numbers = torch.rand(IMAGES, *image, generator=torch.Generator().manual_seed(0))
    device = next(module.parameters()).device
    return numbers.sub_(0.5).mul_(4).to(device).contiguous(memory_format=torch.channels_last)


def _is_still(name: str, layer: nn.Module, learns: set[str]) -> bool:
    """Whether a module is a pure function of its input, image by image."""
    if any(f"{name}.{each}" in learns for each, _ in layer.named_parameters()):
        return False
    return all(not each.training or _is_steady(each) for each in layer.modules())


def _is_steady(layer: nn.Module) -> bool:
    if isinstance(layer, STEADY) or type(layer).__name__ in STEADY_IN_TIMM:
        return not any(True for _ in layer.parameters())
    return isinstance(layer, nn.Sequential)


def _largest(module: nn.Module, names: set[str]) -> set[str]:
    """Those that lie in none of the others."""

    def ancestors(name: str) -> Iterator[str]:
        steps = name.split(".")
        return (".".join(steps[:depth]) for depth in range(1, len(steps)))

    return {name for name in names if not names.intersection(ancestors(name))}


def _watched(
    module: nn.Module, still: set[str], learns: set[str], training: Mapping[str, bool], images: Tensor
) -> list[_Call]:
    """What is called in a forward pass, in order: still modules as they answer, others that matter as they begin."""
    calls: list[_Call] = []
    inside = {each for name in still for each, _ in module.get_submodule(name).named_modules(prefix=name)}

    def answers(name: str) -> Callable[..., None]:
        return lambda layer, given, output: calls.append(_Call(name, output))

    def begins(name: str) -> Callable[..., None]:
        return lambda layer, given: calls.append(_Call(name))

    hooks = [module.get_submodule(name).register_forward_hook(answers(name)) for name in still]
    for name, layer in module.named_modules():
        own = [each for each, _ in layer.named_parameters(recurse=False)]
        leaf = not any(True for _ in layer.children())
        moves = training[name] and (any(True for _ in layer.buffers(recurse=False)) or (leaf and not _is_steady(layer)))
        if name not in inside and (moves or any(f"{name}.{each}".lstrip(".") in learns for each in own)):
            hooks.append(layer.register_forward_pre_hook(begins(name)))
    with hooked(*hooks), torch.enable_grad():
        module(images)
    return calls


def _candidates(calls: Sequence[_Call]) -> list[int]:
    """Which calls may be the last before the cut, the last of all first."""
    first = next((place for place, call in enumerate(calls) if call.answer is None), len(calls))
    names = [call.name for call in calls]
    return [
        place
        for place in reversed(range(first))
        if isinstance(answer := calls[place].answer, Tensor)
        and answer.is_floating_point()
        and not answer.requires_grad
        and answer.ndim > 1
        and len(answer) == IMAGES
        and names.count(names[place]) == 1
        and not set(names[: place + 1]).intersection(names[place + 1 :])
    ]


def _cut(calls: Sequence[_Call], end: int, images: Tensor) -> Cut:
    stands: dict[str, list[Any]] = {}
    for call in calls[: end + 1]:
        stands.setdefault(call.name, []).append(tree_map(_shape, call.answer))
    kept: Tensor = calls[end].answer
    strides = kept.stride()[1:]
    order = tuple(sorted(range(len(strides)), key=lambda dimension: -strides[dimension]))
    shapes = tuple(images.shape[1:]), tuple(kept.shape[1:])
    return Cut(calls[end].name, tuple(stands), stands, *shapes, order, kept.dtype)


def _shape(value: Any) -> Any:
    return value.detach().to("meta") if isinstance(value, Tensor) else value


def _is_proven(cut: Cut, module: nn.Module, images: Tensor) -> bool:
    """Whether everything after the cut sees the same with stand-ins before it."""
    with torch.no_grad():
        true, answer = _seen_after(cut, module, lambda: module(images))
        try:
            ours, replayed = _seen_after(cut, module, lambda: cut.rest(module, cut.front(module, images)))
        except Exception:  # noqa: BLE001 - the code of any maker may stumble over stand-ins, each in its own way
            return False
    return len(true) == len(ours) and all(map(same, [*true, answer], [*ours, replayed]))


def _seen_after(cut: Cut, module: nn.Module, run: Callable[[], Tensor]) -> tuple[list[Tensor], Tensor]:
    """What the modules after the cut are given, and the outputs."""
    seen: list[Tensor] = []
    reached = False

    def note(layer: nn.Module, given: Any) -> None:
        if reached:
            seen.extend(each for each in tree_leaves(given) if isinstance(each, Tensor))

    def reach(layer: nn.Module, given: Any, output: Any) -> None:
        nonlocal reached
        reached = True
        seen.clear()

    hooks = [layer.register_forward_pre_hook(note) for layer in module.modules()]
    hooks.append(module.get_submodule(cut.last).register_forward_hook(reach))
    with hooked(*hooks):
        answer = run()
    return seen, answer


def same(one: Tensor, other: Tensor) -> bool:
    """Whether numbers agree but for rounding."""
    if one.shape != other.shape:
        return False
    one, other = one.float(), other.float()
    near = 1e-5 * float(one.abs().nan_to_num().max()) if one.numel() else 0.0
    return torch.allclose(one, other, rtol=1e-4, atol=near, equal_nan=True)


@contextmanager
def hooked(*hooks: Any) -> Iterator[None]:
    """Take hooks away again."""
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
