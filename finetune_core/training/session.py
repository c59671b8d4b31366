"""A session: everything that a recipe means, built and ready to train on one device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from finetune_core.data.cache import decoded
from finetune_core.data.chosen import again, chosen
from finetune_core.data.depth import Depth
from finetune_core.data.kept import Kept, kept, paths
from finetune_core.data.loader import Batches
from finetune_core.data.pipeline import eval_pipeline, train_pipeline
from finetune_core.data.split import readable
from finetune_core.errors import UserError
from finetune_core.network import build
from finetune_core.network.network import Network
from finetune_core.network.tapped import check, tapped
from finetune_core.parts.losses import Weighted
from finetune_core.parts.sources.samples import Samples
from finetune_core.parts.tasks import Targets, targets_from
from finetune_core.recipe import Recipe, Training
from finetune_core.records import Count, Report, silent
from finetune_core.training import distributed
from finetune_core.training.board import Board, board

MANY = 1000  # labels, enough for a mean


@dataclass
class Session:
    """What the loop and the range test work on."""

    recipe: Recipe
    device: torch.device
    network: Network
    targets: Targets
    train: Batches
    valid: Batches
    loss: nn.Module
    depth: Depth  # the range that deep images were read by
    samples: Samples
    images: Kept  # those that it learns from and is measured on
    board: Board  # those whose guesses are shown after each epoch
    measured_on: tuple[str, ...] = ()  # the validation images by their paths below the data's root, in order
    changes: tuple[str, ...] = ()  # notes on what has changed since the run began

    @property
    def names(self) -> tuple[str, ...]:
        """The layer groups' names, stem to head."""
        return tuple(group.name for group in self.network.groups)

    def autocast(self) -> AbstractContextManager[None]:
        """The forward pass in the recipe's precision."""
        return autocast(self.device, self.recipe.training.precision)

    def divisor(self, labels: Tensor) -> Tensor | int:
        """What the loss's mean over these labels divides by: their number, or the sum of their class weights.

        Of shares of classes torch takes the plain mean, weighted or not.
        """
        loss = self.recipe.training.loss
        weights = getattr(self.loss, "weight", None)
        if isinstance(loss, Weighted) and loss.divide == "weights" and weights is not None and labels.ndim == 1:
            return weights[labels].sum()
        return len(labels)

    @contextmanager
    def watching(self, module: nn.Module) -> Iterator[list[Tensor]]:
        """What the loss is given beside a network's outputs: its embedding of the one forward pass within, or nothing.

        A UserError where the layer has not given one: never, or once for each of its several places in the network.
        """
        layer = self.recipe.training.loss.embeds
        if layer is None:
            yield []
            return
        with tapped(module, self.network.classifier, layer) as seen:
            yield seen
        if len(seen) != 1:
            raise _no_embedding(layer, len(seen))

    def loss_of_nothing(self, outputs: Tensor) -> float:
        """What a network scores that answers zero throughout, with outputs such as these (N, …), over many images."""
        labels = torch.from_numpy(self.train.labels(MANY)).to(self.device)
        zeros = torch.zeros(len(labels), *outputs.shape[1:], device=self.device)
        return float(self.loss(zeros, labels))

    def normalised(self, images: Tensor) -> Tensor:
        """Raw images (0 to 255, N × C × H × W, on any device) as what the network was trained on."""
        there = images.to(self.device, non_blocking=True)  # a byte for each number goes over to a GPU, not four
        x = there.to(torch.float32, memory_format=torch.channels_last, copy=True)
        mean = torch.tensor(self.network.mean, device=self.device).view(1, -1, 1, 1)
        std = torch.tensor(self.network.std, device=self.device).view(1, -1, 1, 1)
        return x.div_(255).sub_(mean).div_(std)


def prepare(recipe: Recipe, report: Report = silent, begun: Kept | None = None) -> Session:
    """Read and decode the data, build the network with its weights. Raises UserErrors before any compute.

    A run that goes on has `begun` with certain images, and keeps to them and their split.
    """
    device = choose_device(recipe.training.device)
    set_tf32(recipe.training.tf32)
    data, training = recipe.data, recipe.training
    report("Reading the images")
    decoding = _counting(report, "Decoding the images, once")
    with distributed.in_turn():
        drawing = _counting(report, data.source.making)
        samples, parts, changes = again(data, begun, drawing) if begun else (*chosen(data, drawing), ())
        images = decoded(samples, data.side, data.unreadable, decoding, data.channels)
    begins = kept(samples, parts)
    parts = readable(samples, parts, [index for index, _ in images.bad])

    targets = targets_from(samples.task, samples.classes, [samples.labels[index] for index in parts.train])
    training.loss.check(targets.task)
    training.mix.check(training.loss, targets.task)
    training.sampling.check(targets.task)
    labels = targets.encoded(samples.labels)

    report("Building the network")
    torch.manual_seed(training.seed)  # the head starts from the seed, whatever ran before
    with distributed.in_turn():  # weights are downloaded once
        network = build.build(recipe.model, len(targets.names), report, data.image_size, targets.priors, data.channels)
    check(network, training.loss.embeds or "")
    if training.sync_norm:
        distributed.share_norms(network.module, device)
    network.module.to(device).to(memory_format=torch.channels_last)
    share = (distributed.rank(), distributed.size())
    train = Batches(
        images,
        labels,
        parts.train,
        train_pipeline(recipe.augment, data),
        batch_size=training.batch_size,
        seed=training.seed,
        shuffle=True,
        augment=True,
        share=share,
        sampling=training.sampling,
    )
    valid = Batches(
        images,
        labels,
        parts.valid,
        eval_pipeline(data),
        batch_size=2 * training.batch_size,  # no gradients to keep, so twice as many fit
        seed=0,
        shuffle=False,
        augment=False,
        share=share,
    )
    loss = training.loss.call(targets).build().to(device)
    shown, measured_on = board(samples, parts.valid, data.split_seed), paths(samples, parts.valid)
    about = (images.depth, samples, begins, shown, measured_on, changes)
    return Session(recipe, device, network, targets, train, valid, loss, *about)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """The forward pass in a precision."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    return torch.autocast(device.type, dtype) if dtype else nullcontext()


def choose_device(wanted: str) -> torch.device:
    """The device of this name, `auto` being the fastest that is there; a UserError where it is missing."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        wanted = next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there[wanted]:
        have = ", ".join(name for name, is_there in there.items() if is_there)
        raise UserError(f"This machine has no {wanted} device.", f"It has: {have}.", "Set the device to auto.")
    return torch.device(wanted) if distributed.size() == 1 else _own_device(wanted)


def _own_device(kind: str) -> torch.device:
    """The device of one of several processes: a GPU each, or the processor that they share."""
    if kind == "cpu":
        return torch.device(kind)
    here = distributed.local_rank()
    if kind != "cuda" or here >= torch.cuda.device_count():
        gpus = torch.cuda.device_count() if kind == "cuda" else 1
        what = f"Process {here + 1} on this machine has no GPU of its own."
        raise UserError(what, f"There is {gpus} here.", f"Set training.processes to {gpus}, or the device to cpu.")
    torch.cuda.set_device(here)
    return torch.device(kind, here)


def _no_embedding(layer: str, times: int) -> UserError:
    if times:
        why = f"It has {times} places in the network, and so as many outputs."
        return UserError(f"What {layer} gives cannot be compared.", why, "Name a layer that has one place.")
    why = "It stands still, and what comes after it works from numbers that were kept; or the network does not use it."
    hint = "Thaw a layer before it, or compare the class scores (training.loss.compare)."
    return UserError(f"Nothing passes {layer or 'the head'}, whose numbers are compared.", why, hint)


def set_tf32(wanted: bool) -> None:
    """Let CUDA use TF32 for fp32 numbers, or not; torch's own default differs between products and convolutions."""
    backends: Any = torch.backends
    for operator in (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn):
        operator.fp32_precision = "tf32" if wanted else "ieee"


def scaler(device: torch.device, training: Training) -> torch.amp.GradScaler:
    """Loss scaling for fp16, whose small gradients would vanish without it; does nothing in other precisions."""
    return torch.amp.GradScaler(device.type, enabled=training.precision == "fp16")


def _counting(report: Report, what: str) -> Count:
    return lambda done, total: report(what, done, total)
