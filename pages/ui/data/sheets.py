"""Pictures of a data set with words that can be read at any width: a class in a row, or a picture above its words."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from finetune_core.parts.sources.samples import Samples
from finetune_core.recipe import Data
from pages.ui.kit import dataset, shell, state

EACH = 8  # pictures of a class; half of them on a phone, see look.css
TILE = 168  # px as drawn, of a picture in a row
CAPTIONED = 112  # px as shown, of one with words of its own
NAME = 150  # px
LONG = 60  # letters of words below a picture


def classes(samples: Samples, labels: Sequence[int], data: Data) -> None:
    """A row for each of these classes: its name and count, and its first pictures."""
    for label in labels:
        name, members = samples.classes[label], samples.members(label)
        few = [samples.paths[index] for index in members[:EACH]]
        holes = (None,) * (EACH - len(few))
        read = (data.channels, dataset.depth(samples, few))
        with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"class-{label}"):
            st.markdown(f"{shell.plain(name, LONG)}  :small[:gray[{len(members):,}]]", width=NAME)
            strip = dataset.contact_sheet((*few, *holes), EACH, TILE, state.background(), (), *read)
            st.container(width="stretch").image(strip, width="stretch", alt=f"Pictures of {name}.")


def captioned(samples: Samples, images: Sequence[int], words: Sequence[str], data: Data) -> None:
    """Images, each above its words."""
    paths = tuple(samples.paths[index] for index in images)
    read = (data.channels, dataset.depth(samples, paths))
    tiles = dataset.tiles(paths, TILE, state.background(), *read)
    st.image([*tiles], width=CAPTIONED, caption=[shell.plain(each, LONG) for each in words], alt=[*words])
