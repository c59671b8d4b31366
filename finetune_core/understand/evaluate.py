"""How good a run's model is: on its validation images, on those that were put aside for a test, or on others.

What a test says is worth something only if nothing was chosen by it: each look at it is written into the run's folder.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from finetune_core.data.cache import decoded
from finetune_core.data.chosen import of_run
from finetune_core.data.loader import Batches
from finetune_core.data.pipeline import eval_pipeline, train_pipeline
from finetune_core.errors import UserError
from finetune_core.parts import Source
from finetune_core.parts.sources import Archive, Folder
from finetune_core.parts.sources.samples import Samples
from finetune_core.parts.tasks import Targets
from finetune_core.places import is_there
from finetune_core.records import Count, Evaluated
from finetune_core.runs.states.predictions import Predictions
from finetune_core.runs.store import Run
from finetune_core.training.metrics import Meter
from finetune_core.training.session import autocast
from finetune_core.understand import many, predict
from finetune_core.understand.predict import Predictor
from finetune_core.wording import count as counted
from finetune_core.wording import few, shown

On = Literal["valid", "test"]


@dataclass(frozen=True)
class Look:
    """What a look at images has shown: the scores, what was answered to each image, and notes.

    `plain` are the answers to one view where several were asked for. Notes say what has changed since the run began, or
    was left out.
    """

    found: Evaluated
    answers: Predictions
    plain: Predictions
    targets: Targets
    notes: tuple[str, ...]


def evaluate(run: Run, on: On | Path, count: Count | None = None, views: int = 0) -> Look:
    """Measure the run's best weights on images that it began with, or on those of a folder, an archive or a table.

    With `views` the answer to each of its own images is the mean of that many drawn by the run's augmentation and of
    the plain one (test-time augmentation). UserErrors where there are no such images, none that can be read, or such
    as have names that the run does not know.
    """
    if views and isinstance(on, Path):
        raise UserError("Other images are measured by one view.", f"{views} were asked for.", "Leave --views out.")
    predictor = predict.load(run)
    with torch.inference_mode(), autocast(predictor.device, run.recipe.training.precision):
        if isinstance(on, Path):
            answers, notes = _others(run, predictor, on, count)
            plain = answers
        else:
            answers, plain, notes = _own(run, predictor, on, count, views)
    meter = Meter(predictor.targets, torch.device("cpu"), everything=True)
    meter.update(torch.from_numpy(answers.outputs), torch.from_numpy(answers.wanted))
    found = Evaluated(str(on), len(answers.images), meter.scores(), meter.by_name(), time.time(), views=views)
    if on == "test":
        run.keep_test(found)
        found = replace(found, look=len(run.tests()))
    return Look(found, answers, plain, predictor.targets, tuple(notes))


def _own(
    run: Run, predictor: Predictor, on: On, count: Count | None, views: int
) -> tuple[Predictions, Predictions, tuple[str, ...]]:
    """Images that it began with, as they were decoded for it."""
    recipe, targets = run.recipe, predictor.targets
    data = recipe.data
    samples, parts, notes = of_run(data, run.begun)
    wanted = {"valid": parts.valid, "test": parts.test}[on]
    if not len(wanted):
        raise UserError(
            "The run has no test images.",
            "None were put aside when it began.",
            "Put some aside before training (data.test_share, or a folder called test).",
        )
    images = decoded(samples, data.side, "skip", count, data.channels)
    left = np.setdiff1d(wanted, [index for index, _ in images.bad])
    labels = targets.encoded(samples.labels)
    common = images, labels, left
    size, seed = 2 * recipe.training.batch_size, recipe.training.seed
    plain = Batches(*common, eval_pipeline(data), size, seed, False, augment=False)
    drawn = Batches(*common, train_pipeline(recipe.augment, data), size, seed, False)
    outputs: list[np.ndarray] = []
    for batches, epoch in ((plain, 0), *((drawn, view) for view in range(views))):
        answers: list[Tensor] = []
        for inputs, _ in batches.epoch(epoch):
            answers.append(predictor.network.module(predictor.normalised(inputs)).float().cpu())
            if count:
                count(len(outputs) * len(left) + sum(map(len, answers)), (views + 1) * len(left))
        outputs.append(torch.cat(answers).numpy())
    mean = targets.about.averaged([targets] * len(outputs), outputs) if views else outputs[0]
    places = tuple(samples.place(int(index)) for index in left)
    made, plainly = (Predictions(places, labels[left], each.astype(np.float32), 0) for each in (mean, outputs[0]))
    return made, plainly, notes


def _others(run: Run, predictor: Predictor, on: Path, count: Count | None) -> tuple[Predictions, tuple[str, ...]]:
    """Images from elsewhere, read as those of the run were; what cannot be read is left out, and said."""
    samples = _listed(run.recipe.data.source, predictor.targets, on)
    labels = _labels(samples, predictor.targets, on)
    outputs: list[np.ndarray] = []
    done, good = 0, list[int]()
    for batch in many.read(predictor, samples.paths, count):
        whole = [each for each in batch if not isinstance(each, str)]
        good += [done + place for place, each in enumerate(batch) if not isinstance(each, str)]
        done += len(batch)
        if whole:
            outputs.append(predictor.network.module(predictor.normalised(torch.stack(whole))).float().cpu().numpy())
    if not good:
        raise UserError(f"None of the images in {shown(on)} can be read.", hint="Name images that can be opened.")
    left = done - len(good)
    said = (f"{counted(left, 'image')} cannot be read and {'is' if left == 1 else 'are'} left out.",) * bool(left)
    places = tuple(samples.place(index) for index in good)
    return Predictions(places, labels[good], np.concatenate(outputs), 0), (*said, *samples.notes)


def _listed(own: Source, targets: Targets, place: Path) -> Samples:
    """The images as the run's own kind of source finds them there, else, of classes, as a folder or archive."""
    path, first = str(place), None
    if not is_there(path):
        raise UserError(f"{shown(place)[:200]} is not there.", "No such file or folder.", "Check the path.")
    ways: list[Source] = [own.replace(path=path)] if hasattr(own, "path") else []
    if targets.about.exclusive:
        ways.append(Folder(path=path) if place.is_dir() else Archive(path=path))
    for way in ways:
        try:
            found = way.samples()
        except UserError as error:
            first = first or error
            continue
        if found.task == targets.task and {*found.classes} <= {*targets.names}:
            return found
        first = UserError(
            f"{shown(place)} holds what the run does not know: {few(set(found.classes) - set(targets.names))}.",
            f"It knows the {targets.about.nouns} that it has learned: {few(targets.names)}.",
            "Name folders and columns as in its own data.",
        )
    raise first or UserError(f"{shown(place)} cannot be measured on.", "It is no folder of images.", "Name one.")


def _labels(samples: Samples, targets: Targets, place: Path) -> np.ndarray:
    """Their labels as the run counts its names."""
    where = [targets.names.index(name) for name in samples.classes]
    if targets.about.exclusive:
        return targets.encoded([where[label] for label in samples.labels])  # type: ignore[index]
    if missing := [name for name in targets.names if name not in samples.classes and not targets.about.counted]:
        raise UserError(f"{shown(place)} lacks {few(missing)}.", "The run has learned it.", "Add the column.")
    rows = np.zeros((len(samples), len(targets.names)))
    rows[:, where] = np.array(samples.labels)
    return targets.encoded([tuple(row) for row in rows.tolist()])
