"""One optimizer step, which training and the range test share: micro-batches, precision, L1, clipping."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from finetune_core.data.loader import Views, pieces
from finetune_core.errors import UserError
from finetune_core.network import freezing
from finetune_core.recipe import Phase, holding, plan
from finetune_core.training import distributed, reuse
from finetune_core.training.gauges import Drift, fetched, length
from finetune_core.training.session import Session, scaler


@dataclass(frozen=True)
class Outcome:
    """What one optimizer step gave: mean loss, outputs with their targets, each thawed group's gradient norm.

    The loss is that of the images alone, without L1, so that runs can be compared; the norms are those before clipping.
    Where the step was gauged, `updates` and `distances` are each learning group's as `Drift.since` tells them.
    """

    loss: float
    outputs: Tensor
    targets: Tensor
    norms: dict[str, float]
    overflowed: bool  # in fp16: a gradient was too large for it, so the weights stayed as they were
    updates: dict[str, float] = field(default_factory=dict)
    distances: dict[str, float] = field(default_factory=dict)

    @property
    def images(self) -> int:
        """How many were learned from."""
        return len(self.targets)

    @property
    def norm(self) -> float:
        """The gradient norm over all groups."""
        return math.sqrt(sum(norm * norm for norm in self.norms.values()))


class Stepper:
    """An optimizer over a session's layer groups, and the step that it takes."""

    def __init__(self, session: Session) -> None:
        """Build every group up front, frozen ones too: schedulers and resuming need a fixed set of groups.

        A UserError where a phase thaws or holds what is not there.
        """
        training = session.recipe.training
        self.session = session
        for phase in session.recipe.phases:
            freezing.in_phase(session.network, phase)
            training.optimizer.check_momentum(phase.schedule)
        rules = dict.fromkeys(rule for phase in session.recipe.phases for rule in phase.by_name)
        frozen = dict.fromkeys(session.names, 0.0)  # until a phase begins
        factors = plan.decay_factors(training, session.names)
        decay = {name: training.optimizer.weight_decay * factor for name, factor in factors.items()}
        param_groups = freezing.param_groups(session.network, decay, frozen, training.decay_all, rules)
        self.optimizer = training.optimizer.call().build(param_groups)
        self.scaler = scaler(session.device, training)
        mix = training.mix.call(len(session.targets.names))
        self.mix = mix and mix.build()
        self.feed = reuse.plain(session)  # until a phase begins

    def enter(self, phase: Phase, first: int = 0) -> None:
        """Thaw what a phase thaws and freeze the rest, whose optimizer state goes so that no momentum moves it.

        `first` is the phase's first epoch.
        """
        network = self.session.network
        self.division, self.by_name = freezing.in_phase(network, phase), phase.by_name
        self.division.freeze()
        self.module = network.module  # torch's hooks on the weights of the phase before must be gone
        self.module = distributed.shared(network.module)
        self.train_mode()
        views = Views(phase.views, plan.turn(self.division.thawed), first)
        self.feed = reuse.feed(self.session, self.division, views, self.mix is not None)
        for group in self.division.still:
            for name in group.parameters:
                self.optimizer.state.pop(network.module.get_parameter(name), None)

    def train_mode(self) -> None:
        """Be ready to train again after an evaluation."""
        self.division.train_mode()

    def set_rates(self, rates: dict[str, float], momentum: float | None = None) -> dict[str, float]:
        """Give each layer group its rate, and say what the optimizer now holds for those that have no rate by name.

        `momentum` goes where the optimizer has one, as momentum or as the first beta; None is the recipe's own.
        """
        own = self.optimizer.defaults
        for group in self.optimizer.param_groups:
            group["lr"] = rates[group["name"]] * holding.factor(self.by_name, group.get("rules", ()))
            if "betas" in group:
                first, *others = own["betas"]
                group["betas"] = (first if momentum is None else momentum, *others)
            elif "momentum" in group:
                group["momentum"] = own["momentum"] if momentum is None else momentum
        return {group["name"]: rates[group["name"]] for group in self.optimizer.param_groups}

    def memory(self) -> dict[str, Any]:
        """What the optimizer remembers, with the names of its parameters in their order."""
        return {**self.optimizer.state_dict(), "names": self._names()}

    def remember(self, saved: dict[str, Any]) -> None:
        """Give the optimizer back what it remembered, though other rates by name may part its groups otherwise."""
        names, now = self._names(), self.optimizer.state_dict()
        before = saved.get("names", names)  # earlier states have none
        rules, ours = ([[*group.get("rules", ())] for group in each["param_groups"]] for each in (saved, now))
        if (before, rules) != (names, ours):
            known = {name: saved["state"][place] for place, name in enumerate(before) if place in saved["state"]}
            saved = {**now, "state": {place: known[name] for place, name in enumerate(names) if name in known}}
        self.optimizer.load_state_dict(saved)

    def _names(self) -> list[str]:
        own = {id(weight): name for name, weight in self.session.network.module.named_parameters()}
        return [own[id(weight)] for group in self.optimizer.param_groups for weight in group["params"]]

    def step(self, inputs: Tensor, labels: Tensor, drift: Drift | None = None) -> Outcome:
        """Forward, backward, update on inputs as the training side of `feed` hands them out, with their labels.

        With a `drift` the step is gauged; it does the same.
        """
        self.optimizer.zero_grad(set_to_none=True)
        inputs, targets = self._mixed(inputs, labels.to(self.session.device))
        loss, outputs = self._backward(inputs, targets)
        self.scaler.unscale_(self.optimizer)  # so that norms are those of the true gradients
        self._add_l1()
        norms = self._norms()
        self._clip()
        before = drift.before(self.division.learning) if drift else {}
        overflowed = self._update()
        moved = drift.since(before) if drift else ()
        mean, lengths, *drifts = fetched({"loss": distributed.total(loss)}, norms, *moved)
        outputs, targets = distributed.gathered(outputs), distributed.gathered(targets)
        return Outcome(mean["loss"], outputs, targets, lengths, overflowed, *drifts)

    def _update(self) -> bool:
        """Let the optimizer change the weights; whether it could not, since a gradient was too large for fp16."""
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return self.scaler.get_scale() < scale

    def _mixed(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Images and labels as they are learned from: mixed over the whole batch where the recipe mixes."""
        if not self.mix:
            return images, labels
        named = labels if len(labels) else labels.new_zeros(len(images), *labels.shape[1:])  # a process without any
        mixed, targets = self.mix(images.to(self.session.device, torch.float32), named)
        return mixed, targets[: len(labels)]

    def _backward(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of the mean loss over the batch, one micro-batch after the other; that loss and the outputs.

        Each part counts by its share in what the mean divides by, so the parts add up to the mean over all. Of several
        processes each has the loss and the outputs of its own images, and with the last part all have the gradients
        of all.
        """
        session = self.session
        whole = distributed.total(session.divisor(labels))
        parts = pieces(len(labels), session.recipe.training.accumulate)
        loss, outputs = torch.zeros((), device=session.device), []
        for left, some, wanted in zip(
            reversed(range(parts)), inputs.tensor_split(parts), labels.tensor_split(parts), strict=True
        ):
            with self._alone() if left else nullcontext():
                with session.autocast():
                    with session.watching(session.network.module) as seen:
                        logits = self._answer(some)
                    share = self._share(logits, wanted, whole, seen)
                self.scaler.scale(share).backward()
            loss += share.detach()
            outputs.append(logits.detach()[: len(wanted)])
        return loss, torch.cat(outputs)

    def _answer(self, inputs: Tensor) -> Tensor:
        """Outputs for inputs; a UserError where a batch norm finds one value per channel.

        Preflight foretells it but for networks whose convolutions do not pad, and for heads of other makers.
        """
        try:
            logits = self.feed.train.answer(self.module, inputs)
        except ValueError as error:
            if len(inputs) > 1 or "more than 1 value per channel" not in str(error):
                raise
            raise _lone_image() from error
        return logits

    def _share(self, logits: Tensor, labels: Tensor, whole: Tensor | int, seen: Sequence[Tensor]) -> Tensor:
        """What some images add to the mean loss; nothing where a process has only images without labels."""
        if not all(each.requires_grad for each in seen):
            raise _embedding_stands_still()
        if not len(labels):
            return (logits * 0).sum()
        return self.session.loss(logits, labels, *seen) * (self.session.divisor(labels) / whole)

    def _alone(self) -> AbstractContextManager[None]:
        """Backward without the other processes: gradients add up here until the last part."""
        return self.module.no_sync() if isinstance(self.module, DistributedDataParallel) else nullcontext()

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

    def _norms(self) -> dict[str, Tensor]:
        """The length of each group's gradient, of those that have one."""
        grads: dict[str, list[Tensor]] = {}
        for group in self.optimizer.param_groups:
            if own := [p.grad for p in group["params"] if p.grad is not None]:
                grads.setdefault(group["name"], []).extend(own)
        return {name: length(some) for name, some in grads.items()}


def _lone_image() -> UserError:
    return UserError(
        "Batch norm cannot learn from a single image.",
        "Where a map has shrunk to one place, one image has nothing to be normalised by.",
        "Use two images per step (training.batch_size), take larger images, or hold the norm layers.",
    )


def _embedding_stands_still() -> UserError:
    return UserError(
        "Triplets teach nothing here.",
        "What they compare comes from frozen layers, so that no distance can change.",
        "Thaw a layer before it, or compare the class scores (training.loss.compare).",
    )


def random_state() -> list[Tensor]:
    """Where torch's random numbers stand: CPU first, then each CUDA device."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])]


def set_random_state(state: list[Tensor]) -> None:
    """Go back to there."""
    torch.set_rng_state(state[0])
    if state[1:]:
        torch.cuda.set_rng_state_all(state[1:])
