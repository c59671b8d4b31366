"""Pictures of draws: what the pipeline makes of images, by the very functions that training uses."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from PIL import Image

from finetune_core.data import sheet
from finetune_core.parts.numbers import written
from finetune_core.parts.sources.samples import Samples
from finetune_core.recipe import Recipe
from pages.ui.kit import dataset

SIDE = 168  # px of one tile
COLUMNS = 6  # original and five draws

KEPT = 32  # pictures

_made: dict[int, bytes] = {}
_speeds: dict[int, float] = {}  # of the newest pipeline
_lock = threading.Lock()  # a draw borrows torch's global generator


@dataclass(frozen=True)
class View:
    """What to draw: `kind` is "together", "single" or "ladder" (of transform number `position`), or "mixed"."""

    kind: str
    images: tuple[int, ...]
    epoch: int
    position: int = 0


def examples(samples: Samples, count: int, turn: int) -> tuple[int, ...]:
    """Some images of different classes, where there are as many; another `turn` gives others."""
    rng = np.random.default_rng([turn, 5])
    if not samples.about.exclusive:
        return tuple(rng.permutation(len(samples))[:count].tolist())
    labels = np.asarray(samples.labels)
    classes = rng.permutation(len(samples.classes))
    chosen = [classes[place % len(classes)] for place in range(count)]
    return tuple(int(rng.choice(np.flatnonzero(labels == label))) for label in chosen)


def picture(recipe: Recipe, view: View, background: sheet.Colour) -> bytes:
    """The view as one JPEG. UserErrors for images that cannot be read."""
    training = recipe.training
    what = f"{dataset.key(recipe.data.source)}{recipe.data!r}{recipe.augment!r}"
    key = hash((what, training.seed, training.mix, view, background))
    with _lock:
        if key not in _made:
            tiles, captions = rows(recipe, view)
            flat = [tile for row in tiles for tile in row]
            _made[key] = sheet.jpeg(sheet.grid(flat, COLUMNS, side=SIDE, background=background, captions=captions))
        while len(_made) > KEPT:
            _made.pop(next(iter(_made)))
        return _made[key]


def speed(recipe: Recipe, images: tuple[int, ...]) -> float:
    """How many images a second one core draws; measured once for the same pipeline."""
    from finetune_core.data import preview

    key = hash((dataset.key(recipe.data.source), repr(recipe.data), repr(recipe.augment)))
    with _lock:
        if key not in _speeds:
            _speeds.clear()
            _speeds[key] = preview.speed(recipe, images, dataset.chosen(recipe.data)[0])
        return _speeds[key]


def rows(recipe: Recipe, view: View) -> tuple[list[list[Image.Image]], list[str]]:
    """Tiles row by row, and captions for the first of them."""
    from finetune_core.data.preview import ladder, preview

    samples = dataset.chosen(recipe.data)[0]
    draws = COLUMNS - 1
    if view.kind == "together":
        return preview(recipe, view.images, draws, view.epoch, samples), []
    if view.kind == "single":
        alone = recipe.replace(augment=(recipe.augment[view.position],))
        return preview(alone, view.images[:1], draws, view.epoch, samples), []
    if view.kind == "mixed":
        return _mixed(recipe, view, samples)
    rungs = [ladder(recipe, image, view.position, COLUMNS, view.epoch, samples) for image in view.images]
    return [[tile for _, tile in row] for row in rungs], [written(strength, 3) for strength, _ in rungs[0]]


def _mixed(recipe: Recipe, view: View, samples: Samples) -> tuple[list[list[Image.Image]], list[str]]:
    """A row per two images: these, with their labels, then mixes of them with their shares."""
    from finetune_core.data.preview import mixtures, preview

    tiles, captions = [], []
    for pair in zip(view.images[::2], view.images[1::2], strict=True):
        originals = [row[0] for row in preview(recipe, pair, 0, view.epoch, samples)]
        made = mixtures(recipe, pair, COLUMNS - len(pair), view.epoch, samples)
        tiles.append([*originals, *(tile for _, tile in made)])
        captions += [*map(samples.label_words, pair), *(f"{share:.0%} + {1 - share:.0%}" for share, _ in made)]
    return tiles, captions
