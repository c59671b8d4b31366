"""Heads: the last layers, new for every task, that turn a backbone's features into class scores."""

from typing import ClassVar

from finetune_core.parts.base import Call, Part, knob


class Head(Part):
    """The last layers, new for every task, that turn a backbone's features into class scores."""

    def call(self, features: int, outputs: int) -> Call:
        """The head as torch layers: (N, features) to logits (N, outputs)."""
        raise NotImplementedError

    def parameters(self, features: int, outputs: int) -> int:
        """How many single weights the head has, told without torch: those of its linear layers."""
        return _weights(self.call(features, outputs))


class Linear(Head):
    """One linear layer: few weights, quick to train, enough when the backbone's features fit the task."""

    kind: ClassVar[str] = "linear"
    title: ClassVar[str] = "Linear"

    def call(self, features: int, outputs: int) -> Call:
        """A single `nn.Linear`, so that timm can load the checkpoint by itself."""
        return Call("torch.nn.Linear", (features, outputs))


class MLP(Head):
    """A hidden layer with dropout before the last one: more room to combine features, more to overfit with.

    Seed 001.
    """

    kind: ClassVar[str] = "mlp"
    title: ClassVar[str] = "MLP"
    hidden: int = knob(256, "Hidden units", "Width of the layer in between.", low=8, high=8192, log=True)
    dropout: float = knob(0.5, "Dropout", "Share of hidden units silenced at random in training.", low=0.0, high=0.95)

    def call(self, features: int, outputs: int) -> Call:
        """Linear, ReLU, dropout, linear."""
        layers = (
            Call("torch.nn.Linear", (features, self.hidden)),
            Call("torch.nn.ReLU"),
            Call("torch.nn.Dropout", (self.dropout,)),
            Call("torch.nn.Linear", (self.hidden, outputs)),
        )
        return Call("torch.nn.Sequential", layers)


def _weights(call: Call) -> int:
    if call.target == "torch.nn.Linear":
        wide, high = call.args
        return wide * high + high
    return sum(_weights(each) for each in call.args if isinstance(each, Call))
