"""Two runs picture by picture: where one alone is right, where neither is, and what each says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import streamlit as st

from finetune_core.errors import UserError
from finetune_core.places import stamp
from finetune_core.runs import store
from finetune_core.runs.shelf.summaries import Summary
from finetune_core.runs.store import Run
from finetune_core.understand.agreement import Agreement, agreement
from pages.ui.kit import dataset, shell, state

PLACES = ("①", "②")
GROUPS = {
    "first": "Only ① is right",
    "second": "Only ② is right",
    "neither": "Neither is right",
    "both": "Both are right",
    "apart": "Farthest apart",
}
PAGE = 12  # pictures
SIDE, WIDTH = 200, 150  # px of a picture, and that a column has at least


def agreeing(runs: Sequence[Summary], called: Mapping[str, str]) -> None:
    """Choose two of them, and see what they say of the same pictures."""
    more = st.expander("Picture by picture", icon=":material/compare:", key="agreeing", on_change="rerun")
    if not more.open:
        return
    with more:
        chosen = _two([run.id for run in runs], called)
        try:
            pair = [store.open_run(name) for name in chosen]
            stamps = tuple((stamp(run.predictions_file), stamp(run.fitted_file)) for run in pair)
            found = _agreement(chosen, stamps)
            _shown(pair[0], found, [called[name] for name in chosen])
        except UserError as error:
            st.markdown(f":gray[:material/info:] {shell.plain(str(error))}")


@lru_cache(maxsize=4)
def _agreement(which: tuple[str, str], when: Any) -> Agreement:
    return agreement(*(store.open_run(name) for name in which))


def _two(ids: list[str], called: Mapping[str, str]) -> tuple[str, str]:
    """Which two; of two there is nothing to choose."""
    if len(ids) == 2:
        return ids[0], ids[1]
    left, right = st.columns(2)
    one = left.selectbox("One run", ids, format_func=called.__getitem__, key="agree-one")
    others = [each for each in ids if each != one]
    other = right.selectbox("Another", others, format_func=called.__getitem__, key="agree-other")
    return one, other


def _shown(run: Run, found: Agreement, names: Sequence[str]) -> None:
    groups = found.groups
    st.markdown("  \n".join(f"**{place}** {shell.plain(name)}" for place, name in zip(PLACES, names, strict=True)))
    if found.right is not None:
        kappa = "" if np.isnan(found.kappa) else f" Beyond chance that is {found.kappa:.2f} of 1 (Cohen's kappa)."
        st.caption(f"They say the same of {found.share:.0%} of {len(found.images):,} validation images.{kappa}")
    for note in found.notes:
        st.caption(shell.plain(note))
    key = state.seed("agree-group", state.value("agree-group", next(iter(groups))))
    which = st.segmented_control(
        "Pictures",
        list(groups),
        format_func=lambda each: f"{GROUPS[each]} ({len(groups[each]):,})",
        key=key,
        required=True,
        label_visibility="collapsed",
    )
    places = groups.get(which or "", next(iter(groups.values())))
    if not len(places):
        st.info("There are none.")
        return
    some = shell.paged(places, PAGE, f"agree-page:{names}:{which}")
    root = dataset.samples(run.recipe.data.source).root
    with st.grid(PAGE, min_column_width=WIDTH):
        for place in some:
            with st.container(gap="xsmall"):
                _tile(root, found, int(place))


def _tile(root: Any, found: Agreement, place: int) -> None:
    """A picture, what it is, and what either says."""
    image, truth = found.images[place], found.truth[place]
    if (picture := dataset.thumbnail(root / image, SIDE)) is None:
        st.caption(f":material/broken_image: {shell.plain(image)} is gone.")
        return
    st.image(picture, width="stretch", alt=truth)
    rights = [None, None] if found.right is None else found.right[:, place].tolist()
    marks = {None: ":gray[:material/circle:]", True: ":green[:material/check:]", False: ":red[:material/close:]"}
    lines = [
        f"{marks[right]} {which} {shell.plain(word)}"
        for right, word, which in zip(rights, found.words[place], PLACES, strict=True)
    ]
    st.markdown("  \n".join([f"**{shell.plain(truth)}**", *lines]))
