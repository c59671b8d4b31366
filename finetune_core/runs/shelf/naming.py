"""What a run is called: as a person says, else after what was done, as `Blooms · resnet10t · last two stages`."""

from __future__ import annotations

from contextlib import suppress

from finetune_core.errors import UserError
from finetune_core.network import catalogue
from finetune_core.recipe import Recipe
from finetune_core.recipe.words import made_words, run_words, thaw_words
from finetune_core.runs.shelf import notes
from finetune_core.runs.store import Run
from finetune_core.wording import file_name


def title(run: Run) -> str:
    """What to call a run, in any case. A UserError where its recipe cannot be read."""
    return given(run) or of_recipe(run.recipe)


def given(run: Run) -> str:
    """The name that a person gave it, on a page or in the recipe; empty where nobody did."""
    with suppress(UserError):  # notes that cannot be read: the list of runs tells of them
        if said := notes.read(run).name:
            return said
    return run.recipe.name


def for_file(run: Run) -> str:
    """The name in letters that every disk takes; without one of a person's, its id."""
    return file_name(given(run) or run.id, "model")


def of_recipe(recipe: Recipe) -> str:
    """What a run of it is called: its own name, else as `Blooms · resnet10t · last two stages`."""
    return run_words(recipe, _layers(recipe))


def made(recipe: Recipe) -> str:
    """The same without a name that a person gave it."""
    return made_words(recipe, _layers(recipe))


def thawed(recipe: Recipe) -> str:
    """What trains, by the stages of its backbone where it is known."""
    return thaw_words(recipe, _layers(recipe))


def _layers(recipe: Recipe) -> tuple[str, ...]:
    """Its layer groups, stem to head; none where the backbone is unknown, or its groups cannot be had so."""
    try:
        return catalogue.layer_names(recipe.model)
    except UserError:  # the checks tell of it
        return ()
