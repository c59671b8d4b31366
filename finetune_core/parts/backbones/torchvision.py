"""torchvision: its networks, their published weights and classifiers."""

from __future__ import annotations

import inspect
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from finetune_core.errors import UserError
from finetune_core.parts.backbones import hub, sockets
from finetune_core.parts.backbones.family import Backbone
from finetune_core.parts.backbones.library import classifies, does_not_drop, no_such_tag, not_to_plan, unknown
from finetune_core.parts.backbones.spec import Body, Origin, Plan, Translation
from finetune_core.parts.backbones.weights import other_ways
from finetune_core.parts.base import Call, knob
from finetune_core.records import Report

if TYPE_CHECKING:
    from torch import Tensor, nn

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TORCHVISION_SIDE = 224  # px that its networks of fixed size are built for unless told otherwise


class Torchvision(Backbone):
    """A network from torchvision, PyTorch's own collection."""

    kind: ClassVar[str] = "torchvision"
    title: ClassVar[str] = "torchvision"
    architecture: str = knob("resnet18", "Architecture", "torchvision's name for the network, such as resnet18.")

    # Side branches that only their first training used; transform_input is what the published weights expect.
    ARGUMENTS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        name: {"aux_logits": False, "transform_input": True, "init_weights": True}
        for name in ("googlenet", "inception_v3")
    }
    SIDE_BRANCHES: ClassVar[Sequence[str]] = ("aux1", "aux2", "AuxLogits")
    SIZES: ClassVar[Sequence[str]] = ("image_size", "input_size")

    def arguments(self, plan: Plan) -> dict[str, Any]:
        """Those of the plan and of the published networks, and the image size where the network needs to know it."""
        return {**self.ARGUMENTS.get(self.architecture, {}), **plan.arguments, **self._size(plan.image_size)}

    def call(self, plan: Plan) -> Call:
        """`torchvision.models.get_model`."""
        kwargs = {"num_classes": plan.outputs, **self.arguments(plan), **self.drops()}
        return Call("torchvision.models.get_model", (self.architecture,), kwargs)

    def drop_names(self) -> tuple[str, str]:
        """DenseNet has a word of its own."""
        return "drop_rate" if self.architecture.startswith("densenet") else "dropout", "stochastic_depth_prob"

    def socket(self, body: Body) -> sockets.Socket:
        """Where its pooling is found."""
        return sockets.torchvision_socket(body.module, body.classifier, self.architecture, body.side, body.channels)

    def made(self, call: Call, plan: Plan) -> Body:
        """With the last layer as classifier, and the normalisation of ImageNet."""
        self._check()
        arguments = self.arguments(plan)
        try:
            module = call.build()
        except (TypeError, ValueError, AssertionError, RuntimeError) as error:
            raise not_to_plan(self, arguments, error) from error
        classifier = _torchvision_classifier(module, self.architecture)
        built_for = arguments.get("image_size") or arguments.get("input_size", (TORCHVISION_SIDE,))[0]
        side = plan.image_size or built_for
        return Body(module, classifier, IMAGENET_MEAN, IMAGENET_STD, arguments, side)

    def _check(self) -> None:
        """Whether there is such a network, and it can be told its dropout: some swallow words that they do not know."""
        from torchvision import models

        names = models.list_models(module=models)
        if self.architecture not in names:
            raise unknown("torchvision", self.architecture, names)
        made = inspect.signature(models.get_model_builder(self.architecture)).return_annotation
        known = inspect.signature(made).parameters
        for name in self.drops():
            if name not in known:
                raise does_not_drop(self, f"{made.__name__} has no {name}")

    def _size(self, image_size: int | None) -> dict[str, Any]:
        """The families of fixed size call it by different names."""
        if image_size is None or image_size == TORCHVISION_SIDE:
            return {}
        if self.architecture.startswith("vit_"):
            return {"image_size": image_size}
        return {"input_size": (image_size, image_size)} if self.architecture.startswith("maxvit_") else {}

    def published(self, tag: str, plan: Plan, report: Report | None) -> Origin:
        """From PyTorch's server, or from torch's own cache."""
        from torchvision import models

        self._check()
        sets = models.get_model_weights(self.architecture)
        if tag and tag not in sets.__members__:
            raise no_such_tag(self, tag, list(sets.__members__))
        chosen = sets[tag or "DEFAULT"]
        files = hub.Published(chosen.url)
        path = files.fetched(report, other_ways(self)) if report else files.here()
        state = f"torchvision.models.get_weight({str(chosen)!r}).get_state_dict()"
        transforms = chosen.transforms()
        return Origin(self.call(plan), path, state, tuple(transforms.mean), tuple(transforms.std))

    def translations(self, body: Body) -> Sequence[Translation]:
        """What its constructors and layers do to earlier names when they load them, and a ViT's own stretching."""
        return RENAMED if not hasattr(body.module, "patch_size") else (*RENAMED, STRETCHED)


def _renaming(before: str, after: str) -> Translation:
    """A change of all names by a regular expression."""

    def apply(named: dict[str, Tensor], _: nn.Module) -> Mapping[str, Tensor]:
        return {re.sub(before, after, name): value for name, value in named.items()}

    comprehension = f're.sub(r"{before}", r"{after}", name): value for name, value in weights.items()'
    return Translation(f"weights = {{{comprehension}}}", apply)


# As DenseNet's constructor does with its published files, and MLPBlock with those of version 1.
RENAMED = (
    _renaming(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2"),
    _renaming(r"\.mlp\.linear_1\.", ".mlp.0."),
    _renaming(r"\.mlp\.linear_2\.", ".mlp.3."),
)


def _stretched(named: dict[str, Tensor], module: Any) -> Mapping[str, Tensor]:
    from torchvision.models.vision_transformer import interpolate_embeddings

    return interpolate_embeddings(module.image_size, module.patch_size, OrderedDict(named))


_STRETCH = "torchvision.models.vision_transformer.interpolate_embeddings"
STRETCHED = Translation(f"weights = {_STRETCH}(model.image_size, model.patch_size, weights)", _stretched)


def _torchvision_classifier(module: nn.Module, architecture: str) -> str:
    """The last linear or 1×1 convolution layer under the name that torchvision's families use for it."""
    for root in ("fc", "classifier", "heads", "head"):
        child = getattr(module, root, None)
        if child is not None:
            layers = [name for name, layer in child.named_modules(prefix=root) if classifies(layer)]
            if layers:
                return layers[-1]
    raise UserError(
        f"Thaw cannot put a new head on torchvision's {architecture}.",
        "It has no single classifying layer.",
        "Choose another architecture.",
    )
