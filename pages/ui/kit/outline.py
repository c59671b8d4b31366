"""The outline of a run that has not begun: its layer groups and steps, without torch and without opening an image."""

from __future__ import annotations

from typing import Any

import streamlit as st

from finetune_core.data.chosen import arranged
from finetune_core.data.loader import count_steps
from finetune_core.network import catalogue
from finetune_core.recipe import Data, Recipe, plan


def group_names(recipe: Recipe) -> tuple[str, ...]:
    """The layer groups, stem to head. A UserError where the backbone is unknown or its groups cannot be had so."""
    return catalogue.layer_names(recipe.model)


def epoch_steps(recipe: Recipe) -> int:
    """Optimizer steps in an epoch. A UserError where the data cannot be read or split."""
    images = training_images(recipe.data.model_dump_json())
    return count_steps(images, recipe.training.batch_size)


def planned(recipe: Recipe) -> list[dict[str, Any]]:
    """Every group's rate at every step, as the run will have it. A UserError where the recipe does not fit."""
    return plan.plan(recipe, group_names(recipe), epoch_steps(recipe))


def training_images(data: str) -> int:
    """How many images a run on this data (a recipe's `data` as JSON) would train on; large folders take a moment."""
    return images(data)[0]


@st.cache_data(max_entries=20, ttl=60, show_spinner=False)
def images(data: str) -> tuple[int, int]:
    """How many images a run on this data would train and be measured on."""
    wanted = Data.model_validate_json(data)
    parts = arranged(wanted.source.expected(), wanted)[1]
    return len(parts.train), len(parts.valid)
