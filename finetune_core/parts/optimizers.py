"""Optimizers: how a gradient becomes a change of the weights."""

from typing import Any, ClassVar, Self

from pydantic import model_validator

from finetune_core.errors import UserError
from finetune_core.parts.base import Call, Part, knob
from finetune_core.parts.schedules import Schedule


class Optimizer(Part):
    """How a gradient becomes a change of the weights."""

    target: ClassVar[str] = ""
    formula: ClassVar[str] = ""  # one step in LaTeX: weights w, gradient g, rate η, weight decay λ
    weight_decay: float = knob(
        0.01,
        "Weight decay",
        "Pulls weights towards zero; norm layers and biases are left out.",
        low=0.0,
        high=1.0,
        log=True,
    )

    def options(self) -> dict[str, Any]:
        """The arguments of the torch class beside the rates and the weight decay, which each group brings along."""
        return {}

    def memory(self) -> int:
        """How many numbers it remembers for each weight that learns."""
        return 1

    def check_momentum(self, schedule: Schedule) -> None:
        """A UserError where a schedule moves a momentum that this optimizer has not."""
        if schedule.moves_momentum and not {"momentum", "betas"} & self.options().keys():
            raise UserError(
                f"{self.title} has no momentum that could cycle.",
                f"The schedule {schedule.title} is to move it.",
                "Leave the momentum alone (cycle_momentum: false), or take another optimizer.",
            )

    def call(self) -> Call:
        """The optimizer to be called on a list of param groups that carry their own rates."""
        return Call(self.target, kwargs=self.options())


class AdamW(Optimizer):
    """Adam with decoupled weight decay: each weight gets its own step size. A safe choice for fine-tuning.

    Loshchilov & Hutter 2017; seed 002.
    """

    kind: ClassVar[str] = "adamw"
    title: ClassVar[str] = "AdamW"
    target: ClassVar[str] = "torch.optim.AdamW"
    formula: ClassVar[str] = (
        r"m &\leftarrow \beta_1 m + (1-\beta_1)\,g \\ "
        r"v &\leftarrow \beta_2 v + (1-\beta_2)\,g^2 \\ "
        r"w &\leftarrow w - \eta\,\big(\hat m / (\sqrt{\hat v}+\epsilon) + \lambda w\big)"
    )
    beta1: float = knob(0.9, "Beta 1", "Memory of the gradient's mean.", low=0.0, high=0.999, more=True)
    beta2: float = knob(0.999, "Beta 2", "Memory of the gradient's square.", low=0.0, high=0.99999, more=True)

    def options(self) -> dict[str, Any]:
        """Betas in torch's form."""
        return {"betas": (self.beta1, self.beta2)}

    def memory(self) -> int:
        """Two: means of the gradient and of its square."""
        return 2


class SGD(Optimizer):
    """Plain gradient steps with momentum: simple, predictable, wants larger rates than AdamW (about 10 to 100 times).

    Seed 004 explains the mathematics.
    """

    kind: ClassVar[str] = "sgd"
    title: ClassVar[str] = "SGD"
    target: ClassVar[str] = "torch.optim.SGD"
    formula: ClassVar[str] = (
        r"g &\leftarrow g + \lambda w \\ "
        r"v &\leftarrow \mu v + (1-d)\,g \\ "
        r"w &\leftarrow w - \eta\,v \quad\text{(Nesterov: } g + \mu v\text{)}"
    )
    momentum: float = knob(0.9, "Momentum", "How much of the last step is kept.", low=0.0, high=0.999)
    dampening: float = knob(0.0, "Dampening", "Share of the new gradient held back.", low=0.0, high=1.0, more=True)
    nesterov: bool = knob(
        False, "Nesterov", "Look ahead along the momentum; needs momentum above 0 and no dampening.", more=True
    )

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and (self.momentum == 0 or self.dampening > 0):
            raise ValueError("Nesterov looks ahead along the momentum: it needs momentum above 0 and dampening 0")
        return self

    def options(self) -> dict[str, Any]:
        """Torch's own names."""
        return {"momentum": self.momentum, "dampening": self.dampening, "nesterov": self.nesterov}

    def memory(self) -> int:
        """The momentum, where there is one."""
        return int(self.momentum > 0)


class Sutskever(SGD):
    """SGD as Sutskever writes it: the rate is kept inside the velocity, so that what was learned fast still moves on.

    At a constant rate the same as SGD; where the rate falls, older steps count at the rate of their time. Sutskever et
    al. 2013; seed 004.
    """

    kind: ClassVar[str] = "sgd_sutskever"
    title: ClassVar[str] = "SGD (Sutskever)"
    target: ClassVar[str] = "finetune_core.parts.modules.SutskeverSGD"
    formula: ClassVar[str] = (
        r"g &\leftarrow g + \lambda w \\ "
        r"v &\leftarrow \mu v + (1-d)\,\eta\,g \\ "
        r"w &\leftarrow w - v \quad\text{(Nesterov: } \eta\,g + \mu v\text{)}"
    )


class Adam(AdamW):
    """Adam with weight decay added to the gradient (L2), where Adam's own scaling distorts it: AdamW mends that.

    Kingma & Ba 2014; seeds 000 and 001.
    """

    kind: ClassVar[str] = "adam"
    title: ClassVar[str] = "Adam"
    target: ClassVar[str] = "torch.optim.Adam"
    formula: ClassVar[str] = (
        r"g &\leftarrow g + \lambda w \\ "
        r"m &\leftarrow \beta_1 m + (1-\beta_1)\,g \\ "
        r"v &\leftarrow \beta_2 v + (1-\beta_2)\,g^2 \\ "
        r"w &\leftarrow w - \eta\,\hat m / (\sqrt{\hat v}+\epsilon)"
    )


class RAdam(AdamW):
    """AdamW that corrects its own early steps, so that it needs no warm-up.

    Liu et al. 2019.
    """

    kind: ClassVar[str] = "radam"
    title: ClassVar[str] = "RAdam"
    target: ClassVar[str] = "torch.optim.RAdam"
    formula: ClassVar[str] = (
        r"m &\leftarrow \beta_1 m + (1-\beta_1)\,g \\ "
        r"v &\leftarrow \beta_2 v + (1-\beta_2)\,g^2 \\ "
        r"w &\leftarrow w - \eta\,\big(r_t\,\hat m / (\sqrt{\hat v}+\epsilon) + \lambda w\big)"
    )

    def options(self) -> dict[str, Any]:
        """Decoupled weight decay, as in AdamW."""
        return {**super().options(), "decoupled_weight_decay": True}


class NAdam(RAdam):
    """AdamW with Nesterov's look ahead along the momentum.

    Dozat 2016.
    """

    kind: ClassVar[str] = "nadam"
    title: ClassVar[str] = "NAdam"
    target: ClassVar[str] = "torch.optim.NAdam"
    formula: ClassVar[str] = (
        r"m &\leftarrow \beta_1 m + (1-\beta_1)\,g \\ "
        r"v &\leftarrow \beta_2 v + (1-\beta_2)\,g^2 \\ "
        r"n &\leftarrow \beta_1\hat m + (1-\beta_1)\,\hat g \\ "
        r"w &\leftarrow w - \eta\,\big(n / (\sqrt{\hat v}+\epsilon) + \lambda w\big)"
    )


class RMSprop(Optimizer):
    """Divides each gradient by its recent size: Adam's older sibling, without memory of the direction unless asked.

    Seed 001.
    """

    kind: ClassVar[str] = "rmsprop"
    title: ClassVar[str] = "RMSprop"
    target: ClassVar[str] = "torch.optim.RMSprop"
    formula: ClassVar[str] = (
        r"g &\leftarrow g + \lambda w \\ "
        r"v &\leftarrow \alpha v + (1-\alpha)\,g^2 \\ "
        r"b &\leftarrow \mu b + g / (\sqrt{v}+\epsilon) \\ "
        r"w &\leftarrow w - \eta\,b"
    )
    alpha: float = knob(0.99, "Memory", "Memory of the gradient's square.", low=0.0, high=0.9999)
    momentum: float = knob(0.0, "Momentum", "How much of the last step is kept.", low=0.0, high=0.999)

    def options(self) -> dict[str, Any]:
        """Torch's own names."""
        return {"alpha": self.alpha, "momentum": self.momentum}

    def memory(self) -> int:
        """The mean of the gradient's square, and the momentum where there is one."""
        return 1 + int(self.momentum > 0)


class Adadelta(Optimizer):
    """Sizes its steps by itself; the rate only scales them, 1.0 being its authors' choice.

    Zeiler 2012; seed 001.
    """

    kind: ClassVar[str] = "adadelta"
    title: ClassVar[str] = "Adadelta"
    target: ClassVar[str] = "torch.optim.Adadelta"
    formula: ClassVar[str] = (
        r"g &\leftarrow g + \lambda w \\ "
        r"v &\leftarrow \rho v + (1-\rho)\,g^2 \\ "
        r"\Delta &\leftarrow \sqrt{(u+\epsilon)/(v+\epsilon)}\;g \\ "
        r"u &\leftarrow \rho u + (1-\rho)\,\Delta^2 \\ "
        r"w &\leftarrow w - \eta\,\Delta"
    )
    rho: float = knob(0.9, "Memory", "Memory of the gradient's and the steps' squares.", low=0.0, high=0.9999)

    def options(self) -> dict[str, Any]:
        """Torch's own name."""
        return {"rho": self.rho}

    def memory(self) -> int:
        """Two: means of the gradient's square and of the steps'."""
        return 2


class Adagrad(Optimizer):
    """Slows down each weight by all the gradients it has ever had: good for rare features, stalls on long runs.

    Duchi et al. 2011.
    """

    kind: ClassVar[str] = "adagrad"
    title: ClassVar[str] = "Adagrad"
    target: ClassVar[str] = "torch.optim.Adagrad"
    formula: ClassVar[str] = (
        r"g &\leftarrow g + \lambda w \\ "
        r"v &\leftarrow v + g^2 \\ "
        r"w &\leftarrow w - \eta\,g / (\sqrt{v}+\epsilon)"
    )


class Lion(Optimizer):
    """Steps by the sign of the momentum: half the memory of AdamW; wants a rate 3 to 10 times smaller.

    Chen et al. 2023; from timm.
    """

    kind: ClassVar[str] = "lion"
    title: ClassVar[str] = "Lion"
    target: ClassVar[str] = "timm.optim.Lion"
    formula: ClassVar[str] = (
        r"w &\leftarrow w - \eta\,\big(\operatorname{sign}(\beta_1 m + (1-\beta_1)\,g) + \lambda w\big) \\ "
        r"m &\leftarrow \beta_2 m + (1-\beta_2)\,g"
    )
    beta1: float = knob(0.9, "Beta 1", "Share of the momentum in a step.", low=0.0, high=0.999, more=True)
    beta2: float = knob(0.99, "Beta 2", "Memory of the momentum.", low=0.0, high=0.99999, more=True)

    def options(self) -> dict[str, Any]:
        """Betas in timm's form."""
        return {"betas": (self.beta1, self.beta2)}


class LAMB(AdamW):
    """AdamW whose step is scaled per layer by the size of its weights: made for very large batches.

    You et al. 2019; from timm.
    """

    kind: ClassVar[str] = "lamb"
    title: ClassVar[str] = "LAMB"
    target: ClassVar[str] = "timm.optim.Lamb"
    formula: ClassVar[str] = (
        r"m &\leftarrow \beta_1 m + (1-\beta_1)\,g \\ "
        r"v &\leftarrow \beta_2 v + (1-\beta_2)\,g^2 \\ "
        r"u &\leftarrow \hat m / (\sqrt{\hat v}+\epsilon) + \lambda w \\ "
        r"w &\leftarrow w - \eta\,\frac{\lVert w\rVert}{\lVert u\rVert}\,u"
    )
