"""How the model sees all images: a map on which alike ones lie together, to click, with the strange ones below."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from finetune_core import figures
from finetune_core.places import stamp
from finetune_core.records import Count
from finetune_core.runs.store import Run
from finetune_core.wording import count as counted
from pages.ui.kit import behind, dataset, shell, state, warm
from pages.ui.kit.behind import Behind
from pages.ui.kit.chart import Drawn, chart, clicked, drawn

CHART, PICKED = "map", "map-picked"
SIDE, WIDTH, MOST = 200, 120, 12  # px of a picture, that a column has at least, and how many strange ones are shown
# an `embedding.Map`, as the browser gets it, how many its neighbours name right, and what packs its features
Made = tuple[Any, Drawn, float | None, Callable[[], bytes]]
_places: dict[str, dict[str, Behind[Made]]] = {}  # the map that is made, or was last, of each run


def atlas(run: Run) -> None:
    """The map, made behind the page."""
    key, place = f"{run.path}:{stamp(run.best)}", _places.setdefault(run.id, {})
    if key not in place:
        warm.wait()
    behind.watch(behind.begin(place, key, partial(_made, run), "Looking at all images"), partial(_map, key))


def _made(run: Run, count: Count) -> Made:
    from finetune_core.understand import embedding

    seen = embedding.look(run, count)
    made = embedding.mapped(seen)
    right = embedding.by_neighbours(seen) if run.recipe.task.exclusive and seen.valid.any() else None
    figure = drawn(figures.mapped(made.places, made.seen.labels, made.strange))
    return made, figure, right, partial(embedding.packed, seen)


def _map(key: str, found: Made) -> None:
    made, figure, named, pack = found
    left, right = st.columns([8, 4], gap="medium")
    with left:
        chart(figure, key=CHART, picked=partial(_pick, made, key))
    with right:
        _picked(key, made)
    with st.container(horizontal=True, vertical_alignment="center"):
        if named is not None:
            st.caption(
                f"By these features alone, without the head, each one's 10 nearest training images name {named:.1%} of "
                "the validation images right.",
                width="content",
            )
        help = "What goes into the head, for each image, with its label: for NumPy."
        st.download_button(
            "Features", pack, "features.npz", icon=":material/download:", on_click="ignore", key="features", help=help
        )
    strange = np.flatnonzero(made.strange)
    if not len(strange):
        return
    st.caption(
        f"{counted(len(strange), 'image')} with a ring {'lies' if len(strange) == 1 else 'lie'} among images of other"
        " classes: look whether the label is wrong, or the picture is an odd one."
    )
    with st.grid(min(MOST, len(strange)), min_column_width=WIDTH):
        for place in strange[:MOST]:
            with st.container(gap="xsmall"):
                _picture(made, int(place))


def _pick(made: Any, key: str) -> None:
    if point := clicked(CHART):
        state.keep(PICKED, (key, int(np.square(made.places - np.array(point)).sum(1).argmin())))


def _picked(key: str, made: Any) -> None:
    """The image that was clicked."""
    whose, place = state.value(PICKED) or ("", 0)
    if whose != key:
        shell.empty("Click a point", "Its picture comes here. Points that lie together look alike to the model.")
        return
    _picture(made, place)
    side = "a validation image" if made.seen.valid[place] else "learned from"
    st.caption(f"{shell.plain(made.seen.paths[place].name)}, {side}")


def _picture(made: Any, place: int) -> None:
    label = made.seen.labels[place]
    if (picture := dataset.thumbnail(made.seen.paths[place], SIDE)) is None:
        st.caption(":material/broken_image: It is gone.")
        return
    st.image(picture, width="stretch", alt=label)
    st.markdown(f"**{shell.plain(label)}**")
