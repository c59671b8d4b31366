"""The training loop: a generator of records that knows no file.

The worker writes the records down and saves when it is asked to, tests read them directly.
"""

from __future__ import annotations

import copy
import math
import time
from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from finetune_core.errors import UserError
from finetune_core.network import freezing
from finetune_core.parts import Progress
from finetune_core.recipe import Phase, plan
from finetune_core.recipe.changes import Change, Made, applied, make
from finetune_core.records import Epoch, Event, Gauges, Record, Step
from finetune_core.training import distributed, divergence
from finetune_core.training.divergence import Diverged
from finetune_core.training.evaluate import evaluate, norm_losses
from finetune_core.training.gauges import EVERY, Busy, Drift, memory_mb, waited_for
from finetune_core.training.metrics import Measured, Meter
from finetune_core.training.reuse import Feed
from finetune_core.training.session import Session
from finetune_core.training.stepper import Outcome, Stepper, random_state, set_random_state
from finetune_core.training.truth import Verdict, Witness

__all__ = ["Course", "Diverged", "Position", "Save", "Trainer"]

Standing = tuple[float, float]
"""How good an epoch was: its score, larger being better, then the negative validation loss."""

NOWHERE: Standing = (-math.inf, -math.inf)


@dataclass(frozen=True)
class Course:
    """How a phase has gone so far: its first epoch, its best one with weights and losses of then, and how long ago.

    Weights are kept only where the phase may go back to them.
    """

    first: int = 0
    best: Standing = NOWHERE
    best_epoch: int = -1
    stale: int = 0
    weights: dict[str, Any] | None = None
    recent: tuple[float, ...] = ()  # as `Position.recent`, when the best epoch ended


@dataclass(frozen=True)
class Position:
    """Where a trainer stands in its run: one value, replaced at each move and saved whole.

    What is a function of it (step, rate, order of images, augmentation) is not kept: so a run goes on exactly.
    """

    phase: int = 0
    epoch: int = 0
    batch: int = 0
    course: Course = Course()
    sums: tuple[float, float] = (0.0, 0.0)  # this epoch so far: loss × images, images
    best: Standing = NOWHERE
    best_step: int = 0  # optimizer steps done when that epoch ended
    losses: tuple[float, ...] = ()  # on the validation images, per finished epoch
    elapsed: float = 0.0  # seconds
    start: float = 0.0  # the loss that others are measured by, see `divergence`; 0 before the first step
    recent: tuple[float, ...] = ()  # the latest training losses

    def saved(self) -> dict[str, Any]:
        """As plain values."""
        return {**vars(self), "course": vars(self.course)}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Position:
        """From a trainer's state; version 1 kept these values beside the rest of it; some came later."""
        saved = state.get("position", state)
        known = {each.name: saved.get(each.name, each.default) for each in fields(cls)}
        lists = {name: tuple(known[name]) for name in ("sums", "best", "losses", "recent")}
        return cls(**{**known, **lists, "course": Course(**known["course"])})


@dataclass(frozen=True)
class Save:
    """Asks whoever drives a trainer to keep it as it is now; its weights also as the best, or as the end of a phase.

    Without `weights` only what going on needs is kept, not the newest weights for people.
    """

    kind: ClassVar[str] = "save"
    best: bool = False
    phase_end: int | None = None
    weights: bool = True


class Trainer:
    """Trains a session, phase by phase. `run` yields records; `state` and `restore` carry it over a stop.

    `changes` are those that were made in earlier lives of the run; they are made again, each at its step.
    """

    def __init__(self, session: Session, changes: Sequence[Made] = ()) -> None:
        """Start at the beginning, with the recipe's seed."""
        self.session = session
        self.told_full = False  # that not all can be kept
        self.changes: list[Made] = []  # all that were made, in the order of their steps
        self.ahead = sorted(changes, key=_step)  # those whose step has not come yet
        self.stepper = Stepper(session)
        self.at = Position()
        self.meter = Meter(session.targets, session.device)
        self._set_phases(session.recipe.phases)
        self.average = _averaging(session)
        self.measured: Measured | None = None  # on the validation images, at the newest end of an epoch
        self.drift, self.busy = Drift(session.network), Busy(session.device)
        self.unproven = True  # whether the next step is to be checked
        torch.manual_seed(distributed.seed(session.recipe.training.seed))

    def _set_phases(self, phases: tuple[Phase, ...]) -> None:
        self.phases = phases
        self.peaks = [plan.peak_rates(phase, self.session.names) for phase in phases]

    @property
    def kept(self) -> nn.Module:
        """The network that is measured and saved: with averaged weights where the recipe averages them."""
        return self.average.module if self.average else self.session.network.module

    @property
    def epochs(self) -> int:
        """Epochs of the whole run, as far as can be told: a phase that ended early makes it shorter."""
        ahead = self.phases[self.at.phase :]
        return self.at.course.first + sum(phase.epochs for phase in ahead) if ahead else self.at.epoch

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run, as far as can be told."""
        return self.epochs * self.session.train.steps

    @property
    def done(self) -> int:
        """Optimizer steps done so far."""
        return self.at.epoch * self.session.train.steps + self.at.batch

    @property
    def best_step(self) -> int:
        """Optimizer steps done when the best epoch so far ended; 0 before there is one."""
        return self.at.best_step

    def forget_best(self) -> None:
        """Take the next epoch for the best one, whatever came before: its weights are gone."""
        self._move(best=NOWHERE, best_step=0)

    def run(self) -> Iterator[Record | Save]:
        """Train from the present position to the end; at every yield the state is whole and may be saved.

        Raises `Diverged` where the loss is no number any more, or far above its start.
        """
        entered = -1
        while self.at.phase < len(self.phases):
            begins = (self.at.epoch, self.at.batch) == (self.at.course.first, 0)
            if not (begins or self.at.batch):  # else they wait until the phase has begun, or the epoch has ended
                yield from self._make_changes()
            if self._over(self.phase):
                yield from self._leave()
                continue
            if entered != self.at.phase:
                self._enter(begins)
                entered = self.at.phase
                if begins:
                    yield self._phase_event()
                if begins and (said := distributed.from_first(self.stepper.feed.said)):
                    yield Event("reuse", self.done, said)
            yield from self._train_epoch()
            epoch = self._finish_epoch()
            yield epoch
            yield Save(best=epoch.best)
        divergence.check_end(self.at.recent, self.at.start, self.done)

    @property
    def phase(self) -> Phase:
        """The phase at hand, as the changes have left it."""
        return self.phases[self.at.phase]

    def change(self, change: Change) -> Made:
        """Make a change before the next step, and say what it will be; to be called where `run` has yielded.

        A UserError where it cannot be made. Of several processes each must be told of it at the same step.
        """
        phases = applied(self.phases, [each for each in self.ahead if each.step <= self.done])
        index = self._concerned(change, phases)
        at = self._progress(phases[index]) if index == self.at.phase else self._beginning(phases[index])
        made = make(change, phases, index, self.session.names, at, self.done)
        freezing.in_phase(self.session.network, applied(phases, [made])[index])
        insort(self.ahead, made, key=_step)
        return made

    def _concerned(self, change: Change, phases: tuple[Phase, ...]) -> int:
        """Which phase a change is of: the one at hand, or the next one where that has no step left and gets none."""
        index = self.at.phase
        if index < len(phases) and self._spent(phases[index]):
            longer = change.lengthens and not self._spent(change.on(phases[index], (), self._progress(phases[index])))
            index += not longer
        if index >= len(phases):
            raise UserError("The run is at its end.", "No step is left that could be changed.", "Start another run.")
        return index

    def _make_changes(self) -> Iterator[Event]:
        """Make those changes whose step has come."""
        while self.ahead and self.ahead[0].step <= self.done and self.ahead[0].phase <= self.at.phase:
            made = self._made()
            before = self.stepper.feed.said
            if made.phase == self.at.phase and "thaw" in made.values:
                self._enter()
            yield Event("change", self.done, made.text)
            if (said := distributed.from_first(self.stepper.feed.said)) and said != before:
                yield Event("reuse", self.done, said)

    def _made(self) -> Made:
        """Let the next change hold from now on."""
        made = self.ahead.pop(0)
        self.changes.append(made)
        self._set_phases(applied(self.phases, [made]))
        return made

    def _over(self, phase: Phase) -> bool:
        course = self.at.course
        enough = bool(phase.patience) and course.stale >= phase.patience
        return enough or self.at.epoch - course.first >= phase.epochs

    def _spent(self, phase: Phase) -> bool:
        """Whether no step of the phase at hand is left, though its last epoch may not be measured yet."""
        at = self._progress(phase)
        return self._over(phase) or at.step >= at.steps

    def _move(self, **changes: Any) -> None:
        """Stand somewhere else from now on."""
        self.at = replace(self.at, **changes)

    def _enter(self, begins: bool = False) -> None:
        """Thaw what the phase thaws; also after a stop in its midst, or a change."""
        self.stepper.enter(self.phase, self.at.course.first)
        if begins and self.phase.optimizer_state == "reset":
            self.stepper.optimizer.state.clear()
        self.unproven = True

    def _leave(self) -> Iterator[Record | Save]:
        """Go on to the next phase, from this one's best epoch where it asks for that."""
        phase, course, number = self.phase, self.at.course, self.at.phase + 1
        lasted = self.at.epoch - course.first
        if course.weights and course.stale:
            self._set_weights(course.weights)
            self._move(recent=tuple(course.recent))  # what came later is no fault of these weights
            self.stepper.optimizer.state.clear()  # it remembers gradients of weights that are gone
        self._move(phase=number, course=Course(self.at.epoch))
        if number < len(self.phases):
            yield Save(phase_end=number - 1)
        if phase.patience:
            early = f"after {lasted} of {phase.epochs} epochs" if lasted < phase.epochs else "in full"
            back = (
                f"Back to the weights of epoch {course.best_epoch + 1}." if course.stale else "Its last epoch was best."
            )
            yield Event("phase_end", self.done, f"Phase {number} ended {early}. {back}")
            yield Save()  # the weights may be those of an earlier epoch

    def _weights(self) -> dict[str, Any]:
        """All weights as they are now, apart from those that go on training."""
        return copy.deepcopy(
            {
                "raw": self.session.network.module.state_dict(),
                "average": self.average.state_dict() if self.average else {},
            }
        )

    def _set_weights(self, weights: dict[str, Any]) -> None:
        self.session.network.module.load_state_dict(weights["raw"])
        if self.average:
            self.average.load_state_dict(weights["average"])

    def _phase_event(self) -> Event:
        thawed = ", ".join(self.stepper.division.thawed)
        return Event("phase", self.done, f"Phase {self.at.phase + 1} of {len(self.phases)}: {thawed} thawed")

    def _train_epoch(self) -> Iterator[Record]:
        while self.at.batch < self.session.train.steps:
            yield from self._train_on(self.stepper.feed)
            if (full := distributed.from_first(self.stepper.feed.train.full)) and not self.told_full:
                self.told_full = True
                yield Event("reuse", self.done, f"Not all that the frozen layers give can be kept. {full}")

    def _train_on(self, feed: Feed) -> Iterator[Record]:
        """Train to the end of the epoch, or until a change lets something else stand still."""
        self.stepper.train_mode()
        started = time.perf_counter()
        for (inputs, labels), waited in waited_for(feed.train, self.at.epoch, self.at.batch):
            yield from self._make_changes()
            if self.stepper.feed is not feed:
                return
            progress = self._progress(self.phase)
            rates = plan.rates(self.phase, self.peaks[self.at.phase], progress)
            lr = self.stepper.set_rates(rates, plan.momentum(self.phase, progress))
            witness = self._witness()
            step, gauged = self.done, self.done % EVERY == 0
            outcome = self.stepper.step(inputs, labels, self.drift if gauged else None)
            start = self.at.start or self._start(outcome)
            recent = divergence.window(self.at.recent, outcome.loss)
            divergence.check(recent, start, step, max(lr.values()))
            if self.average:
                self.average.update_parameters(self.session.network.module)
            self.meter.update(outcome.outputs, outcome.targets)
            now = time.perf_counter()
            took, started = now - started, now
            total, images_seen = self.at.sums
            self._move(
                batch=self.at.batch + 1,
                sums=(total + outcome.loss * outcome.images, images_seen + outcome.images),
                elapsed=self.at.elapsed + took,
                start=start,
                recent=recent,
            )
            yield Step(
                step=step,
                epoch=self.at.epoch,
                phase=self.at.phase,
                loss=outcome.loss,
                lr=lr,
                grad_norm=outcome.norm,
                group_grad_norm=outcome.norms,
                images_per_s=round(outcome.images / took, 1),
                memory_mb=round(memory_mb(self.session.device), 1),
                seconds=round(self.at.elapsed, 3),
                waiting=round(waited / took, 3),
            )
            if gauged:
                yield self._gauges(step, outcome)
            if outcome.overflowed:
                yield _overflow_event(step, self.stepper.scaler.get_scale())
            if witness:
                yield _truth_event(step, witness.verdict(self.stepper.optimizer))

    def _gauges(self, step: int, outcome: Outcome) -> Gauges:
        return Gauges(step, outcome.updates, outcome.distances, self.busy.cpu(), self.busy.gpu())

    def _progress(self, phase: Phase) -> Progress:
        """How far the phase at hand is, for its schedule."""
        first, steps = self.at.course.first, self.session.train.steps
        step = (self.at.epoch - first) * steps + self.at.batch
        return Progress(step, phase.epochs * steps, steps, self.at.losses[first:])

    def _beginning(self, phase: Phase) -> Progress:
        """Where a phase begins."""
        return Progress(0, phase.epochs * self.session.train.steps, self.session.train.steps)

    def _start(self, outcome: Outcome) -> float:
        """The loss that later ones are measured by."""
        nothing = self.session.loss_of_nothing(outcome.outputs)
        return max(filter(math.isfinite, (outcome.loss, nothing)), default=0.0)

    def _witness(self) -> Witness | None:
        """Someone to watch the first step after a phase was entered, also after a stop, and every so many steps."""
        every = self.session.recipe.training.truth_every
        if not (self.unproven or (every and self.done % every == 0)):
            return None
        self.unproven = False
        return Witness(self.stepper.division)

    def _finish_epoch(self) -> Epoch:
        started = time.perf_counter()
        feed, by_batch = self.stepper.feed, self.stepper.division.by_batch()
        measured = self.measured = evaluate(self.session, self.kept, feed.valid)
        apart = norm_losses(self.session, feed.train, self.at.epoch, by_batch)
        elapsed = self.at.elapsed + time.perf_counter() - started
        score = self.session.targets.about.score
        standing = (score.signed(measured.scores[score.key]), -measured.loss)
        best = standing > self.at.best
        steps = (self.at.epoch + 1) * self.session.train.steps
        total, images = self.at.sums
        train_score = self.meter.scores()[score.key]
        self.meter.reset()
        self._move(
            epoch=self.at.epoch + 1,
            batch=0,
            sums=(0.0, 0.0),
            course=self._course(standing),
            best=max(standing, self.at.best),
            best_step=steps if best else self.at.best_step,
            losses=(*self.at.losses, measured.loss),
            elapsed=elapsed,
        )
        return Epoch(
            epoch=self.at.epoch - 1,
            phase=self.at.phase,
            step=self.done,
            train_loss=total / images,
            train_score=train_score,
            valid_loss=measured.loss,
            valid_score=measured.scores[score.key],
            scores=measured.scores,
            by_name=measured.by_name,
            best=best,
            seconds=round(elapsed, 3),
            board=self.session.board.guesses(self.session.targets, measured.outputs),
            norm_losses=apart,
        )

    def _course(self, standing: Standing) -> Course:
        """How the phase has gone once the epoch that ends here is counted."""
        course = self.at.course
        if standing > course.best:
            weights = self._weights() if self.phase.patience else None
            return Course(course.first, standing, self.at.epoch, 0, weights, self.at.recent)
        return replace(course, stale=course.stale + 1)

    def state(self) -> dict[str, Any]:
        """All that going on needs, the weights too, so that they belong together whatever is killed meanwhile.

        Plain tensors and numbers. Of all processes together.
        """
        return {
            "kept": self.kept.state_dict(),
            "position": self.at.saved(),
            "meter": self.meter.state(),
            "optimizer": self.stepper.memory(),
            "scaler": self.stepper.scaler.state_dict(),
            "random": distributed.collected(random_state()),
            "raw": self.session.network.module.state_dict() if self.average else {},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a saved state."""
        self.kept.load_state_dict(state["kept"])
        self.at = Position.restored(state)
        while self.ahead and self.ahead[0].step < self.done:
            self._made()  # and told of in its time
        self.meter.restore(state["meter"])
        self.stepper.remember(state["optimizer"])
        self.stepper.scaler.load_state_dict(state["scaler"])
        set_random_state(state["random"][distributed.rank() % len(state["random"])])
        if self.average:
            self.session.network.module.load_state_dict(state["raw"])
            self.average.n_averaged.fill_(self.done)


def _step(made: Made) -> int:
    return made.step


def _averaging(session: Session) -> AveragedModel | None:
    """torch's moving average of the weights, from those after the first step on; buffers are copied."""
    decay = session.recipe.training.ema
    return AveragedModel(session.network.module, multi_avg_fn=get_ema_multi_avg_fn(decay)) if decay else None


def _truth_event(step: int, verdict: Verdict) -> Event:
    return Event("truth" if verdict.kept else "truth_failed", step, verdict.text)


def _overflow_event(step: int, scale: float) -> Event:
    text = (
        f"A gradient was too large for fp16, so this step changed nothing. The loss is scaled by {scale:g} from now on."
    )
    return Event("overflow", step, text)
