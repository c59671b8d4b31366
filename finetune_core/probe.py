"""The learning-rate range test (Smith 2015; seeds 000 and 003).

It trains a copy of the model for a few steps while the rate grows exponentially, on the very step that training
uses; each group's rate keeps its ratio to the recipe's learning rate. It leaves no trace on the session.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from finetune_core import plan
from finetune_core.loop import Stepper
from finetune_core.records import Find
from finetune_core.session import Session
from finetune_core.sweep import DIVERGED, HIGH, LOW, SMOOTHING, STEPS, rate


def range_test(
    session: Session, phase: int = 0, low: float = LOW, high: float = HIGH, steps: int = STEPS
) -> Iterator[Find]:
    """Sweep the recipe's learning rate from `low` to `high` in `steps` steps, with the groups of one phase thawed.

    Yields a record per step; stops early where the loss diverges. The session's network, its buffers and the random
    numbers stay as they were, however far the test is read.
    """
    twin = replace(session, network=copy.deepcopy(session.network))
    stepper = Stepper(twin)
    ratios = plan.peak_rates(session.recipe.phases[phase].replace(learning_rate=1.0), session.names)
    stepper.enter([name for name, ratio in ratios.items() if ratio > 0])
    rng = torch.Generator().manual_seed(session.recipe.training.seed).get_state()
    smooth, best = 0.0, math.inf
    for step, (images, labels) in zip(range(steps), _endless(session), strict=False):
        lr = rate(step, steps, low, high)
        stepper.set_rates({name: ratio * lr for name, ratio in ratios.items()})
        with torch.random.fork_rng():
            torch.set_rng_state(rng)
            loss = stepper.step(images, labels).loss
            rng = torch.get_rng_state()
        smooth = SMOOTHING * smooth + (1 - SMOOTHING) * loss
        corrected = smooth / (1 - SMOOTHING ** (step + 1))  # without this the curve would start near zero
        yield Find(step, lr, loss, corrected)
        best = min(best, corrected)
        if not math.isfinite(loss) or corrected > DIVERGED * best:
            return


def _endless(session: Session) -> Iterator[tuple[Tensor, Tensor]]:
    epoch = 0
    while True:
        yield from session.train.epoch(epoch)
        epoch += 1
