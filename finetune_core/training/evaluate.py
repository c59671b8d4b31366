"""How good a network is on the validation images."""

from __future__ import annotations

import torch
from torch import nn

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
            outputs = distributed.gathered(side.answer(module, inputs)[: len(labels)])
            labels = distributed.gathered(labels)
            total += session.loss(outputs, labels).item() * len(labels)
            meter.update(outputs, labels)
            answers.append(outputs.float().cpu())
            asked.append(labels.cpu())
    said, wanted = torch.cat(answers).numpy(), torch.cat(asked).numpy()
    loss, scores, by_name = distributed.from_first((total / len(wanted), meter.scores(), meter.by_name()))
    return Measured(loss, scores, by_name, said, wanted)
