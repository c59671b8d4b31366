"""One picture of Blooms: a scene with a flower of the species, and what a photographer meets on the way."""

from __future__ import annotations

import numpy as np
from PIL import Image

from finetune_core.blooms import scene
from finetune_core.blooms.flower import Pose, paint_flower
from finetune_core.blooms.species import SPECIES

VERSION = 1  # Part of every picture's seed: raise it when the pictures change.
PER_CLASS = 100
SIZE = 192


def draw(species: int, number: int, size: int = SIZE) -> Image.Image:
    """Picture `number` of a species, the same on every call; `size` changes its resolution, not what it shows."""
    rng = np.random.Generator(np.random.PCG64((VERSION, species, number)))
    plant = SPECIES[species]
    canvas = scene.stage(rng, size)
    radius = rng.uniform(0.17, 0.42)
    # A large flower may run over the edge of the frame, a small one stays inside.
    reach = 0.5 - 0.62 * radius
    centre = (0.5 + rng.uniform(-reach, reach) * 0.9, 0.48 + rng.uniform(-reach, reach) * 0.8)
    if rng.random() < 0.35:
        # A second flower of the same plant, farther away and a little out of focus.
        side = -1 if centre[0] > 0.5 else 1
        other = (centre[0] + side * rng.uniform(0.3, 0.5), centre[1] + rng.uniform(-0.3, 0.3))
        paint_flower(canvas, rng, plant, Pose.drawn(rng, other, radius * rng.uniform(0.5, 0.8)), rng.uniform(0.8, 4.0))
    paint_flower(canvas, rng, plant, Pose.drawn(rng, centre, radius))
    for _ in range(int(rng.choice((0, 0, 0, 1, 1, 2)))):
        scene.foreground(canvas, rng)
    scene.develop(canvas, rng)
    return canvas.image()
