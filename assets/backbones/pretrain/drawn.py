"""The source pictures, drawn once into a flat file of bytes that training maps into memory."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assets.backbones.pretrain.source import QUESTIONS, draw

CHUNK = 250


def _chunk(start: int, seed: int, size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    pairs = [draw(seed, number, size) for number in range(start, start + CHUNK)]
    return np.stack([np.asarray(image) for image, _ in pairs]), np.array([facts for _, facts in pairs])


def draw_all(folder: Path, count: int, size: int, seed: int) -> None:
    """Write images.u8 (count x size x size x 3) and facts.npy (count x questions)."""
    folder.mkdir(parents=True, exist_ok=True)
    images = np.memmap(folder / "images.u8", np.uint8, "w+", shape=(count, size, size, 3))
    facts = np.zeros((count, len(QUESTIONS)), np.int64)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        starts = range(0, count, CHUNK)
        for start, (part, answers) in zip(starts, pool.map(partial(_chunk, seed=seed, size=size), starts), strict=True):
            images[start : start + CHUNK], facts[start : start + CHUNK] = part, answers
            print(f"drawn {start + CHUNK} of {count}", flush=True)
    images.flush()
    np.save(folder / "facts.npy", facts)


def load(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The pictures as a memory map, and their answers."""
    facts = np.load(folder / "facts.npy")
    size = int(((folder / "images.u8").stat().st_size // (3 * len(facts))) ** 0.5)
    return np.memmap(folder / "images.u8", np.uint8, "r", shape=(len(facts), size, size, 3)), facts
