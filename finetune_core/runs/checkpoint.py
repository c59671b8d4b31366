"""Checkpoints: a run's weights as plain safetensors files, and what going on needs beside them."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from finetune_core.network import build
from finetune_core.runs.store import Run
from finetune_core.training import distributed
from finetune_core.training.loop import Save, Trainer


def save(run: Run, trainer: Trainer, wish: Save) -> None:
    """Write the weights and the resume state; each file is whole or not there at all.

    The end of a phase is weights alone, since the state was saved with its last epoch.
    """
    if wish.phase_end is not None:
        keep(trainer, run.phase_end(wish.phase_end))
        return
    keep(trainer, *([run.best] if wish.best else []), run.last)
    state = trainer.state()  # in which every process has a part
    if distributed.first():
        _replace(run.resume_state, lambda path: torch.save(state, path))


def keep(trainer: Trainer, *paths: Path) -> None:
    """Write the weights as they are now into files, with what it takes to build the network again."""
    if not distributed.first():
        return
    session, network = trainer.session, trainer.session.network
    tensors = {name: value.detach().cpu().contiguous() for name, value in trainer.kept.state_dict().items()}
    facts = build.description(session.recipe.model, network, len(session.targets.names))
    facts["targets"] = json.dumps(asdict(session.targets))
    for path in paths:
        _replace(path, lambda draft: save_file(tensors, draft, facts))


def restore(run: Run, trainer: Trainer) -> None:
    """Bring a trainer back to where its run was saved last."""
    trainer.kept.load_state_dict(load_file(run.last))
    trainer.restore(torch.load(run.resume_state, map_location="cpu", weights_only=True))


def _replace(path: Path, write: Any) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    write(draft)
    draft.replace(path)
