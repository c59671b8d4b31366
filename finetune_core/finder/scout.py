"""Which backbone for these images? Each one's features, frozen as they are, under a linear head: a linear probe.

All backbones see the same images and the same folds. What they give for an image is worked out once and kept
(`training.reuse`), so that asking again costs no look at an image.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from statistics import median, stdev
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from finetune_core.data import alike
from finetune_core.data.cache import known
from finetune_core.data.chosen import chosen
from finetune_core.data.kept import Kept, paths
from finetune_core.errors import UserError
from finetune_core.finder import halfway
from finetune_core.network import freezing
from finetune_core.parts import Loss
from finetune_core.parts.backbones import Backbone
from finetune_core.parts.mixing import Unmixed
from finetune_core.parts.modules import pooled
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
SURE = 0.3  # how much surer of another class a head must be before its doubt is worth a word
MOST = 1000  # doubts
LIKE = 0.7  # cosine of features in standard units: parts and mirror images of one picture have more, mostly
NEIGHBOURS = 3  # of each image, that are looked at
BLOCK = 1024  # images that are held against all others at a time

Doubt = tuple[str, str, str, float]
Head = Callable[[Tensor], Tensor]


def scout(recipe: Recipe, backbones: Sequence[Backbone], images: int, report: Report = silent) -> Iterator[Probed]:
    """Try each backbone on at most so many of the recipe's images; one that cannot be tried is told and passed over.

    A UserError where the images themselves cannot be had.
    """
    report("Reading the images")
    taken = some(chosen(recipe.data)[0], images)
    for number, backbone in enumerate(backbones):
        what = f"{backbone.architecture}, {number + 1} of {len(backbones)}" if len(backbones) > 1 else "the images"
        started = time.perf_counter()
        try:
            made = session.prepare(to_probe(recipe, backbone), report, taken)
            both = np.union1d(made.train.indices, made.valid.indices)
            middle = halfway.middle(made) if made.samples.about.exclusive and backbone.weights.trained else None
            division = freezing.in_phase(made.network, made.recipe.phases[0])
            division.freeze()
            division.train_mode()
            side = _side(made, division, both)
            with halfway.passing(made, middle) as passed:
                seen, wanted = _looked(made, side, both, report, f"Looking at {what}")
            midst = halfway.midst(made, middle, both, passed, report) if middle else None
        except (UserError, RuntimeError) as error:  # torch's: out of memory, maps that become too small
            yield _not_tried(backbone, str(error).partition("\n")[0])
            continue
        answers = _answers(made, seen, wanted)
        found, doubted = _scored(made, answers, wanted), _doubts(made, both, answers, wanted)
        twins, compared = _twins(made, both, seen, report), _compared(made, answers, midst, wanted) if midst else {}
        probed = _probed(made, backbone, found, len(wanted), time.perf_counter() - started)
        yield replace(probed, doubts=doubted, twins=twins, **compared)


def to_probe(recipe: Recipe, backbone: Backbone) -> Recipe:
    """The recipe with this backbone and its head alone."""
    loss = Loss.kinds()[recipe.task.loss]()
    training = recipe.training.replace(batch_size=BATCH, loss=loss, mix=Unmixed(), decay={}, processes=1, ema=0.0)
    phases, data = (Phase(thaw=(HEAD,)),), recipe.data.replace(unreadable="skip")
    return recipe.replace(data=data, model=Model(backbone=backbone), phases=phases, training=training, augment=())


def some(samples: Samples, most: int) -> Kept:
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


def features(
    made: Session, division: freezing.Division, images: np.ndarray, report: Report, what: str
) -> tuple[Tensor, Tensor]:
    """What the frozen backbone gives for each image (N, features), pooled over places, and the encoded labels."""
    return _looked(made, _side(made, division, images), images, report, what)


def _side(made: Session, division: freezing.Division, images: np.ndarray) -> reuse.Side:
    side = reuse.measured(made, division, made.valid.over(images))
    if side is None:
        raise UserError("Its features cannot be had.", "It cannot be cut before its head.", "Train its head instead.")
    return side


def _looked(made: Session, side: reuse.Side, images: np.ndarray, report: Report, what: str) -> tuple[Tensor, Tensor]:
    found, labels = [], []
    with torch.inference_mode(), made.autocast():
        for rows, wanted in side.batches(0):
            found.append(pooled(rows).float().cpu())
            labels.append(wanted)
            report(what, sum(map(len, labels)), len(images))
    return torch.cat(found), torch.cat(labels)


def _compared(made: Session, answers: Tensor, midst: tuple[str, Tensor], wanted: Tensor) -> dict[str, Any]:
    """How a head on the last features does beside one on those half-way, on the same images and folds.

    The margin is that of Bonett and Price (2012), which does not vanish where few images speak for either.
    """
    stage, features = midst
    last, before = (said.argmax(1) == wanted for said in (answers, _answers(made, features, wanted)))
    images = len(wanted) + 2
    won, lost = (float(((one & ~other).sum() + 1) / images) for one, other in ((last, before), (before, last)))
    return {
        "stage": stage,
        "halfway": float(before.float().mean()),
        "lead_margin": 1.96 * ((won + lost - (won - lost) ** 2) / images) ** 0.5,
        "chance": float(torch.bincount(wanted).max() / len(wanted)),
    }


def heads(made: Session, features: Tensor, wanted: Tensor, fold: Tensor) -> list[Head]:
    """A linear head for each fold, fitted on the others: features (N, D) to answers (N, names)."""
    return [_fitted(made, features[fold != number], wanted[fold != number]) for number in range(FOLDS)]


def _answers(made: Session, features: Tensor, wanted: Tensor) -> Tensor:
    """What is answered for each image (N, names) by a head that was fitted on the other folds."""
    fold, answers = folds(wanted), torch.zeros(len(wanted), len(made.targets.names))
    for number, head in enumerate(heads(made, features, wanted, fold)):
        answers[fold == number] = head(features[fold == number])
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


def _doubts(made: Session, images: np.ndarray, answers: Tensor, wanted: Tensor) -> tuple[Doubt, ...]:
    """Images whose label the heads of the other folds do not believe (confident learning, Northcutt et al. 2021).

    A class is believed where its share is at least what images that are labelled so have in the mean.
    """
    if not made.samples.about.exclusive:
        return ()
    shares = answers.softmax(1)
    counts = torch.bincount(wanted, minlength=shares.shape[1])
    usual = torch.zeros(shares.shape[1]).index_add_(0, wanted, shares.gather(1, wanted[:, None])[:, 0])
    believed = shares >= usual / counts.clamp_min(1)
    said = torch.where(believed & (counts > 0), shares, 0.0).argmax(1)
    surer = shares.gather(1, said[:, None])[:, 0] - shares.gather(1, wanted[:, None])[:, 0]
    order = surer.argsort(descending=True)[:MOST]
    names = made.samples.classes
    return tuple(
        (made.samples.place(int(images[each])), names[wanted[each]], names[said[each]], round(float(surer[each]), 4))
        for each in order.tolist()
        if surer[each] > SURE and said[each] != wanted[each]
    )


def _twins(made: Session, images: np.ndarray, seen: Tensor, report: Report) -> tuple[tuple[str, str], ...]:
    """Images of which one is a part of the other, or of its mirror image: of those that the backbone sees alike."""
    data = made.recipe.data
    pixels = known(made.samples, data.side, data.channels)
    if pixels is None:
        return ()
    even = torch.nn.functional.normalize((seen - seen.mean(0)) / seen.std(0, correction=0).clamp_min(1e-6))
    pairs: set[tuple[int, int]] = set()
    for start in range(0, len(even), BLOCK):
        near = even[start : start + BLOCK] @ even.T
        near[torch.arange(len(near)), torch.arange(start, start + len(near))] = -1.0
        likeness, others = near.topk(min(NEIGHBOURS, near.shape[1]))
        for row, column in (likeness > LIKE).nonzero().tolist():
            one, other = start + row, int(others[row, column])
            pairs.add((min(one, other), max(one, other)))
    found = []
    for done, (one, other) in enumerate(sorted(pairs), start=1):
        first, second = int(images[one]), int(images[other])
        if alike.cut_out(pixels[first], pixels[second]):
            found.append((made.samples.place(first), made.samples.place(second)))
        report("Looking for parts of others", done, len(pairs))
    return tuple(found)


def folds(wanted: Tensor) -> Tensor:
    """The fold of each image: at random, classes in equal parts."""
    order = np.random.default_rng(0).permutation(len(wanted))
    if wanted.ndim == 1:
        order = order[np.argsort(wanted.numpy()[order], kind="stable")]
    fold = np.empty(len(wanted), np.int64)
    fold[order] = np.arange(len(wanted)) % FOLDS
    return torch.from_numpy(fold)


def _fitted(made: Session, features: Tensor, wanted: Tensor) -> Head:
    """A linear head, fitted to its minimum: the task's own loss and a pull towards zero (L-BFGS)."""
    middle, width = features.mean(0), features.std(0, correction=0).clamp_min(1e-6)
    known = (features - middle) / width
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

    @torch.no_grad()
    def answer(asked: Tensor) -> Tensor:
        said: Tensor = head((asked - middle) / width)
        return said

    return answer


def _probed(
    made: Session,
    backbone: Backbone,
    found: tuple[float, float],
    images: int,
    seconds: float,
) -> Probed:
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
