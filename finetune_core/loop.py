"""The training loop: a generator of records that knows no file.

The worker writes the records down, tests read them directly. Position in the run is just (epoch, batch): everything
else (phase, step, rate, order of images, augmentation) is a function of it, which is why a run can go on exactly.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from torch import Tensor

from finetune_core import groups, plan
from finetune_core.errors import UserError
from finetune_core.parts import Progress
from finetune_core.records import Epoch, Event, Record, Step
from finetune_core.session import Session, scaler


@dataclass(frozen=True)
class Outcome:
    """What one optimizer step gave: mean loss, number right, gradient norm of each thawed group before the step."""

    loss: float
    right: int
    images: int
    norms: dict[str, float]

    @property
    def norm(self) -> float:
        """The gradient norm over all groups."""
        return math.sqrt(sum(norm * norm for norm in self.norms.values()))


class Stepper:
    """An optimizer over a session's layer groups, and the one step that training and the range test share."""

    def __init__(self, session: Session) -> None:
        """Build every group up front, frozen ones too: schedulers and resuming need a fixed set of groups."""
        training = session.recipe.training
        self.session = session
        frozen = dict.fromkeys(session.names, 0.0)  # until a phase begins
        param_groups = groups.param_groups(session.network, training.optimizer.weight_decay, frozen)
        self.optimizer = training.optimizer.call().build(param_groups)
        self.scaler = scaler(session.device, training)

    def enter(self, thawed: Sequence[str]) -> None:
        """Thaw these groups and freeze the others, whose optimizer state is dropped so that no momentum moves them."""
        groups.freeze(self.session.network, thawed)
        groups.set_train_mode(self.session.network, thawed)
        self.thawed = thawed
        for group in self.optimizer.param_groups:
            if group["name"] not in thawed:
                for parameter in group["params"]:
                    self.optimizer.state.pop(parameter, None)

    def set_rates(self, rates: dict[str, float]) -> dict[str, float]:
        """Give each group its rate, and say what the optimizer now holds."""
        for group in self.optimizer.param_groups:
            group["lr"] = rates[group["name"]]
        return {group["name"]: group["lr"] for group in self.optimizer.param_groups}

    def step(self, images: Tensor, labels: Tensor) -> Outcome:
        """Forward, backward, update on raw images (uint8, N × 3 × H × W) and class numbers (N)."""
        session = self.session
        labels = labels.to(session.device)
        with session.autocast():
            logits = session.network.module(session.normalised(images))
            loss = session.loss(logits, labels)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)  # so that norms are those of the true gradients
        norms = self._norms()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        right = int((logits.argmax(1) == labels).sum())
        return Outcome(loss.item(), right, len(labels), norms)

    def _norms(self) -> dict[str, float]:
        squares: dict[str, Tensor] = {}
        for group in self.optimizer.param_groups:
            grads = [p.grad for p in group["params"] if p.grad is not None]
            if grads:
                square = torch.stack(torch._foreach_norm(grads)).square().sum()
                squares[group["name"]] = squares.get(group["name"], 0) + square
        if not squares:
            return {}
        values = torch.stack(list(squares.values())).sqrt().tolist()  # one transfer for all groups
        return dict(zip(squares, values, strict=True))


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
        torch.manual_seed(session.recipe.training.seed)

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
                self.stepper.enter([name for name, peak in self.peaks[index].items() if peak > 0])
                entered = index
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
        groups.set_train_mode(self.session.network, self.stepper.thawed)
        started = time.perf_counter()
        for images, labels in self.session.train.epoch(self.epoch, self.batch):
            step = (self.epoch - first) * steps + self.batch
            position = Progress(step, phase.epochs * steps, steps, tuple(self.losses[first:]))
            lr = self.stepper.set_rates(plan.rates(phase, self.peaks[index], position))
            step, outcome = self.done, self.stepper.step(images, labels)
            if not math.isfinite(outcome.loss):
                raise _diverged(step, lr)
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

    def _finish_epoch(self, index: int) -> Epoch:
        started = time.perf_counter()
        loss, accuracy = evaluate(self.session)
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
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a saved state; the network's weights are restored by the caller."""
        self.epoch, self.batch, self.sums = state["epoch"], state["batch"], state["sums"]
        self.best, self.losses, self.elapsed = tuple(state["best"]), state["losses"], state["elapsed"]
        self.stepper.optimizer.load_state_dict(state["optimizer"])
        self.stepper.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["rng"])
        if state["cuda_rng"]:
            torch.cuda.set_rng_state_all(state["cuda_rng"])


def evaluate(session: Session) -> tuple[float, float]:
    """Mean loss and accuracy over the validation images."""
    module = session.network.module
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
