"""The backbone: its card, and the dialog to choose another one."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from finetune_core.errors import UserError
from finetune_core.network import catalogue, refit
from finetune_core.parts.backbones import Backbone, Weights
from finetune_core.parts.backbones.weights import other_ways
from finetune_core.recipe.words import millions
from finetune_core.training import timing
from pages.ui.kit import fields, shell, starts, state
from pages.ui.layers import downloading, measuring, probing, thawing

COLUMNS = {
    "parameters": st.column_config.NumberColumn("Parameters (M)", format="%.1f"),
    "macs": st.column_config.NumberColumn(
        "MACs (G)", format="%.3g", help="Billions of multiplications and additions for one image of its input size."
    ),
    "top1": st.column_config.NumberColumn(
        "ImageNet (%)", format="%.1f", help="Accuracy on ImageNet-1k, where the library publishes it."
    ),
    "here": st.column_config.NumberColumn(
        "Here (ms)",
        format="%.3g",
        help="To look at one image of your size on this machine, where you have measured it.",
    ),
}


def card(backbone: Backbone, entry: catalogue.Entry, image_size: int) -> None:
    """What the network is, where its knowledge comes from, and the way to another."""
    with st.container(border=True):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.markdown(
                f"#### {shell.plain(backbone.architecture)}  :gray[:small[{_line(backbone, entry)}]]", width="content"
            )
            if st.button("Change", icon=":material/search:", key="change-backbone"):
                choose()
        _weights(backbone, entry)
        if entry.drops:
            with st.popover("Dropout", icon=":material/blur_on:", type="tertiary", key="drops"):
                for name in entry.drops:
                    fields.field(f"model.backbone.{name}")
        probing.panel(state.draft(), backbone)
        measuring.panel(state.draft(), backbone)
        if entry.input_size != image_size and not backbone.weights.made_here:
            _size_hint(entry, image_size)


def _line(backbone: Backbone, entry: catalogue.Entry) -> str:
    facts = [
        entry.title,
        backbone.title,
        f"{millions(entry.size)} parameters",
        f"made for {entry.input_size} px",
    ]
    if entry.top1:
        facts.append(f"{entry.top1:.1f} % on ImageNet")
    return shell.plain(" · ".join(facts))


def _weights(backbone: Backbone, entry: catalogue.Entry) -> None:
    left, right = st.columns([3, 2], gap="large")
    with left:
        chosen = backbone.weights.kind
        skip = tuple(k for k, way in Weights.kinds().items() if k != chosen and not way().offered(backbone))
        fields.choice("model.backbone.weights", "Weights", skip=skip, with_knobs=False)
        asked = {"tag": lambda: _tag(entry), "run": lambda: starts.field(state.draft())}
        asked.get(backbone.weights.asks, lambda: fields.knobs("model.backbone.weights", explain=False))()
    with right:
        _facts(backbone)


def _tag(entry: catalogue.Entry) -> None:
    names = ["", *(tag.name for tag in entry.tags)]
    chosen = state.value_at("model.backbone.weights.tag")
    key = state.seed("field:hub-tag", chosen)
    st.selectbox(
        "Set",
        names,
        names.index(chosen) if chosen in names else None,
        format_func=lambda name: name or f"the library's default ({names[1] if len(names) > 1 else 'none'})",
        **state.callback(key, state.edit_value, "model.backbone.weights.tag"),
    )


def _facts(backbone: Backbone) -> None:
    if not backbone.weights.trained:
        st.warning(
            "**Random weights.** This network has learned nothing yet: expect a poor result.",
            icon=":material/warning:",
        )
        return
    try:
        files, facts = catalogue.published(backbone), backbone.weights.facts(backbone)
    except UserError as error:
        shell.error_card(error)
        return
    if files is None or files.here():
        st.caption(f":green[:material/check_circle:] {shell.plain(facts)}")
    else:
        st.caption(f":orange[:material/cloud_download:] {shell.plain(facts)}. **Not on this machine yet.**")
        downloading.panel(files, other_ways(backbone))


def _size_hint(entry: catalogue.Entry, image_size: int) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        words = f"It learned on {entry.input_size} px; your images are {image_size} px."
        st.caption(f":material/aspect_ratio: {words}", width="content")
        st.button(
            f"Use {entry.input_size} px",
            type="tertiary",
            key="use-size",
            on_click=state.edit_value,
            args=("data.image_size", entry.input_size),
        )


@st.dialog("Choose a backbone", width="large")
def choose() -> None:
    """Search all architectures of both libraries; a click on a row shows it, a button takes it."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        words = st.text_input(
            "Search",
            key="backbone-words",
            placeholder="resnet, convnext tiny, vit …",
            icon=":material/search:",
            live=True,
        )
        libraries = st.pills(
            "Library",
            catalogue.LIBRARIES,
            selection_mode="multi",
            default=catalogue.LIBRARIES,
            key="backbone-libraries",
        )
    shown = found(words or "", tuple(libraries))
    told = f"{len(shown)} networks" if words else f"Good first choices; search to see all {len(catalogue.entries())}"
    st.caption(f"{told}. Tick the one you want.")
    event = st.dataframe(
        _table(shown),
        hide_index=True,
        height=340,
        on_select="rerun",
        selection_mode="single-row",
        key=f"backbone-rows-{words}-{'-'.join(libraries)}",
        column_config=COLUMNS,
    )
    st.caption(catalogue.advice())
    rows = event["selection"]["rows"]
    ticked = shown[rows[0]] if rows and rows[0] < len(shown) else None
    chosen = ticked or next((entry for entry in shown if entry.architecture == (words or "").strip()), None)
    if chosen:
        measuring.panel(state.draft(), Backbone.kinds()[chosen.library](architecture=chosen.architecture))
    label = f"Use {chosen.architecture}" if chosen else "Use this one"
    if st.button(label, type="primary", disabled=chosen is None, key="use-backbone") and chosen:
        thawing.take(refit.best_backbone(chosen))
        st.rerun()


def found(words: str, libraries: tuple[str, ...]) -> list[catalogue.Entry]:
    """The networks that fit the words; good first choices where there are none."""
    if words.strip():
        return catalogue.search(words, libraries)
    return catalogue.good_first() if "timm" in libraries else catalogue.search("resnet", libraries)


def _table(found: list[catalogue.Entry]) -> pd.DataFrame:
    measured = timing.known(state.draft())
    here = [measured.get(timing.name(entry.library, entry.architecture)) for entry in found]
    return pd.DataFrame(
        {
            "Name": [entry.architecture for entry in found],
            "Family": [entry.title for entry in found],
            "Library": [entry.library for entry in found],
            "parameters": [entry.size / 1e6 for entry in found],
            "Input (px)": [entry.input_size for entry in found],
            "macs": [entry.macs or None for entry in found],
            "top1": [entry.top1 for entry in found],
            "here": [each.answer_ms if each else None for each in here],
            "Published weights": [len(entry.tags) for entry in found],
        }
    )
