"""Schedules: how the learning rate moves during a phase, as pure functions of progress.

Each layer group keeps its peak rate and the loop multiplies it by `multiplier(progress)`, so the curve drawn before a
run and the rates logged during it are the same function. Equal to torch's schedulers at every step (see the tests).
"""

import ast
import inspect
import math
import re
from collections.abc import Callable
from textwrap import dedent
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import field_validator

from finetune_core.parts.base import Part, knob


class Progress(NamedTuple):
    """Where a phase stands: optimizer step `step` (from 0) of `steps`, with `epoch_steps` of them in an epoch.

    `losses` are the validation losses of the phase's finished epochs, for the one schedule that looks at them.
    """

    step: int
    steps: int
    epoch_steps: int
    losses: tuple[float, ...] = ()

    @property
    def epoch(self) -> int:
        """The epoch of the phase, from 0."""
        return self.step // self.epoch_steps


class Schedule(Part):
    """How the learning rate moves during a phase."""

    warmup: float = knob(
        0.0,
        "Warm-up",
        "Rise in a straight line to the first rate before the schedule begins.",
        low=0.0,
        high=20.0,
        unit="epochs",
        more=True,
    )

    def multiplier(self, progress: Progress) -> float:
        """The factor on every group's peak rate at this step, in [0, 1]."""
        rise = _rise(self.warmup, progress.epoch_steps, progress.steps)
        first = self.curve(progress._replace(step=0, steps=progress.steps - rise))
        if progress.step < rise:
            return first * (progress.step + 1) / (rise + 1)
        return self.curve(progress._replace(step=progress.step - rise, steps=progress.steps - rise))

    def curve(self, progress: Progress) -> float:
        """The factor after the warm-up, whose steps are no longer counted."""
        raise NotImplementedError

    @property
    def moves_momentum(self) -> bool:
        """Whether it moves the optimizer's momentum too."""
        return False

    def momentum(self, progress: Progress) -> float:
        """The optimizer's momentum (or beta 1) at this step, where the schedule moves it."""
        raise NotImplementedError

    def code(self, name: str = "") -> str:
        """Functions of (step, steps, epoch_steps, losses), the last of which, called `name`, is `multiplier`.

        They are the source of the methods themselves with the knobs' values filled in. Where the schedule moves the
        momentum, a function `name` + `_momentum` stands before them.
        """
        name = name or f"{self.kind}_rate"
        curve = f"{name}_after_warmup" if self.warmup else name
        functions = [self._plain(type(self).momentum, f"{name}_momentum")] if self.moves_momentum else []
        functions.append(self._plain(type(self).curve, curve))
        if self.warmup:
            functions.append(self._plain(Schedule.multiplier, name, curve))
        for helper in HELPERS:  # those that others use come last in the list, so first in the text
            if any(f"{helper.__name__}(" in function for function in functions):
                functions.insert(0, re.sub(r"(: | -> )(float|int)", "", inspect.getsource(helper).rstrip()))
        return "\n\n\n".join(functions)

    def _plain(self, method: Callable[..., float], name: str, curve: str = "") -> str:
        """A method's source as a function that needs no object; `curve` is what it calls for `self.curve`."""
        source = dedent(inspect.getsource(method))
        docstring, first, *_ = ast.parse(source).body[0].body  # type: ignore[attr-defined]
        lines = source.splitlines()
        body = "\n".join(lines[first.lineno - 1 :])
        body = re.sub(
            r"self\.curve\(progress\._replace\(step=(.+?), steps=(.+?)\)\)",
            rf"{curve}(\1, \2, epoch_steps, losses)",
            body,
        )
        filled: dict[str, Any] = {knob: repr(getattr(self, knob)) for knob in re.findall(r"self\.(\w+)", body)}
        if re.search(r"progress\.epoch\b", body):
            filled["epoch"] = "step // epoch_steps"
        return "\n".join(
            [
                f"def {name}(step, steps, epoch_steps, losses):",
                *lines[docstring.lineno - 1 : docstring.end_lineno],
                *([f"    {', '.join(filled)} = {', '.join(filled.values())}"] if filled else []),
                re.sub(r"\b(self|progress)\.", "", body),
            ]
        )


class OneCycle(Schedule):
    """Warm up to the peak rate, then anneal to almost nothing: fast and forgiving, the usual choice for fine-tuning.

    Smith 2018; seed 002. Equals torch's OneCycleLR with cosine annealing.
    """

    kind: ClassVar[str] = "one_cycle"
    title: ClassVar[str] = "One cycle"
    pct_start: float = knob(0.25, "Warm-up share", "Share of the steps spent rising to the peak.", low=0.0, high=0.95)
    div: float = knob(25.0, "Start divisor", "The first rate is the peak divided by this.", low=1.0, high=1e4, log=True)
    final_div: float = knob(
        1e4, "End divisor", "The last rate is the first rate divided by this.", low=1.0, high=1e8, log=True, more=True
    )
    cycle_momentum: bool = knob(
        False,
        "Momentum cycles too",
        "Momentum goes the other way: low where the rate is high. Needs an optimizer with momentum or betas.",
        more=True,
    )
    low_momentum: float = knob(
        0.85, "Low momentum", "Momentum (or beta 1) at the peak of the rate.", low=0.0, high=0.999, more=True
    )
    high_momentum: float = knob(
        0.95, "High momentum", "Momentum (or beta 1) at the start and at the end.", low=0.0, high=0.999, more=True
    )

    def curve(self, progress: Progress) -> float:
        """Cosine up over the first `pct_start`, cosine down over the rest."""
        start, end = 1 / self.div, 1 / (self.div * self.final_div)
        return _arc(start, end, self.pct_start, progress.step, progress.steps)

    @property
    def moves_momentum(self) -> bool:
        """Where it is asked to."""
        return self.cycle_momentum

    def momentum(self, progress: Progress) -> float:
        """High, low where the rate is at its peak, high again; as torch's OneCycleLR cycles it."""
        rise = _rise(self.warmup, progress.epoch_steps, progress.steps)
        step, steps = max(0, progress.step - rise), progress.steps - rise
        depth = _arc(0.0, 0.0, self.pct_start, step, steps)
        return self.high_momentum - (self.high_momentum - self.low_momentum) * depth


class Cosine(Schedule):
    """Start at the peak rate and glide down along half a cosine wave.

    Loshchilov & Hutter 2016; seed 000. Equals torch's CosineAnnealingLR with T_max = all steps.
    """

    kind: ClassVar[str] = "cosine"
    title: ClassVar[str] = "Cosine"
    final: float = knob(0.0, "Final share", "Share of the peak rate left at the end.", low=0.0, high=1.0)

    def curve(self, progress: Progress) -> float:
        """Half a cosine wave from 1 towards `final`."""
        return _cosine(1.0, self.final, progress.step / progress.steps)


class Constant(Schedule):
    """Keep the rate as it is: the plainest choice, good for short tries and for seeing what a rate does."""

    kind: ClassVar[str] = "constant"
    title: ClassVar[str] = "Constant"

    def curve(self, progress: Progress) -> float:
        """Always 1."""
        return 1.0


class Linear(Schedule):
    """Start at the peak rate and go down in a straight line.

    Equals torch's LinearLR from 1.0 over all steps.
    """

    kind: ClassVar[str] = "linear"
    title: ClassVar[str] = "Linear"
    final: float = knob(0.0, "Final share", "Share of the peak rate left at the end.", low=0.0, high=1.0)

    def curve(self, progress: Progress) -> float:
        """A straight line from 1 towards `final`."""
        return 1.0 + (self.final - 1.0) * progress.step / progress.steps


class Polynomial(Schedule):
    """Go down along a power of the remaining time: a power of 1 is a straight line, higher ones fall early.

    Equals torch's PolynomialLR.
    """

    kind: ClassVar[str] = "polynomial"
    title: ClassVar[str] = "Polynomial"
    power: float = knob(2.0, "Power", "How early the rate falls.", low=0.1, high=10.0)

    def curve(self, progress: Progress) -> float:
        """The remaining share of the steps to the power."""
        return float((1 - progress.step / progress.steps) ** self.power)


class Restarts(Schedule):
    """Cosine waves that start again from the peak rate: each restart can shake the model out of a poor minimum.

    SGDR, Loshchilov & Hutter 2016; seed 000. Equals torch's CosineAnnealingWarmRestarts.
    """

    kind: ClassVar[str] = "restarts"
    title: ClassVar[str] = "Cosine with restarts"
    cycle_len: int = knob(1, "First cycle", "Length of the first wave.", low=1, high=1000, unit="epochs")
    cycle_mult: int = knob(2, "Growth", "Each wave is this many times as long as the one before.", low=1, high=10)

    def curve(self, progress: Progress) -> float:
        """Half a cosine wave per cycle."""
        length, step = self.cycle_len * progress.epoch_steps, progress.step
        while step >= length:
            step, length = step - length, length * self.cycle_mult
        return _cosine(1.0, 0.0, step / length)


class Cyclical(Schedule):
    """Go up and down in straight lines between a low rate and the peak, again and again.

    Smith 2015; seed 000's three modes. Equals torch's CyclicLR without momentum cycling.
    """

    kind: ClassVar[str] = "cyclical"
    title: ClassVar[str] = "Cyclical"
    half_cycle: float = knob(2.0, "Half a cycle", "Time from low to high.", low=0.1, high=100.0, unit="epochs")
    low: float = knob(0.04, "Low share", "The low rate as a share of the peak.", low=0.0, high=1.0)
    mode: Literal["triangular", "triangular2", "exp_range"] = knob(
        "triangular", "Mode", "Keep the height, halve it each cycle, or shrink it a little each step."
    )
    gamma: float = knob(
        0.999, "Shrink factor", "Height left after each step, for exp_range.", low=0.5, high=1.0, more=True
    )

    def curve(self, progress: Progress) -> float:
        """A triangle wave from `low` to 1, scaled as the mode says."""
        half = max(1, round(self.half_cycle * progress.epoch_steps))
        cycle = math.floor(1 + progress.step / (2 * half))
        height = max(0.0, 1 - abs(progress.step / half - 2 * cycle + 1))
        scale = {"triangular": 1.0, "triangular2": 0.5 ** (cycle - 1), "exp_range": self.gamma**progress.step}
        return self.low + (1 - self.low) * height * scale[self.mode]


class Step(Schedule):
    """Keep the rate for some epochs, then cut it, again and again: the classic of the first deep networks.

    Seed 000. Equals torch's StepLR, stepped per epoch.
    """

    kind: ClassVar[str] = "step"
    title: ClassVar[str] = "Steps"
    every: int = knob(2, "Every", "How long the rate stays.", low=1, high=1000, unit="epochs")
    factor: float = knob(0.1, "Cut to", "Share of the rate kept at each cut.", low=0.001, high=1.0, log=True)

    def curve(self, progress: Progress) -> float:
        """A staircase over epochs."""
        return float(self.factor ** (progress.epoch // self.every))


class Exponential(Schedule):
    """Shrink the rate by the same share after every epoch.

    Equals torch's ExponentialLR, stepped per epoch.
    """

    kind: ClassVar[str] = "exponential"
    title: ClassVar[str] = "Exponential"
    factor: float = knob(0.8, "Per epoch", "Share of the rate kept after each epoch.", low=0.01, high=1.0)

    def curve(self, progress: Progress) -> float:
        """A power per epoch."""
        return float(self.factor**progress.epoch)


class Logspace(Schedule):
    """Go from the peak rate down by some powers of ten, in even steps of the logarithm, one per epoch.

    Seed 004's numpy.logspace(-2, -4, 40); past its end the last rate stays.
    """

    kind: ClassVar[str] = "logspace"
    title: ClassVar[str] = "Log-spaced table"
    decades: float = knob(2.0, "Powers of ten", "How far the rate falls: 2 means to a hundredth.", low=0.1, high=8.0)

    def curve(self, progress: Progress) -> float:
        """Evenly spaced exponents over the phase's epochs."""
        epochs = max(1, progress.steps // progress.epoch_steps - 1)
        return float(10 ** (-self.decades * min(1.0, progress.epoch / epochs)))


class Table(Schedule):
    """Write down the share of the peak rate for every epoch yourself; past its end the last one stays.

    Seed 004's per-epoch table.
    """

    kind: ClassVar[str] = "table"
    title: ClassVar[str] = "Table"
    shares: tuple[float, ...] = knob(
        (1.0, 0.5, 0.25), "Shares", "Share of the peak rate in each epoch.", low=0.0, high=1.0
    )

    @field_validator("shares")
    @classmethod
    def _has_a_share(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if not shares:
            raise ValueError("a table needs at least one share")
        return shares

    def curve(self, progress: Progress) -> float:
        """The epoch's entry."""
        return self.shares[min(progress.epoch, len(self.shares) - 1)]


class Plateau(Schedule):
    """Keep the rate while the validation loss falls; cut it when it has not for some epochs.

    Seed 000. Equals torch's ReduceLROnPlateau (relative threshold 1e-4). The only schedule that looks at the run, so
    the curve drawn beforehand shows it as if every epoch helped.
    """

    kind: ClassVar[str] = "plateau"
    title: ClassVar[str] = "Reduce on plateau"
    factor: float = knob(0.1, "Cut to", "Share of the rate kept at each cut.", low=0.001, high=0.95, log=True)
    patience: int = knob(2, "Patience", "Epochs without improvement that are forgiven.", low=0, high=100, unit="epochs")

    def curve(self, progress: Progress) -> float:
        """Replay the phase's validation losses."""
        multiplier, best, bad = 1.0, math.inf, 0
        for loss in progress.losses:
            bad = 0 if loss < best * (1 - 1e-4) else bad + 1
            best = loss if bad == 0 else best
            if bad > self.patience:
                multiplier, bad = multiplier * self.factor, 0
        return multiplier


def _rise(warmup: float, epoch_steps: int, steps: int) -> int:
    """Steps of the warm-up."""
    return min(round(warmup * epoch_steps), steps - 1)


def _arc(start: float, end: float, pct_start: float, step: int, steps: int) -> float:
    """From `start` up to 1 over the first `pct_start` of the steps, then down to `end`."""
    turn, last = max(0.0, pct_start * steps - 1), steps - 1
    if step < turn:
        return _cosine(start, 1.0, step / turn)
    if last <= turn:  # too few steps to come down again
        return 1.0
    return _cosine(1.0, end, (step - turn) / (last - turn))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


HELPERS = (_rise, _arc, _cosine)
