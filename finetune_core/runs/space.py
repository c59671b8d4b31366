"""Before a launch: whether what a run keeps on disk fits there, by the numbers of weights in the catalogue.

A state holds the network, what the optimizer remembers of the weights that learn, and where phases may go back or
weights are averaged, those weights too. One more of them is written before the oldest goes. Beside them lie weights
alone: the newest, the best, the best before, and the ends of phases.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from finetune_core import places
from finetune_core.errors import Mend, UserError
from finetune_core.findings import Finding, failed
from finetune_core.network import catalogue
from finetune_core.recipe import Recipe
from finetune_core.recipe.names import matching

FLOAT = 4  # bytes
OUTPUTS = 100  # of the head, which weighs little however many it has
BESIDE = 3  # files of weights: the newest, the best, the best before
CLOSE = 0.8  # of the free space


def needed(recipe: Recipe) -> int:
    """Bytes that the checkpoints of a run of this recipe take at most. UserErrors for an unknown network or group."""
    counts = catalogue.layer_counts(recipe.model, OUTPUTS)
    learning = max(sum(counts[name] for name in matching([*counts], phase.thaw)) for phase in recipe.phases)
    training, network = recipe.training, sum(counts.values())
    both = 2 if training.ema else 1  # the weights that learn, and their average
    back = both if any(phase.patience for phase in recipe.phases) else 0
    state = network * (both + back) + learning * training.optimizer.memory()
    alone = network * (BESIDE + len(recipe.phases) - 1)
    return FLOAT * (state * (training.checkpoints + 1) + alone)


def finding(recipe: Recipe, free: int, where: str) -> Iterator[Finding]:
    """An error where a run needs more than so many free bytes, a warning where that is close."""
    try:
        wanted = needed(recipe)
    except UserError:  # has a finding of its own
        return
    fewer = recipe.with_value("training.checkpoints", 1)
    helps = recipe.training.checkpoints > 1 and needed(fewer) <= free
    mend = Mend("Keep one checkpoint", "training.checkpoints", 1) if helps else None
    said = f"{_gigabytes(wanted)} for its checkpoints, and {_gigabytes(free)} are free in {where}."
    if wanted > free:
        hint = "Free some space, keep fewer checkpoints, or set THAW_RUNS to a folder on a larger disk."
        yield failed("Disk", UserError("The disk has no room for this run.", f"It takes up to {said}", hint), mend)
    elif wanted > CLOSE * free:
        yield Finding("warn", "Disk", f"There is little room: the run takes up to {said}", mend=mend)


def findings(recipe: Recipe) -> Iterator[Finding]:
    """The same for the folder of all runs, as it is now."""
    folder = places.runs_dir()
    there = next(each for each in (folder, *folder.parents) if each.exists())
    yield from finding(recipe, shutil.disk_usage(there).free, str(folder))


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2g} GB" if count < 1e10 else f"{count / 1e9:,.0f} GB"
