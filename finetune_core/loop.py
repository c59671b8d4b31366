"""The training loop: a generator of records that knows no file.

The worker writes the records down, tests read them directly. Position in the run is just (epoch, batch): everything
else (phase, step, rate, order of images, augmentation) is a function of it, which is why a run can go on exactly.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import psutil
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from finetune_core import plan
from finetune_core.errors import UserError
from finetune_core.parts import Progress
from finetune_core.records import Epoch, Event, Record, Step
from finetune_core.session import Session
from finetune_core.stepper import Stepper, random_state, set_random_state
from finetune_core.truth import Verdict, Witness


class Trainer:
    """Trains a session, phase by phase. `run` yields records; `state` and `restore` carry it over a stop."""

    def __init__(self, session: Session) -> None:
        """Start at the beginning, with the recipe's seed."""
        self.session = session
        self.stepper = Stepper(session)
        self.epoch = self.batch = 0
        self.sums = [0.0, 0.0, 0.0]  # this epoch so far: loss × images, right, images
        self.best = (-1.0, -math.inf)  # accuracy, -loss
        self.losses: list[float] = []  # on the validation images, per finished epoch
        self.elapsed = 0.0
        self.peaks = [plan.peak_rates(phase, session.names) for phase in session.recipe.phases]
        self.average = _averaging(session)
        self.unproven = True  # whether the next step is to be checked
        torch.manual_seed(session.recipe.training.seed)

    @property
    def kept(self) -> nn.Module:
        """The network that is measured and saved: with averaged weights where the recipe averages them."""
        return self.average.module if self.average else self.session.network.module

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.session.recipe.epochs * self.session.train.steps

    @property
    def done(self) -> int:
        """Optimizer steps done so far."""
        return self.epoch * self.session.train.steps + self.batch

    def run(self) -> Iterator[Record]:
        """Train from the present position to the end; at every yield the state is whole and may be saved."""
        entered = -1
        while self.epoch < self.session.recipe.epochs:
            index, first = self._phase()
            if entered != index:
                thawed = [name for name, peak in self.peaks[index].items() if peak > 0]
                self.stepper.enter(thawed, self.session.recipe.phases[index].norm_statistics)
                entered, self.unproven = index, True
                if (self.epoch, self.batch) == (first, 0):
                    yield self._phase_event(index)
            yield from self._train_epoch(index, first)
            yield self._finish_epoch(index)

    def _phase(self) -> tuple[int, int]:
        """The phase that the present epoch belongs to, and that phase's first epoch."""
        first = 0
        for index, phase in enumerate(self.session.recipe.phases):
            if self.epoch < first + phase.epochs:
                return index, first
            first += phase.epochs
        raise AssertionError("the run is over")

    def _phase_event(self, index: int) -> Event:
        thawed = ", ".join(self.stepper.thawed)
        return Event("phase", self.done, f"Phase {index + 1} of {len(self.peaks)}: {thawed} thawed")

    def _train_epoch(self, index: int, first: int) -> Iterator[Record]:
        phase, steps = self.session.recipe.phases[index], self.session.train.steps
        self.stepper.train_mode()
        started = time.perf_counter()
        for images, labels in self.session.train.epoch(self.epoch, self.batch):
            step = (self.epoch - first) * steps + self.batch
            position = Progress(step, phase.epochs * steps, steps, tuple(self.losses[first:]))
            lr = self.stepper.set_rates(plan.rates(phase, self.peaks[index], position))
            witness = self._witness()
            step, outcome = self.done, self.stepper.step(images, labels)
            if not math.isfinite(outcome.loss):
                raise _diverged(step, lr)
            if self.average:
                self.average.update_parameters(self.session.network.module)
            now = time.perf_counter()
            self.elapsed += now - started
            speed, started = len(labels) / (now - started), now
            self.sums = [
                self.sums[0] + outcome.loss * outcome.images,
                self.sums[1] + outcome.right,
                self.sums[2] + outcome.images,
            ]
            self.batch += 1
            yield Step(
                step=step,
                epoch=self.epoch,
                phase=index,
                loss=outcome.loss,
                lr=lr,
                grad_norm=outcome.norm,
                group_grad_norm=outcome.norms,
                images_per_s=round(speed, 1),
                memory_mb=round(memory_mb(self.session.device), 1),
                seconds=round(self.elapsed, 3),
            )
            if witness:
                yield _truth_event(step, witness.verdict(self.stepper.optimizer))

    def _witness(self) -> Witness | None:
        """Someone to watch the first step after a phase was entered, also after a stop."""
        if not self.unproven:
            return None
        self.unproven = False
        stepper = self.stepper
        return Witness(self.session.network, stepper.thawed, statistics_move=stepper.norm_statistics == "update")

    def _finish_epoch(self, index: int) -> Epoch:
        started = time.perf_counter()
        loss, accuracy = evaluate(self.session, self.kept)
        self.elapsed += time.perf_counter() - started
        total, right, images = self.sums
        self.losses.append(loss)
        score = (accuracy, -loss)
        best, self.best = score > self.best, max(score, self.best)
        self.epoch, self.batch, self.sums = self.epoch + 1, 0, [0.0, 0.0, 0.0]
        return Epoch(
            epoch=self.epoch - 1,
            phase=index,
            step=self.done,
            train_loss=total / images,
            train_accuracy=right / images,
            valid_loss=loss,
            valid_accuracy=accuracy,
            best=best,
            seconds=round(self.elapsed, 3),
        )

    def state(self) -> dict[str, Any]:
        """Everything that going on needs beside the weights; plain tensors and numbers."""
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "sums": self.sums,
            "best": list(self.best),
            "losses": self.losses,
            "elapsed": self.elapsed,
            "optimizer": self.stepper.optimizer.state_dict(),
            "scaler": self.stepper.scaler.state_dict(),
            "random": random_state(),
            "raw": self.session.network.module.state_dict() if self.average else {},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a saved state; the weights that were kept are restored by the caller."""
        self.epoch, self.batch, self.sums = state["epoch"], state["batch"], state["sums"]
        self.best, self.losses, self.elapsed = tuple(state["best"]), state["losses"], state["elapsed"]
        self.stepper.optimizer.load_state_dict(state["optimizer"])
        self.stepper.scaler.load_state_dict(state["scaler"])
        set_random_state(state["random"])
        if self.average:
            self.session.network.module.load_state_dict(state["raw"])
            self.average.n_averaged.fill_(self.done)


def _averaging(session: Session) -> AveragedModel | None:
    """torch's moving average of the weights, from those after the first step on; buffers are copied."""
    decay = session.recipe.training.ema
    return AveragedModel(session.network.module, multi_avg_fn=get_ema_multi_avg_fn(decay)) if decay else None


def _truth_event(step: int, verdict: Verdict) -> Event:
    return Event("truth" if verdict.kept else "truth_failed", step, verdict.text)


def evaluate(session: Session, module: nn.Module) -> tuple[float, float]:
    """Mean loss and accuracy of a network over the validation images."""
    module.eval()
    total = right = count = 0.0
    with torch.inference_mode(), session.autocast():
        for images, labels in session.valid.epoch(0):
            labels = labels.to(session.device)
            logits = module(session.normalised(images))
            total += session.loss(logits, labels).item() * len(labels)
            right += int((logits.argmax(1) == labels).sum())
            count += len(labels)
    return total / count, right / count


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
