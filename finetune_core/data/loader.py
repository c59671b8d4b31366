"""Batches of decoded images: in seeded order, freshly augmented, the same whoever makes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from finetune_core import machine
from finetune_core.data.cache import Decoded
from finetune_core.data.pipeline import as_tensor, draw, one_thread
from finetune_core.errors import UserError
from finetune_core.parts.sampling import Once, Sampling

if TYPE_CHECKING:
    from torch import Tensor

Batch = tuple["Tensor", "Tensor"]


def count_steps(images: int, batch_size: int, drop_last: bool = False) -> int:
    """Batches per epoch: the last one may be smaller, but a single leftover image joins the one before.

    BatchNorm cannot train on one image. There is at least one batch.
    """
    full, rest = divmod(images, batch_size)
    keeps_rest = rest > 1 and not drop_last
    return max(full + keeps_rest, 1)


def pieces(images: int, wanted: int) -> int:
    """Into how many of the wanted pieces so many images can be cut: two to each, as BatchNorm cannot train on one."""
    return max(1, min(wanted, images // 2))


@dataclass(frozen=True)
class Views:
    """Which draw of each image an epoch sees: one of its own, or one of so many `kept` ones.

    Those take turns of `turn` epochs, from epoch `first` on.
    """

    kept: int = 0
    turn: int = 1
    first: int = 0

    def of(self, epoch: int) -> int:
        """The number of the draw."""
        return (epoch - self.first) // self.turn % self.kept if self.kept else epoch


FRESH = Views()


class Batches:
    """The images of one part of the split, epoch by epoch.

    `labels` are per sample as `Targets.encoded` gives them, `indices` say which samples take part. With `shuffle` the
    order is the `sampling`'s, of its own per (seed, epoch), else that of `indices`. With `augment` each image is drawn
    anew per (seed, epoch, sample index) by `pipeline.draw`; without, the pipeline must have nothing random. `workers`
    processes work ahead; the batches are the same for any number of them. Of several processes that train together,
    `share` says which this is and how many there are.
    """

    def __init__(
        self,
        images: Decoded,
        labels: np.ndarray,
        indices: Sequence[int] | np.ndarray,
        pipeline: Callable[[Tensor], Tensor],
        batch_size: int,
        seed: int,
        shuffle: bool,
        *,
        drop_last: bool = False,
        augment: bool = True,
        workers: int | None = None,
        share: tuple[int, int] = (0, 1),
        sampling: Sampling | None = None,
    ) -> None:
        """Keep the pieces; worker processes start with the first epoch. A UserError where no image takes part."""
        if not len(indices):
            raise UserError("No images are left.", "All were left out as unreadable.", "Mend the files or add others.")
        self.indices = np.asarray(indices, np.int64)
        self.batch_size, self.seed, self.shuffle = batch_size, seed, shuffle
        self._sampling = sampling or Once()
        self.workers = default_workers() if workers is None else workers
        self.steps = count_steps(len(self.indices), batch_size, drop_last)
        self._drop_last, self._share = drop_last, share
        self._maker = _Maker(images, labels, pipeline, seed, augment)
        self._order = _Order()
        self._ahead: Any = None

    def __len__(self) -> int:
        """Number of images."""
        return len(self.indices)

    def over(self, indices: np.ndarray) -> Batches:
        """The same for other samples of the same images."""
        made = copy(self)
        made.indices, made._order, made._ahead = np.asarray(indices, np.int64), _Order(), None
        made.steps = count_steps(len(indices), self.batch_size, self._drop_last)
        return made

    def through(self, pipeline: Callable[[Tensor], Tensor]) -> Batches:
        """The same images and labels, drawn through another augmentation, in their order."""
        made = self.over(self.indices)
        maker = self._maker
        made._maker = _Maker(maker.images, maker.labels, pipeline, self.seed, augment=True)
        made.shuffle = False
        return made

    def labels(self, most: int) -> np.ndarray:
        """Encoded labels of some of its images, at most so many, from all over them."""
        return self._maker.labels[self.indices[:: -(-len(self) // most)]]

    def order(self, epoch: int) -> list[np.ndarray]:
        """The sample indices of each batch of an epoch; of images that come again as `Sampling.order` writes them."""
        order = self.indices
        if self.shuffle:
            generator = np.random.default_rng((self.seed, epoch))
            order = self._sampling.order(order, self._maker.labels, generator)
        cuts = [step * self.batch_size for step in range(1, self.steps)]
        if self._drop_last:
            order = order[: self.steps * self.batch_size]
        return np.split(order, cuts)

    def epoch(self, epoch: int, start: int = 0, views: Views = FRESH) -> Iterator[Batch]:
        """Images (N, C, size, size) uint8 and their encoded labels, batch by batch from number `start` on.

        Of a batch that is too small for all processes some get images without labels, to go through the motions with.
        """
        shares = self.shares(epoch, start, views)
        made = self.made([(views.of(epoch), batch) for batch, _ in shares])
        for (images, labels), (_, counted) in zip(made, shares, strict=True):
            yield images, labels[:counted]

    def shares(self, epoch: int, start: int = 0, views: Views = FRESH) -> list[tuple[np.ndarray, int]]:
        """The sample indices of this process's share of each batch, and how many of them count.

        An image that comes again in an epoch is drawn anew, but not where epochs share `views`.
        """
        order = self.order(epoch)[start:]
        images = len(self._maker.labels)
        return [self._mine(batch % images if views.kept else batch) for batch in order]

    def made(self, jobs: list[tuple[int, np.ndarray]]) -> Iterator[Batch]:
        """The batches of these draws and sample indices, in their order."""
        return self._made_ahead(jobs) if self.workers else (self._maker[job] for job in jobs)

    def one(self, job: tuple[int, np.ndarray]) -> Batch:
        """A single such batch, made here and now."""
        return self._maker[job]

    def labels_of(self, indices: np.ndarray) -> Tensor:
        """Encoded labels of these samples."""
        import torch

        return torch.from_numpy(self._maker.labels[indices])

    @property
    def source(self) -> str:
        """Stands for what the views are made of and how: the images as they are now, and what is done to them."""
        return f"{self._maker.images.name} {self._maker.pipeline}"

    def _mine(self, batch: np.ndarray) -> tuple[np.ndarray, int]:
        """The share of a batch that is this process's, and how many of its images count."""
        rank, processes = self._share
        busy = pieces(len(batch), processes)
        if rank >= busy:
            return batch[:2], 0
        mine = np.array_split(batch, busy)[rank]
        return mine, len(mine)

    def _made_ahead(self, jobs: list[tuple[int, np.ndarray]]) -> Iterator[Batch]:
        import torch
        from torch.utils.data import DataLoader

        self._order.jobs = jobs
        if self._ahead is None:
            # batch_size None: a job is a whole batch already.
            self._ahead = DataLoader(
                self._maker,  # type: ignore[arg-type]
                batch_size=None,
                sampler=self._order,
                num_workers=self.workers,
                persistent_workers=True,
                generator=torch.Generator(),  # else it would draw from the global one, which dropout uses
            )
        yield from self._ahead


def default_workers() -> int:
    """Processes that work ahead: none on two cores, where they only get in the way of the training itself."""
    cores = machine.cores() // int(
        os.environ.get("LOCAL_WORLD_SIZE", "1")
    )  # set by torchrun: others train beside this one
    return min(cores - 1, 8) if cores > 2 else 0


class _Order:
    """The jobs of the present epoch, in the form that a DataLoader asks for."""

    def __init__(self) -> None:
        self.jobs: list[tuple[int, np.ndarray]] = []

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        return iter(self.jobs)

    def __len__(self) -> int:
        return len(self.jobs)


class _Maker:
    """Makes the batch of (epoch, sample indices); travels to the worker processes."""

    def __init__(
        self,
        images: Decoded,
        labels: np.ndarray,
        pipeline: Callable[[Tensor], Tensor],
        seed: int,
        augment: bool,
    ) -> None:
        self.images, self.labels, self.pipeline = images, labels, pipeline
        self._seed, self._augment = seed, augment

    def __getitem__(self, job: tuple[int, np.ndarray]) -> Batch:
        import torch

        epoch, indices = job
        with one_thread():
            views = [self._view(epoch, int(index)) for index in indices]
            shape = (len(views), *views[0].shape)
            batch = torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last)
            for place, view in zip(batch, views, strict=True):
                place.copy_(view)
        return batch, torch.from_numpy(self.labels[indices % len(self.labels)])

    def _view(self, epoch: int, index: int) -> Tensor:
        image = self.images[index % len(self.labels)]
        if self._augment:
            return draw(image, self.pipeline, self._seed, epoch, index)
        return self.pipeline(as_tensor(image))
