"""Alarms: what a person should know of a run while it goes, in words, with what to do about it.

The worker lets a watch hear the records of a training run and writes what it says among them, as events. A rule looks
at the course of the run so far, speaks only where the evidence is firm, and says it once for each choice of thawed
groups; so alarms do not flicker, and healthy runs raise none. What is known before a run starts is preflight's.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from statistics import fmean, median, pvariance
from typing import Any

from finetune_core.errors import Mend
from finetune_core.parts.numbers import written
from finetune_core.recipe import Recipe
from finetune_core.records import Alarm
from finetune_core.wording import few

Row = Mapping[str, Any]
Rule = Callable[["Course", Row], Alarm | None]

NAME = "alarm"  # of such an event
IN_FP32 = Mend("Train in fp32", "training.precision", "fp32")

WINDOW = 10  # steps whose mean loss is compared with that of others; rules look at steps once for each
SURE = 4.0  # standard errors that two such means lie apart
BUMP = 1.1  # a loss that rises by less than this factor at a thaw is not worth a word
BLOWN, MOSTLY, OF_START = 1.5, 7, 0.25  # a loss blows up by this factor, in so many steps, and this share of its start
LEAP = 0.1  # of a group's weights, changed in one step
HIGH = 0.5  # a rate above this share of the highest so far is high
STILL, LONG = 1e-7, 20  # a gradient is dead that is this small against the loss, for so many steps
FIRMLY = 2  # epochs in a row in which norm layers leave two networks
EPOCHS, WORSE = 3, 1.05  # epochs for which the validation loss lies above its lowest by this factor
OVERFLOWS, LATELY, SETTLED = 4, 100, 30  # so many in fp16 within so many steps, not counting the first after a change
WAITS, RECENT, LOST = 0.5, 50, 60.0  # share of their time that so many steps waited, and seconds lost in all


def standing(events: Iterable[Row]) -> list[Row]:
    """The alarms among the events of a run as its file holds them: the last word of each rule, newest first."""
    last = {row["rule"]: row for row in events if row["name"] == NAME and "rule" in row}
    return sorted(last.values(), key=lambda row: row["step"], reverse=True)


class Watch:
    """Hears the records of a run in order and says what there is to know."""

    def __init__(self, recipe: Recipe) -> None:
        self.course = Course(recipe)
        self.said: set[tuple[str, int]] = set()  # rules, and the stretches of the run in which they spoke

    def hear(self, rows: Iterable[Row]) -> list[Alarm]:
        """Take the next records; the alarms that they raise."""
        return [alarm for row in rows if self.course.take(row) for alarm in self._judged(row)]

    def _judged(self, row: Row) -> Iterator[Alarm]:
        for rule in RULES[row["kind"]]:
            place = (rule.__name__, self.course.stretch)
            if place not in self.said and (alarm := rule(self.course, row)):
                self.said.add(place)
                yield alarm
        place = (overfitting.__name__, self.course.stretch)
        if row["kind"] == "epoch" and place in self.said and self.course.improved():
            self.said.remove(place)
            yield _alarm(
                overfitting,
                row,
                "ok",
                "The validation loss falls again",
                f"{row['valid_loss']:.3g} is lower than ever, so it was not learned by heart after all.",
            )


class Course:
    """What the rules need of the records so far. A stretch of a run is one in which the same groups learn."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.phase, self.stretch, self.count = 0, 0, 0  # the present ones, and the steps of this stretch
        self.steps: deque[Row] = deque(maxlen=RECENT)  # its last ones
        self.epochs: list[Row] = []  # its epochs
        self.gauges: deque[Row] = deque(maxlen=2)  # its last ones
        self.before: list[Row] = []  # the last steps of the stretch before
        self.opening = 0.0  # the first loss of all
        self.window = self.lowest = math.inf  # mean losses: of the last window, the lowest before
        self.peak = 0.0  # its highest rate so far
        self.overflows: deque[int] = deque(maxlen=OVERFLOWS)  # its last steps that overflowed
        self.elapsed = self.lost = 0.0  # seconds, and those of them that steps waited for images

    def take(self, row: Row) -> bool:
        """Take a record into account; whether there is something new to judge."""
        if row["kind"] == "step":
            return self._step(row)
        if row["kind"] == "epoch":
            self.epochs.append(row)
        elif row["kind"] == "gauges":
            self.gauges.append(row)
        elif row.get("name") == "overflow" and self.count > SETTLED:
            self.overflows.append(row["step"])
        return row["kind"] in RULES

    def _step(self, row: Row) -> bool:
        if self.steps and (row["phase"] != self.phase or _learning(row) != _learning(self.steps[-1])):
            self._enter()
        self.phase = row["phase"]
        self.opening = self.opening or row["loss"] or 0.0
        self.steps.append(row)
        self.count += 1
        self.peak = max(self.peak, *row["lr"].values())
        self.lost += (row.get("waiting") or 0.0) * max(0.0, row["seconds"] - self.elapsed)
        self.elapsed = row["seconds"]
        if self.count % WINDOW:
            return False
        start = _mean(self.before) if self.before else 2 * self.opening  # of one batch, so with room to spare
        self.lowest, self.window = min(self.lowest, self.window, start), _mean(self.last(WINDOW))
        return True

    def _enter(self) -> None:
        self.stretch, self.count, self.before = self.stretch + 1, 0, self.last(WINDOW)
        self.window, self.lowest, self.peak = math.inf, math.inf, 0.0
        for seen in (self.steps, self.epochs, self.gauges, self.overflows):
            seen.clear()

    def last(self, steps: int) -> list[Row]:
        """The last steps of this stretch, at most so many."""
        return list(islice(self.steps, max(0, len(self.steps) - steps), None))

    def improved(self) -> bool:
        """Whether the last epoch has the lowest validation loss of this stretch."""
        return min(self.epochs, key=lambda epoch: _number(epoch["valid_loss"])) is self.epochs[-1]

    def slower(self, factor: float) -> Mend:
        """A change of this phase's learning rate."""
        rate = float(f"{self.recipe.phases[self.phase].learning_rate * factor:.2g}")
        return Mend(f"Set the rate to {written(rate, 3)}", f"phases.{self.phase}.learning_rate", rate)


def no_number(course: Course, row: Row) -> Alarm | None:
    """A loss or a gradient that is no longer a number; in fp16 a gradient may overflow, which has an event."""
    told = {"loss": row.get("loss", 0), "validation loss": row.get("valid_loss", 0)}
    if course.recipe.training.precision != "fp16":
        told["gradient"] = row.get("grad_norm", 0)
    gone = [name for name, value in told.items() if value is None]
    if not gone:
        return None
    text = "Weights that follow it are no numbers either, and learn nothing any more."
    act = "Stop, and begin again from before with a tenth of the rate."
    return _alarm(no_number, row, "error", f"The {gone[0]} is no longer a number", text, act, course.slower(0.1))


def bump(course: Course, row: Row) -> Alarm | None:
    """A loss that rises when more is thawed, which is expected (seed 003)."""
    new = _learning(row) - _learning(course.before[-1]) if course.before else set()
    if course.count != WINDOW or not new or _blown(course) or not _higher(course.last(WINDOW), course.before):
        return None
    names = few(name for name in row["lr"] if name in new)
    text = f"It went from {_mean(course.before):.3g} to {course.window:.3g}: {names} had not seen your labels before."
    act = "Wait: it should be back within an epoch or two."
    return _alarm(bump, row, "ok", f"The loss rose when {names} thawed, as expected", text, act)


def stays_up(course: Course, row: Row) -> Alarm | None:
    """A loss that has not come back two epochs after the groups that learn were changed."""
    if len(course.epochs) < 2 or not _higher(course.last(WINDOW), course.before):
        return None
    text = f"It was {_mean(course.before):.3g} and is {course.window:.3g} now: what was learned is being lost."
    act = "Begin the phase again with a third of the rate."
    title = "The loss has not come back since other groups learn"
    return _alarm(stays_up, row, "warn", title, text, act, course.slower(1 / 3))


def ceiling(course: Course, row: Row) -> Alarm | None:
    """A rate that is too high: the loss blows up under it, or weights change beyond recognition in a step."""
    rates = course.steps[-1]["lr"].values() if course.steps else [0.0]
    text = _leap(course) if row["kind"] == "gauges" else _blowing_up(course, max(rates))
    if not text:
        return None
    act = "Begin the phase again with a tenth of the rate, or run the finder."
    text = f"{text} The rate was about {written(max(rates), 3)}."
    return _alarm(ceiling, row, "warn", "The learning rate is too high", text, act, course.slower(0.1))


def _blowing_up(course: Course, rate: float) -> str:
    if rate < HIGH * course.peak or not _blown(course):
        return ""
    return f"The loss rose from {course.lowest:.3g} to {course.window:.3g}."


def _leap(course: Course) -> str:
    """The group whose weights change most, where that is far too much twice in a row; a new head starts small."""
    *body, _head = course.steps[-1]["lr"] if course.steps else [""]
    least = {name: min(_number(seen["update_ratio"].get(name, 0.0)) for seen in course.gauges) for name in body}
    most = max(least, key=lambda name: least[name], default="")
    if len(course.gauges) < 2 or not most or least[most] < LEAP:
        return ""
    return f"A single step changed the weights of {most} by {least[most]:.0%}, where about 0.1% is healthy."


def dead_group(course: Course, row: Row) -> Alarm | None:
    """A thawed group whose gradient is as good as zero for many steps."""
    steps = course.last(LONG)
    dead = [name for name in row["lr"] if len(steps) == LONG and all(_still(step, name) for step in steps)]
    if not dead:
        return None
    names, verb = few(dead), "learns" if len(dead) == 1 else "learn"
    text = f"The gradient has been as good as zero for {LONG} steps."
    if course.recipe.training.precision == "fp16":
        mend: Mend | None = IN_FP32
        act = "fp16 loses small gradients: train in fp32, or in bf16 where the device has it."
    else:
        left = [name for name, rate in row["lr"].items() if rate > 0 and name not in dead]
        mend = Mend(f"Freeze {names}", f"phases.{course.phase}.thaw", left) if left else None
        act = "Freeze it, which costs nothing then, or see what keeps the loss from reaching it."
    return _alarm(dead_group, row, "warn", f"{names} {verb} nothing", text, act, mend)


def waits(course: Course, row: Row) -> Alarm | None:
    """Steps that mostly wait for images."""
    shares = [share for step in course.steps if (share := step.get("waiting")) is not None]
    if len(shares) < RECENT or (usual := median(shares)) < WAITS or course.lost < LOST:
        return None
    text = f"{usual:.0%} of a step's time goes by until its images are there, {course.lost:.0f} s so far."
    act = "Take fewer or simpler transforms, smaller images, or more processor cores."
    return _alarm(waits, row, "warn", "Training waits for its images", text, act)


def overfitting(course: Course, row: Row) -> Alarm | None:
    """A validation loss that rises while the training loss falls, and no better score meanwhile."""
    losses = [_number(epoch["valid_loss"]) for epoch in course.epochs]
    best = losses.index(min(losses))
    since = course.epochs[best + 1 :]
    rising = all(loss > WORSE * losses[best] for loss in losses[-EPOCHS:])
    falling = all(epoch["train_loss"] < course.epochs[best]["train_loss"] for epoch in since)
    if len(since) < EPOCHS or not (rising and falling) or any(epoch["best"] for epoch in since[-EPOCHS:]):
        return None
    train = course.epochs[best]["train_loss"], row["train_loss"]
    text = (
        f"Since epoch {course.epochs[best]['epoch'] + 1} the validation loss has risen from {losses[best]:.3g} to "
        f"{losses[-1]:.3g}, while the training loss fell from {train[0]:.3g} to {train[1]:.3g}. The best epoch is kept."
    )
    patient = course.recipe.phases[course.phase].patience
    mend = None if patient else Mend("End early", f"phases.{course.phase}.patience", EPOCHS)
    act = "Stop here, or augment more, thaw less, or let the phase end early."
    return _alarm(overfitting, row, "warn", "It learns the training images by heart", text, act, mend)


def norms_apart(course: Course, row: Row) -> Alarm | None:
    """Norm layers that go by the batch in training and leave the network another one when it is measured and used."""
    seen = [tuple(map(_number, epoch.get("norm_losses") or (None, 0.0))) for epoch in course.epochs[-FIRMLY:]]
    far = [kept for batch, kept in seen if kept > BLOWN * batch and kept - batch > OF_START * course.opening]
    if len(far) < FIRMLY:
        return None
    batch, kept = seen[-1]
    by_kept = f"{kept:.3g}" if math.isfinite(kept) else "no number"
    text = f"The loss of the same images is {batch:.3g} by the statistics of their batch, and {by_kept} by those kept."
    act = "Hold the statistics, or let them adapt, with larger batches or a lower rate."
    mend = Mend("Hold the statistics", f"phases.{course.phase}.norms", {"*": "hold"})  # of thawed groups, too
    return _alarm(norms_apart, row, "warn", "It is measured otherwise than it trains", text, act, mend)


def overflows(course: Course, row: Row) -> Alarm | None:
    """Gradients that are too large for fp16 again and again; a few are normal while the scale is being found."""
    seen = course.overflows
    if len(seen) < OVERFLOWS or seen[-1] - seen[0] > LATELY or row.get("name") != "overflow":
        return None
    text = f"{OVERFLOWS} of the last {seen[-1] - seen[0] + 1} steps changed nothing, since a gradient was too large."
    act = "Train in fp32, or in bf16 where the device has it."
    return _alarm(overflows, row, "warn", "fp16 is too narrow for these gradients", text, act, IN_FP32)


RULES: Mapping[str, Sequence[Rule]] = {
    "step": (no_number, bump, ceiling, dead_group, waits),
    "gauges": (ceiling,),
    "epoch": (no_number, stays_up, overfitting, norms_apart),
    "event": (overflows,),
}


def _alarm(rule: Rule, row: Row, level: str, title: str, text: str, act: str = "", mend: Mend | None = None) -> Alarm:
    return Alarm(NAME, row["step"], f"{title}. {text}", rule.__name__, level, title, act, mend)


def _learning(row: Row) -> set[str]:
    """The groups that have gradients, whatever rate the schedule gives them."""
    return {*row["group_grad_norm"]}


def _blown(course: Course) -> bool:
    """Whether the loss of most steps of the last window lies far above the lowest before."""
    far = [loss for loss in _losses(course.last(WINDOW)) if loss > BLOWN * course.lowest]
    return len(far) >= MOSTLY and course.window - course.lowest >= OF_START * course.opening


def _higher(steps: Sequence[Row], before: Sequence[Row]) -> bool:
    """Whether the loss of these steps surely lies above that of those before."""
    if not before:
        return False
    rise = _mean(steps) - _mean(before)
    return rise > (BUMP - 1) * _mean(before) and rise > SURE * math.hypot(_error(steps), _error(before))


def _still(step: Row, name: str) -> bool:
    """Whether a group that should learn has as good as no gradient in a step."""
    gradient = step["group_grad_norm"].get(name, 0.0)
    return step["lr"][name] > 0 and gradient is not None and gradient <= STILL * (step["loss"] or 0.0) > 0


def _losses(steps: Sequence[Row]) -> list[float]:
    return [step["loss"] for step in steps if step["loss"] is not None]


def _mean(steps: Sequence[Row]) -> float:
    return fmean(_losses(steps) or [math.inf])


def _error(steps: Sequence[Row]) -> float:
    """The standard error of the mean loss."""
    losses = _losses(steps)
    return math.sqrt(pvariance(losses) / len(losses)) if losses else math.inf


def _number(value: float | None) -> float:
    return math.inf if value is None else value
