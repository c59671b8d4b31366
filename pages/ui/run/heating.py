"""Where the model looked: heat maps of pictures, made behind the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from finetune_core.data.image import Picture
from finetune_core.places import stamp
from finetune_core.records import Count
from finetune_core.runs.store import Run
from pages.ui.kit import behind, warm

Asked = Sequence[tuple[Picture, str]]  # pictures, each with the name to look for, or "" for the likeliest
Looked = list[Any]  # of each an `explain.Looked`, or None where it cannot be read
WAYS = {"layers": "By its layers", "covering": "By covering parts (slow)"}


def heat(run: Run, asked: Asked, key: str, draw: Callable[[Looked], None], way: str = "layers") -> None:
    """Draw heat maps of pictures that `key` tells from others; until they are made, how far that is."""
    named = f"{run.path}:{stamp(run.best)}:{way}:{key}"
    place = behind.own("heat")
    if named not in place:
        warm.wait()
    behind.watch(behind.begin(place, named, partial(_made, run, asked, way), "Looking where it looks"), draw)


def _made(run: Run, asked: Asked, way: Any, count: Count) -> Looked:
    from finetune_core.understand import explain, predict

    return list(explain.pictures(predict.load(run), asked, way, count))
