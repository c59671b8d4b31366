"""Augmentation to look at, made by the very functions that training uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from finetune_core.data.cache import depth_of
from finetune_core.data.image import is_deep, read_image
from finetune_core.data.pipeline import as_tensor, draw, eval_pipeline, eval_side, mixed, train_pipeline
from finetune_core.parts import Transform
from finetune_core.parts.sources.samples import Samples
from finetune_core.recipe import Data, Recipe

if TYPE_CHECKING:
    from torch import Tensor


def preview(
    recipe: Recipe, indices: Sequence[int], draws: int, epoch: int = 0, samples: Samples | None = None
) -> list[list[Image.Image]]:
    """A row per image: the image as evaluation sees it, then what training sees in `draws` epochs from `epoch` on.

    `samples` saves listing the source again. Raises UserErrors for a source or an image that cannot be read.
    """
    samples = samples or recipe.data.source.samples()
    data, seed = recipe.data, recipe.training.seed
    training, plain = train_pipeline(recipe.augment, data.image_size, data.channels), eval_pipeline(data.image_size)
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
    samples = samples or recipe.data.source.samples()
    data, seed = recipe.data, recipe.training.seed
    training, blend = train_pipeline(recipe.augment, data.image_size, data.channels), call.build()
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
    samples = samples or recipe.data.source.samples()
    data, seed = recipe.data, recipe.training.seed
    image = _read(data, samples, index)
    rungs = []
    for part in _rungs(recipe.augment[position], steps):
        view = draw(image, train_pipeline((part,), data.image_size, data.channels), seed, epoch, index)
        rungs.append((float(getattr(part, part.strength)), picture(view)))
    return rungs


def _read(data: Data, samples: Samples, index: int) -> np.ndarray:
    path = samples.paths[index]
    depth = depth_of(samples) if is_deep(path) else None
    return read_image(path, eval_side(data.image_size), data.channels, depth)


def _rungs(part: Transform, steps: int) -> list[Transform]:
    always = {"active": True, **({"chance": 1.0} if "chance" in type(part).model_fields else {})}
    least, most = part.ends()
    values = np.linspace(least, most, steps).tolist()
    whole = type(part).model_fields[part.strength].annotation is int
    return [part.replace(**{**always, part.strength: round(value) if whole else value}) for value in values]


def picture(view: Tensor) -> Image.Image:
    """A uint8 tensor (C, H, W) as a PIL image."""
    return Image.fromarray(view.permute(1, 2, 0).squeeze(-1).contiguous().numpy())
