"""The training loop: a generator of records that knows no file.

The worker writes the records down, tests read them directly. Position in the run is just (phase, epoch, batch):
everything else (step, rate, order of images, augmentation) is a function of it, which is why a run can go on exactly.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from finetune_core.errors import UserError
from finetune_core.parts import Progress
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


@dataclass
class Course:
    """How a phase has gone so far: its first epoch, its best one with the weights of then, and how long ago that was.

    Weights are kept only where the phase may go back to them.
    """

    first: int
    best: Standing = NOWHERE
    best_epoch: int = -1
    stale: int = 0
    weights: dict[str, Any] | None = None


class Trainer:
    """Trains a session, phase by phase. `run` yields records; `state` and `restore` carry it over a stop."""

    def __init__(self, session: Session) -> None:
        """Start at the beginning, with the recipe's seed."""
        self.session = session
        self.phases = session.recipe.phases
        self.stepper = Stepper(session)
        self.phase = self.epoch = self.batch = 0
        self.course = Course(0)
        self.sums = [0.0, 0.0]  # this epoch so far: loss × images, images
        self.meter = Meter(session.targets, session.device)
        self.best = NOWHERE
        self.losses: list[float] = []  # on the validation images, per finished epoch
        self.elapsed = 0.0
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
        ahead = self.phases[self.phase :]
        return self.course.first + sum(phase.epochs for phase in ahead) if ahead else self.epoch

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run, as far as can be told."""
        return self.epochs * self.session.train.steps

    @property
    def done(self) -> int:
        """Optimizer steps done so far."""
        return self.epoch * self.session.train.steps + self.batch

    def run(self) -> Iterator[Record]:
        """Train from the present position to the end; at every yield the state is whole and may be saved."""
        entered = -1
        while self.phase < len(self.phases):
            phase = self.phases[self.phase]
            if self._over(phase):
                yield from self._leave(phase)
                continue
            if entered != self.phase:
                begins = (self.epoch, self.batch) == (self.course.first, 0)
                self._enter(phase, begins)
                entered = self.phase
                if begins:
                    yield self._phase_event()
            yield from self._train_epoch(phase)
            yield self._finish_epoch(phase)

    def _over(self, phase: Phase) -> bool:
        enough = bool(phase.patience) and self.course.stale >= phase.patience
        return enough or self.epoch - self.course.first >= phase.epochs

    def _enter(self, phase: Phase, begins: bool) -> None:
        """Thaw what the phase thaws; also after a stop in its midst."""
        self.stepper.enter(phase)
        if begins and phase.optimizer_state == "reset":
            self.stepper.optimizer.state.clear()
        self.unproven = True

    def _leave(self, phase: Phase) -> Iterator[Record]:
        """Go on to the next phase, from this one's best epoch where it asks for that."""
        course, number = self.course, self.phase + 1
        lasted = self.epoch - course.first
        if course.weights and course.stale:
            self._set_weights(course.weights)
            self.stepper.optimizer.state.clear()  # it remembers gradients of weights that are gone
        self.phase, self.course = self.phase + 1, Course(self.epoch)
        if phase.patience:
            early = f"after {lasted} of {phase.epochs} epochs" if lasted < phase.epochs else "in full"
            back = (
                f"Back to the weights of epoch {course.best_epoch + 1}." if course.stale else "Its last epoch was best."
            )
            yield Event("phase_end", self.done, f"Phase {number} ended {early}. {back}")

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
        return Event("phase", self.done, f"Phase {self.phase + 1} of {len(self.phases)}: {thawed} thawed")

    def _train_epoch(self, phase: Phase) -> Iterator[Record]:
        first, steps = self.course.first, self.session.train.steps
        self.stepper.train_mode()
        started = time.perf_counter()
        for images, labels in self.session.train.epoch(self.epoch, self.batch):
            step = (self.epoch - first) * steps + self.batch
            position = Progress(step, phase.epochs * steps, steps, tuple(self.losses[first:]))
            rates = plan.rates(phase, self.peaks[self.phase], position)
            lr = self.stepper.set_rates(rates, plan.momentum(phase, position))
            witness = self._witness()
            step, outcome = self.done, self.stepper.step(images, labels)
            if not math.isfinite(outcome.loss):
                raise _diverged(step, lr)
            if self.average:
                self.average.update_parameters(self.session.network.module)
            self.sums = [self.sums[0] + outcome.loss * outcome.images, self.sums[1] + outcome.images]
            self.meter.update(outcome.outputs, outcome.targets)
            now = time.perf_counter()
            self.elapsed += now - started
            speed, started = outcome.images / (now - started), now
            self.batch += 1
            yield Step(
                step=step,
                epoch=self.epoch,
                phase=self.phase,
                loss=outcome.loss,
                lr=lr,
                grad_norm=outcome.norm,
                group_grad_norm=outcome.norms,
                images_per_s=round(speed, 1),
                memory_mb=round(memory_mb(self.session.device), 1),
                seconds=round(self.elapsed, 3),
            )
            if outcome.overflowed:
                yield _overflow_event(step, self.stepper.scaler.get_scale())
            if witness:
                yield _truth_event(step, witness.verdict(self.stepper.optimizer))

    def _witness(self) -> Witness | None:
        """Someone to watch the first step after a phase was entered, also after a stop."""
        if not self.unproven:
            return None
        self.unproven = False
        return Witness(self.stepper.division)

    def _finish_epoch(self, phase: Phase) -> Epoch:
        started = time.perf_counter()
        measured = evaluate(self.session, self.kept)
        self.elapsed += time.perf_counter() - started
        score = self.session.targets.about.score
        standing = (score.signed(measured.scores[score.key]), -measured.loss)
        best, self.best = standing > self.best, max(standing, self.best)
        self._note_course(phase, standing)
        total, images = self.sums
        train_score = self.meter.scores()[score.key]
        self.losses.append(measured.loss)
        self.meter.reset()
        self.epoch, self.batch, self.sums = self.epoch + 1, 0, [0.0, 0.0]
        return Epoch(
            epoch=self.epoch - 1,
            phase=self.phase,
            step=self.done,
            train_loss=total / images,
            train_score=train_score,
            valid_loss=measured.loss,
            valid_score=measured.scores[score.key],
            scores=measured.scores,
            by_name=measured.by_name,
            best=best,
            seconds=round(self.elapsed, 3),
        )

    def _note_course(self, phase: Phase, standing: Standing) -> None:
        """Whether the epoch that ends here is the best of its phase so far."""
        course = self.course
        if standing > course.best:
            weights = self._weights() if phase.patience else None
            self.course = Course(course.first, standing, self.epoch, 0, weights)
        else:
            course.stale += 1

    def state(self) -> dict[str, Any]:
        """Everything that going on needs beside the weights; plain tensors and numbers. Of all processes together."""
        return {
            "phase": self.phase,
            "epoch": self.epoch,
            "batch": self.batch,
            "course": vars(self.course),
            "sums": self.sums,
            "meter": self.meter.state(),
            "best": self.best,
            "losses": self.losses,
            "elapsed": self.elapsed,
            "optimizer": self.stepper.optimizer.state_dict(),
            "scaler": self.stepper.scaler.state_dict(),
            "random": distributed.collected(random_state()),
            "raw": self.session.network.module.state_dict() if self.average else {},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a saved state; the weights that were kept are restored by the caller."""
        self.phase, self.epoch, self.batch = state["phase"], state["epoch"], state["batch"]
        self.course, self.sums = Course(**state["course"]), state["sums"]
        self.best, self.losses, self.elapsed = state["best"], state["losses"], state["elapsed"]
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
        f"The learning rate ({max(lr.values()):.2g} there) is most likely too high.",
        "Run the learning-rate finder, or try a tenth of the rate.",
    )
