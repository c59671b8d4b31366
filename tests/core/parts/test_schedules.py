"""Schedules equal torch's schedulers at every step."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from finetune_core.parts import Progress
from finetune_core.parts.schedules import (
    Constant,
    Cosine,
    Cyclical,
    Exponential,
    Linear,
    Logspace,
    OneCycle,
    Plateau,
    Polynomial,
    Restarts,
    Schedule,
    Step,
    Table,
)

EPOCH = 5
Make = Callable[[torch.optim.Optimizer, int], lr_scheduler.LRScheduler]

PAIRS: dict[str, tuple[Schedule, Make]] = {
    "one cycle": (
        OneCycle(pct_start=0.3, div=25, final_div=1e4),
        lambda o, n: lr_scheduler.OneCycleLR(o, [g["peak"] for g in o.param_groups], n, pct_start=0.3),
    ),
    "one cycle, other divisors": (
        OneCycle(pct_start=0.1, div=10, final_div=100),
        lambda o, n: lr_scheduler.OneCycleLR(
            o, [g["peak"] for g in o.param_groups], n, pct_start=0.1, div_factor=10, final_div_factor=100
        ),
    ),
    "cosine": (Cosine(), lambda o, n: lr_scheduler.CosineAnnealingLR(o, n)),
    "constant": (Constant(), lambda o, n: lr_scheduler.ConstantLR(o, factor=1.0)),
    "linear": (Linear(final=0.2), lambda o, n: lr_scheduler.LinearLR(o, 1.0, 0.2, n)),
    "polynomial": (Polynomial(power=3), lambda o, n: lr_scheduler.PolynomialLR(o, n, 3)),
    "restarts": (
        Restarts(cycle_len=1, cycle_mult=2),
        lambda o, n: lr_scheduler.CosineAnnealingWarmRestarts(o, EPOCH, 2),
    ),
    **{
        mode: (
            Cyclical(half_cycle=1, low=0.04, mode=mode, gamma=0.99),
            lambda o, n, mode=mode: lr_scheduler.CyclicLR(
                o,
                [0.04 * g["peak"] for g in o.param_groups],
                [g["peak"] for g in o.param_groups],
                step_size_up=EPOCH,
                mode=mode,
                gamma=0.99,
                cycle_momentum=False,
            ),
        )
        for mode in ("triangular", "triangular2", "exp_range")
    },
    "step": (Step(every=2, factor=0.3), lambda o, n: lr_scheduler.StepLR(o, 2 * EPOCH, 0.3)),
    "exponential": (
        Exponential(factor=0.7),
        lambda o, n: lr_scheduler.LambdaLR(o, lambda step: 0.7 ** (step // EPOCH)),
    ),
    "warm-up, then cosine": (
        Cosine(warmup=1),
        lambda o, n: lr_scheduler.SequentialLR(
            o,
            [
                lr_scheduler.LinearLR(o, 1 / (EPOCH + 1), 1.0, EPOCH),
                lr_scheduler.CosineAnnealingLR(o, n - EPOCH),
            ],
            [EPOCH],
        ),
    ),
}


@pytest.mark.parametrize("steps", [12, 37, 500])
@pytest.mark.parametrize("name", PAIRS)
def test_equal_to_torch_at_every_step(name: str, steps: int) -> None:
    schedule, make = PAIRS[name]
    peaks = [1e-2, 3e-5]
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": peak, "peak": peak} for peak in peaks]
    optimizer = torch.optim.SGD(groups)
    scheduler = make(optimizer, steps)
    for step in range(steps):
        multiplier = schedule.multiplier(Progress(step, steps, EPOCH))
        for group in optimizer.param_groups:
            assert group["lr"] == pytest.approx(group["peak"] * multiplier, rel=1e-12, abs=1e-15)
        optimizer.step()
        if step < steps - 1:
            scheduler.step()


@pytest.mark.parametrize("kind", Schedule.kinds())
@pytest.mark.parametrize("steps", [1, 2, 3, 100])
def test_every_schedule_stays_between_nothing_and_the_peak(kind: str, steps: int) -> None:
    schedule = Schedule.kinds()[kind]()
    for step in range(steps):
        assert 0.0 <= schedule.multiplier(Progress(step, steps, max(1, steps // 4))) <= 1.0


def test_cyclical_is_the_formula_of_seed_000() -> None:
    """The article's own lambda, with its 'relative' triangle, for all three modes."""
    half = 7
    scales = {
        "triangular": lambda cycle, step: 1.0,
        "triangular2": lambda cycle, step: 1 / (2.0 ** (cycle - 1)),
        "exp_range": lambda cycle, step: 0.99**step,
    }
    for mode, scale in scales.items():
        schedule = Cyclical(half_cycle=1, low=0.1, mode=mode, gamma=0.99)
        for step in range(60):
            cycle = math.floor(1 + step / (2 * half))
            relative = max(0, 1 - abs(step / half - 2 * cycle + 1)) * scale(cycle, step)
            expected = 0.1 + (1.0 - 0.1) * relative
            assert schedule.multiplier(Progress(step, 60, half)) == pytest.approx(expected, abs=1e-12)


def test_plateau_is_torchs() -> None:
    losses = [1.0, 0.8, 0.81, 0.79, 0.8, 0.8, 0.8, 0.8, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    ours = Plateau(factor=0.5, patience=1)
    for epoch in range(len(losses)):
        progress = Progress(epoch, len(losses), 1, tuple(losses[:epoch]))
        assert ours.multiplier(progress) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        theirs.step(losses[epoch])


def test_tables_hold_for_an_epoch_and_stay_past_their_end() -> None:
    rates = [Table(shares=(1, 0.5)).multiplier(Progress(step, 12, 3)) for step in range(12)]
    assert rates == [1, 1, 1] + [0.5] * 9
    decay = [Logspace(decades=2).multiplier(Progress(epoch, 40, 1)) for epoch in range(40)]
    assert decay == pytest.approx(list(np.logspace(0, -2, 40)), rel=1e-12)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("steps", [5, 7, 40])
def test_momentum_cycles_as_torchs_does(kind: type[torch.optim.Optimizer], steps: int) -> None:
    schedule = OneCycle(pct_start=0.3, cycle_momentum=True, low_momentum=0.8, high_momentum=0.97)
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = kind([weight], lr=1.0, **({"momentum": 0.9} if kind is torch.optim.SGD else {}))
    theirs = lr_scheduler.OneCycleLR(optimizer, 1.0, steps, pct_start=0.3, base_momentum=0.8, max_momentum=0.97)
    for step in range(steps):
        [group] = optimizer.param_groups
        expected = group["momentum"] if kind is torch.optim.SGD else group["betas"][0]
        assert schedule.momentum(Progress(step, steps, EPOCH)) == pytest.approx(expected, abs=1e-12)
        if step < steps - 1:
            optimizer.step()
            theirs.step()


def test_momentum_stays_high_while_the_rate_warms_up() -> None:
    schedule = OneCycle(warmup=2, cycle_momentum=True)
    assert [schedule.momentum(Progress(step, 10 * EPOCH, EPOCH)) for step in range(2 * EPOCH + 1)] == pytest.approx(
        [0.95] * 11
    )
    plain = OneCycle(cycle_momentum=True)
    later = [schedule.momentum(Progress(step, 10 * EPOCH, EPOCH)) for step in range(2 * EPOCH, 10 * EPOCH)]
    assert later == [plain.momentum(Progress(step, 8 * EPOCH, EPOCH)) for step in range(8 * EPOCH)]
