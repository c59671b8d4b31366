"""Trained weights to start from: what earlier runs of a network like the draft's have left."""

from __future__ import annotations

import time
from pathlib import Path

import streamlit as st

from finetune_core import store
from finetune_core.errors import UserError
from finetune_core.parts.backbones import Checkpoint, Weights
from finetune_core.recipe import Model, Recipe
from pages.ui import path, state

RECENT = 8  # runs offered
FIELD = "model.backbone.weights.path"


def known(recipe: Recipe) -> list[str]:
    """The checkpoints whose backbone and head are the draft's, of the newest run first."""
    runs = [run for run in store.list_runs() if _alike(_model(str(run.path)), recipe.model)]
    return [str(file) for run in runs[:RECENT] for file in run.weights.values()]


def words(file: str) -> str:
    """What people call a checkpoint: `end of phase 1, resnet10t on Blooms (31 Jan 12:05)`."""
    run = store.Run(Path(file).parent.parent)
    try:
        name = next(name for name, kept in run.weights.items() if kept == Path(file))
        when = time.strftime("%d %b %H:%M", time.localtime(run.status.started))
        return f"{name}, {path.run_words(run.recipe)} ({when})"
    except (StopIteration, UserError):  # no run of ours, or one of another version of Thaw
        return file


def weights_words(weights: Weights) -> str:
    """The same for any weights."""
    return words(weights.path) if isinstance(weights, Checkpoint) else weights.title.lower()


def started(recipe: Recipe, file: str) -> Recipe:
    """The recipe with the weights of a checkpoint."""
    return recipe.with_value("model.backbone.weights", Checkpoint(path=file).model_dump())


def field(recipe: Recipe) -> None:
    """The choice of a checkpoint for the draft; any other file can be typed."""
    here = state.value_at(FIELD)
    offered = known(recipe)
    key = state.seed(f"field:{FIELD}", here or None)
    st.selectbox(
        "Run",
        offered if here in ("", *offered) else [here, *offered],
        format_func=words,
        key=key,
        index=None,
        placeholder="Choose a run, or type the path of a checkpoint" if offered else "Type the path of a checkpoint",
        accept_new_options=True,
        on_change=lambda: state.edit_value(FIELD, state.value(key) or ""),
    )


def _alike(model: Model | None, other: Model) -> bool:
    """Whether backbone and head are the same, wherever their weights come from."""
    return model is not None and without_weights(model) == without_weights(other)


def without_weights(model: Model) -> Model:
    """What a model is, apart from what it has learned."""
    return model.replace(backbone=model.backbone.replace(weights=Checkpoint()))


@st.cache_data(max_entries=1000, show_spinner=False)
def _model(run: str) -> Model | None:
    """The model of a run, whose recipe never changes; None where another version of Thaw wrote it."""
    try:
        return store.Run(Path(run)).recipe.model
    except UserError:
        return None
