"""Frozen work done once: what the frozen beginning of a network gives for an image is kept and taken from there.

A `Side` hands out the inputs of one part of the split and knows how the network answers them. `Plain` are the images
themselves; `Measured` and `Learned` are rows that the frozen beginning gave for them, in this run or another.

For images that are measured on, each batch is worked out as ever, and its rows kept: not a bit changes. For images that
are learned from, rows are worked out when they are first wanted, in blocks of one size whatever the batch size is: by
rounding a row depends on that size, but not on which images share the block. So another recipe finds the same ones, and
the losses are those of working them out anew, but for rounding.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from finetune_core.data.loader import FRESH, Batch, Batches, Views
from finetune_core.data.rows import NoRoomError, Rows
from finetune_core.errors import UserError
from finetune_core.network.freezing import Division
from finetune_core.training import cut as cutting
from finetune_core.training import distributed, fold
from finetune_core.training.cut import Cut
from finetune_core.training.session import Session
from finetune_core.wording import count

VERSION = 2  # of how rows are worked out: raise it when that changes
BLOCK = 32  # images that are learned from are looked at so many at a time
LARGEST = 1 << 20  # bytes of a row that is kept where nobody asked for it: reading more is no quicker than the work


class Side(Protocol):
    """One part of the split on its way to the network."""

    @property
    def full(self) -> str:
        """Why no more can be kept."""

    @property
    def worked(self) -> float:
        """Seconds that handing out inputs has worked on the device so far, rather than waited for images."""

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Inputs and encoded labels of an epoch, batch by batch from number `start` on."""

    def answer(self, module: nn.Module, inputs: Tensor) -> Tensor:
        """The network's outputs for inputs."""


@dataclass(frozen=True)
class Frozen:
    """The frozen beginning of a network: where it ends, and the module that works it out, perhaps with norms folded."""

    cut: Cut
    module: nn.Module
    norms: int = 0  # that are folded

    def answer(self, session: Session, images: Tensor) -> Tensor:
        """What it gives for raw images."""
        with torch.no_grad(), session.autocast():
            return self.cut.front(self.module, session.normalised(images))


@dataclass(frozen=True)
class Plain:
    """The images as they are drawn, raw. A `frozen` beginning works apart from the rest, if it is given."""

    session: Session
    of: Batches
    views: Views = FRESH
    frozen: Frozen | None = None
    full: str = ""
    worked: float = 0.0

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Raw images (N, C, H, W)."""
        return self.of.epoch(epoch, start, self.views)

    def answer(self, module: nn.Module, inputs: Tensor) -> Tensor:
        """The whole network."""
        if self.frozen:
            return self.frozen.cut.rest(module, self.frozen.answer(self.session, inputs))
        outputs: Tensor = module(self.session.normalised(inputs))
        return outputs


class _Kept:
    """What both kinds of kept sides share: the frozen beginning, and rows as tensors."""

    def __init__(self, session: Session, of: Batches, frozen: Frozen, key: str) -> None:
        self.session, self.of, self.frozen, self.cut, self.key = session, of, frozen, frozen.cut, key
        self.full, self.worked = "", 0.0
        self.place = np.zeros(of.indices.max() + 1, np.int64)  # of each sample among the rows
        self.ordered = np.sort(of.indices)
        self.place[self.ordered] = np.arange(len(self.ordered))

    def answer(self, module: nn.Module, inputs: Tensor) -> Tensor:
        """What is thawed alone."""
        return self.cut.rest(module, inputs.to(self.session.device, non_blocking=True))

    def _open(self, number: int, more: int = 0) -> Rows:
        """One store, with room for as many `more`."""
        return Rows(f"{self.key}-{number}", len(self.ordered), self.cut.row_bytes, more)

    def _rows(self, store: Rows, indices: np.ndarray) -> Tensor | None:
        found = store.get(self.place[indices])
        return None if found is None else self._tensor(found)

    def _bytes(self, rows: Tensor) -> np.ndarray:
        laid = rows.detach().permute(0, *(each + 1 for each in self.cut.order)).contiguous().cpu()
        return laid.reshape(len(rows), -1).view(torch.uint8).numpy()

    def _tensor(self, rows: np.ndarray) -> Tensor:
        row, order = self.cut.row, self.cut.order
        laid = torch.from_numpy(rows).view(self.cut.dtype).reshape(len(rows), *(row[each] for each in order))
        return laid.permute(0, *(order.index(each) + 1 for each in range(len(order))))


class Measured(_Kept):
    """Images that are measured on: batch by batch the same arithmetic as without rows, done once."""

    def __init__(self, session: Session, of: Batches, frozen: Frozen, key: str) -> None:
        super().__init__(session, of, frozen, f"{key}-{of.batch_size}-{distributed.rank()}-{distributed.size()}")
        self.store = self._open(0)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Rows; where they are not there yet, they are worked out in passing."""
        shares = self.of.shares(epoch, start)
        missing = set(self.store.missing().tolist())
        wanted = [not missing.isdisjoint(self.place[indices].tolist()) for indices, _ in shares]
        jobs = [(epoch, indices) for (indices, _), new in zip(shares, wanted, strict=True) if new]
        ahead = self.of.made(jobs) if jobs else iter(())
        for (indices, counted), new in zip(shares, wanted, strict=True):
            rows = None if new else self._rows(self.store, indices)
            if rows is None:
                images, _ = next(ahead) if new else self.of.one((epoch, indices))
                rows = self.frozen.answer(self.session, images)
                self._keep(indices, rows)
            yield rows, self.of.labels_of(indices)[:counted]

    def _keep(self, indices: np.ndarray, rows: Tensor) -> None:
        if not self.full:
            try:
                self.store.put(self.place[indices], self._bytes(rows))
            except NoRoomError as error:
                self.full = str(error)


class Learned(_Kept):
    """Images that are learned from, in so many views that epochs share."""

    def __init__(self, session: Session, of: Batches, frozen: Frozen, key: str, views: Views) -> None:
        super().__init__(session, of, frozen, f"{key}-{of.seed}")
        self.views = views
        self.stores = [self._open(number, views.kept - number - 1) for number in range(views.kept)]

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Rows of the epoch's view; those that are not there are worked out when the first batch wants them.

        Rows that somebody has taken away meanwhile, or for which there is no room, are worked out for their batch.
        """
        number = self.views.of(epoch)
        store = self.stores[number]
        shares = self.of.shares(epoch, start, self.views)
        blocks = self._blocks(store, [indices for indices, _ in shares])
        ahead = self.of.made([(number, block) for block in blocks])
        block_of = np.full(len(self.ordered), -1)  # of each row, which block it is in
        for each, block in enumerate(blocks):
            block_of[self.place[block]] = each
        done, room = 0, True  # where there is none now, there may be some in the next epoch
        for indices, counted in shares:
            while room and done <= block_of[self.place[indices]].max():
                images, _ = next(ahead)
                room = self._work_out(store, blocks[done], images)
                done += 1
            rows = self._rows(store, indices)
            if rows is None:
                images, _ = self.of.one((number, indices))
                rows = self.frozen.answer(self.session, images)
            yield rows, self.of.labels_of(indices)[:counted]

    def _work_out(self, store: Rows, block: np.ndarray, images: Tensor) -> bool:
        """Keep the rows of a block, which is filled up to its size; whether there was room for them."""
        begun = time.perf_counter()
        filled = images[np.resize(np.arange(len(images)), BLOCK)]
        rows = self._bytes(self.frozen.answer(self.session, filled)[: len(block)])  # on a GPU this is what takes time
        try:
            store.put(self.place[block], rows)
        except NoRoomError as error:
            self.full = str(error)
            return False
        finally:
            self.worked += time.perf_counter() - begun
        return True

    def _blocks(self, store: Rows, wanted: list[np.ndarray]) -> list[np.ndarray]:
        """The sample indices whose rows are not there, in the order in which they are wanted, block by block."""
        if not wanted:
            return []
        order = np.concatenate(wanted)
        _, first = np.unique(order, return_index=True)
        order = order[np.sort(first)]
        order = order[np.isin(self.place[order], store.missing())]
        return [order[start : start + BLOCK] for start in range(0, len(order), BLOCK)]


@dataclass(frozen=True)
class Feed:
    """Both sides in a phase, and what is to be said of them; empty where all is as ever."""

    train: Side
    valid: Side
    said: str = ""


def plain(session: Session, views: Views = FRESH, frozen: Frozen | None = None) -> Feed:
    """All images as they are; where norms are folded, what is frozen works apart from the rest."""
    apart = frozen if frozen and frozen.norms else None
    of_valid = None if session.recipe.training.ema else apart  # averages go on moving where weights stand still
    said = _folding(frozen.norms) if frozen and session.recipe.training.fold else ""
    return Feed(Plain(session, session.train, views, apart), Plain(session, session.valid, frozen=of_valid), said)


def feed(session: Session, division: Division, views: Views, mixes: bool) -> Feed:
    """The sides of a phase whose division is at work, with rows wherever something frozen comes first.

    Where epochs share `views`, those that are learned from have rows too, unless whole images are mixed.
    """
    made = plain(session, views)
    if not division.still:
        return _anew(made, "nothing is frozen") if views.kept else made
    frozen = beginning(session, division)
    if frozen is None:
        return _anew(made, "what is frozen does not come first") if views.kept else made
    made, key = plain(session, views, frozen), _key(session, frozen)
    if frozen.cut.row_bytes <= LARGEST and not session.recipe.training.ema:
        with suppress(NoRoomError):  # it is as right without
            made = replace(made, valid=Measured(session, session.valid, frozen, _digest(key, session.valid)))
    if not views.kept:
        return made
    if mixes:
        return _anew(made, "images are mixed before the network sees them")
    train, why = None, "another process has none"
    try:
        train = Learned(session, session.train, frozen, _digest(key, session.train), views)
    except NoRoomError as error:
        why = str(error)
    if distributed.any_of(train is None) or train is None:  # all must do alike
        return _anew(made, f"there is no room for what it gives. {why}")
    return _saying(replace(made, train=train), _words(frozen.cut, views.kept, len(session.train)))


def measured(session: Session, division: Division, of: Batches) -> Measured | None:
    """Rows of images that are measured on; None where nothing frozen comes first. A UserError without room for them."""
    frozen = beginning(session, division)
    if frozen is None:
        return None
    try:
        return Measured(session, of, frozen, _digest(_key(session, frozen), of))
    except NoRoomError as error:
        raise UserError("There is no room for what the backbone gives.", str(error), "Free some space.") from error


def learned(session: Session, division: Division, of: Batches) -> Side:
    """Rows of one view of images that are learned from. UserErrors as `measured`, and where it cannot be cut."""
    frozen = beginning(session, division)
    if frozen is None:
        raise UserError("Its features cannot be had.", "It cannot be cut before its head.", "Train its head instead.")
    try:
        return Learned(session, of, frozen, _digest(_key(session, frozen), of), Views(1))
    except NoRoomError as error:
        raise UserError("There is no room for what the backbone gives.", str(error), "Free some space.") from error


def beginning(session: Session, division: Division) -> Frozen | None:
    """The frozen beginning of a network whose division is at work; None where nothing frozen comes first."""
    data, module = session.recipe.data, session.network.module
    learns = {name for group in division.learning for name in group.parameters}
    with session.autocast():
        cut = cutting.find(module, learns, (data.channels, data.image_size, data.image_size))
        if cut is None:
            return None
        return Frozen(cut, *fold.folded(module, cut)) if session.recipe.training.fold else Frozen(cut, module)


def _anew(made: Feed, why: str) -> Feed:
    return _saying(made, f"The frozen layers work each time anew: {why.rstrip('.')}.")


def _folding(norms: int) -> str:
    if not norms:
        return "No batch norm of the frozen layers follows a convolution: none is folded."
    return f"{count(norms, 'batch norm is', 'batch norms are')} folded into the frozen convolutions before them."


def _saying(made: Feed, words: str) -> Feed:
    return replace(made, said=" ".join(filter(None, (made.said, words))))


def _words(cut: Cut, views: int, images: int) -> str:
    size = cut.row_bytes * views * images / 1e6
    return (
        f"What the frozen layers give for {count(views, 'view')} of each image at most is worked out once and kept "
        f"({cut.row_bytes / 1e3:,.1f} kB each, {size:,.0f} MB)."
    )


def _key(session: Session, frozen: Frozen) -> str:
    """Stands for the frozen beginning: its weights, and all that its arithmetic depends on."""
    module, training, cut = session.network.module, session.recipe.training, frozen.cut
    digest = hashlib.sha256()
    layers = [repr(module.get_submodule(name)) for name in cut.skipped]
    about = (VERSION, torch.__version__, type(module).__name__, dict(session.network.arguments), layers)
    numbers = (session.network.mean, session.network.std, session.device.type, training.precision, training.tf32)
    digest.update(repr((about, numbers, cut.last, cut.row, cut.order)).encode())
    digest.update(b"folded" if frozen.norms else b"")
    inside = {each for name in cut.skipped for each, _ in module.get_submodule(name).named_modules(prefix=name)}
    for name, value in module.state_dict(keep_vars=True).items():
        loose = isinstance(value, nn.Parameter) and not value.requires_grad  # such as class tokens
        if name.rpartition(".")[0] in inside or loose:
            digest.update(f"\0{name} {value.dtype} {tuple(value.shape)}\0".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:32]


def _digest(key: str, side: Batches) -> str:
    """Stands for rows of one side: the frozen beginning, the images and what is done to them, and which of them."""
    digest = hashlib.sha256(f"{key} {side.source}".encode())
    digest.update(np.sort(side.indices).tobytes())
    return digest.hexdigest()[:32]
