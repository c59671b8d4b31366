"""How good a network is on the validation images, and what its norm layers have to do with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from finetune_core.training import distributed
from finetune_core.training.metrics import Measured, Meter
from finetune_core.training.reuse import Side
from finetune_core.training.session import Session


def evaluate(session: Session, module: nn.Module, side: Side) -> Measured:
    """How good a network is on the validation images, by the `side` that hands them out.

    Several processes look at a share each, and agree.
    """
    distributed.alike(module)
    module.eval()
    meter = Meter(session.targets, session.device, everything=True)
    total, answers, asked = 0.0, [], []
    with torch.inference_mode(), session.autocast():
        for inputs, labels in side.batches(0):
            labels = labels.to(session.device)
            with session.watching(module) as seen:
                outputs = distributed.gathered(side.answer(module, inputs)[: len(labels)])
            embedded = [distributed.gathered(each[: len(labels)]) for each in seen]
            labels = distributed.gathered(labels)
            total += session.loss(outputs, labels, *embedded).item() * len(labels)
            meter.update(outputs, labels)
            answers.append(outputs.float().cpu())
            asked.append(labels.cpu())
    said, wanted = torch.cat(answers).numpy(), torch.cat(asked).numpy()
    loss, scores, by_name = distributed.from_first((total / len(wanted), meter.scores(), meter.by_name()))
    return Measured(loss, scores, by_name, said, wanted)


def norm_losses(session: Session, side: Side, epoch: int, layers: Iterable[Any]) -> tuple[float, float] | None:
    """The loss of an epoch's first batch where these norm layers go by the batch, as in training, and as measured.

    Of training images, since those come in random order: by a batch of one class nothing is normalised as in training.
    All else is as measured, and nothing is changed. None where no layer does, where there is no batch of two, and of
    several processes, which have a share each.
    """
    found = list(layers)
    if not found or distributed.size() > 1:
        return None
    session.network.module.eval()
    inputs, labels = next(iter(side.batches(epoch)))
    if len(labels) < 2:
        return None
    with torch.inference_mode(), session.autocast():
        labels = labels.to(session.device)
        measured = _loss(session, side, inputs, labels)
        with _by_batch(found):
            trained = _loss(session, side, inputs, labels)
    return trained, measured


def _loss(session: Session, side: Side, inputs: Tensor, labels: Tensor) -> float:
    with session.watching(session.network.module) as seen:
        outputs = side.answer(session.network.module, inputs)
    return float(session.loss(outputs, labels, *seen))


@contextmanager
def _by_batch(layers: Iterable[Any]) -> Iterator[None]:
    """Let norm layers normalise by the batch, without any trace in their statistics."""
    tracked = [(layer, layer.track_running_stats) for layer in layers]
    for layer, _ in tracked:
        layer.training, layer.track_running_stats = True, False
    try:
        yield
    finally:
        for layer, tracks in tracked:
            layer.training, layer.track_running_stats = False, tracks
