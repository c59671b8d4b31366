"""Taking a run's model away: one zip file with the model, what it needs, and what a check of it has shown.

The check asks the model that people get, by the very `look.py` that goes along, about the run's validation images as
they lie on the disk, and compares that with what the run's own model answers to them. The web page is made of an ONNX
model that was checked so.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from finetune_core import places
from finetune_core.data.chosen import of_run
from finetune_core.data.image import UnreadableError, is_deep
from finetune_core.errors import UserError
from finetune_core.export import looking
from finetune_core.export.checked import Check, weights_of
from finetune_core.export.formats import FORMATS, Format, Making
from finetune_core.parts.sources.samples import Samples
from finetune_core.parts.tasks import Targets
from finetune_core.records import Count
from finetune_core.runs.shelf import naming
from finetune_core.runs.store import Run
from finetune_core.understand import predict

CHECKED = 200  # validation images
NEAR = 1e-3  # of a number's spread among the training images, within which two are the same
CALIBRATED = 64  # training images, by which ranges are measured where that is needed
STEPS = 3  # before the check: read, write, open
DRAFT = ".draft-export-"  # how the names of folders begin in which one is being made


def take(run: Run, key: str, out: Path | None = None, count: Count | None = None) -> tuple[Path, Check]:
    """Make the zip file of this format, at `out` or among the run's exports, and say what the check has shown.

    `count` hears how far it is. UserErrors where the run has no model, a package or an image is missing, or the network
    does not allow it.
    """
    form = FORMATS[key]
    form.check_packages()
    told = count or (lambda done, total: None)
    weights = weights_of(run) if run.best.exists() else ""
    predictor = predict.load(run, "cpu")
    if predictor.network.channels not in (1, 3):
        raise UserError(f"{form.title} takes grey or colour pictures.", "This model also looks at transparency.")
    form.prepare(told)
    told(0, CHECKED + STEPS)
    samples, learned, measured = _pictures(run)
    making = Making(run, predictor, [samples.paths[each] for each in _spread(learned, CALIBRATED)], weights)
    told(1, CHECKED + STEPS)
    target = _target(run, form.key, out)
    place = places.Place(target.parent, "TMPDIR")
    with places.writing("the export", place=place):
        target.parent.mkdir(parents=out is not None, exist_ok=True)
        places.forget_folders(target.parent, DRAFT)
        with tempfile.TemporaryDirectory(prefix=DRAFT, dir=target.parent, ignore_cleanup_errors=True) as draft:
            folder = Path(draft)
            form.write(making, folder)
            told(2, CHECKED + STEPS)
            (folder / "names.json").write_text(json.dumps(predictor.targets.names), "utf-8")
            shares = predictor.targets.about.counted
            (folder / "look.py").write_text(looking.program(form.install, form.asking(making), shares), "utf-8")
            asked = _spread(measured, CHECKED)
            found = _check(making, _opened(folder), samples, asked, lambda done: told(STEPS + done, len(asked) + STEPS))
            if weights_of(run) != weights:
                raise UserError(
                    "The model has changed meanwhile.", "Its run has learned something better.", "Take it again."
                )
            (folder / "check.json").write_text(json.dumps(asdict(found), indent=1), "utf-8")
            form.finish(making, folder)
            (folder / "README.md").write_text(_readme(form, making, found), "utf-8")
            called = naming.for_file(run)
            places.replace_file(target, lambda file: _packed(folder, file, called))
    return target, found


def _readme(form: Format, making: Making, found: Check) -> str:
    """Ten lines for whoever opens the zip file."""
    recipe, predictor = making.run.recipe, making.predictor
    about, names, channels = predictor.targets.about, predictor.targets.names, predictor.network.channels
    colours = "grey" if channels == 1 else "RGB"
    values = "a probability each" if about.counted else "numbers in their own units"
    bars = zip(names, predictor.targets.thresholds, strict=False)
    counts = f"A tag counts from here on: {', '.join(f'{name} {bar:.4g}' for name, bar in bars)}.\n"
    lines = [
        f"# {naming.title(making.run)}\n",
        f"A {recipe.model.backbone.architecture}, fine-tuned with Thaw for {about.there(len(names))}.\n",
        f"{form.use}\n",
        "It answers to one whole picture, upright and on white, as numbers from 0 to 255 (uint8) of",
        f"height × width × {channels} ({colours}), which it scales, cuts and normalises by itself.",
        f"The answer has {len(names)} values in the order of `names.json`: {values}.\n",
        *[counts] * bool(predictor.targets.thresholds),
        f"{found.line()} More is in `check.json`.",
    ]
    return "\n".join(lines) + "\n"


def _target(run: Run, key: str, out: Path | None) -> Path:
    if out is None:
        return run.exports / f"{key}.zip"
    target = places.expanded(out)
    return target / f"{naming.for_file(run)}-{key}.zip" if target.is_dir() else target


def _packed(folder: Path, file: Path, name: str) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in sorted(folder.iterdir()):
            if each.is_file():
                archive.write(each, f"{name}/{each.name}")


def _pictures(run: Run) -> tuple[Samples, np.ndarray, np.ndarray]:
    """The run's images: which it learned from, and which it was measured on."""
    samples, parts, _ = of_run(run.recipe.data, run.begun)
    return samples, parts.train, parts.valid


def _spread(indices: np.ndarray, most: int) -> np.ndarray:
    """So many of them, evenly spread."""
    return indices[np.unique(np.linspace(0, len(indices) - 1, min(most, len(indices))).round().astype(int))]


def _opened(folder: Path) -> Callable[[Path], np.ndarray]:
    """`answers` of the folder's look.py."""
    spec = importlib.util.spec_from_file_location("thaw_look", folder / "look.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    answers: Callable[[Path], np.ndarray] = module.answers
    return answers


def _check(
    making: Making,
    answers: Callable[[Path], np.ndarray],
    samples: Samples,
    asked: Sequence[int] | np.ndarray,
    told: Callable[[int], None],
) -> Check:
    """Ask both about each picture; those that the run cannot read, or whose range it alone knows, are left out."""
    labels = making.predictor.targets.encoded(samples.labels)
    before, after, wanted, failed = [], [], [], 0
    for done, index in enumerate(asked, start=1):
        path = samples.paths[int(index)]
        told(done)
        if is_deep(path):
            continue
        try:
            values = making.predictor.values(path)
        except UnreadableError:
            continue
        try:
            after.append(torch.from_numpy(np.array(answers(path))))
        except Exception:  # noqa: BLE001 - whatever another library finds wrong with a file is counted, and said
            failed += 1
            continue
        before.append(values)
        wanted.append(labels[int(index)])
    if not before:
        why = (
            "Of its validation images none can be read, or all have more than 8 bits, whose range the run alone knows."
        )
        raise UserError("The model cannot be checked.", why, "Take the run along whole instead (export-run).")
    return _compared(making, before, after, wanted, failed)


def _compared(
    making: Making, before: Sequence[Tensor], after: Sequence[Tensor], wanted: Sequence[Any], failed: int
) -> Check:
    targets = making.predictor.targets
    right = partial(targets.about.right, targets)
    pairs = list(zip(before, after, strict=True))
    return Check(
        images=len(pairs) + failed,
        same=sum(_same(targets, one, other) for one, other in pairs),
        worst=max(float((one.double() - other.double()).abs().max()) for one, other in pairs),
        right_before=sum(bool(right(one, label)) for one, label in zip(before, wanted, strict=True)),
        right_after=sum(bool(right(one, label)) for one, label in zip(after, wanted, strict=True)),
        judged=right(before[0], wanted[0]) is not None,
        weights=making.weights,
        failed=failed,
    )


def _same(targets: Targets, one: Tensor, other: Tensor) -> bool:
    """Whether two answers come to the same class or tags; numbers where a thousandth of their spread lies between."""
    about = targets.about
    if about.counted:
        said, also = ({*about.seen(targets, about.answers(targets, each, len(each)))} for each in (one, other))
        return said == also
    return bool(((one - other).abs() <= NEAR * torch.tensor(targets.std, dtype=torch.float64)).all())
