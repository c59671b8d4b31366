"""Records: what a running experiment says about itself, one JSON line each."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from typing import Any, ClassVar, Protocol

from finetune_core.errors import Mend


@dataclass(frozen=True)
class Record:
    """One line of metrics.jsonl; `kind` stands first."""

    kind: ClassVar[str] = ""

    def line(self) -> str:
        """The record as strict JSON: a number that is not finite becomes null."""
        return json.dumps({"kind": self.kind, **finite(asdict(self))}, allow_nan=False)


@dataclass(frozen=True)
class Step(Record):
    """One optimizer step. Rates and gradient norms are per layer group, never an average.

    `waiting` is the share of the step's time in which it waited for its images, in [0, 1]; earlier runs have none.
    """

    kind: ClassVar[str] = "step"
    step: int
    epoch: int
    phase: int
    loss: float
    lr: dict[str, float]
    grad_norm: float
    group_grad_norm: dict[str, float]
    images_per_s: float
    memory_mb: float
    seconds: float
    waiting: float | None = None


@dataclass(frozen=True)
class Gauges(Record):
    """What is measured every few steps only, since it costs; `step` is the one that it was measured in.

    Per layer group that learns: `update_ratio` is the length of the step that its weights took over their length
    before it, `distance` how far they are from where the run began, over their length there. `cpu_use` is the share of
    this machine's cores that the process has kept busy since it was last measured, `gpu_use` the share of the time in
    which the GPU was at work; None where that cannot be known. A run that is stopped right then leaves one out.
    """

    kind: ClassVar[str] = "gauges"
    step: int
    update_ratio: dict[str, float]
    distance: dict[str, float]
    cpu_use: float | None = None
    gpu_use: float | None = None


@dataclass(frozen=True)
class Guess:
    """What a network says of one image: the likeliest names with their probabilities, or all numbers.

    `truth` is the image's label in words; `right` is None where answers are not right or wrong but near or far.
    """

    file: str
    truth: str
    answers: list[tuple[str, float]]
    right: bool | None


@dataclass(frozen=True)
class Epoch(Record):
    """The end of an epoch: means over its training steps, and a pass over the validation images.

    `step` is the number of optimizer steps done so far. The two scores are those that decide in the recipe's task
    (accuracy for classes); `scores` are all of them, `by_name` is measured for each class, tag or number alone. `board`
    holds the guesses for a few validation images, the same after every epoch; earlier runs have none. `norm_losses` are
    of the epoch's first batch, with norm layers that go by the batch as in training, and as measured; None without any.
    """

    kind: ClassVar[str] = "epoch"
    epoch: int
    phase: int
    step: int
    train_loss: float
    train_score: float
    valid_loss: float
    valid_score: float
    scores: dict[str, float]
    by_name: dict[str, float]
    best: bool
    seconds: float
    board: list[Guess] = field(default_factory=list)
    norm_losses: tuple[float, float] | None = None


@dataclass(frozen=True)
class Event(Record):
    """Something worth a mark on the time axis, in words."""

    kind: ClassVar[str] = "event"
    name: str
    step: int
    text: str


@dataclass(frozen=True)
class Alarm(Event):
    """An event that a person should know of: what was seen, what to do, and a change of the recipe that may help.

    What a `rule` says later takes the place of what it said before. `level` is ok, warn or error.
    """

    rule: str
    level: str
    title: str
    act: str = ""
    mend: Mend | None = None


@dataclass(frozen=True)
class Find(Record):
    """One step of the LR range test: `lr` is the learning rate of the recipe that this step stands for."""

    kind: ClassVar[str] = "find"
    step: int
    lr: float
    loss: float
    smooth: float
    trial: int = 0  # which of several tries, each with a seed of its own


@dataclass(frozen=True)
class Suggestions(Record):
    """What the finished range test suggests; null where the curve does not support a suggestion.

    `confidence` is high, medium, low or (without suggestions) empty, and `why` says what it rests on; `between` holds
    the lowest and highest rate at which single tries fall steepest. `proof` says that the test has left no trace.
    """

    kind: ClassVar[str] = "suggestions"
    steepest: float | None
    minimum_tenth: float | None
    valley: float | None
    note: str = ""
    slide: float | None = None
    confidence: str = ""
    why: str = ""
    between: list[float] | None = None
    lowest: float | None = None
    proof: str = ""


@dataclass(frozen=True)
class Tried(Record):
    """An epoch of one arm of an experiment with one seed (of its member `member`): the score that decides in the task.

    `step` counts the optimizer steps done.
    """

    kind: ClassVar[str] = "tried"
    arm: int
    seed: int
    member: int
    epoch: int
    step: int
    valid_loss: float
    valid_score: float


@dataclass(frozen=True)
class Trial(Record):
    """What came of one arm with one seed: all that is measured by its key, and the training losses (some, in order).

    `starts` are the shares of the training at which phases after the first began; `note` says why there are no values;
    `images` is how many it was measured on.
    """

    kind: ClassVar[str] = "trial"
    arm: int
    seed: int
    values: dict[str, float]
    losses: list[float]
    starts: list[float]
    rates: list[float]
    seconds: float
    note: str = ""
    images: int = 0


@dataclass(frozen=True)
class Lap(Record):
    """One step of one contender in a race of learning rates; `lr` is the peak rate that it runs with."""

    kind: ClassVar[str] = "lap"
    contender: str
    lr: float
    step: int
    loss: float
    smooth: float


@dataclass(frozen=True)
class Place(Record):
    """Where a contender arrived: its smoothed training loss, and how it does on the validation images.

    Null where its loss was no longer a number.
    """

    kind: ClassVar[str] = "place"
    contender: str
    lr: float
    step: int
    train_loss: float
    valid_loss: float
    valid_score: float


@dataclass(frozen=True)
class Probed(Record):
    """What a frozen backbone is good for on some images: the score that decides, of a linear head on its features.

    `margin` is half the width of its interval of 95 %; null with a `note` that says why where the backbone
    could not be tried. `doubts` are images whose label it does not believe, the surest first: (path below the data's
    root, label, what it says instead, how much surer it is of that, in [0, 1]). `twins` are pairs of images of which
    one is a part of the other, or of its mirror image. `halfway` is the score of such a head on what the network gives
    at the end of its layer group `stage`, in its midst, and `lead_margin` the margin of how far the last features are
    ahead of that; `chance` is the share of the commonest class. Earlier ones have none, nor have tags and numbers.
    """

    kind: ClassVar[str] = "probed"
    library: str
    architecture: str
    score: float
    margin: float
    images: int
    ms: float
    megabytes: float
    parameters: int
    seconds: float
    note: str = ""
    doubts: tuple[tuple[str, str, str, float], ...] = ()
    twins: tuple[tuple[str, str], ...] = ()
    stage: str = ""
    halfway: float = math.nan
    lead_margin: float = math.nan
    chance: float = math.nan


@dataclass(frozen=True)
class Strained(Record):
    """What a transform (by its `place` in the recipe; -1: all of them) does to what a frozen backbone sees.

    `right` is the share of images that are told right as they are, `drop` how much less it is afterwards, with half the
    width of its interval of 95 % as `margin`; `shift` how far features move, 1 being as far as another image of the
    class; `moved` which classes become which: (class, what is said then, share of its images).
    """

    kind: ClassVar[str] = "strained"
    place: int
    title: str
    images: int
    right: float
    drop: float
    margin: float
    shift: float
    moved: tuple[tuple[str, str, float], ...]
    seconds: float


@dataclass(frozen=True)
class Evaluated(Record):
    """How good a run's best weights are `on` the valid or the test images: all scores, and the one by name.

    `look` counts the looks at a test, of which only the first was chosen by nothing; `when` is in seconds since 1970;
    `views` were drawn of each image beside the plain one.
    """

    kind: ClassVar[str] = "evaluated"
    on: str
    images: int
    scores: dict[str, float]
    by_name: dict[str, float]
    when: float
    look: int = 1
    views: int = 0


@dataclass(frozen=True)
class Timing(Record):
    """One repetition of what is timed: `answer` (one image forward), `step` (a training step) and others, in seconds.

    With a `group` it is of this layer group alone; sizes and counts come as `mb`, with 0 seconds.
    """

    kind: ClassVar[str] = "timing"
    what: str
    seconds: float
    group: str = ""
    mb: float = 0.0


class Report(Protocol):
    """Told in words what is being done, and how far that is: `done` of `total` in a unit, where it can be counted."""

    def __call__(self, what: str, done: float = 0, total: float = 0, unit: str = "") -> None:
        """Take notice; may raise to end what is being done."""


Count = Callable[[int, int], None]
"""Told how many of all are done; may raise to end it."""


def counted(what: str, done: float, total: float, unit: str = "") -> str:
    """A report in words: `Decoding the images: 3 of 12`."""
    return f"{what}: {done:,.4g} of {total:,.4g} {unit}".rstrip() if total else what


def silent(what: str, done: float = 0, total: float = 0, unit: str = "") -> None:
    """A report to nobody."""


def parse(row: Mapping[str, Any]) -> Record:
    """A record from the plain data of its line; a number that is null was not finite, what is nested stays plain."""
    cls = next(each for each in Record.__subclasses__() if each.kind == row["kind"])
    found = {each.name: (row[each.name], each.type) for each in fields(cls) if each.name in row}
    return cls(
        **{name: math.nan if value is None and type is float else value for name, (value, type) in found.items()}
    )


def whole(row: Mapping[str, Any]) -> bool:
    """Whether plain data holds all that a record of its kind needs; of a kind that is not known, whatever it holds."""
    kinds: list[type[Record]] = [each for each in Record.__subclasses__() if each.kind == row["kind"]]
    needed = [each for cls in ([Alarm] if "rule" in row else kinds) for each in fields(cls) if _needed(each)]
    return all(each.name in row and isinstance(row[each.name], _SHAPES.get(each.type, object)) for each in needed)


# Of what must be there and is used as it is; null is a number that was not finite
_SHAPES: dict[Any, Any] = {str: str, int: int, float: int | float | None, dict[str, float]: dict}


def _needed(each: Field[Any]) -> bool:
    return each.default is MISSING and each.default_factory is MISSING


def finite(value: Any) -> Any:
    """Plain data with null for numbers that are not finite, which JSON has not."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
