"""Augmentation to look at, made by the very functions that training uses."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from finetune_core.data.cache import depth_of
from finetune_core.data.chosen import chosen
from finetune_core.data.image import is_deep, read_image
from finetune_core.data.pipeline import as_tensor, draw, eval_pipeline, mixed, train_pipeline
from finetune_core.parts import Transform
from finetune_core.parts.sources.samples import Samples
from finetune_core.recipe import Data, Recipe

if TYPE_CHECKING:
    from torch import Tensor

LONG_ENOUGH, TURNS = 0.05, 4  # seconds of a turn, to time by


def preview(
    recipe: Recipe, indices: Sequence[int], draws: int, epoch: int = 0, samples: Samples | None = None
) -> list[list[Image.Image]]:
    """A row per image: the image as evaluation sees it, then what training sees in `draws` epochs from `epoch` on.

    `samples` saves listing the source again. Raises UserErrors for a source or an image that cannot be read.
    """
    samples = samples or chosen(recipe.data)[0]
    data, seed = recipe.data, recipe.training.seed
    training, plain = train_pipeline(recipe.augment, data), eval_pipeline(data)
    rows = []
    for index in indices:
        image = _read(data, samples, index)
        views = [draw(image, training, seed, epoch + number, index) for number in range(draws)]
        rows.append([picture(view) for view in (plain(as_tensor(image)), *views)])
    return rows


def mixtures(
    recipe: Recipe, pair: tuple[int, int], draws: int, epoch: int = 0, samples: Samples | None = None
) -> list[tuple[float, Image.Image]]:
    """Two images mixed as the recipe does it, in `draws` epochs: (share of the first, image); none if it does not."""
    import torch

    call = recipe.training.mix.call(len(pair))
    if call is None:
        return []
    samples = samples or chosen(recipe.data)[0]
    data, seed = recipe.data, recipe.training.seed
    training, blend = train_pipeline(recipe.augment, data), call.build()
    images = [_read(data, samples, index) for index in pair]
    made = []
    for number in range(epoch, epoch + draws):
        views = [draw(image, training, seed, number, index) for image, index in zip(images, pair, strict=True)]
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(mixed(seed, number, pair[0]))
            blended, shares = blend(torch.stack(views).float(), torch.arange(len(pair)))
        made.append((float(shares[0, 0]), picture(blended[0].round().to(torch.uint8))))
    return made


def ladder(
    recipe: Recipe, index: int, position: int, steps: int = 5, epoch: int = 0, samples: Samples | None = None
) -> list[tuple[float, Image.Image]]:
    """One transform of `recipe.augment` alone, from doing nothing to its end: (strength, image) in `steps` steps.

    All steps share one random draw, and a transform that happens by chance always happens, so that only its strength
    differs from step to step.
    """
    samples = samples or chosen(recipe.data)[0]
    data, seed = recipe.data, recipe.training.seed
    image = _read(data, samples, index)
    rungs = []
    for part in _rungs(recipe.augment[position], steps):
        view = draw(image, train_pipeline((part,), data), seed, epoch, index)
        rungs.append((float(getattr(part, part.strength)), picture(view)))
    return rungs


def speed(recipe: Recipe, indices: Sequence[int], samples: Samples | None = None) -> float:
    """How many images a second one core draws for training, by some of them, for a fifth of a second."""
    samples = samples or chosen(recipe.data)[0]
    pipeline = train_pipeline(recipe.augment, recipe.data)
    images = [as_tensor(_read(recipe.data, samples, index)) for index in indices]
    return pace(lambda turn, done: draw(images[done % len(images)], pipeline, recipe.training.seed, turn, done))


def pace(work: Callable[[int, int], object]) -> float:
    """How often a second some work is done that is told its turn and how often it was done in that."""
    work(0, 0)  # the first one takes longer
    best = 0.0
    for turn in range(TURNS):  # whatever else is at work makes a turn slower, never quicker
        done, started = 0, time.perf_counter()
        while (took := time.perf_counter() - started) < LONG_ENOUGH:
            work(turn, done)
            done += 1
        best = max(best, done / took)
    return best


def _read(data: Data, samples: Samples, index: int) -> np.ndarray:
    path = samples.paths[index]
    depth = depth_of(samples) if is_deep(path) else None
    return read_image(path, data.side, data.channels, depth)


def _rungs(part: Transform, steps: int) -> list[Transform]:
    always = {"active": True, **({"chance": 1.0} if "chance" in type(part).model_fields else {})}
    least, most = part.ends()
    values = np.linspace(least, most, steps).tolist()
    whole = type(part).model_fields[part.strength].annotation is int
    return [part.replace(**{**always, part.strength: round(value) if whole else value}) for value in values]


def picture(view: Tensor) -> Image.Image:
    """A uint8 tensor (C, H, W) as a PIL image."""
    return Image.fromarray(view.permute(1, 2, 0).squeeze(-1).contiguous().numpy())
