"""A bare training loop in torch, with its DataLoader; and with timm's."""

from __future__ import annotations

import time
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from benchmarks.peers.sides import shared
from benchmarks.peers.task import LEAST_SCALE, Pace, Task, given, say

Loader = Iterable[tuple[Tensor, Tensor]]


def main() -> None:
    """Do what is asked for."""
    task = given()
    (epochs if task.work == "epochs" else speed)(task)


def speed(task: Task) -> None:
    """Training steps alone."""
    loader = timm_loader(task) if "timm's loader" in task.options else shared.loader(task)
    trained = _Trained(task)
    pace = Pace(task.epochs)
    for epoch in range(task.epochs):
        pace.begin()
        for images, labels in loader:
            trained.step(images, labels)
            pace.tick(epoch, len(images))
    pace.tell()


def epochs(task: Task) -> None:
    """Whole epochs, each with a look at the validation images."""
    train, valid = shared.loader(task), shared.loader(task, train=False)
    trained = _Trained(task)
    started = time.perf_counter()
    for _ in range(task.epochs):
        for images, labels in train:
            trained.step(images, labels)
        trained.accuracy(valid)
    say(value=len(task.train) * task.epochs / (time.perf_counter() - started))


class _Trained:
    """A network that learns."""

    def __init__(self, task: Task) -> None:
        self.module, self.device = shared.network(task), task.device
        self.optimizer, self.loss = shared.optimizer(self.module), nn.CrossEntropyLoss()
        self.module.train()

    def step(self, images: Tensor, labels: Tensor) -> float:
        """One step; its loss is read, as one does who wants to see it."""
        images, labels = (each.to(self.device, non_blocking=True) for each in (images, labels))
        self.optimizer.zero_grad()
        loss = self.loss(self.module(images), labels)
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    @torch.no_grad()
    def accuracy(self, valid: Loader) -> float:
        """Share of images that are right."""
        self.module.eval()
        found = [self.module(images.to(self.device)).argmax(1).cpu() == labels for images, labels in valid]
        self.module.train()
        return float(torch.cat(found).float().mean())


def timm_loader(task: Task) -> Loader:
    """timm's: crops by its own code, uint8 until it is on the device."""
    from timm.data import create_loader

    return create_loader(  # type: ignore[no-any-return]
        shared.Photos(task.train),
        input_size=(3, task.size, task.size),
        batch_size=task.batch,
        is_training=True,
        scale=(LEAST_SCALE, 1.0),
        color_jitter=None,
        mean=shared.MEAN,
        std=shared.STD,
        num_workers=task.workers,
        device=torch.device(task.device),
    )


if __name__ == "__main__":
    main()
