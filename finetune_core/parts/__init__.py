"""Everything a person can choose, by family. Importing this never imports torch."""

from typing import Any

from pydantic import ValidationError

from finetune_core.parts.backbones import Backbone, Weights
from finetune_core.parts.base import Call, Knob, Part, Section, knob
from finetune_core.parts.engines import Engine
from finetune_core.parts.fixes import Fix
from finetune_core.parts.heads import Head
from finetune_core.parts.jobs import Job
from finetune_core.parts.losses import Loss
from finetune_core.parts.mixing import Mixing
from finetune_core.parts.optimizers import Optimizer
from finetune_core.parts.sampling import Sampling
from finetune_core.parts.schedules import Progress, Schedule
from finetune_core.parts.sources import Source
from finetune_core.parts.trackers import Tracker
from finetune_core.parts.transforms import Transform

FAMILIES: dict[str, type[Part]] = {
    "source": Source,
    "fix": Fix,
    "transform": Transform,
    "backbone": Backbone,
    "weights": Weights,
    "head": Head,
    "schedule": Schedule,
    "optimizer": Optimizer,
    "loss": Loss,
    "mixing": Mixing,
    "sampling": Sampling,
    "job": Job,
    "engine": Engine,
    "tracker": Tracker,
}


def family(part: Part) -> type[Part]:
    """The family that a part belongs to."""
    return next(cls for cls in FAMILIES.values() if isinstance(part, cls))


def changed_kind(part: Part, kind: str) -> dict[str, Any]:
    """Plain data for another part of the same family, keeping what means the same in both."""
    cls = family(part).kinds()[kind]
    said = {name: value for name, value in part.model_dump(mode="json").items() if name in cls.model_fields}
    return {"kind": kind, **{name: value for name, value in said.items() if _alike(part, cls, name, value)}}


def _alike(part: Part, other: type[Part], name: str, value: Any) -> bool:
    """Whether a value means the same in another part: a folder is no table, and what is chosen must be there too."""
    here, there = part.knob(name), other.knob(name)
    if (here.type, here.path) != (there.type, there.path):
        return False
    try:
        other.model_validate({name: value})
    except ValidationError:
        return False
    return True


__all__ = [
    "FAMILIES",
    "Backbone",
    "Call",
    "Engine",
    "Fix",
    "Head",
    "Job",
    "Knob",
    "Loss",
    "Mixing",
    "Optimizer",
    "Part",
    "Progress",
    "Sampling",
    "Schedule",
    "Section",
    "Source",
    "Tracker",
    "Transform",
    "Weights",
    "changed_kind",
    "family",
    "knob",
]
