"""A race: learning rates train side by side for a few steps, from the same start on the same images (seed 003).

Each contender runs the phase in miniature, schedule included, on a copy of the network; the session stays as it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch

from finetune_core.finder import sweep
from finetune_core.finder.range_test import Apart, Smooth
from finetune_core.parts import Progress
from finetune_core.recipe import plan
from finetune_core.records import Lap, Place
from finetune_core.training.evaluate import evaluate
from finetune_core.training.session import Session


def race(
    session: Session,
    rates: Mapping[str, float],
    phase: int = 0,
    steps: int = sweep.RACE_STEPS,
    group: str = "",
) -> Iterator[Lap | Place]:
    """Let contenders (name -> learning rate, of one `group` or of the phase) run `steps` steps one after the other.

    Yields a record per step, then each contender's place on the validation images.
    """
    for name, rate in rates.items():
        yield from _run(session, name, rate, phase, steps, group)


def _run(session: Session, name: str, rate: float, phase: int, steps: int, group: str) -> Iterator[Lap | Place]:
    chosen = sweep.with_rate(session.recipe.phases[phase], rate, group)
    peaks = plan.peak_rates(chosen, session.names)
    apart, smooth, mean = Apart(session, chosen), Smooth(), math.nan
    for step, (inputs, labels) in zip(range(steps), apart.batches(), strict=False):
        position = Progress(step, steps, session.train.steps)
        loss = apart.step(plan.rates(chosen, peaks, position), inputs, labels, plan.momentum(chosen, position))
        mean = smooth(loss)
        yield Lap(name, rate, step, loss, mean)
        if not math.isfinite(loss):
            yield Place(name, rate, step, math.nan, math.nan, math.nan)
            return
    with torch.random.fork_rng():
        measured = evaluate(apart.session, apart.session.network.module, apart.stepper.feed.valid)
    score = session.targets.about.score.key
    yield Place(name, rate, steps, mean, measured.loss, measured.scores[score])
