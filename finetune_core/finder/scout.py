"""Which backbone for these images? Each one's features, frozen as they are, under a linear head: a linear probe.

All backbones see the same images and the same folds. What they give for an image is worked out once and kept
(`training.reuse`), so that asking again costs no look at an image.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median, stdev
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from finetune_core.data.kept import Kept, paths
from finetune_core.errors import UserError
from finetune_core.network import freezing
from finetune_core.parts import Loss
from finetune_core.parts.backbones import Backbone
from finetune_core.parts.mixing import Unmixed
from finetune_core.parts.sources.samples import Samples
from finetune_core.recipe import Model, Phase, Recipe
from finetune_core.recipe.names import HEAD
from finetune_core.records import Probed, Report, silent
from finetune_core.training import reuse, session
from finetune_core.training.metrics import Meter
from finetune_core.training.session import Session

FOLDS = 5
DRAWS = 200  # of the images, with repetition, to see how far the score moves
PULL = 1.0  # towards zero, over the number of images: scikit-learn's C = 1
ITERATIONS = 100
LOOKS = 5  # at one image, to see how long that takes
BATCH = 32


def scout(recipe: Recipe, backbones: Sequence[Backbone], images: int, report: Report = silent) -> Iterator[Probed]:
    """Try each backbone on at most so many of the recipe's images; one that cannot be tried is told and passed over.

    A UserError where the images themselves cannot be had.
    """
    report("Reading the images")
    chosen = _chosen(recipe.data.source.samples(), images)
    for number, backbone in enumerate(backbones):
        what = f"{backbone.architecture}, {number + 1} of {len(backbones)}" if len(backbones) > 1 else "the images"
        started = time.perf_counter()
        try:
            made = session.prepare(to_probe(recipe, backbone), report, chosen)
            features, wanted = _features(made, report, f"Looking at {what}")
        except (UserError, RuntimeError) as error:  # torch's: out of memory, maps that become too small
            yield _not_tried(backbone, str(error).partition("\n")[0])
            continue
        found = _scored(made, _answers(made, features, wanted), wanted)
        yield _probed(made, backbone, found, len(wanted), time.perf_counter() - started)


def to_probe(recipe: Recipe, backbone: Backbone) -> Recipe:
    """The recipe with this backbone and its head alone."""
    loss = Loss.kinds()[recipe.task.loss]()
    training = recipe.training.replace(batch_size=BATCH, loss=loss, mix=Unmixed(), decay={}, processes=1, ema=0.0)
    phases = (Phase(thaw=(HEAD,)),)
    return recipe.replace(model=Model(backbone=backbone), phases=phases, training=training, augment=())


def _chosen(samples: Samples, most: int) -> Kept:
    """So many of the images, alike from every class, all of them where they are fewer; the sides do not matter here."""
    order = np.random.default_rng(0).permutation(len(samples)).tolist()
    seen: Counter[Any] = Counter()
    turns = []  # of each image the place among those with its label
    for index in order:
        turns.append(seen[samples.labels[index]])
        seen[samples.labels[index]] += 1
    taken = sorted(range(len(order)), key=turns.__getitem__)[:most]
    sides = ([order[place] for place in taken if turns[place] % 2 == side] for side in (0, 1))
    train, valid = sides
    if not valid:  # no two images share a label
        train, valid = train[::2], train[1::2]
    return Kept(samples.classes, paths(samples, train), paths(samples, valid))


def _features(made: Session, report: Report, what: str) -> tuple[Tensor, Tensor]:
    """What the frozen backbone gives for each image (N, features), pooled over places, and the encoded labels."""
    division = freezing.in_phase(made.network, made.recipe.phases[0])
    division.freeze()
    division.train_mode()
    both = made.valid.over(np.union1d(made.train.indices, made.valid.indices))
    side = reuse.measured(made, division, both)
    if side is None:
        raise UserError("Its features cannot be had.", "It cannot be cut before its head.", "Train its head instead.")
    found, labels = [], []
    with torch.inference_mode(), made.autocast():
        for rows, wanted in side.batches(0):
            found.append(_pooled(rows).float().cpu())
            labels.append(wanted)
            report(what, sum(map(len, labels)), len(both))
    return torch.cat(found), torch.cat(labels)


def _pooled(rows: Tensor) -> Tensor:
    """The mean over places: maps (N, C, H, W), tokens (N, L, C), or features as they are."""
    if rows.ndim == 4:
        return rows.mean((2, 3))
    return rows.mean(1) if rows.ndim == 3 else rows.flatten(1)


def _answers(made: Session, features: Tensor, wanted: Tensor) -> Tensor:
    """What is answered for each image (N, names) by a head that was fitted on the other folds."""
    fold, answers = _folds(wanted), torch.zeros(len(wanted), len(made.targets.names))
    for number in range(FOLDS):
        aside = fold == number
        answers[aside] = _fitted(made, features[~aside], wanted[~aside], features[aside])
    return answers


def _scored(made: Session, answers: Tensor, wanted: Tensor) -> tuple[float, float]:
    """The score that decides, and half the width of its interval of 95 %, by drawing the images anew (bootstrap)."""
    meter = Meter(made.targets, torch.device("cpu"))

    def score(places: Tensor) -> float:
        meter.reset()
        meter.update(answers[places], wanted[places])
        return meter.scores()[made.targets.about.score.key]

    random = torch.Generator().manual_seed(0)
    draws = [score(torch.randint(len(wanted), (len(wanted),), generator=random)) for _ in range(DRAWS)]
    known = [each for each in draws if math.isfinite(each)]
    return score(torch.arange(len(wanted))), 1.96 * stdev(known) if len(known) > 1 else math.nan


def _folds(wanted: Tensor) -> Tensor:
    """The fold of each image: at random, classes in equal parts."""
    order = np.random.default_rng(0).permutation(len(wanted))
    if wanted.ndim == 1:
        order = order[np.argsort(wanted.numpy()[order], kind="stable")]
    fold = np.empty(len(wanted), np.int64)
    fold[order] = np.arange(len(wanted)) % FOLDS
    return torch.from_numpy(fold)


def _fitted(made: Session, features: Tensor, wanted: Tensor, asked: Tensor) -> Tensor:
    """What a linear head, fitted to its minimum, answers: the task's own loss and a pull towards zero (L-BFGS)."""
    middle, width = features.mean(0), features.std(0, correction=0).clamp_min(1e-6)
    known, asked = (features - middle) / width, (asked - middle) / width
    with torch.random.fork_rng():
        head = nn.Linear(known.shape[1], len(made.targets.names))
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    loss = made.loss.cpu()
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        total: Tensor = loss(head(known), wanted) + PULL / (2 * len(known)) * head.weight.square().sum()
        total.backward()
        return total

    optimizer.step(closure)
    with torch.no_grad():
        answer: Tensor = head(asked)
    return answer


def _probed(made: Session, backbone: Backbone, found: tuple[float, float], images: int, seconds: float) -> Probed:
    parameters = [each.numel() * each.element_size() for each in made.network.module.parameters()]
    return Probed(
        backbone.kind,
        backbone.architecture,
        *found,
        images,
        round(_milliseconds(made), 2),
        round(sum(parameters) / 1e6, 1),
        sum(each.numel() for each in made.network.module.parameters()),
        round(seconds, 2),
    )


def _not_tried(backbone: Backbone, why: str) -> Probed:
    nothing = math.nan
    return Probed(backbone.kind, backbone.architecture, nothing, nothing, 0, nothing, nothing, 0, 0.0, why)


def _milliseconds(made: Session) -> float:
    """To look at one image, all of it."""
    images, _ = next(made.valid.over(made.valid.indices[:1]).epoch(0))
    made.network.module.eval()
    took = []
    with torch.inference_mode(), made.autocast():
        for _ in range(LOOKS + 1):
            started = time.perf_counter()
            made.network.module(made.normalised(images)).cpu()
            took.append(time.perf_counter() - started)
    return median(took[1:]) * 1e3
