"""The path in the navigation: every page, with what was chosen on it, none locked."""

from __future__ import annotations

import streamlit as st

from finetune_core.places import ASSETS
from pages.ui import path, state
from pages.ui.badge import badge
from pages.ui.care import cares
from pages.ui.shell import plain


def pages() -> list[st.Page]:
    """Every page for `st.navigation`; hidden there, since `sidebar` draws the links with the choices beside them."""
    return [
        st.Page(
            step.script,
            title=step.title,
            icon=step.icon,
            url_path=None if step is path.HOME else step.key,
            default=step is path.HOME,
        )
        for step in path.PAGES.values()
    ]


def sidebar() -> None:
    """Logo, path and the badge of the running run."""
    st.logo(ASSETS / "logo.svg", size="large", icon_image=ASSETS / "icon.svg")
    recipe = state.draft()
    worries = cares(recipe)
    with st.sidebar:
        _link(path.HOME, "", "")
        with st.container(gap="small"):
            for step in path.STEPS:
                _link(step, step.choice(recipe) if step.choice else "", worries.get(step.key, ""))
        badge()


def _link(step: path.Step, choice: str, worry: str) -> None:
    colour = "orange" if worry else "gray"
    label = f"{step.title}  :small[:{colour}[{plain(choice)}]]" if choice else step.title
    st.page_link(step.script, label=label, icon=step.icon, help=worry or None, width="stretch")
