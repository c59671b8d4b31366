"""Draws Home's picture, `hero.jpg`: Blooms from frozen to thawed. Run `python assets/hero.py` in the repository."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from finetune_core import blooms  # noqa: E402 (the line above makes it importable)

TILE = 200
ICE = np.array([172, 208, 240]) / 255
# Species by row, cool flowers left and warm ones right; the picture's number makes each a different one.
ROWS = ((11, 9, 5, 2, 1, 7), (10, 8, 3, 9, 0, 6), (11, 4, 10, 1, 7, 0))
NUMBERS = ((0, 0, 0, 0, 0, 9), (1, 1, 1, 2, 2, 0), (1, 2, 0, 1, 2, 1))


def frosted(picture: Image.Image, frost: float) -> np.ndarray:
    """The picture (h, w, 3) in [0, 1] under a layer of ice, from none (0) to all (1)."""
    pixels = np.asarray(picture, dtype=float) / 255
    grey = pixels @ (0.3, 0.59, 0.11)
    ice = (0.35 + 0.65 * grey[..., None]) * ICE * 1.08
    return np.clip(pixels * (1 - frost) + ice * frost, 0, 1)


def main() -> None:
    """Draw and save."""
    columns = len(ROWS[0])
    canvas = np.zeros((len(ROWS) * TILE, columns * TILE, 3))
    for row, (species, numbers) in enumerate(zip(ROWS, NUMBERS, strict=True)):
        for column, (kind, number) in enumerate(zip(species, numbers, strict=True)):
            frost = float(np.clip(0.95 - 1.25 * column / (columns - 1), 0, 1))
            top, left = row * TILE, column * TILE
            canvas[top : top + TILE, left : left + TILE] = frosted(blooms.draw(kind, number, TILE), frost)
    Image.fromarray((canvas * 255).astype(np.uint8)).save(HERE / "hero.jpg", quality=82, optimize=True)


if __name__ == "__main__":
    main()
