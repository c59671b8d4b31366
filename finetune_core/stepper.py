"""One optimizer step, which training and the range test share: micro-batches, precision, L1, clipping."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from finetune_core import groups
from finetune_core.session import Session, scaler


@dataclass(frozen=True)
class Outcome:
    """What one optimizer step gave: mean loss, number right, gradient norm of each thawed group before clipping.

    The loss is that of the images alone, without L1, so that runs can be compared.
    """

    loss: float
    right: int
    images: int
    norms: dict[str, float]

    @property
    def norm(self) -> float:
        """The gradient norm over all groups."""
        return math.sqrt(sum(norm * norm for norm in self.norms.values()))


class Stepper:
    """An optimizer over a session's layer groups, and the step that it takes."""

    def __init__(self, session: Session) -> None:
        """Build every group up front, frozen ones too: schedulers and resuming need a fixed set of groups."""
        training = session.recipe.training
        self.session = session
        frozen = dict.fromkeys(session.names, 0.0)  # until a phase begins
        param_groups = groups.param_groups(session.network, training.optimizer.weight_decay, frozen)
        self.optimizer = training.optimizer.call().build(param_groups)
        self.scaler = scaler(session.device, training)

    def enter(self, thawed: Collection[str], norm_statistics: Literal["hold", "update"] = "hold") -> None:
        """Thaw these groups and freeze the others, whose optimizer state is dropped so that no momentum moves them."""
        self.thawed, self.norm_statistics = thawed, norm_statistics
        groups.freeze(self.session.network, thawed)
        self.train_mode()
        for group in self.optimizer.param_groups:
            if group["name"] not in thawed:
                for parameter in group["params"]:
                    self.optimizer.state.pop(parameter, None)

    def train_mode(self) -> None:
        """Be ready to train again after an evaluation."""
        groups.set_train_mode(self.session.network, self.thawed, self.norm_statistics)

    def set_rates(self, rates: dict[str, float]) -> dict[str, float]:
        """Give each group its rate, and say what the optimizer now holds."""
        for group in self.optimizer.param_groups:
            group["lr"] = rates[group["name"]]
        return {group["name"]: group["lr"] for group in self.optimizer.param_groups}

    def step(self, images: Tensor, labels: Tensor) -> Outcome:
        """Forward, backward, update on raw images (uint8, N × 3 × H × W) and class numbers (N)."""
        self.optimizer.zero_grad(set_to_none=True)
        loss, right = self._backward(images, labels.to(self.session.device))
        self.scaler.unscale_(self.optimizer)  # so that norms are those of the true gradients
        self._add_l1()
        norms = self._norms()
        self._clip()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return Outcome(loss.item(), int(right), len(labels), norms)

    def _backward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of the mean loss over the batch, one micro-batch after the other; that loss and the number right.

        Each part counts by its share in what the mean divides by, so the parts add up to the mean over all.
        """
        session = self.session
        whole = session.divisor(labels)
        parts = _micro_batches(len(labels), session.recipe.training.accumulate)
        loss, right = torch.zeros((), device=session.device), torch.zeros((), device=session.device)
        for some, wanted in zip(images.tensor_split(parts), labels.tensor_split(parts), strict=True):
            with session.autocast():
                logits = session.network.module(session.normalised(some))
                share = session.loss(logits, wanted) * (session.divisor(wanted) / whole)
            self.scaler.scale(share).backward()
            loss += share.detach()
            right += (logits.argmax(1) == wanted).sum()
        return loss, right

    def _add_l1(self) -> None:
        """Add the gradient of l1 · Σ|w| over the trainable weights, norm layers and biases left out (seed 001).

        Written down instead of derived: the same numbers, and fp16 has no part in them. Weights that the loss does not
        reach stay as they are.
        """
        if not (strength := self.session.recipe.training.l1):
            return
        for weight in self.session.network.module.parameters():
            if weight.grad is not None and weight.ndim > 1:
                weight.grad.add_(weight.detach().sign(), alpha=strength)

    def _clip(self) -> None:
        if longest := self.session.recipe.training.clip_norm:
            nn.utils.clip_grad_norm_(self.session.network.module.parameters(), longest)

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


def _micro_batches(images: int, wanted: int) -> int:
    # BatchNorm cannot train on one image
    return max(1, min(wanted, images // 2))


def random_state() -> list[Tensor]:
    """Where torch's random numbers stand: CPU first, then each CUDA device."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])]


def set_random_state(state: list[Tensor]) -> None:
    """Go back to there."""
    torch.set_rng_state(state[0])
    if state[1:]:
        torch.cuda.set_rng_state_all(state[1:])
