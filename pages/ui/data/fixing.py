"""What was mended in the data by hand, each with the click that takes it back."""

from __future__ import annotations

import streamlit as st

from finetune_core.recipe import Data
from pages.ui.kit import shell, state


def mended(data: Data) -> None:
    """A row for each fix; nothing where there is none."""
    if not data.fixes:
        return
    with st.container(border=True, gap="xsmall", key="fixes"):
        st.caption("Mended here; your files stay as they are.")
        for number, fix in enumerate(data.fixes):
            with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
                st.markdown(f":green[:material/healing:] {shell.plain(fix.line())}", width="stretch")
                st.button(
                    "Take back",
                    icon=":material/undo:",
                    type="tertiary",
                    key=f"take-back-{number}",
                    on_click=_take_back,
                    args=(number, fix.line()),
                )


def _take_back(number: int, line: str) -> None:
    """Only the one that was seen: an impatient second click finds another in its place, or none."""
    fixes = state.draft().data.fixes
    if number < len(fixes) and fixes[number].line() == line:
        left = [fix.model_dump(mode="json") for place, fix in enumerate(fixes) if place != number]
        state.change_value("data.fixes", left)
