"""What runs compute on, and what of it is free: told by their recipes and by the processes at work, without torch.

A device is `cpu`, `mps`, or a GPU by CUDA's name for it, such as `cuda:0`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import psutil

from finetune_core import machine
from finetune_core.errors import UserError
from finetune_core.machine import Machine
from finetune_core.recipe import Recipe
from finetune_core.runs import holding
from finetune_core.runs.store import Run

VISIBLE = "CUDA_VISIBLE_DEVICES"


def kind_of(recipe: Recipe, here: Machine) -> str:
    """The kind of device that a recipe asks for on this machine: cpu, cuda or mps."""
    return machine.device_of(here, recipe.training.device)


def names(kind: str, here: Machine) -> tuple[str, ...]:
    """All devices of a kind; one of each, but for GPUs."""
    if kind != "cuda":
        return (kind,)
    numbers = _listed(os.environ.get(VISIBLE)) or map(str, range(max(1, len(here.gpus))))
    return tuple(f"cuda:{number}" for number in numbers)


def held(run: Run, here: Machine) -> frozenset[str]:
    """What an active run computes on here; all that there is where that cannot be told."""
    if (worker := holding.process(run)) is None:
        return frozenset()
    try:
        kind, count = kind_of(run.recipe, here), run.recipe.training.processes
        seen = _listed(worker.environ().get(VISIBLE)) if kind == "cuda" else ()
    except psutil.NoSuchProcess:
        return frozenset()
    except (UserError, psutil.Error):
        return frozenset(name for each in here.devices for name in names(each, here))
    known = tuple(f"cuda:{number}" for number in seen) or names(kind, here)
    return frozenset(known[:count] if kind == "cuda" else known)


def taken(active: Iterable[Run], here: Machine) -> frozenset[str]:
    """All that some runs compute on."""
    return frozenset().union(*(held(run, here) for run in active))


def free_for(recipe: Recipe, busy: frozenset[str], here: Machine) -> tuple[str, ...]:
    """What a recipe's run would get while others are `busy`: a GPU for each of its processes; empty where it must wait.

    A run that wants more GPUs than there are gets them all, and says so itself.
    """
    kind = kind_of(recipe, here)
    every = names(kind, here)
    free = [name for name in every if name not in busy]
    wanted = min(recipe.training.processes, len(every)) if kind == "cuda" else 1
    return tuple(free[:wanted]) if len(free) >= wanted else ()


def gpus(devices: Iterable[str]) -> list[str]:
    """CUDA's own names of the GPUs among some devices."""
    return [name.removeprefix("cuda:") for name in devices if name.startswith("cuda:")]


def _listed(visible: str | None) -> tuple[str, ...]:
    return tuple(each.strip() for each in (visible or "").split(",") if each.strip())
