"""The learning-rate range test (Smith 2015; seeds 000 and 003).

It trains a copy of the model for a few steps while the rate grows (or shrinks) exponentially, on the very step that
training uses. Either all rates move, each group's keeping its ratio to the recipe's learning rate, or one group's alone
while the others keep theirs. It leaves no trace on the session.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count

import torch
from torch import Tensor

from finetune_core.data.loader import Batch
from finetune_core.errors import UserError
from finetune_core.finder.sweep import DIVERGED, SMOOTHING, Sweep
from finetune_core.recipe import Phase, Recipe, plan
from finetune_core.records import Find
from finetune_core.training import distributed
from finetune_core.training.session import Session
from finetune_core.training.stepper import Stepper, random_state, set_random_state

DEFAULT = Sweep()


def seeded(recipe: Recipe, trial: int) -> Recipe:
    """The recipe of one of several tries: another order of images, other augmentation, another head at the start."""
    seed = (recipe.training.seed + trial) % 2**31
    return recipe.replace(training=recipe.training.replace(seed=seed))


def range_test(session: Session, phase: int = 0, sweep: Sweep = DEFAULT, trial: int = 0) -> Iterator[Find]:
    """Sweep the recipe's learning rate, or that of one group, with the groups of one phase thawed.

    Yields a record per step, marked as belonging to `trial`; going up it stops early where the loss diverges. The
    session's network, its buffers and the random numbers stay as they were, however far the test is read.
    """
    chosen = session.recipe.phases[phase]
    rates = _rates(chosen, session.names, sweep)
    apart = Apart(session, chosen)
    smooth, best = Smooth(), math.inf
    for step, (inputs, labels) in zip(range(sweep.steps), apart.batches(), strict=False):
        lr = sweep.rate(step)
        loss = apart.step(rates(lr), inputs, labels)
        corrected = smooth(loss)
        yield Find(step, lr, loss, corrected, trial)
        best = min(best, corrected)
        if not math.isfinite(loss) or (corrected > DIVERGED * best and not sweep.down):
            return


def fingerprint(session: Session) -> str:
    """A digest of all that a test must leave alone: weights, statistics and random numbers, bit by bit."""
    digest = hashlib.sha256()
    for tensor in (*session.network.module.state_dict().values(), *random_state()):
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class Apart:
    """Trains a copy of a session's network, with random numbers of its own from the recipe's seed on."""

    def __init__(self, session: Session, phase: Phase) -> None:
        """Copy the network and thaw what the phase thaws."""
        self.session = replace(session, network=copy.deepcopy(session.network))
        self.stepper = Stepper(self.session)
        self.stepper.enter(phase)
        with torch.random.fork_rng():
            torch.manual_seed(distributed.seed(session.recipe.training.seed))
            self.random = random_state()

    def batches(self) -> Iterator[Batch]:
        """The training batches of one epoch after the other."""
        for epoch in count():
            yield from self.stepper.feed.train.batches(epoch)

    def step(self, rates: dict[str, float], inputs: Tensor, labels: Tensor, momentum: float | None = None) -> float:
        """One optimizer step with these rates by group; returns the loss before it."""
        self.stepper.set_rates(rates, momentum)
        with torch.random.fork_rng():
            set_random_state(self.random)
            loss = self.stepper.step(inputs, labels).loss
            self.random = random_state()
        return loss


class Smooth:
    """A mean over the past, call by call; corrected for its start, where it would else lie near zero."""

    def __init__(self) -> None:
        self.sum, self.weight = 0.0, 0.0

    def __call__(self, loss: float) -> float:
        """The mean including this loss."""
        self.sum = SMOOTHING * self.sum + (1 - SMOOTHING) * loss
        self.weight = SMOOTHING * self.weight + 1 - SMOOTHING
        return self.sum / self.weight


def _rates(phase: Phase, names: Sequence[str], sweep: Sweep) -> Callable[[float], dict[str, float]]:
    """Each group's rate where the test stands at a learning rate."""
    own = plan.peak_rates(phase, names)
    if not sweep.group:
        ratios = plan.peak_rates(phase.replace(learning_rate=1.0), names)
        return lambda lr: {name: ratio * lr for name, ratio in ratios.items()}
    if not own.get(sweep.group):
        raise UserError(
            f"There is no thawed layer group called {sweep.group}.",
            f"Thawed are {', '.join(name for name, rate in own.items() if rate > 0)}.",
            "Choose one of them, or try all together.",
        )
    return lambda lr: {**own, sweep.group: lr}
