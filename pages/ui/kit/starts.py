"""Trained weights to start from: what earlier runs of a network like the draft's have left."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import streamlit as st

from finetune_core.errors import UserError
from finetune_core.finder import question
from finetune_core.parts.backbones import Checkpoint, Weights
from finetune_core.recipe import Model, Recipe
from finetune_core.runs import store
from finetune_core.runs.shelf import naming
from pages.ui.kit import browsing, state

RECENT = 8  # runs offered
FIELD = "model.backbone.weights.path"


def known(recipe: Recipe) -> list[str]:
    """The checkpoints whose backbone and head are the draft's, of the newest run first."""
    runs = [run for run in store.list_runs() if _alike(_model(str(run.path)), recipe.model)]
    return [str(file) for run in runs[:RECENT] for file in run.weights.values()]


def words(file: str) -> str:
    """What people call a checkpoint: `end of phase 1, 31 Jan 12:05, Blooms · resnet10t · head only`."""
    try:
        return f"{short(file)}, {naming.title(_run(file))}"
    except UserError:
        return short(file)


def short(file: str) -> str:
    """The same without what the run is of; the path where it is no run's."""
    run = _run(file)
    try:
        name = next(name for name, kept in run.weights.items() if kept == Path(file))
    except (StopIteration, UserError):  # a file from elsewhere, or a run of another version of Thaw
        return file
    return f"{name}, {time.strftime('%d %b %H:%M', time.localtime(run.status.started))}"


def weights_words(weights: Weights) -> str:
    """Any weights in few words."""
    return short(getattr(weights, "path", "")) if weights.asks == "run" else weights.title.lower()


def _run(file: str) -> store.Run:
    """The run that a checkpoint would lie in."""
    return store.Run(Path(file).parent.parent)


def with_weights_of(recipe: Recipe, file: str) -> Recipe:
    """The recipe with the weights of a checkpoint."""
    return recipe.with_value("model.backbone.weights", Checkpoint(path=file).model_dump())


def field(recipe: Recipe) -> None:
    """The choice of a checkpoint for the draft; any other file can be typed."""
    here = state.value_at(FIELD)
    offered = known(recipe)
    key = state.seed(f"field:{FIELD}", here or None)
    choices = offered if here in ("", *offered) else [here, *offered]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="xsmall"):
        st.selectbox(
            "Run",
            choices,
            [*choices].index(here) if here else None,
            format_func=words,
            placeholder="Choose a run, or type a checkpoint's path" if offered else "Type a checkpoint's path",
            accept_new_options=True,
            **state.callback(key, state.edit_value, FIELD),
        )
        endings = Checkpoint.knob("path").path or ()
        browsing.button(FIELD, here, partial(state.edit_value, FIELD), folder=False, endings=endings)


def _alike(model: Model | None, other: Model) -> bool:
    """Whether backbone and head are the same, wherever their weights come from."""
    return model is not None and question.without_weights(model) == question.without_weights(other)


@st.cache_data(max_entries=1000, show_spinner=False)
def _model(run: str) -> Model | None:
    """The model of a run, whose recipe never changes; None where another version of Thaw wrote it."""
    try:
        return store.Run(Path(run)).recipe.model
    except UserError:
        return None
