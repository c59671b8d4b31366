"""The path in the navigation: every page, with what was chosen on it, none locked."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import streamlit as st

from finetune_core.findings import Finding
from finetune_core.places import ASSETS
from finetune_core.runs import preflight
from finetune_core.runs.shelf.summaries import moving, summaries
from pages.ui.frame import door
from pages.ui.kit import path, state
from pages.ui.kit.badge import badge
from pages.ui.kit.pieces import SELDOM, piece
from pages.ui.kit.shell import NAME, needs_care, plain
from pages.ui.run import queueing


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


def sidebar(address: str) -> None:
    """Logo, path and the badge of the running run; `address` is that of the page that is shown."""
    st.logo(ASSETS / "logo.svg", size="large", icon_image=ASSETS / "icon.svg")
    recipe = state.draft()
    seen = preflight.glance(recipe)
    here = path.PAGES[address or path.HOME.key].within
    looks = {"data": seen.get("data"), "layers": seen.get("layers") or seen.get("thawed")}
    with st.sidebar:
        _link(path.HOME)
        with st.container(gap="small"):
            for step in path.STEPS:
                with st.container(key=f"{'here' if step.key == here else 'path'}-{step.key}"):
                    _link(step, step.choice(recipe) if step.choice else "", looks.get(step.key))
        _link(path.LESSONS)
        with st.container():  # always there, so that nothing below moves in the browser
            if moving(summaries()):
                piece(_at_work, SELDOM)
        if door.inside(st.context):
            _leaving()(key="leaving")
        _links()(key="links", height=1)


def _at_work() -> None:
    """What is at work and what waits, until no run moves: then nothing is asked for any more.

    What others start, on the command line say, shows with the next click on any page.
    """
    runs = summaries()
    if not moving(runs):
        st.rerun()
    for come_and_go in (partial(badge, runs), queueing.line):
        with st.container():
            come_and_go()


def _link(step: path.Step, choice: str = "", look: Finding | None = None) -> None:
    colour = "orange" if needs_care(look) else "gray"
    label = f"{step.title}  :small[:{colour}[{plain(choice, NAME)}]]" if choice else step.title
    st.page_link(step.script, label=label, icon=step.icon, help=plain(look.title) if look else None, width="stretch")


@cache
def _leaving() -> Callable[..., Any]:
    """A link that leads out of the app, to the door: Streamlit's own links open another tab."""
    return st.components.v2.component(
        "thaw_leaving",
        html=f'<a href="{door.LEAVE}">Log out</a>',
        css="a { color: var(--st-link-color); font-size: 0.875rem; text-decoration: none }",
    )


@cache
def _links() -> Callable[..., Any]:
    """Lets no click on a link be lost, and closes the sidebar behind it where that covers the page."""
    script = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
    return st.components.v2.component("thaw_sidebar", js=script, isolate_styles=False)
