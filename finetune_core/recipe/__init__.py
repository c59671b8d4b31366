"""The recipe: what was chosen. A whole experiment as one immutable, validated, versioned value, YAML on disk."""

from finetune_core.recipe.schema import (
    START,
    Data,
    Model,
    Phase,
    Recipe,
    Training,
    load,
    loads,
    parse,
    text_of,
    tree_of,
)

__all__ = ["START", "Data", "Model", "Phase", "Recipe", "Training", "load", "loads", "parse", "text_of", "tree_of"]
