"""Enough or too much? What each transform does to what a backbone sees, before anything is trained with it (seed 000).

Linear heads are fitted on the frozen features of the images as they are, each on other folds than those that it is
asked about (as in `scout`); then they are asked about the same images after a transform. A class that is no longer told
was destroyed, or is one that the backbone has not learned to see through this transform.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from finetune_core.data.chosen import chosen
from finetune_core.data.pipeline import train_pipeline
from finetune_core.errors import UserError
from finetune_core.finder import scout
from finetune_core.network import freezing
from finetune_core.parts import Transform
from finetune_core.parts.modules import pooled
from finetune_core.recipe import Recipe, stack
from finetune_core.records import Report, Strained, silent
from finetune_core.training import reuse, session
from finetune_core.training.session import Session

TOGETHER = "All together"
PAIRS = 3  # of classes that are named
RARE = 5  # images of a class, below which a share says nothing


@dataclass(frozen=True)
class _Try:
    """Some transforms that are tried together: the place of a single one in the recipe, else -1."""

    place: int
    title: str
    transforms: tuple[Transform, ...]


def lab(recipe: Recipe, images: int, report: Report = silent) -> Iterator[Strained]:
    """Try each active transform alone, where it happens to every image, then all of them as they are.

    UserErrors where the images cannot be had, show no classes, or where nothing is on.
    """
    tries = _tries(recipe.augment)
    if not recipe.task.exclusive:
        raise UserError("Only classes can be tried.", "The images have tags or numbers.", "Judge by the pictures.")
    if not tries:
        raise UserError("No transform is on.", "There is nothing to try.", "Switch one on, or add one.")
    report("Reading the images")
    some = scout.some(chosen(recipe.data)[0], images)
    made = session.prepare(scout.to_probe(recipe, recipe.model.backbone), report, some)
    division = freezing.in_phase(made.network, made.recipe.phases[0])
    division.freeze()
    division.train_mode()
    both = np.union1d(made.train.indices, made.valid.indices)
    plain, wanted = scout.features(made, division, both, report, "Looking at the images as they are")
    fold = scout.folds(wanted)
    heads = scout.heads(made, plain, wanted, fold)
    before = _said(heads, fold, plain)
    for each in tries:
        started = time.perf_counter()
        changed = _changed(made, division, both, each, report)
        after = _said(heads, fold, changed)
        yield _strained(made, each, (plain, changed), (before, after), wanted, time.perf_counter() - started)


def _tries(augment: Sequence[Transform]) -> list[_Try]:
    titles, order = stack.titles(augment), stack.working(augment)
    alone = [_Try(place, titles[place], (always(augment[place]),)) for place in order]
    return [*alone, _Try(-1, TOGETHER, tuple(augment))] if alone else []


def always(part: Transform) -> Transform:
    """The same, but what happens by chance happens to every image."""
    return part.replace(chance=1.0) if "chance" in type(part).model_fields else part


def _changed(made: Session, division: freezing.Division, images: np.ndarray, each: _Try, report: Report) -> Tensor:
    """Features of the images after the transforms, as the first epoch of a training would draw them."""
    data = made.recipe.data
    pipeline = train_pipeline(each.transforms, data)
    side = reuse.learned(made, division, made.train.over(images).through(pipeline))
    found: list[Tensor] = []
    with torch.inference_mode(), made.autocast():
        for rows, _ in side.batches(0):
            found.append(pooled(rows).float().cpu())
            report(f"Looking through {each.title.lower()}", sum(map(len, found)), len(images))
    return torch.cat(found)


def _said(heads: Sequence[scout.Head], fold: Tensor, features: Tensor) -> Tensor:
    """The class that is said of each image by the head that was not fitted on it."""
    said = torch.zeros(len(fold), dtype=torch.long)
    for number, head in enumerate(heads):
        said[fold == number] = head(features[fold == number]).argmax(1)
    return said


def _strained(
    made: Session,
    each: _Try,
    features: tuple[Tensor, Tensor],
    said: tuple[Tensor, Tensor],
    wanted: Tensor,
    seconds: float,
) -> Strained:
    before, after = (answers == wanted for answers in said)
    change = before.float() - after.float()  # 1 where a transform has made a right answer wrong
    margin = 1.96 * float(change.std()) / len(change) ** 0.5
    return Strained(
        each.place,
        each.title,
        len(wanted),
        float(before.float().mean()),
        float(change.mean()),
        margin,
        _shift(*features, wanted),
        _moved(made.targets.names, before, said[1], wanted),
        round(seconds, 2),
    )


def _shift(plain: Tensor, changed: Tensor, wanted: Tensor) -> float:
    """How far features move, against how far apart two images of one class lie: 1 is as far as another image of it."""
    middle, width = plain.mean(0), plain.std(0).clamp_min(1e-6)
    one, other = (plain - middle) / width, (changed - middle) / width
    order = torch.argsort(wanted, stable=True)
    mates = torch.empty_like(order)
    mates[order] = order.roll(1)
    alike = wanted == wanted[mates]
    usual = (one - one[mates])[alike].norm(dim=1).mean()
    return float((one - other).norm(dim=1).mean() / usual.clamp_min(1e-6))


def _moved(names: Sequence[str], before: Tensor, after: Tensor, wanted: Tensor) -> tuple[tuple[str, str, float], ...]:
    """Which classes become which: (class, what is said then, share of its images that were right), most first."""
    right = Counter(wanted[before].tolist())
    pairs = Counter(zip(wanted[before].tolist(), after[before].tolist(), strict=True))
    shares = [
        (names[is_], names[becomes], number / right[is_])
        for (is_, becomes), number in pairs.items()
        if is_ != becomes and right[is_] >= RARE and number > 1
    ]
    return tuple(sorted(shares, key=lambda each: -each[2])[:PAIRS])
