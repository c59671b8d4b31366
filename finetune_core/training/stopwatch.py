"""Timing a network on this machine: one image forward, and whole training steps, on random pixels."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch

from finetune_core.network import build
from finetune_core.network.freezing import param_groups
from finetune_core.network.network import Network
from finetune_core.recipe import Recipe
from finetune_core.records import Timing
from finetune_core.training.session import autocast, choose_device

OUTPUTS = 10
REPEATS = {"answer": 20, "step": 5}
WARM_UPS = 2  # the first calls choose algorithms and fetch memory
SECONDS = 15.0  # for each of both, whatever has been repeated by then


def timings(recipe: Recipe) -> Iterator[Timing]:
    """Each repetition as it is done; those to warm up are left out."""
    device = choose_device(recipe.training.device)
    network = build.build(recipe.model, OUTPUTS, image_size=recipe.data.image_size)
    network.module.to(device).to(memory_format=torch.channels_last)
    for what, job in (("answer", _answer), ("step", _step)):
        work, until = job(recipe, network, device), time.monotonic() + SECONDS
        for number in range(WARM_UPS + REPEATS[what]):
            seconds = _timed(work, device)
            if number >= WARM_UPS:
                yield Timing(what, seconds)
                if time.monotonic() > until:
                    break


def _timed(work: Callable[[], None], device: torch.device) -> float:
    started = time.perf_counter()
    work()
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter() - started


def _images(recipe: Recipe, count: int, device: torch.device) -> torch.Tensor:
    side = recipe.data.image_size
    return torch.rand(count, 3, side, side, device=device).to(memory_format=torch.channels_last)


def _answer(recipe: Recipe, network: Network, device: torch.device) -> Callable[[], None]:
    image = _images(recipe, 1, device)

    def work() -> None:
        with torch.inference_mode(), autocast(device, recipe.training.precision):
            network.module(image)

    network.module.eval()
    return work


def _step(recipe: Recipe, network: Network, device: torch.device) -> Callable[[], None]:
    batch = recipe.training.batch_size
    images, labels = _images(recipe, batch, device), torch.zeros(batch, dtype=torch.long, device=device)
    names = [group.name for group in network.groups]
    rates = dict.fromkeys(names, 1e-6)
    optimizer = recipe.training.optimizer.call().build(param_groups(network, dict.fromkeys(names, 0.0), rates))

    def work() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast(device, recipe.training.precision):
            loss = torch.nn.functional.cross_entropy(network.module(images).float(), labels)
        loss.backward()
        optimizer.step()

    network.module.train(batch > 1)  # batch norm cannot train on one image; that takes no longer
    return work
