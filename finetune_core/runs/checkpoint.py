"""Checkpoints: a run's weights as plain safetensors files, and what going on needs beside them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from finetune_core.network import build
from finetune_core.runs.folder import Folder
from finetune_core.training.loop import Save, Trainer


def save(folder: Folder, trainer: Trainer, wish: Save) -> None:
    """Write the weights and the resume state; each file is whole or not there at all.

    The end of a phase is weights alone, since the state was saved with its last epoch.
    """
    if wish.phase_end is not None:
        _keep(folder, trainer, folder.phase_end(wish.phase_end))
        return
    _keep(folder, trainer, *([folder.best] if wish.best else []), folder.last)
    state = trainer.state()  # in which every process has a part
    folder.replace(folder.resume_state, lambda path: torch.save(state, path))


def _keep(folder: Folder, trainer: Trainer, *paths: Path) -> None:
    """Write the weights as they are now into files, with what it takes to build the network again."""
    session, network = trainer.session, trainer.session.network
    facts = build.description(session.recipe.model, network, len(session.targets.names))
    facts["targets"] = json.dumps(asdict(session.targets))

    def write(draft: Path) -> None:  # only by the process that writes: a copy of the network is large
        save_file(build.apart(trainer.kept.state_dict()), draft, facts)

    for path in paths:
        folder.replace(path, write)


def restore(folder: Folder, trainer: Trainer) -> None:
    """Bring a trainer back to where its run was saved last."""
    state = torch.load(folder.resume_state, map_location="cpu", weights_only=True)
    if "kept" not in state:  # version 1 left them to the other file
        state["kept"] = load_file(folder.last)
    trainer.restore(state)
