"""The recipe: a whole experiment as one immutable, validated, versioned value, YAML on disk.

Pages edit a draft recipe, the worker runs it, the run folder keeps it, the command line takes it.
Nothing that affects the result lives anywhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import SerializeAsAny, field_validator, model_validator

from finetune_core.errors import UserError
from finetune_core.parts import (
    Backbone,
    Head,
    Loss,
    Mixing,
    Optimizer,
    Sampling,
    Schedule,
    Section,
    Source,
    Transform,
    knob,
)
from finetune_core.parts.backbones import Bundled, Timm
from finetune_core.parts.fixes import Fix
from finetune_core.parts.heads import Linear
from finetune_core.parts.losses import CrossEntropy
from finetune_core.parts.mixing import Unmixed
from finetune_core.parts.optimizers import AdamW
from finetune_core.parts.sampling import Once
from finetune_core.parts.schedules import OneCycle
from finetune_core.parts.sources import Blooms
from finetune_core.parts.tasks import TASKS, Task
from finetune_core.parts.transforms import STANDARD
from finetune_core.recipe import holding, migrate

# libyaml's where it is there, ten times as quick; both know plain data only
SAFE: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DUMPER: type[Any] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

LARGEST = 1_000_000  # letters of a recipe
MOST = 100_000  # values in one
DEEPEST = 50  # levels of one


PLAIN_NUMBERS = {"int": r"[-+]?(0|[1-9]\d*)", "float": r"[-+]?(\d+\.\d*|\.\d+)([eE][-+]\d+)?"}


def _with_plain_numbers(safe: type[Any]) -> type[Any]:
    """A loader that knows numbers in their plain form alone; the rest is text, which the fields read.

    To YAML 010 is 8, 1_000 is 1000 and 1:30 is 90.
    """
    loader: Any = type("_Loader", (safe,), {})
    loader.yaml_implicit_resolvers = {
        letter: [(tag, pattern) for tag, pattern in known if not tag.endswith((":int", ":float"))]
        for letter, known in safe.yaml_implicit_resolvers.items()
    }
    for kind, pattern in PLAIN_NUMBERS.items():
        loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(f"(?a:{pattern})$"), "+-.0123456789")
    return loader


_Loader = _with_plain_numbers(SAFE)


class Data(Section):
    """Which images, and how they are split and sized."""

    source: SerializeAsAny[Source] = Blooms()
    fixes: tuple[SerializeAsAny[Fix], ...] = knob(
        (),
        "Fixes",
        "What was mended by hand: images left out, moved, relabelled. The files stay as they are.",
        more=True,
    )
    valid_share: float = knob(
        0.2,
        "Validation share",
        "Share of the images kept aside to measure on, alike from every class.",
        low=0.02,
        high=0.9,
    )
    test_share: float = knob(
        0.0,
        "Test share",
        "Share of the images put aside for a test at the very end, before all else: nothing is chosen by them.",
        low=0.0,
        high=0.9,
        more=True,
    )
    split_seed: int = knob(0, "Split seed", "Another number gives another split.", low=0, high=2**31 - 1, more=True)
    fold: int = knob(
        0,
        "Fold",
        "Which part of the images is the one to measure on: with a share of 0.2 there are five, 0 to 4. A sweep over "
        "all of them is a cross-validation.",
        low=0,
        high=49,
        more=True,
    )
    group: str = knob(
        "",
        "Group pattern",
        "A regular expression for the path below the folder: images in which it finds the same stay on one side of "
        r"the split, such as (patient_\d+) or (burst\d+).",
        more=True,
    )
    image_size: int = knob(
        128, "Image size", "Side of the square that the model sees.", low=32, high=1024, unit="px", step=32
    )
    crop_share: float = knob(
        0.875,
        "Middle",
        "Share of an image's short side that is seen when the model is measured and used; the rest is cut off around.",
        low=0.5,
        high=1.0,
        more=True,
    )
    keep_side: int = knob(
        0,
        "Kept side",
        "Short side at which images are kept for training to crop from, such as 460 px for a model that sees 224 "
        "(presizing): sharper small crops, slower reading. No less is kept than measuring needs.",
        low=0,
        high=4096,
        unit="px",
        more=True,
    )
    channels: Literal[1, 3, 4] = knob(
        3,
        "Channels",
        "What the model sees of an image: 1 is grey, 3 is colour, 4 is colour and transparency.",
        more=True,
    )
    unreadable: Literal["stop", "skip"] = knob(
        "stop", "Unreadable images", "Stop and name them, or leave them out.", more=True
    )

    @property
    def measured_side(self) -> int:
        """The short side in px to which an image is scaled before its middle is cut out to be measured on."""
        return round(self.image_size / self.crop_share)

    @property
    def side(self) -> int:
        """The short side in px at which images are kept."""
        return max(self.keep_side, self.measured_side)


class Model(Section):
    """Which network: a pretrained backbone and a new head."""

    backbone: SerializeAsAny[Backbone] = Timm(architecture="resnet10t", weights=Bundled())
    head: SerializeAsAny[Head] = Linear()
    split: tuple[str, ...] = knob(
        (), "Split groups", "Layer groups to be taken apart into their blocks, such as layer4.", more=True
    )
    merge: tuple[tuple[str, ...], ...] = knob(
        (), "Merged groups", "Neighbouring layer groups to be joined to one, such as stem and layer1.", more=True
    )


STATISTICS = {"hold": "hold", "update": "adapt", "batch": "by batch"}


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
        {},
        "Rate per group",
        "A factor on the learning rate for single groups, such as 0.1 for layer4.",
        low=1e-45,  # the least that float32 knows: rules may divide once for each of many groups
        high=1e4,
        log=True,
        more=True,
    )
    by_name: dict[str, float] = knob(
        {},
        "Rate by name",
        "A factor on their group's rate for single weights: part of a parameter's name as a regular expression, such "
        "as bn, or type:Conv2d for a kind of layer; what comes later counts.",
        low=1e-45,
        high=1e4,
        log=True,
        more=True,
    )
    schedule: SerializeAsAny[Schedule] = OneCycle()
    views: int = knob(
        0,
        "Views kept",
        "Draw each image so often and let these views take turns, an epoch each, or a few where the head learns alone: "
        "what frozen layers give for a view is worked out once and kept, so a head trains in seconds. 0 draws afresh "
        "in every epoch.",
        low=0,
        high=100,
        more=True,
    )
    norm_statistics: Literal["hold", "update", "batch"] = knob(
        "hold",
        "Norm statistics",
        "BatchNorm in frozen groups: hold the statistics of its pretraining, normalise by each batch and let them "
        "adapt to your images while the weights stay, or normalise by each batch in training alone, so that training "
        "and measuring differ.",
        more=True,
        words=STATISTICS,
    )
    norms: dict[str, Literal["hold", "update", "batch"]] = knob(
        {},
        "Norm statistics per group",
        "The same for single layer groups, thawed ones too, such as hold for layer4, whose weights then learn while "
        "it is normalised as in its pretraining; * and ? stand for any letters, and what comes later counts.",
        more=True,
        words=STATISTICS,
    )
    patience: int = knob(
        0,
        "End early",
        "End the phase after this many epochs without a better validation result, and go on from its best epoch. "
        "0 never ends early.",
        low=0,
        high=100,
        unit="epochs",
        more=True,
    )
    optimizer_state: Literal["keep", "reset"] = knob(
        "keep",
        "Optimizer memory",
        "What the optimizer remembers of gradients when the phase begins: keep it for groups that go on training, or "
        "start afresh.",
        more=True,
    )

    hold: tuple[str, ...] = knob(
        (),
        "Held",
        "What stays frozen within thawed groups: part of a parameter's name as a regular expression, such as bn, or "
        "type:Conv2d for a kind of layer.",
        more=True,
    )

    @field_validator("hold", "by_name")
    @classmethod
    def _rules_are_readable(cls, value: Iterable[str]) -> Iterable[str]:
        for rule in value:
            try:
                holding.meaning(rule)
            except UserError as error:
                raise ValueError(f"{error.what} {error.why}") from error
        return value


# How the default recipe begins: for the bundled backbone on Blooms the last two stages at a third of the head's rate
# gave the best accuracy that two CPU cores reach in a minute.
START = Phase(thaw=("layer3", "layer4", "head"), multipliers={"layer3": 0.33, "layer4": 0.33})


class Training(Section):
    """What stays the same over all phases."""

    batch_size: int = knob(32, "Batch size", "Images per optimizer step.", low=1, high=4096, log=True)
    optimizer: SerializeAsAny[Optimizer] = AdamW()
    loss: SerializeAsAny[Loss] = CrossEntropy()
    mix: SerializeAsAny[Mixing] = Unmixed()
    sampling: SerializeAsAny[Sampling] = Once()
    decay: dict[str, float] = knob(
        {},
        "Weight decay per group",
        "A factor on the optimizer's weight decay for single groups, such as 0 for stem; * and ? stand for any "
        "letters, and what comes later counts.",
        low=0.0,
        high=1e4,
        log=True,
        more=True,
    )
    decay_all: bool = knob(
        False,
        "Decay norm and bias too",
        "Weight decay also for norm layers and biases. They are few and overfit little, so it mostly harms.",
        more=True,
    )
    precision: Literal["fp32", "bf16", "fp16"] = knob("fp32", "Precision", "Number format of the forward pass.")
    device: Literal["auto", "cpu", "cuda", "mps"] = knob("auto", "Device", "Where to train; auto takes the fastest.")
    processes: int = knob(
        1,
        "Processes",
        "How many GPUs, or processes on the CPU, share each batch. BatchNorm, mixed images, and losses that look at a "
        "batch as a whole see one share at a time.",
        low=1,
        high=64,
        more=True,
    )
    sync_norm: bool = knob(
        False,
        "Norms over all processes",
        "Let BatchNorm see the batch of all GPUs together (SyncBatchNorm), for small shares. Torch has it for NVIDIA "
        "GPUs alone.",
        more=True,
    )
    tf32: bool = knob(
        False,
        "TF32",
        "Let NVIDIA GPUs from Ampere on multiply fp32 numbers with 10 instead of 23 bits of fraction: much faster, "
        "each product right to about three digits. No effect on other devices.",
        more=True,
    )
    fold: bool = knob(
        False,
        "Fold batch norm",
        "Work the batch norms of frozen layers into the convolutions before them: the same numbers but for rounding, "
        "and frozen layers work faster.",
        more=True,
    )
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
    save_minutes: float = knob(
        1.0,
        "Save every",
        "A run that is killed loses at most so much of its work; what ends an epoch is saved in any case. Where saving "
        "takes long it is done less often, so that it costs a twentieth of the time at most.",
        low=0.01,
        high=1440.0,
        unit="minutes",
        log=True,
        more=True,
    )
    checkpoints: int = knob(
        2,
        "Checkpoints kept",
        "How many of the newest states are kept, each with all that going on from it needs; weights of the best epoch "
        "and of the ends of phases are kept besides.",
        low=1,
        high=1000,
        more=True,
    )
    truth_every: int = knob(
        0,
        "Truth check every",
        "Look again after so many steps whether what is frozen is bit by bit the same; 0 looks in the first step of "
        "each phase alone.",
        low=0,
        high=1_000_000,
        unit="steps",
        more=True,
    )
    seed: int = knob(0, "Seed", "Fixes head, order of images and augmentation.", low=0, high=2**31 - 1, more=True)


class Recipe(Section):
    """The whole experiment."""

    version: Literal[2] = 2
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
    def task(self) -> Task:
        """What the network is to say about an image: its source knows."""
        return TASKS[self.data.source.task_kind]

    @property
    def epochs(self) -> int:
        """Epochs of all phases together."""
        return sum(phase.epochs for phase in self.phases)

    def with_value(self, path: str, value: Any) -> Recipe:
        """A validated copy with one value changed, by dotted path such as `phases.0.learning_rate`."""
        return self.with_values({path: value})

    def with_values(self, values: Mapping[str, Any]) -> Recipe:
        """The same with several, in their order. A UserError where one has no place, or does not fit."""
        tree = self.model_dump(mode="json")
        for path, value in values.items():
            *steps, last = (int(step) if step.isascii() and step.isdigit() else step for step in path.split("."))
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
        return yaml.dump(self.model_dump(mode="json"), Dumper=DUMPER, sort_keys=False, allow_unicode=True)

    def save(self, path: Path) -> None:
        """Write the YAML file."""
        path.write_text(self.to_yaml(), encoding="utf-8")


def load(path: Path) -> Recipe:
    """Read a recipe file; a UserError says in words what is wrong with it."""
    return loads(text_of(path), str(path))


def text_of(path: Path) -> str:
    """The text of a recipe file; UserErrors as `load`."""
    try:
        if path.stat().st_size > 4 * LARGEST:  # bytes, of which a letter has up to four
            raise _too_large(str(path))
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"The recipe {path} cannot be read.", f"{error.strerror}.", "Check the path, or write one with `init`."
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"The recipe {path} is no text.", f"{error}.", "Save it in UTF-8.") from error


def loads(text: str, name: str = "") -> Recipe:
    """A recipe from the text of a file called `name`; UserErrors as `load`."""
    return parse(tree_of(text, name))


def tree_of(text: str, name: str = "") -> Any:
    """The plain data of a recipe's text; a UserError where it is no YAML, or more than any recipe holds."""
    try:
        if len(text) > LARGEST:
            raise _too_large(name)
        _check_depth(text)
        tree = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, OverflowError, KeyError, AttributeError, TypeError, RecursionError) as error:
        # YAML's own words are YAMLErrors; a date such as 2024-13-45 or a bracket 3,000 deep ends otherwise
        raise UserError(
            f"The recipe {name} is not valid YAML.", " ".join(str(error).split())[:300], "Mend that line."
        ) from error
    if sum(1 for _ in islice(_values(tree), MOST + 1)) > MOST:  # a few lines of aliases can stand for billions
        raise UserError(f"The recipe {name} holds too much.", f"It has more than {MOST} values.", "Take some out.")
    return tree


def _too_large(name: str) -> UserError:
    why = f"It has more than {LARGEST:,} letters; recipes have some thousand."
    return UserError(f"{name or 'This'} is no recipe.", why, "Check the path, or write one with `init`.")


def _check_depth(text: str) -> None:
    """Raise a RecursionError before libyaml would: it recurses in C, and ends the whole process."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise RecursionError(f"it is more than {DEEPEST} levels deep")


def _values(tree: Any) -> Iterator[Any]:
    """Everything that stands in plain data, what aliases repeat as often as they do."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, (dict, list)):
            waiting.extend([*node, *node.values()] if isinstance(node, dict) else node)


def parse(tree: Any) -> Recipe:
    """A recipe from plain data of any version; a UserError names the first field that is wrong."""
    return Recipe.parsed(migrate.today(tree), "The recipe")
