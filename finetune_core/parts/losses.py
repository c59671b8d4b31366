"""Losses: what the training makes small."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from finetune_core.errors import UnsaidError, UserError
from finetune_core.parts.base import Call, Part, knob
from finetune_core.parts.tasks import NUMBERS, ONE_CLASS, TAGS, TASKS, Kind, Targets

EFFECTIVE = 0.999  # beta of the effective number of samples (Cui et al. 2019)
MOST_POSITIVE = 100.0  # how much more a rare tag's images may count


class Loss(Part):
    """What the training makes small."""

    tasks: ClassVar[tuple[Kind, ...]] = (ONE_CLASS.key,)  # those that it can be used for
    takes_shares: ClassVar[bool] = True  # whether a label may be shared between classes, as mixed images have it

    def call(self, targets: Targets) -> Call:
        """The loss as a torch module: outputs (N, C) and targets as `Targets.encoded` gives them to a scalar.

        UserError where it does not fit so many classes.
        """
        raise NotImplementedError

    @property
    def embeds(self) -> str | None:
        """The layer whose embedding it is given beside the outputs: a name, "" for what goes into the head, or none."""
        return None

    def check(self, task: Kind) -> None:
        """A UserError where the loss is for another task."""
        if task not in self.tasks:
            others = (kind for kind, loss in Loss.kinds().items() if task in loss.tasks)
            raise UserError(
                f"The loss {self.title} does not fit the data.",
                f"It is for: {', '.join(TASKS[each].title.lower() for each in self.tasks)}. "
                f"The data has: {TASKS[task].title.lower()}.",
                f"Losses that fit: {', '.join(others)}.",
            )


class Weighted(Loss):
    """A loss in which some classes can count more than others."""

    balance: Literal["none", "inverse", "effective", "table"] = knob(
        "none",
        "Class weights",
        "Let rare classes count more: inversely to their number of images, more gently by their effective number, "
        "or by a table of your own.",
        more=True,
    )
    weights: tuple[float, ...] = knob(
        (),
        "Table of weights",
        "One weight per class, in the order in which Data lists them; read when the weights come by table.",
        low=1e-9,
        high=1e4,  # beyond it the others no longer count
        more=True,
    )
    divide: Literal["weights", "images"] = knob(
        "weights",
        "Weighted mean",
        "Divide by the sum of the weights met, as torch does, or by the number of images as in seed 001: "
        "then a batch of heavy classes takes a larger step.",
        more=True,
    )

    def class_weights(self, counts: Sequence[int]) -> list[float]:
        """One weight per class, their mean being 1; those of the table as they are. UserError if it does not fit."""
        if self.balance == "table":
            return self._table(len(counts))
        shares = {
            "none": [1.0 for _ in counts],
            "inverse": [1 / max(1, count) for count in counts],
            "effective": [(1 - EFFECTIVE) / (1 - EFFECTIVE ** max(1, count)) for count in counts],
        }[self.balance]
        return [share * len(shares) / sum(shares) for share in shares]

    def weighting(self, targets: Targets) -> dict[str, Any]:
        """The keyword `weight` of a loss, or nothing where all classes count the same."""
        if self.balance == "none":
            return {}
        weights = [float(f"{weight:.6g}") for weight in self.class_weights(targets.counts)]
        return {"weight": Call("torch.tensor", (weights,))}

    def _table(self, classes: int) -> list[float]:
        if len(self.weights) != classes:
            raise UserError(
                "The table of class weights does not fit the data.",
                f"It has {len(self.weights)} weights, the data has {classes} classes.",
                "Give one weight per class, in the order of the classes.",
            )
        return list(self.weights)


class CrossEntropy(Weighted):
    """Punishes a low probability for the right class: the standard for images that belong to exactly one class."""

    kind: ClassVar[str] = "cross_entropy"
    title: ClassVar[str] = "Cross-entropy"
    label_smoothing: float = knob(
        0.0,
        "Label smoothing",
        "Share of certainty given to the other classes; tames over-confidence.",
        low=0.0,
        high=0.5,
    )

    def call(self, targets: Targets) -> Call:
        """torch's own; a module of Thaw's where a weighted mean is to divide by the number of images."""
        kwargs = {"label_smoothing": self.label_smoothing, **self.weighting(targets)}
        per_image = self.divide == "images" and "weight" in kwargs
        return Call(
            "finetune_core.parts.modules.CrossEntropyPerImage" if per_image else "torch.nn.CrossEntropyLoss", (), kwargs
        )


class Focal(Weighted):
    """Cross-entropy that cares less for images that are right already: for many easy images and a few hard ones.

    Lin et al. 2017, for several classes. At gamma 0 it is cross-entropy.
    """

    kind: ClassVar[str] = "focal"
    title: ClassVar[str] = "Focal"
    gamma: float = knob(
        2.0, "Gamma", "How strongly images that are right already are faded out; 0 fades none.", low=0.0, high=10.0
    )

    def call(self, targets: Targets) -> Call:
        """A module of Thaw's; torchvision's is for yes-or-no questions only."""
        weighting = self.weighting(targets)
        kwargs = {"gamma": self.gamma, **weighting}
        if weighting and self.divide == "images":
            kwargs["per_image"] = True
        return Call("finetune_core.parts.modules.FocalLoss", (), kwargs)


class SoftF1(Loss):
    """Goes for the F1 score itself, counted with probabilities: every class weighs the same, however rare.

    Seed 001's metric-based loss. It sees one batch at a time, so the batch should hold several images of each class.
    """

    kind: ClassVar[str] = "soft_f1"
    title: ClassVar[str] = "Soft F1"
    tasks: ClassVar[tuple[Kind, ...]] = (ONE_CLASS.key, TAGS.key)

    def call(self, targets: Targets) -> Call:
        """A module of Thaw's."""
        each = {"each": True} if not targets.about.exclusive else {}
        return Call("finetune_core.parts.modules.SoftF1Loss", kwargs=each)


class Triplet(Loss):
    """Draws images of one class together and pushes other classes away: when looks differ little between classes.

    For a network that can classify already: everything thawed, at a small rate that falls in steps (seed 004). It
    compares the images of a batch, so a batch should hold several of each class.
    """

    kind: ClassVar[str] = "triplet"
    title: ClassVar[str] = "Triplet"
    takes_shares: ClassVar[bool] = False
    margin: float = knob(
        0.2,
        "Margin",
        "How much nearer an image's own class must be than another one; between embeddings of length one distances "
        "lie between 0 and 2.",
        low=0.01,
        high=100.0,
        log=True,
    )
    mining: Literal["hardest", "semi-hard", "all"] = knob(
        "semi-hard",
        "Mining",
        "Which triplets of a batch count: of each image the hardest, those that are nearly right, or all that are not "
        "right yet. The hardest learn most and forgive wrong labels least.",
    )
    classify: float = knob(
        0.5,
        "Share of cross-entropy",
        "How much of the loss is about naming the class; the rest is about distances.",
        low=0.05,
        high=1.0,
    )

    compare: Literal["outputs", "probabilities", "features", "layer"] = knob(
        "outputs",
        "Compare",
        "What distances are measured between: the scores of the classes; their probabilities, as after softmax in "
        "seed 004; the features that go into the head; or what a layer gives.",
        words={
            "outputs": "class scores",
            "probabilities": "probabilities",
            "features": "features",
            "layer": "a layer's output",
        },
    )
    layer: str = knob(
        "",
        "Layer",
        "Which one, by its dotted name such as layer4; read where a layer's output is compared.",
        more=True,
    )
    normalise: bool = knob(True, "To length one", "Bring embeddings to the same length first.", more=True)

    @property
    def embeds(self) -> str | None:
        """As the choice says."""
        return {"features": "", "layer": self.layer or None}.get(self.compare)

    def check(self, task: Kind) -> None:
        """Also whether the layer is named whose output is to be compared."""
        super().check(task)
        if self.compare == "layer" and not self.layer:
            hint = "Write its dotted name, such as layer4, beside Layer, or compare the class scores."
            raise UnsaidError("No layer is named yet.", "A layer's output is to be compared.", hint)

    def call(self, targets: Targets) -> Call:
        """A module of Thaw's; torch's is given its triplets ready-made."""
        kwargs: dict[str, Any] = {"margin": self.margin, "mining": self.mining, "classify": self.classify}
        kwargs |= {} if self.normalise else {"normalise": False}
        kwargs |= {"softmax": True} if self.compare == "probabilities" else {}
        return Call("finetune_core.parts.modules.TripletLoss", kwargs=kwargs)


class BCE(Loss):
    """Asks of every tag whether it is there, each for itself: the standard for images with any number of tags."""

    kind: ClassVar[str] = "bce"
    title: ClassVar[str] = "Binary cross-entropy"
    tasks: ClassVar[tuple[Kind, ...]] = (TAGS.key,)
    balance: bool = knob(
        False,
        "Balance tags",
        "Let the images that have a tag count as much as those without it, up to a hundredfold: for rare tags.",
        more=True,
    )

    def call(self, targets: Targets) -> Call:
        """torch's own; `pos_weight` is images without a tag over images with it."""
        if not self.balance:
            return Call("torch.nn.BCEWithLogitsLoss")
        ratios = [min((targets.images - count) / max(count, 1), MOST_POSITIVE) for count in targets.counts]
        weights = [float(f"{max(ratio, 1 / MOST_POSITIVE):.6g}") for ratio in ratios]
        return Call("torch.nn.BCEWithLogitsLoss", kwargs={"pos_weight": Call("torch.tensor", (weights,))})


class SmoothL1(Loss):
    """Squared for small misses, straight for large ones, so that a wrong label does not pull too hard."""

    kind: ClassVar[str] = "smooth_l1"
    title: ClassVar[str] = "Smooth L1"
    tasks: ClassVar[tuple[Kind, ...]] = (NUMBERS.key,)
    beta: float = knob(
        1.0, "Bend", "The miss from which on it goes straight; 1 is the spread of the data.", low=0.01, high=10.0
    )

    def call(self, targets: Targets) -> Call:
        """torch's own (Huber's, divided by beta)."""
        return Call("torch.nn.SmoothL1Loss", kwargs={"beta": self.beta})


class MSE(Loss):
    """The mean squared miss: aims at the mean of what is possible, and minds large misses most.

    Seed 001.
    """

    kind: ClassVar[str] = "mse"
    title: ClassVar[str] = "Squared error"
    tasks: ClassVar[tuple[Kind, ...]] = (NUMBERS.key,)

    def call(self, targets: Targets) -> Call:
        """torch's own."""
        return Call("torch.nn.MSELoss")


class L1(Loss):
    """The mean absolute miss: aims at the median, and hardly minds wrong labels."""

    kind: ClassVar[str] = "l1"
    title: ClassVar[str] = "Absolute error"
    tasks: ClassVar[tuple[Kind, ...]] = (NUMBERS.key,)

    def call(self, targets: Targets) -> Call:
        """torch's own."""
        return Call("torch.nn.L1Loss")
