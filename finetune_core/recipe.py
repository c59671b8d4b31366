"""The recipe: a whole experiment as one immutable, validated, versioned value, YAML on disk.

Pages edit a draft recipe, the worker runs it, the run folder keeps it, the command line takes it.
Nothing that affects the result lives anywhere else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import SerializeAsAny, ValidationError, model_validator

from finetune_core.errors import UserError
from finetune_core.parts import Backbone, Head, Loss, Optimizer, Schedule, Section, Source, Transform, knob
from finetune_core.parts.backbones import Bundled, Timm
from finetune_core.parts.heads import Linear
from finetune_core.parts.losses import CrossEntropy
from finetune_core.parts.optimizers import AdamW
from finetune_core.parts.schedules import OneCycle
from finetune_core.parts.sources import Blooms
from finetune_core.parts.transforms import STANDARD


class Data(Section):
    """Which images, and how they are split and sized."""

    source: SerializeAsAny[Source] = Blooms()
    valid_share: float = knob(
        0.2, "Validation share", "Share of each class kept aside to measure on.", low=0.02, high=0.9
    )
    split_seed: int = knob(0, "Split seed", "Another number gives another split.", low=0, high=2**31 - 1, more=True)
    image_size: int = knob(128, "Image size", "Side of the square that the model sees.", low=32, high=1024, unit="px")
    unreadable: Literal["stop", "skip"] = knob(
        "stop", "Unreadable images", "Stop and name them, or leave them out.", more=True
    )


class Model(Section):
    """Which network: a pretrained backbone and a new head."""

    backbone: SerializeAsAny[Backbone] = Timm(architecture="resnet10t", weights=Bundled())
    head: SerializeAsAny[Head] = Linear()


class Phase(Section):
    """A stretch of training with one choice of thawed layer groups and rates."""

    epochs: int = knob(5, "Epochs", "How often every training image is seen.", low=1, high=1000)
    thaw: tuple[str, ...] = knob(
        ("head",), "Thawed groups", "Names of the layer groups that train; * and ? stand for any letters."
    )
    learning_rate: float = knob(
        3e-3, "Learning rate", "Peak size of the optimizer's steps.", low=1e-9, high=100.0, log=True
    )
    multipliers: dict[str, float] = knob(
        {}, "Rate per group", "A factor on the learning rate for single groups, such as 0.1 for layer4.", more=True
    )
    schedule: SerializeAsAny[Schedule] = OneCycle()
    norm_statistics: Literal["hold", "update"] = knob(
        "hold",
        "Norm statistics",
        "BatchNorm in frozen groups: hold the statistics of its pretraining, or normalise by each batch and let them "
        "adapt to your images while the weights stay.",
        more=True,
    )

    @model_validator(mode="after")
    def _multipliers_are_positive(self) -> Self:
        for group, factor in self.multipliers.items():
            if not 0 < factor <= 1e4:
                raise ValueError(f"the multiplier of {group} is {factor:g}; it must lie above 0 and at most 10000")
        return self


# How the default recipe begins: for the bundled backbone on Blooms the last two stages at a third of the head's rate
# gave the best accuracy that two CPU cores reach in a minute.
START = Phase(thaw=("layer3", "layer4", "head"), multipliers={"layer3": 0.33, "layer4": 0.33})


class Training(Section):
    """What stays the same over all phases."""

    batch_size: int = knob(32, "Batch size", "Images per optimizer step.", low=1, high=4096, log=True)
    optimizer: SerializeAsAny[Optimizer] = AdamW()
    loss: SerializeAsAny[Loss] = CrossEntropy()
    precision: Literal["fp32", "bf16", "fp16"] = knob("fp32", "Precision", "Number format of the forward pass.")
    device: Literal["auto", "cpu", "cuda", "mps"] = knob("auto", "Device", "Where to train; auto takes the fastest.")
    accumulate: int = knob(
        1,
        "Micro-batches",
        "Work through each batch in this many parts: the same step in less memory. BatchNorm, and losses that look at "
        "a batch as a whole, see one part at a time.",
        low=1,
        high=256,
        more=True,
    )
    clip_norm: float = knob(
        0.0,
        "Clip gradients",
        "Longest gradient a step may follow, over all thawed weights; longer ones are shortened. 0 sets no limit.",
        low=0.0,
        high=1000.0,
        log=True,
        more=True,
    )
    l1: float = knob(
        0.0,
        "L1",
        "Pulls weights towards exactly zero, norm layers and biases left out; the loss is shown without it. 0 is off, "
        "1e-5 is gentle.",
        low=0.0,
        high=1.0,
        log=True,
        more=True,
    )
    ema: float = knob(
        0.0,
        "Weight averaging",
        "Keep a running average of the weights, which is measured and saved in their place. 0.99 looks back about 100 "
        "steps; 0 is off.",
        low=0.0,
        high=0.99999,
        more=True,
    )
    seed: int = knob(0, "Seed", "Fixes head, order of images and augmentation.", low=0, high=2**31 - 1, more=True)


class Recipe(Section):
    """The whole experiment."""

    version: Literal[1] = 1
    name: str = knob("", "Name", "What you want to call this experiment.")
    data: Data = Data()
    augment: tuple[SerializeAsAny[Transform], ...] = STANDARD
    model: Model = Model()
    phases: tuple[Phase, ...] = (START,)
    training: Training = Training()

    @model_validator(mode="after")
    def _has_a_phase(self) -> Self:
        if not self.phases:
            raise ValueError("a recipe needs at least one phase")
        return self

    @property
    def epochs(self) -> int:
        """Epochs of all phases together."""
        return sum(phase.epochs for phase in self.phases)

    def with_value(self, path: str, value: Any) -> Recipe:
        """A validated copy with one value changed, by dotted path such as `phases.0.learning_rate`."""
        tree = self.model_dump(mode="json")
        *steps, last = (int(step) if step.isdigit() else step for step in path.split("."))
        try:
            node: Any = tree
            for step in steps:
                node = node[step]
            node[last] = value
        except (KeyError, IndexError, TypeError) as error:
            hint = "See the names with `python -m finetune_core init -`."
            raise UserError(f"A recipe has no value at {path}.", hint=hint) from error
        return parse(tree)

    def to_yaml(self) -> str:
        """The recipe as it stands in files."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def save(self, path: Path) -> None:
        """Write the YAML file."""
        path.write_text(self.to_yaml(), encoding="utf-8")


def load(path: Path) -> Recipe:
    """Read a recipe file; a UserError says in words what is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"The recipe {path} cannot be read.", f"{error.strerror}.", "Check the path, or write one with `init`."
        ) from error
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(
            f"The recipe {path} is not valid YAML.", " ".join(str(error).split()), "Mend that line."
        ) from error
    return parse(tree)


def parse(tree: Any) -> Recipe:
    """A recipe from plain data; a UserError names the first field that is wrong."""
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise _explained(error) from error


def _explained(error: ValidationError) -> UserError:
    first, more = error.errors()[0], error.error_count() - 1
    place = ".".join(str(step) for step in first["loc"]) or "the recipe"
    others = f" ({more} more like this.)" if more else ""
    if first["type"] == "extra_forbidden":
        return UserError(f"The recipe has an unknown field {place}.{others}", hint="Remove it or mend its spelling.")
    reason = first["msg"].removeprefix("Value error, ")
    reason = reason[0].upper() + reason[1:]
    return UserError(
        f"The recipe's value for {place} does not fit.{others}", f"{reason}.", f"It was {first['input']!r:.80}."
    )
