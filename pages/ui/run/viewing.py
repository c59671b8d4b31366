"""Several views of each image instead of one (test-time augmentation): whether the mean of their answers is better."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import streamlit as st

from finetune_core.export.checked import weights_of
from finetune_core.recipe import Recipe
from finetune_core.records import Count
from finetune_core.runs.store import Run
from finetune_core.understand.compare import Comparison
from pages.ui.kit import behind, shell, warm
from pages.ui.kit.behind import Behind

VIEWS = 4  # beside the plain one
PLAIN, SEVERAL = "one view", f"{VIEWS + 1} views"
_places: dict[str, dict[str, Behind[Comparison]]] = {}  # what is measured, or was last, of each run


def panel(run: Run, recipe: Recipe) -> None:
    """A button, how far it is, and what came of it."""
    st.markdown(f"**{SEVERAL.capitalize()} of each image**")
    place, key = _places.setdefault(run.id, {}), weights_of(run)
    if behind.goes_on(place.get(key)):
        return
    if work := place.get(key):
        _found(work.result())
        return
    drawn = any(part.active for part in recipe.augment)
    why = "It still trains." if run.status.active else "" if drawn else "This run has no augmentation to draw them by."
    help = f"The mean of the answers to the plain image and to {VIEWS} that its augmentation draws."
    if shell.start(
        st.container(), "Measure", icon=":material/burst_mode:", key="views", kind="secondary", why=why, help=help
    ):
        warm.wait()
        behind.begin(place, key, partial(_compared, run), "Reading and measuring")
        st.rerun()


def _compared(run: Run, count: Count) -> Comparison:
    from finetune_core.understand.compare import judge
    from finetune_core.understand.evaluate import evaluate

    look = evaluate(run, "valid", count, views=VIEWS)
    return judge(dict.fromkeys((SEVERAL, PLAIN), look.targets), {SEVERAL: look.answers, PLAIN: look.plain})


def _found(made: Comparison) -> None:
    from finetune_core.understand.compare import verdict

    pair = replace(made.pairs[0], chance=made.pairs[0].alone)  # it is the only one that is looked at
    mark = ":green[:material/check_circle:]" if pair.distinguishable else ":gray[:material/balance:]"
    st.markdown(f"{mark} {shell.plain(verdict(pair, made, {SEVERAL: SEVERAL, PLAIN: PLAIN}), 600)}")
    st.caption(
        f"`evaluate RUN --views {VIEWS}` measures the same. Answers elsewhere are those of one view, which are quicker."
    )
