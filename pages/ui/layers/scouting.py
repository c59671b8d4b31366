"""Which backbone for these images? Several are tried by a worker, and told in a table and a chart to take one from."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from finetune_core import figures
from finetune_core.errors import UserError
from finetune_core.finder import probes
from finetune_core.network import catalogue, refit
from finetune_core.parts.backbones import Backbone
from finetune_core.recipe import Recipe
from finetune_core.records import Probed
from finetune_core.runs.jobs import Scout
from finetune_core.wording import count
from pages.ui.kit import asking, shell, state
from pages.ui.kit.chart import chart, clicked
from pages.ui.layers import thawing

CHART = "scout-chart"
SEEN = "scout:seen"  # the names that this session has offered: one that gives way to another stays in the table


def panel(recipe: Recipe) -> None:
    """Closed at first; within it the choice of backbones, and what is known of them."""
    title = "Which backbone for your images?"
    more = st.expander(title, icon=":material/travel_explore:", key="scout", on_change="rerun")
    if not more.open:
        return
    with more:
        st.caption(
            "Each one's features are tried as they are, with a linear head, on the same of your images: some seconds "
            "for each. What is best here is mostly best after fine-tuning, too."
        )
        names = _names(recipe)
        state.keep(SEEN, names)
        chosen = st.multiselect("Backbones", names, _at_hand(names), key="scout-names", format_func=_shown)
        if away := [name for name in chosen if not _here(refit.named(name))]:
            them = count(len(away), "set of weights is", "sets of weights are")
            st.caption(f":orange[:material/cloud_download:] {them} not on this machine yet: they would be downloaded.")
        if run := asking.running(Scout):
            asking.watch(run)
        else:
            why = "" if chosen else "Choose at least one."
            icon = ":material/travel_explore:"
            place = st.container()
            if shell.start(place, "Try them", icon=icon, key="scout-start", kind="secondary", why=why):
                asking.begin(recipe, Scout(backbones=tuple(chosen)))
        _known(recipe, names)


def _names(recipe: Recipe) -> list[str]:
    """The draft's own backbone, those before it, the bundled one, and those to start with."""
    first = [f"timm/{entry.architecture}" for entry in catalogue.good_first()]
    names = [refit.name_of(recipe.model.backbone), *state.value(SEEN, []), "timm/resnet10t", *first]
    return list(dict.fromkeys(names))


def _at_hand(names: list[str]) -> list[str]:
    return [name for name in names if _here(refit.named(name))]


def _here(backbone: Backbone) -> bool:
    """Whether its weights are on this machine."""
    try:
        files = catalogue.published(backbone)
    except UserError:
        return False
    return not backbone.weights.missing() and (files is None or files.here() is not None)


def _shown(name: str) -> str:
    library, _, rest = name.partition("/")
    architecture, _, file = rest.partition("=")
    where = "your file" if file else library
    return f"{architecture} ({where})"


def _known(recipe: Recipe, names: list[str]) -> None:
    """What has been found, best first, to take one from."""
    found = {name: known for name in names if (known := probes.known(recipe, refit.named(name)))}
    score = recipe.task.score
    ranked = sorted(found, key=lambda name: -score.signed(found[name].score))
    if not ranked:
        return
    current = recipe.model.backbone.architecture
    picture = figures.scouted([found[name] for name in ranked], score, current)
    chart(picture, CHART, picked=lambda: _picked(found))
    st.dataframe(
        pd.DataFrame([_row(recipe, found[name]) for name in ranked]),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="scout-rows",
    )
    rows = state.value("scout-rows", {}).get("selection", {}).get("rows", [])
    ticked = ranked[rows[0]] if rows and rows[0] < len(ranked) else None
    label = f"Use {found[ticked].architecture}" if ticked else "Tick one to use it"
    st.button(label, disabled=ticked is None, key="scout-use", on_click=_use, args=(ticked,))


def _row(recipe: Recipe, found: Probed) -> dict[str, object]:
    return {
        "Backbone": found.architecture,
        recipe.task.score.title: probes.words(found.score, found.margin, recipe.task.score),
        "ms an image": found.ms,
        "MB": found.megabytes,
        "Parameters (M)": round(found.parameters / 1e6, 2),
        "Images": found.images,
    }


def _picked(found: dict[str, Probed]) -> None:
    """Take the backbone whose point was clicked."""
    if point := clicked(CHART):
        ms = point[0]
        _use(min(found, key=lambda name: abs(found[name].ms - ms)))


def _use(name: str) -> None:
    thawing.take(refit.named(name))
