"""The backbone: its card, and the dialog to choose another one."""

from __future__ import annotations

import streamlit as st

from finetune_core.errors import UserError
from finetune_core.network import catalogue
from finetune_core.parts.backbones import Backbone, Weights
from finetune_core.parts.backbones.weights import other_ways
from finetune_core.recipe.words import millions
from pages.ui.kit import dialogs, fields, shell, starts, state
from pages.ui.kit.pieces import piece
from pages.ui.layers import downloading, measuring, picking, probing

WIDTHS = (7, 3)  # of the card's columns: what is chosen, and what is told of it


def card(backbone: Backbone, entry: catalogue.Entry, image_size: int) -> None:
    """What the network is, where its knowledge comes from, and the way to another."""
    with st.container(border=True):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.markdown(
                f"#### {shell.plain(backbone.architecture)}  :gray[:small[{_line(backbone, entry)}]]", width="content"
            )
            with st.container(horizontal=True, width="content", gap="small"):
                chooser("Change", icon=":material/search:")
                if entry.drops:
                    with st.popover("Dropout", icon=":material/blur_on:", type="tertiary", key="drops"):
                        for name in entry.drops:
                            fields.field(f"model.backbone.{name}")
        _weights(backbone, entry)
        left, right = st.columns(WIDTHS, gap="large", vertical_alignment="center")
        with left:
            probing.panel(state.draft(), backbone)
        with right:
            measuring.panel(state.draft(), backbone)
        if entry.input_size != image_size and not backbone.weights.made_here:
            _size_hint(entry, image_size)


def _line(backbone: Backbone, entry: catalogue.Entry) -> str:
    facts = [
        entry.title,
        backbone.title,
        f"{millions(entry.size)} parameters without a head",
        f"made for {entry.input_size} px",
    ]
    if entry.top1:
        facts.append(f"{entry.top1:.1f} % on ImageNet")
    return shell.plain(" · ".join(facts))


def _weights(backbone: Backbone, entry: catalogue.Entry) -> None:
    left, right = st.columns(WIDTHS, gap="large")
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


def chooser(label: str, icon: str | None = None) -> None:
    """The button to another backbone, and the dialog that it opens: in a piece, since the page behind stays as it is.

    The dialog has a chart: the page must `load`.
    """

    def drawn() -> None:
        st.button(label, icon=icon, key="change-backbone", on_click=picking.open)
        if dialogs.opened(picking.CHOOSING):
            _dialog()

    with st.container(width="content"):
        piece(drawn)


@st.dialog("Choose a backbone", width="large", on_dismiss=dialogs.close)
def _dialog() -> None:
    """Search all architectures of both libraries; a click on a row or a point shows it, a button takes it."""
    words = st.text_input(
        "Search",
        key="backbone-words",
        placeholder="resnet, convnext tiny, vit …",
        icon=":material/search:",
        live=True,
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        libraries = st.pills(
            "Library",
            catalogue.LIBRARIES,
            selection_mode="multi",
            default=catalogue.LIBRARIES,
            key="backbone-libraries",
        )
        sizes = st.pills("Parameters", list(catalogue.SIZES), selection_mode="multi", key="backbone-sizes")
        known = catalogue.families(libraries)
        families = st.multiselect(
            "Family",
            list(known),
            format_func=lambda each: f"{each} ({known[each]})" if each in known else each,
            placeholder="All",
            key="backbone-families",
        )
    picking.panel(state.draft(), picking.Wish((words or "").strip(), tuple(libraries), tuple(sizes), tuple(families)))
