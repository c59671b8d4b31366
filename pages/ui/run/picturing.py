"""Pictures that a run has answered to, page by page: what it said of each, where it looked, and what may be mended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from finetune_core.errors import UserError
from finetune_core.recipe import Recipe
from finetune_core.runs.store import Run
from pages.ui.kit import dataset, shell, state
from pages.ui.run import heating, mending

PAGE = 12  # pictures
SIDE, WIDTH = 200, 150  # px of a picture, and that a column has at least


@dataclass(frozen=True)
class Tile:
    """A picture by its path below the data's root, what is said under it (Markdown), and the name to look for in it.

    `label` is what it may be relabelled as.
    """

    image: str
    words: str
    alt: str
    name: str
    label: str = ""


def pictures(run: Run, recipe: Recipe, places: np.ndarray, tile: Callable[[int], Tile], key: str) -> None:
    """A page of images, `key` telling their list from others; `tile` says what is known of the one of a place."""
    if not len(places):
        st.info("There are none.")
        return
    some = shell.paged(places, PAGE, f"mistakes-page:{run.id}:{key}").tolist()
    try:
        root = dataset.samples(recipe.data.source).root
    except UserError as error:
        shell.error_card(error)
        return
    tiles = [tile(place) for place in some]
    help = "A heat map over each picture: what in it speaks for the guess. Takes a second or more for each."
    if not st.toggle("Where it looked", key=state.seed("heats", state.value("heats", False)), help=help):
        _grid(run, some, tiles, [dataset.thumbnail(root / each.image, SIDE) for each in tiles])
        return
    asked = [(root / each.image, each.name) for each in tiles]
    draw = lambda made: _grid(run, some, tiles, [each and each.pixels for each in made])  # noqa: E731
    heating.heat(run, asked, repr([(each.image, each.name) for each in tiles]), draw)


def _grid(run: Run, places: Sequence[int], tiles: Sequence[Tile], pictures: Sequence[Any]) -> None:
    fixed = mending.mended(run)
    with st.grid(len(tiles), min_column_width=WIDTH):
        for place, tile, picture in zip(places, tiles, pictures, strict=True):
            with st.container(gap="xsmall"):
                _tile(run, tile, str(place), picture, mending.written(tile.image) in fixed)


def _tile(run: Run, tile: Tile, key: str, picture: Any, fixed: bool) -> None:
    if picture is None:
        st.caption(f":material/broken_image: {shell.plain(tile.image)} is gone.")
        return
    st.image(picture, width="stretch", alt=tile.alt)
    st.markdown(tile.words)
    if fixed:
        st.caption(":green[:material/healing:] mended above")
    else:
        mending.buttons(run, tile.image, key, tile.label)
