"""Optimizers: how a gradient becomes a change of the weights."""

from typing import Any, ClassVar

from finetune_core.parts.base import Call, Part, knob


class Optimizer(Part):
    """How a gradient becomes a change of the weights."""

    target: ClassVar[str] = ""
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
    beta1: float = knob(0.9, "Beta 1", "Memory of the gradient's mean.", low=0.0, high=0.999, more=True)
    beta2: float = knob(0.999, "Beta 2", "Memory of the gradient's square.", low=0.0, high=0.99999, more=True)

    def options(self) -> dict[str, Any]:
        """Betas in torch's form."""
        return {"betas": (self.beta1, self.beta2)}


class SGD(Optimizer):
    """Plain gradient steps with momentum: simple, predictable, wants larger rates than AdamW (about 10 to 100 times).

    Seed 004 explains the mathematics.
    """

    kind: ClassVar[str] = "sgd"
    title: ClassVar[str] = "SGD"
    target: ClassVar[str] = "torch.optim.SGD"
    momentum: float = knob(0.9, "Momentum", "How much of the last step is kept.", low=0.0, high=0.999)
    nesterov: bool = knob(False, "Nesterov", "Look ahead along the momentum; needs momentum above 0.", more=True)

    def options(self) -> dict[str, Any]:
        """Momentum and its Nesterov form, which torch allows only with momentum."""
        return {"momentum": self.momentum, "nesterov": self.nesterov and self.momentum > 0}
