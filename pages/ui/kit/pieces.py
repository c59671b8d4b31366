"""A piece of page that is drawn anew by itself, while the rest of the page stays as it is."""

from __future__ import annotations

import os
from collections.abc import Callable

import streamlit as st

from pages.ui.kit import state

# Seconds between two looks at what moves. A look costs server and browser up to a quarter of a second of a core: much,
# where there are two and training needs both (`python -m benchmarks.watched`).
EVERY = min(4.0, max(1.0, 8 / (os.cpu_count() or 1)))
SELDOM = min(16.0, max(1.0, 32 / (os.cpu_count() or 1)))  # at what moves slowly, or is seen at the page's edge


def piece(draw: Callable[[], None], every: float | None = None) -> None:
    """Draw it now, then with each click in it, and `every` so many seconds.

    Errors are told at the head of the page: where the piece leaves one, the whole page is drawn anew.
    """
    alone = False  # at first it is drawn with the page, whose head may be still to come

    @st.fragment(run_every=every)
    def drawn() -> None:
        nonlocal alone
        if alone and state.noted():  # by the click
            st.rerun()
        draw()
        if alone and state.noted():
            st.rerun()
        alone = True

    drawn()
