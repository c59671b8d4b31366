"""From a decoded image to what the model sees: framing and augmentation, the same for training, preview and export.

Importing this needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from finetune_core.parts import Call, Transform
from finetune_core.recipe import Data, stack

if TYPE_CHECKING:
    from torch import Tensor


def eval_calls(data: Data) -> list[Call]:
    """What is done to an image that is measured on: scale, then the middle, as large as the model sees."""
    resize = Call("torchvision.transforms.v2.Resize", (data.measured_side,), {"antialias": True})
    return [resize, Call("torchvision.transforms.v2.CenterCrop", (data.image_size,))]


def train_calls(transforms: Sequence[Transform], data: Data) -> list[Call]:
    """What is done to an image that is learned from: the active transforms in order, those that frame it first.

    Where none of them frames the image, it is framed as in evaluation.
    """
    order = [transforms[place] for place in stack.working(transforms)]
    framed = any(transform.frames for transform in order)
    calls = (transform.call(data.image_size, data.channels) for transform in order)
    return [*([] if framed else eval_calls(data)), *calls]


class Pipeline:
    """Torchvision transforms one after another: uint8 image (C, H, W) to uint8 (C, size, size)."""

    def __init__(self, calls: Sequence[Call], size: int) -> None:
        """Build each call; imports torchvision."""
        self.steps: list[Callable[[Tensor], Tensor]] = [call.build() for call in calls]
        self.calls, self.size = tuple(calls), size

    def __repr__(self) -> str:
        """The same for pipelines that do the same."""
        return f"{self.calls} to {self.size} px"

    def __call__(self, image: Tensor) -> Tensor:
        """Run the steps; random ones draw from torch's global generator, see `draw`."""
        for step in self.steps:
            image = step(image)
        if image.shape[-2:] != (self.size, self.size):
            raise ValueError(f"the transforms gave {tuple(image.shape)} instead of size {self.size}")
        return image


def train_pipeline(transforms: Sequence[Transform], data: Data) -> Pipeline:
    """An augmentation for the model's input as the data give it."""
    return Pipeline(train_calls(transforms, data), data.image_size)


def eval_pipeline(data: Data) -> Pipeline:
    """Nothing random: the middle of the image."""
    return Pipeline(eval_calls(data), data.image_size)


def draw(image: np.ndarray | Tensor, pipeline: Callable[[Tensor], Tensor], seed: int, epoch: int, index: int) -> Tensor:
    """One augmented view of an image: (H, W, C) uint8 array or (C, H, W) uint8 tensor to (C, size, size) uint8.

    Depends on the image and (seed, epoch, index) alone: not on order, worker processes, threads or what was drawn
    before. Leaves torch's global random state as it was.
    """
    import torch

    generator = torch.default_generator
    state = generator.get_state()
    generator.manual_seed(mixed(seed, epoch, index))
    try:
        with one_thread():
            return pipeline(as_tensor(image))
    finally:
        generator.set_state(state)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute in one thread: on single images more are slower, and sums over several may round otherwise."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def mixed(seed: int, epoch: int, index: int) -> int:
    """A seed for one image in one epoch, unlike its neighbours'; 32 bits, which is all that torch uses on the CPU."""
    return int(np.random.SeedSequence((seed, epoch, index)).generate_state(1)[0])


def as_tensor(image: np.ndarray | Tensor) -> Tensor:
    """(H, W, C) array or (C, H, W) tensor as a (C, H, W) tensor whose memory lies pixel by pixel."""
    import torch

    if isinstance(image, np.ndarray):
        # A copy where it is read-only (the cache is): torch cannot promise not to write.
        pixels: Any = image if image.flags.writeable else image.copy()
        return torch.from_numpy(pixels).permute(2, 0, 1)
    return image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
