"""Checkpoints: a run's weights as plain safetensors files, and states, from each of which a run can go on exactly.

A state is one file that holds everything, the weights under their own names; it is whole and on the disk before an
older one goes, and it carries a digest. So a kill, a power cut or a damaged disk costs at most what came after the
state before. The weights for people (best, last, ends of phases) are written beside it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from finetune_core.errors import UserError
from finetune_core.network import build
from finetune_core.parts.backbones import reading, seals
from finetune_core.parts.backbones.weight_files import APART
from finetune_core.recipe import Recipe
from finetune_core.recipe.diff import differences
from finetune_core.runs.folder import Folder
from finetune_core.runs.states import facts, predictions
from finetune_core.runs.states.lineage import lineage
from finetune_core.runs.states.packing import packed, unpacked
from finetune_core.runs.states.predictions import Predictions
from finetune_core.training.loop import Save, Trainer

# What may change between two stretches of one run: where and how often it is kept, not what it learns.
FREE = (
    "name",
    "training.device",
    "training.save_minutes",
    "training.checkpoints",
    "training.truth_every",
    "data.source.",
)
OS_ERROR = re.compile(r"\(os error (\d+)\)")
OLDER = "The checkpoint of step {newer} is damaged; the run goes on from the one before, of step {older}."


@dataclass(frozen=True)
class State:
    """What was read of a state file: the step it was saved at, and the trainer's state."""

    step: int
    trainer: dict[str, Any]


def save(folder: Folder, trainer: Trainer, wish: Save = Save()) -> None:  # noqa: B008 - frozen
    """Keep the trainer as it is now; of several processes all must call it. UserError where the disk is full.

    The end of a phase is weights alone, since the state was saved with its last epoch.
    """
    with folder.writing("the checkpoint"):
        if wish.phase_end is not None:
            _keep(folder, trainer, folder.phase_end(wish.phase_end))
            return
        state = trainer.state()  # in which every process has a part
        folder.replace(folder.state_file(trainer.done), lambda path: _write_state(path, trainer, state), lasting=True)
        if wish.best:
            _set_aside(folder)
            _keep(folder, trainer, folder.best)
            _keep_answers(folder, trainer)
        if wish.weights:
            _keep(folder, trainer, folder.last)
        _forget(folder, trainer.session.recipe.training.checkpoints)


def _keep_answers(folder: Folder, trainer: Trainer) -> None:
    """What the epoch that has just ended answered to each validation image."""
    if made := trainer.measured:
        images = trainer.session.measured_on
        predictions.save(folder, Predictions(images, made.wanted, made.outputs, trainer.at.epoch))


def restore(folder: Folder, trainer: Trainer) -> list[str]:
    """Bring a trainer to where its run was saved last; what there is to say about that.

    Nothing happens where nothing was saved. UserError where all that was saved is damaged, or the recipe has changed.
    """
    notes: list[str] = []
    for path in folder.states:
        try:
            state = read(path)
        except UserError as error:
            notes.append(str(error))
            continue
        if not _branched(folder, state.step):
            _check_recipe(path, trainer.session.recipe)
        trainer.restore(state.trainer)
        if notes:
            notes = [OLDER.format(newer=facts.step(folder.states[0]), older=state.step)]
            for damaged in folder.states[: folder.states.index(path)]:  # else they would count among the newest
                folder.remove(damaged)
        if not _holds(folder.last, trainer.done):  # killed in between
            _keep(folder, trainer, folder.last)
        return [*notes, *_match_best(folder, trainer)]
    if notes:
        hint = "Start a new run with this recipe; its best weights may still be whole."
        raise UserError("No checkpoint of this run can be read.", notes[0], hint)
    if folder.resume_state.exists():
        trainer.restore(_of_version_2(folder))
    elif folder.last.exists() or folder.best.exists():  # a state is always written before them
        why, hint = "Its weights are there, and no state to go on from.", "Start a new run with them: `train --from`."
        raise UserError("The checkpoints of this run are gone.", why, hint)
    return []


def read(path: Path) -> State:
    """A state file; UserError where it is damaged."""
    tensors, facts = reading.sealed(path)
    try:
        apart = {name.removeprefix(APART): value for name, value in tensors.items() if name.startswith(APART)}
        kept = {name: value for name, value in tensors.items() if not name.startswith(APART)}
        return State(int(facts["step"]), {**unpacked(apart, facts["state"]), "kept": kept})
    except (KeyError, ValueError) as error:
        raise UserError(f"{path.name} is no checkpoint to go on from.", f"{error}.", "Choose another one.") from error


def _write_state(path: Path, trainer: Trainer, state: Mapping[str, Any]) -> None:
    kept = build.apart(state["kept"])
    tensors, rest = packed({name: value for name, value in state.items() if name != "kept"})
    recipe = json.dumps(trainer.session.recipe.model_dump(mode="json"))
    said = {**_description(trainer), "state": rest, "recipe": recipe}
    _write(path, {**kept, **{f"{APART}{name}": value for name, value in tensors.items()}}, said)


def _keep(folder: Folder, trainer: Trainer, path: Path) -> None:
    """Write the weights as they are now, with what it takes to build the network again."""

    def write(draft: Path) -> None:  # only by the process that writes: a copy of the network is large
        _write(draft, build.apart(trainer.kept.state_dict()), _description(trainer))

    folder.replace(path, write, lasting=True)


def _write(path: Path, tensors: dict[str, Tensor], said: dict[str, str]) -> None:
    try:
        save_file(tensors, path, seals.sealed(tensors, said))
    except SafetensorError as error:  # it has words of its own for what the system refuses, such as a full disk
        number = OS_ERROR.search(str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


def _description(trainer: Trainer) -> dict[str, str]:
    session = trainer.session
    said = build.description(session.recipe.model, session.network, len(session.targets.names))
    return {**said, "targets": json.dumps(asdict(session.targets)), "step": str(trainer.done)}


def _set_aside(folder: Folder) -> None:
    """Let the best so far stay until the next one, for whoever goes back to the state before this one."""
    if folder.best.exists():
        folder.copy(folder.best, folder.best_before)


def _match_best(folder: Folder, trainer: Trainer) -> list[str]:
    """Have the best weights be those that the trainer remembers: a kill may have left others, or none."""
    if not trainer.best_step or _holds(folder.best, trainer.best_step):
        return []
    if _holds(folder.best_before, trainer.best_step):
        folder.copy(folder.best_before, folder.best)
    elif trainer.done == trainer.best_step:
        _keep(folder, trainer, folder.best)
    else:
        trainer.forget_best()
        return ["The best weights so far are not there; the best of the epochs that follow takes their place."]
    return []


def _holds(path: Path, step: int) -> bool:
    """Whether a file has the weights of that step, undamaged."""
    if facts.read(path).get("step") != str(step):
        return False
    try:
        reading.sealed(path)
    except UserError:
        return False
    return True


def _forget(folder: Folder, count: int) -> None:
    for path in folder.states[count:]:
        folder.remove(path)


def _branched(folder: Folder, step: int) -> bool:
    """Whether a state is of the run that this one was branched from, which had another recipe."""
    origin = lineage(folder)
    return origin is not None and step <= origin.step


def _check_recipe(path: Path, recipe: Recipe) -> None:
    """A UserError where the run's recipe is no longer the one that its checkpoint was made with."""
    changed = [each for each in differences(facts.recipe(path), recipe) if not each[0].startswith(FREE)]
    if changed:
        place, before, now = changed[0]
        raise UserError(
            f"The recipe of this run has changed since it was saved: {place} was {before} and is {now}.",
            "What it has learned and recorded belongs to the recipe as it was.",
            "Put the recipe back, or branch from the checkpoint with the new one.",
        )


def _of_version_2(folder: Folder) -> dict[str, Any]:
    """The state of a run from before states were files of their own."""
    try:
        state: dict[str, Any] = torch.load(folder.resume_state, map_location="cpu", weights_only=True)
        if "kept" not in state:  # version 1 left them to the other file
            state["kept"] = load_file(folder.last)
    except Exception as error:  # on garbage the unpickler fails in any way it can
        what = f"{folder.resume_state.name}, from which the run would go on, is damaged."
        raise UserError(what, f"{error}".split("\n")[0], "Start a new run with this recipe.") from error
    return state
