"""How much to thaw: advice by the number of images and their likeness to those that the backbone learned from."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import NamedTuple, get_args

import streamlit as st

from finetune_core.errors import UserError
from finetune_core.finder import likeness, probes
from finetune_core.recipe import Phase, Recipe
from finetune_core.recipe.advice import Advice, Likeness, Word, advice
from finetune_core.recipe.presets import current_preset, presets
from pages.ui.kit import dataset, fields, outline, state
from pages.ui.layers import thawing

MEASURED = "measured"
THEY = "Published weights have mostly seen everyday photos. Say so yourself where you know better than the measure."
OWN: dict[str, str] = {"alike": "Like them", "between": "Somewhat", "unlike": "Quite different"}
OFF = "It is not measured: *Try each that I choose* is off."
ANSWER = "likeness:answer"  # the images and backbone that this session has answered for, and its answer


class Given(NamedTuple):
    """Advice, and what it rests on: the likeness that was judged, and what a person has said of it."""

    advice: Advice
    likeness: Likeness
    own: Word


def given(recipe: Recipe) -> Given | None:
    """The advice for these images and this backbone; none without classes."""
    if not recipe.task.exclusive:
        return None
    with contextlib.suppress(UserError):  # what is wrong with the images is told on their page
        images = outline.training_images(recipe.data.model_dump_json()) / dataset.class_count(recipe.data)
        backbone = recipe.model.backbone
        found = likeness.judged(backbone, probes.known(recipe, backbone))
        own = _answer(recipe)
        return Given(advice(images, own if own and found.word != "nothing" else found.word), found, own)
    return None


def panel(recipe: Recipe, given: Given, phase: Phase, names: Sequence[str]) -> None:
    """The advice with its reason, a button to follow it, and the answer that it rests on."""
    with st.container(border=True, key="advice"):
        _told(given.advice, current_preset(phase, names), names)
        _asked(recipe, given.likeness, given.own)


def _told(advised: Advice, current: str | None, names: Sequence[str]) -> None:
    title = next((preset.title for preset in presets(names) if preset.key == advised.preset), "")
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f":material/lightbulb: **Advice{f': {title}' if title else ''}**", width="content")
        if title and advised.preset == current:
            st.markdown(":green[:material/check: As it is set]", width="content")
        elif title:
            st.button(f"Take {title}", key="take-advice", on_click=thawing.apply, args=(names, advised.preset))
    st.caption(advised.text)


def _asked(recipe: Recipe, found: Likeness, own: Word) -> None:
    """What it rests on, to be overruled."""
    if found.word == "nothing":
        st.caption(found.reason)
        return
    chosen = own or MEASURED
    said = OWN[found.word].lower() if found.word in OWN else "not known"
    words = {MEASURED: f"Measured: {said}", **OWN}
    bar = fields.side_by_side(list(words.values()))
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption("Are your images like those that the network learned from?", width="content", help=THEY)
        bar(
            "Likeness",
            list(words),
            default=chosen,
            format_func=lambda each: words[each],
            required=True,
            label_visibility="collapsed",
            width="content",
            **state.callback(state.seed("likeness", chosen), _answered, recipe),
        )
    soon = "It is measured as soon as the features above are tried." if probes.on() else OFF
    st.caption(found.reason or soon)


def _answer(recipe: Recipe) -> Word:
    """What the person has said of these images and this backbone; empty where nothing."""
    about, word = state.value(ANSWER, (None, ""))
    return word if about == (recipe.data.source, recipe.model.backbone) else ""


def _answered(recipe: Recipe, word: str) -> None:
    own = word if word in get_args(Word) else ""
    state.keep(ANSWER, ((recipe.data.source, recipe.model.backbone), own))
