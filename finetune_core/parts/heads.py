"""Heads: the last layers, new for every task, that turn a backbone's features into class scores."""

from collections.abc import Callable
from typing import ClassVar, Literal

from finetune_core.parts.backbones.sockets import Features
from finetune_core.parts.base import Call, Part, knob

# How the last layer's weights start. "small" lets scores start near zero, so that the first loss is about ln C.
STARTS = {
    "small": Call("torch.nn.init.normal_", kwargs={"std": 0.01}),
    "zero": Call("torch.nn.init.zeros_"),
}
ACTIVATIONS = {"relu": "ReLU", "gelu": "GELU", "silu": "SiLU", "tanh": "Tanh"}


class Head(Part):
    """The last layers, new for every task, that turn a backbone's features into class scores."""

    pools: ClassVar[bool] = False  # whether it wants the features before they are pooled, and pools by itself

    init: Literal["small", "zero", "torch"] = knob(
        "small",
        "Last layer",
        "Weights it starts from: small (0.01) so that no class is favoured yet; zero, where the layers before it wait "
        "one step; or as torch makes them, larger.",
        more=True,
    )
    bias: Literal["zero", "priors", "torch"] = knob(
        "zero",
        "Last bias",
        "Zero, so that all classes start equally likely; priors, as likely as they are among the training images; or "
        "as torch makes it.",
        more=True,
    )

    def call(self, features: int, outputs: int) -> Call:
        """The head as torch layers: (N, features) to logits (N, outputs)."""
        raise NotImplementedError

    def over(self, features: Features, outputs: int) -> Call:
        """The same for features before they are pooled, pooling first; only heads that pool have it."""
        raise NotImplementedError

    def parameters(self, features: int, outputs: int) -> int:
        """How many single weights the head has, told without torch."""
        return _weights(self.call(features, outputs))

    @property
    def linear(self) -> bool:
        """Whether it is made of several linear layers with nothing between, which are one linear map together."""
        return False

    @property
    def batch_norm(self) -> bool:
        """Whether it normalises pooled features by the batch, of which one image is too little."""
        return _normalises(self.call(1, 1))


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
    hidden: int = knob(256, "Hidden units", "Width of the layers in between.", low=8, high=8192, log=True)
    dropout: float = knob(0.5, "Dropout", "Share of hidden units silenced at random in training.", low=0.0, high=0.95)
    layers: int = knob(1, "Hidden layers", "How many such layers follow each other.", low=1, high=8, more=True)
    activation: Literal["relu", "gelu", "silu", "tanh", "none"] = knob(
        "relu",
        "Activation",
        "The bend between two layers; with none they could as well be a single linear one.",
        more=True,
    )

    @property
    def linear(self) -> bool:
        """Without an activation."""
        return self.activation == "none"

    def call(self, features: int, outputs: int) -> Call:
        """Linear, activation and dropout for each hidden layer, then linear."""
        calls: list[Call] = []
        for width in (features, *[self.hidden] * (self.layers - 1)):
            calls.append(Call("torch.nn.Linear", (width, self.hidden)))
            if self.activation != "none":
                calls.append(Call(f"torch.nn.{ACTIVATIONS[self.activation]}"))
            calls.append(Call("torch.nn.Dropout", (self.dropout,)))
        return Call("torch.nn.Sequential", (*calls, Call("torch.nn.Linear", (self.hidden, outputs))))


class ConcatPool(Head):
    """Sees each feature's mean over the image and its maximum: how much there is of it, and whether anywhere.

    Seed 000, as in fastai. Average and maximum pooling side by side, batch norm, dropout, a hidden layer. It takes the
    place of the network's own pooling and of everything that needs the pooled width.
    """

    kind: ClassVar[str] = "concat_pool"
    title: ClassVar[str] = "Concat-pool"
    pools: ClassVar[bool] = True
    hidden: int = knob(1024, "Hidden units", "Width of the layer in between.", low=8, high=8192, log=True)
    dropout: float = knob(
        0.35, "Dropout", "Share of units silenced at random in training, before both layers.", low=0.0, high=0.95
    )

    def call(self, features: int, outputs: int) -> Call:
        """For feature maps (N, features, H, W)."""
        return self.over(Features(features), outputs)

    def over(self, features: Features, outputs: int) -> Call:
        """Feature maps or tokens: pooling first, then the layers for what is pooled."""
        both = 2 * features.width
        layers = (
            POOLS[features.layout](features),
            Call("torch.nn.Flatten"),
            Call("torch.nn.BatchNorm1d", (both,)),
            Call("torch.nn.Dropout", (self.dropout,)),
            Call("torch.nn.Linear", (both, self.hidden)),
            Call("torch.nn.ReLU"),
            Call("torch.nn.BatchNorm1d", (self.hidden,)),
            Call("torch.nn.Dropout", (self.dropout,)),
            Call("torch.nn.Linear", (self.hidden, outputs)),
        )
        return Call("torch.nn.Sequential", layers)


MAPS = Call("timm.layers.SelectAdaptivePool2d", kwargs={"pool_type": "catavgmax"})
POOLS: dict[str, Callable[[Features], Call]] = {
    "NCHW": lambda features: MAPS,
    "NHWC": lambda features: Call(MAPS.target, kwargs={**MAPS.kwargs, "input_fmt": "NHWC"}),
    "NLC": lambda features: Call("finetune_core.parts.modules.TokenPool", kwargs={"prefix": features.prefix}),
}


def _normalises(call: Call) -> bool:
    own = call.target.startswith("torch.nn.BatchNorm")
    return own or any(_normalises(each) for each in call.args if isinstance(each, Call))


def _weights(call: Call) -> int:
    if call.target == "torch.nn.Linear":
        wide, high = call.args
        return wide * high + high
    if call.target == "torch.nn.BatchNorm1d":
        return 2 * call.args[0]
    return sum(_weights(each) for each in call.args if isinstance(each, Call))
