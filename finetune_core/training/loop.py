"""The training loop: a generator of records that knows no file.

The worker writes the records down and saves when it is asked to, tests read them directly.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import psutil
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from finetune_core.errors import UserError
from finetune_core.parts import Progress
from finetune_core.parts.numbers import written
from finetune_core.recipe import Phase, plan
from finetune_core.records import Epoch, Event, Record, Step
from finetune_core.training import distributed
from finetune_core.training.evaluate import evaluate
from finetune_core.training.metrics import Meter
from finetune_core.training.session import Session
from finetune_core.training.stepper import Stepper, random_state, set_random_state
from finetune_core.training.truth import Verdict, Witness

Standing = tuple[float, float]
"""How good an epoch was: its score, larger being better, then the negative validation loss."""

NOWHERE: Standing = (-math.inf, -math.inf)


@dataclass(frozen=True)
class Course:
    """How a phase has gone so far: its first epoch, its best one with the weights of then, and how long ago that was.

    Weights are kept only where the phase may go back to them.
    """

    first: int = 0
    best: Standing = NOWHERE
    best_epoch: int = -1
    stale: int = 0
    weights: dict[str, Any] | None = None


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

    def saved(self) -> dict[str, Any]:
        """As plain values."""
        return {**vars(self), "course": vars(self.course)}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Position:
        """From a trainer's state; version 1 kept these values beside the rest of it."""
        saved = state.get("position", state)
        known = {each.name: saved[each.name] for each in fields(cls) if each.name in saved}  # best_step came later
        lists = {name: tuple(known[name]) for name in ("sums", "best", "losses")}
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
    """Trains a session, phase by phase. `run` yields records; `state` and `restore` carry it over a stop."""

    def __init__(self, session: Session) -> None:
        """Start at the beginning, with the recipe's seed."""
        self.session = session
        self.phases = session.recipe.phases
        self.stepper = Stepper(session)
        self.at = Position()
        self.meter = Meter(session.targets, session.device)
        self.peaks = [plan.peak_rates(phase, session.names) for phase in self.phases]
        self.average = _averaging(session)
        self.unproven = True  # whether the next step is to be checked
        torch.manual_seed(distributed.seed(session.recipe.training.seed))

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
        """Train from the present position to the end; at every yield the state is whole and may be saved."""
        entered = -1
        while self.at.phase < len(self.phases):
            phase = self.phases[self.at.phase]
            if self._over(phase):
                yield from self._leave(phase)
                continue
            if entered != self.at.phase:
                begins = (self.at.epoch, self.at.batch) == (self.at.course.first, 0)
                self._enter(phase, begins)
                entered = self.at.phase
                if begins:
                    yield self._phase_event()
            yield from self._train_epoch(phase)
            epoch = self._finish_epoch(phase)
            yield epoch
            yield Save(best=epoch.best)

    def _over(self, phase: Phase) -> bool:
        course = self.at.course
        enough = bool(phase.patience) and course.stale >= phase.patience
        return enough or self.at.epoch - course.first >= phase.epochs

    def _move(self, **changes: Any) -> None:
        """Stand somewhere else from now on."""
        self.at = replace(self.at, **changes)

    def _enter(self, phase: Phase, begins: bool) -> None:
        """Thaw what the phase thaws; also after a stop in its midst."""
        self.stepper.enter(phase)
        if begins and phase.optimizer_state == "reset":
            self.stepper.optimizer.state.clear()
        self.unproven = True

    def _leave(self, phase: Phase) -> Iterator[Record | Save]:
        """Go on to the next phase, from this one's best epoch where it asks for that."""
        course, number = self.at.course, self.at.phase + 1
        lasted = self.at.epoch - course.first
        if course.weights and course.stale:
            self._set_weights(course.weights)
            self.stepper.optimizer.state.clear()  # it remembers gradients of weights that are gone
        if number < len(self.phases):
            yield Save(phase_end=number - 1)
        self._move(phase=number, course=Course(self.at.epoch))
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

    def _train_epoch(self, phase: Phase) -> Iterator[Record]:
        self.stepper.train_mode()
        started = time.perf_counter()
        for images, labels in self.session.train.epoch(self.at.epoch, self.at.batch):
            progress = self._progress(phase)
            rates = plan.rates(phase, self.peaks[self.at.phase], progress)
            lr = self.stepper.set_rates(rates, plan.momentum(phase, progress))
            witness = self._witness()
            step, outcome = self.done, self.stepper.step(images, labels)
            if not math.isfinite(outcome.loss):
                raise _diverged(step, lr)
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
            )
            if outcome.overflowed:
                yield _overflow_event(step, self.stepper.scaler.get_scale())
            if witness:
                yield _truth_event(step, witness.verdict(self.stepper.optimizer))

    def _progress(self, phase: Phase) -> Progress:
        """How far the phase is, for its schedule."""
        first, steps = self.at.course.first, self.session.train.steps
        step = (self.at.epoch - first) * steps + self.at.batch
        return Progress(step, phase.epochs * steps, steps, self.at.losses[first:])

    def _witness(self) -> Witness | None:
        """Someone to watch the first step after a phase was entered, also after a stop."""
        if not self.unproven:
            return None
        self.unproven = False
        return Witness(self.stepper.division)

    def _finish_epoch(self, phase: Phase) -> Epoch:
        started = time.perf_counter()
        measured = evaluate(self.session, self.kept)
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
            course=self._course(phase, standing),
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
        )

    def _course(self, phase: Phase, standing: Standing) -> Course:
        """How the phase has gone once the epoch that ends here is counted."""
        course = self.at.course
        if standing > course.best:
            weights = self._weights() if phase.patience else None
            return Course(course.first, standing, self.at.epoch, 0, weights)
        return replace(course, stale=course.stale + 1)

    def state(self) -> dict[str, Any]:
        """All that going on needs, the weights too, so that they belong together whatever is killed meanwhile.

        Plain tensors and numbers. Of all processes together.
        """
        return {
            "kept": self.kept.state_dict(),
            "position": self.at.saved(),
            "meter": self.meter.state(),
            "optimizer": self.stepper.optimizer.state_dict(),
            "scaler": self.stepper.scaler.state_dict(),
            "random": distributed.collected(random_state()),
            "raw": self.session.network.module.state_dict() if self.average else {},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a saved state."""
        self.kept.load_state_dict(state["kept"])
        self.at = Position.restored(state)
        self.meter.restore(state["meter"])
        self.stepper.optimizer.load_state_dict(state["optimizer"])
        self.stepper.scaler.load_state_dict(state["scaler"])
        set_random_state(state["random"][distributed.rank() % len(state["random"])])
        if self.average:
            self.session.network.module.load_state_dict(state["raw"])
            self.average.n_averaged.fill_(self.done)


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


def memory_mb(device: torch.device) -> float:
    """Memory in use in MB: the most the GPU has held, or the process's resident memory on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return psutil.Process().memory_info().rss / 1e6


def _diverged(step: int, lr: dict[str, float]) -> UserError:
    return UserError(
        f"Training broke down at step {step}: the loss is no longer a number.",
        f"The learning rate ({written(max(lr.values()), 3)} there) is most likely too high.",
        "Run the learning-rate finder, or try a tenth of the rate.",
    )
