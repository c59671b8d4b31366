"""Enough or too much? The lab's figures for each transform of the draft, each with a word and a click that follows."""

from __future__ import annotations

import streamlit as st

from finetune_core.errors import UserError
from finetune_core.finder import strains
from finetune_core.recipe import Recipe
from finetune_core.runs.jobs import Lab
from finetune_core.runs.store import Run
from pages.ui.kit import asking, shell

MARKS = {
    "keep": ":green[:material/check_circle:] keep",
    "lower": ":red[:material/trending_down:] lower",
    "remove": ":red[:material/block:] remove",
    "raise": ":orange[:material/trending_up:] raise",
}


def panel(recipe: Recipe) -> None:
    """Closed at first; within it the way to the figures, how far they are, and what they say."""
    more = st.expander("Enough or too much?", icon=":material/science:", key="lab", on_change="rerun")
    if not more.open:
        return
    with more:
        st.caption(
            f"{recipe.model.backbone.architecture} is asked what it sees in some of your images, before and after each "
            "transform, by heads that were fitted on other images as they are. What it no longer tells was destroyed, "
            "or has still to be learned."
        )
        run = _newest(recipe)
        if run and run.status.active:
            asking.watch(run)
        elif not recipe.task.exclusive:
            st.caption("This takes images with one class each.")
        else:
            why = recipe.model.backbone.weights.missing()
            label = "Try them again" if run else "Try the transforms"
            icon = ":material/science:"
            if shell.start(st.container(), label, icon=icon, key="lab-start", kind="secondary", why=why):
                asking.begin(recipe, Lab())
        if run:
            _told(recipe, run)


def _newest(recipe: Recipe) -> Run | None:
    """The newest lab run on these images with this backbone, whatever its transforms were."""
    for run in asking.asked(Lab):
        was = run.recipe
        if (was.data, was.model.backbone) == (recipe.data, recipe.model.backbone):
            return run
    return None


def _told(recipe: Recipe, run: Run) -> None:
    """A row for each transform that is still as it was tried."""
    status, was = run.status, run.recipe
    if status.error and status.state == "failed":
        shell.error_card(UserError.said(status.error))
    changed = 0
    for row in strains.rows(run.records()[0]):
        place = row["place"]
        now, then = (each.augment if place < 0 else each.augment[place : place + 1] for each in (recipe, was))
        if now != then:
            changed += 1
            continue
        said = strains.verdict(row, recipe)
        with st.container(horizontal=True, vertical_alignment="center", key=f"strain-{place}"):
            words = f"**{shell.plain(row['title'])}** {MARKS[said.word]}  :gray[{shell.plain(said.text)}]"
            st.markdown(words, width="stretch")
            shell.mends((said.mend,) if said.mend else (), f"strain-mend-{place}")
    if changed:
        st.caption("What was changed since is not shown: try again.")
