"""Blooms: twelve invented flowers, a hundred pictures of each, drawn by code.

Thaw's sample data set. It needs no network and no licence: the pictures are drawn on first use, in seconds, and come
out the same everywhere. `draw` paints one picture, `ensure` the whole set as a folder of class folders, by one
process at a time, in which `so_far` looks on.
"""

from __future__ import annotations

from finetune_core.blooms.folder import drawn, ensure, place, so_far
from finetune_core.blooms.picture import PER_CLASS, SIZE, VERSION, draw
from finetune_core.blooms.species import SPECIES, Species

__all__ = ["PER_CLASS", "SIZE", "SPECIES", "VERSION", "Species", "draw", "drawn", "ensure", "place", "so_far"]
