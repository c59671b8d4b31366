"""The test: images that were put aside before all else, measured once, at the end, when a person says so."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, Literal

import streamlit as st

from finetune_core.recipe import Recipe
from finetune_core.records import Count, Evaluated
from finetune_core.runs.store import Run
from finetune_core.wording import count as counted
from pages.ui.kit import behind, shell, warm
from pages.ui.kit.behind import Behind

_places: dict[str, dict[str, Behind[Evaluated]]] = {}  # the look that is under way, or was the last, of each run


def panel(run: Run, recipe: Recipe) -> None:
    """What each look has shown, and the way to the first; nothing where no images were put aside."""
    begun, looks = run.begun, run.tests()
    if not looks and not (begun and begun.test):
        return
    st.markdown("**Test**")
    for look in looks:
        _shown(recipe, look)
    if begun and begun.test and run.best.exists():
        _begin(run, recipe, len(begun.test), bool(looks))


def _begin(run: Run, recipe: Recipe, images: int, again: bool) -> None:
    """A button; once it was clicked, in whatever tab, how far the look is."""
    place = _places.setdefault(run.id, {})
    if behind.goes_on(place.get(run.id)):
        return
    help = "Once you choose by what a test says, it is no test any more: look when all is decided."
    label = "Look again" if again else f"Measure on {counted(images, 'test image')}"
    why = "It still trains." if run.status.active else "Its images are gone." if recipe.data.source.coming() else ""
    kind: Literal["secondary", "tertiary"] = "tertiary" if again else "secondary"
    icon = ":material/fact_check:"
    if shell.start(st.container(), label, icon=icon, key="test-begin", kind=kind, why=why, help=help):
        warm.wait()
        place.clear()
        behind.begin(place, run.id, partial(_look, run), "Reading and measuring")
        st.rerun()


def _look(run: Run, count: Count) -> Evaluated:
    from finetune_core.understand.evaluate import evaluate

    return evaluate(run, "test", count).found


def _shown(recipe: Recipe, look: Mapping[str, Any]) -> None:
    """One look in a line."""
    when = datetime.fromtimestamp(look["when"]).strftime("%d %B, %H:%M")
    known = [score for score in recipe.task.scores if score.key in look["scores"]]
    words = " · ".join(f"{score.inside} **{score.shown(look['scores'][score.key])}**" for score in known)
    views = f", mean of {look['views'] + 1} views" if look.get("views") else ""
    late = "" if look["look"] == 1 else f" :orange-badge[look {look['look']}: chosen by, it is no test any more]"
    st.markdown(f"{words} :gray[{counted(look['images'], 'test image')}{views}, {when}]{late}")
