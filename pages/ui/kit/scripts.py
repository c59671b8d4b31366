"""The draft as plain PyTorch: what the pages' code and the downloads need to know, kept between reruns."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from finetune_core.export import script
from finetune_core.recipe import Recipe, loads
from finetune_core.recipe.changes import Made
from finetune_core.records import silent
from pages.ui.kit import dataset, warm


def facts(recipe: Recipe) -> script.Facts:
    """The images as far as they are known, and the network without its weights; waits for PyTorch."""
    warm.wait()
    source = recipe.data.source
    return _facts(recipe.to_yaml(), f"{dataset.key(source)}{dataset.known(source)}")


@lru_cache(maxsize=8)
def _facts(text: str, images: str) -> script.Facts:
    """Of a recipe as YAML; `images` changes with the files that it speaks of, and once they are there."""
    recipe = loads(text)
    pictures = script.look(recipe, recipe.data.source.expected())
    return script.Facts(pictures, script.outline(recipe, len(pictures.targets.names)))


def shown(recipe: Recipe, changes: Sequence[Made] = ()) -> str:
    """The whole script as a page shows it at once: nothing is drawn or downloaded, and no file looked at."""
    return script.whole(recipe, facts(recipe), changes)


def whole(recipe: Recipe, changes: Sequence[Made] = ()) -> str:
    """The whole script, telling of a run's changes; draws and downloads what is missing, looks at every file."""
    return script.whole(recipe, script.gather(recipe, report=silent), changes)
