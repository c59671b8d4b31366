"""An experiment: arms train from the same start on the same images, several seeds each, and are measured alike.

Each trial is a training as any other (`training.loop`), in one process, so that what frozen layers give is kept and
shared. Arms with the same seed draw the same views in the same order; so do first members.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np
import torch
from torch import nn

from finetune_core.data.pipeline import train_pipeline
from finetune_core.finder import range_test
from finetune_core.finder.suggest import suggest
from finetune_core.finder.sweep import Sweep
from finetune_core.parts.tasks import Score
from finetune_core.recipe import Recipe
from finetune_core.recipe.arms import Arm
from finetune_core.records import Epoch, Event, Report, Step, Suggestions, Trial, Tried, silent
from finetune_core.training.loop import Diverged, Trainer
from finetune_core.training.metrics import Measured, Meter
from finetune_core.training.session import Session, prepare
from finetune_core.training.stepper import Stepper

DRAWN = 120  # losses of a trial that are kept
BEFORE, AFTER = 5, 3  # steps to either side of a phase's beginning that make a bump
SWEEP = Sweep(steps=40)
APART = 1000  # between the seeds of members: the first has that of its trial
SCALE = 2.0**16  # torch's GradScaler begins with it

Answers = tuple[np.ndarray, list[np.ndarray]]
"""What was wanted of the validation images, and what the network gave for them, one by one or several views each."""

Found = dict[str, Suggestions]
"""What range tests from the start of a recipe have suggested, which arms share."""


def trials(recipe: Recipe, arms: Sequence[Arm], seeds: int, report: Report = silent) -> Iterator[Tried | Trial]:
    """Try each arm with each seed, seed by seed, so that a stop leaves whole rounds. UserErrors before any training."""
    for arm in arms:
        arm.of(recipe)
    for seed in range(seeds):
        found: Found = {}
        for place, arm in enumerate(arms):
            yield from _trial(recipe, place, arm, seed, found, report)


@dataclass
class _Course:
    """What was seen of one training on its way, by the score that decides in its task."""

    score: Score
    losses: list[float] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)  # steps at which phases after the first began
    rates: list[float] = field(default_factory=list)  # of each phase
    epochs: list[Epoch] = field(default_factory=list)
    note: str = ""

    def values(self) -> dict[str, float]:
        """All that is measured of it."""
        best, last = max(self.epochs, key=lambda each: self.score.signed(each.valid_score)), self.epochs[-1]
        sign = -1 if self.score.lower_is_better else 1
        return {
            "score": best.valid_score,
            "last": last.valid_score,
            "first": self.epochs[0].valid_score,
            "loss": last.valid_loss,
            "gap": sign * (last.train_score - last.valid_score),
            **({"balanced_accuracy": best.scores["balanced_accuracy"]} if "balanced_accuracy" in best.scores else {}),
            **({"norms": abs(last.norm_losses[0] - last.norm_losses[1])} if last.norm_losses else {"norms": 0.0}),
            **({"bump": self._bump(self.starts[-1])} if self.starts else {}),
        }

    def _bump(self, start: int) -> float:
        """How much higher the loss is just after a phase began than just before."""
        return fmean(self.losses[start : start + AFTER]) - fmean(self.losses[max(0, start - BEFORE) : start])


def _trial(recipe: Recipe, place: int, arm: Arm, seed: int, found: Found, report: Report) -> Iterator[Tried | Trial]:
    started = time.perf_counter()
    courses: list[_Course] = []
    values: dict[str, float] = {}
    if arm.gradients:
        session = prepare(range_test.seeded(arm.of(recipe), seed), report)
        values = {"vanished": _vanished(session, arm.gradients)}
    else:
        answers: list[np.ndarray] = []
        for member in range(arm.members):
            session = prepare(range_test.seeded(arm.of(recipe), seed + member * APART), report)
            courses.append(course := _Course(session.targets.about.score))
            for record in _trained(session, arm, course, found, report):
                if isinstance(record, Epoch):
                    yield Tried(place, seed, member, record.epoch, record.step, record.valid_loss, record.valid_score)
                else:
                    wanted, outputs = record
                    answers += outputs
        if not _notes(courses):
            values = {**_mean_of(courses), "answers": _judged(session, wanted, answers)}
    drawn = _drawn(courses[0]) if courses else ([], [], [])
    seconds, note = round(time.perf_counter() - started, 2), " ".join(_notes(courses)[:1])
    yield Trial(place, seed, values, *drawn, seconds, note, len(session.valid))


def _notes(courses: Sequence[_Course]) -> list[str]:
    return [course.note for course in courses if course.note]


def _mean_of(courses: Sequence[_Course]) -> dict[str, float]:
    """What is measured of several members, on the mean."""
    found = [course.values() for course in courses]
    return {key: fmean(each[key] for each in found) for key in found[0]}


def _drawn(course: _Course) -> tuple[list[float], list[float], list[float]]:
    """Losses as far as a chart can show them, where phases began among them, and the phases' rates."""
    count = len(course.losses)
    some = sorted({step * count // DRAWN for step in range(DRAWN)}) if count else []
    return [course.losses[step] for step in some], [start / count for start in course.starts if count], course.rates


def _trained(session: Session, arm: Arm, course: _Course, found: Found, report: Report) -> Iterator[Epoch | Answers]:
    """Train it to its end; epochs as they come, and at last what it answers to the validation images."""
    if arm.pick:
        rates = [_picked(session, phase if arm.again else 0, arm.pick, found, report) for phase in _phases(session)]
        if None in rates:
            course.note = "The range test's curve supports no rate."
            return
        phases = [each.replace(learning_rate=rate) for each, rate in zip(session.recipe.phases, rates, strict=True)]
        session.recipe = session.recipe.replace(phases=tuple(phases))
    trainer = Trainer(session)
    try:
        for record in trainer.run():
            if isinstance(record, Step):
                course.losses.append(record.loss)
            elif isinstance(record, Event) and record.name == "phase":
                course.starts += [trainer.done] * bool(trainer.at.phase)
                course.rates.append(trainer.phase.learning_rate)
            elif isinstance(record, Epoch):
                course.epochs.append(record)
                yield record
    except Diverged as error:
        course.note = error.what
    if trainer.measured is not None:
        yield trainer.measured.wanted, _outputs(session, trainer.kept, trainer.measured, arm.views)


def _phases(session: Session) -> range:
    return range(len(session.recipe.phases))


def _picked(session: Session, phase: int, pick: str, found: Found, report: Report) -> float | None:
    """What a range test of the phase suggests, from the start as on Learning rate; of one recipe it is asked once."""
    key = f"{phase} {session.recipe.to_yaml()}"
    if key not in found:
        report("Looking for a rate")
        rows = list(range_test.range_test(session, phase, SWEEP))
        found[key] = suggest([row.lr for row in rows], [row.loss for row in rows])
    rate: float | None = getattr(found[key], pick)
    return rate


def _outputs(session: Session, kept: nn.Module, measured: Measured, views: int) -> list[np.ndarray]:
    """Of the network as it is kept, for all validation images: of the plain ones, and of each view that is drawn."""
    found = [measured.outputs]
    if views:
        recipe, module = session.recipe, kept.eval()
        drawn = session.valid.through(train_pipeline(recipe.augment, recipe.data))
        with torch.inference_mode(), session.autocast():
            for view in range(views):
                batches = (module(session.normalised(images)) for images, _ in drawn.epoch(view))
                found.append(torch.cat([each.float().cpu() for each in batches]).numpy())
    return found


def _judged(session: Session, wanted: np.ndarray, answers: Sequence[np.ndarray]) -> float:
    """How good the mean of some answers is."""
    targets = session.targets
    mean = targets.about.averaged([targets] * len(answers), answers) if len(answers) > 1 else answers[0]
    meter = Meter(targets, torch.device("cpu"))
    meter.update(torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(wanted))
    return meter.scores()[targets.about.score.key]


def _vanished(session: Session, form: str) -> float:
    """The share of one step's gradient, where it is not zero, that is zero in a number format."""
    stepper = Stepper(session)
    stepper.enter(session.recipe.phases[0])
    inputs, labels = next(iter(stepper.feed.train.batches(0)))
    stepper.step(inputs, labels)
    grads = [each.grad.flatten() for each in session.network.module.parameters() if each.grad is not None]
    whole = torch.cat(grads).float()
    whole = whole[whole != 0]
    kept = {"fp32": whole, "fp16": whole.half(), "scaled": (whole * SCALE).half()}[form]
    return float((kept == 0).float().mean()) if len(whole) else math.nan
