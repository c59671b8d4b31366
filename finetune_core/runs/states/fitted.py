"""What was fitted to a model's answers to its validation images, and is kept with it: it changes what it answers.

It belongs to the weights that gave those answers. Once the run has better ones it counts no more.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace

from pydantic import TypeAdapter

from finetune_core.parts.tasks import Targets
from finetune_core.places import stamp
from finetune_core.runs.folder import Folder, damaged, read_json, shaped
from finetune_core.runs.states import facts


@dataclass(frozen=True)
class Fitted:
    """A temperature that outputs for classes are divided by, or the probability from which on each tag counts."""

    temperature: float = 1.0
    thresholds: tuple[float, ...] = ()


@dataclass(frozen=True)
class _Saved(Fitted):
    step: str = ""  # at which the weights were saved


_SAVED = TypeAdapter(_Saved)


def load(run: Folder) -> Fitted | None:
    """What is kept with the best weights; None where nothing is. A UserError where it is damaged."""
    found = read_json(run.fitted_file)
    if found is None:
        return None
    saved = shaped(run.fitted_file, _SAVED, found)
    shares = all(0 < each < 1 for each in saved.thresholds)
    if not (shares and 0 < saved.temperature < math.inf):
        raise damaged(run.fitted_file, "It holds numbers that cannot be")
    return Fitted(saved.temperature, saved.thresholds) if saved.step == _step(run) else None


def save(run: Folder, found: Fitted | None) -> None:
    """Keep it with the best weights, or nothing any more. A UserError where the disk refuses it."""
    with run.writing("what was fitted"):
        if found is None:
            run.remove(run.fitted_file)
        else:
            run.write_json(run.fitted_file, asdict(_Saved(**asdict(found), step=_step(run))))


def applied(run: Folder, targets: Targets) -> Targets:
    """Targets with what is kept; a UserError where that was made for other names."""
    found = load(run)
    if found is None:
        return targets
    if len(found.thresholds) not in (0, len(targets.names)):
        raise damaged(run.fitted_file, "It holds another number of thresholds than there are tags")
    return replace(targets, **asdict(found))


def _step(run: Folder) -> str:
    return facts.read(run.best).get("step") or repr(stamp(run.best))
