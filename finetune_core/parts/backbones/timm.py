"""timm (PyTorch Image Models): its networks, their published weights and classifiers."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

from finetune_core.errors import UserError
from finetune_core.parts.backbones import hub, sockets
from finetune_core.parts.backbones.family import Backbone, one_size
from finetune_core.parts.backbones.library import classifies, no_such_tag, not_to_plan, unknown
from finetune_core.parts.backbones.spec import Body, Origin, Plan, Translation
from finetune_core.parts.backbones.weights import other_ways
from finetune_core.parts.base import Call, knob
from finetune_core.records import Report


class Timm(Backbone):
    """A network from timm (PyTorch Image Models), the largest collection of image backbones."""

    kind: ClassVar[str] = "timm"
    title: ClassVar[str] = "timm"
    architecture: str = knob("resnet10t", "Architecture", "timm's name for the network, such as resnet50.")

    SIZES: ClassVar[Sequence[str]] = ("img_size",)
    SIDE_BRANCHES: ClassVar[Sequence[str]] = ("AuxLogits",)
    # functions by which its families' modules read other names than today's, or stretch positions
    FILTERS: ClassVar[Sequence[str]] = ("checkpoint_filter_fn", "_filter_fn", "_filter_torchvision_pretrained")

    def arguments(self, plan: Plan) -> dict[str, Any]:
        """Those of the plan, and the image size where the network needs to know it."""
        return {**plan.arguments, **self._size(plan.image_size)}

    def call(self, plan: Plan) -> Call:
        """`timm.create_model`."""
        return self._call(self.architecture, plan)

    def _call(self, name: str, plan: Plan, **loading: Any) -> Call:
        kwargs = {"num_classes": plan.outputs, **self.arguments(plan), **self.drops(), **loading}
        return Call("timm.create_model", (name,), kwargs)

    def drop_names(self) -> tuple[str, str]:
        """The same in all of timm."""
        return "drop_rate", "drop_path_rate"

    def socket(self, body: Body) -> sockets.Socket:
        """timm's own way, checked by a forward pass."""
        return sockets.timm_socket(body.module, body.classifier, self.architecture, body.side, body.channels)

    def made(self, call: Call, plan: Plan) -> Body:
        """With the classifier that timm names, and the normalisation of its weights."""
        self._check()
        arguments = self.arguments(plan)
        try:
            module = call.build()
        except (TypeError, ValueError, AssertionError, RuntimeError) as error:
            raise self._not_to_plan(plan, error) from error
        cfg = module.pretrained_cfg
        classifier = _timm_classifier(module, self.architecture)
        side = plan.image_size or arguments.get("img_size") or cfg["input_size"][-1]
        return Body(module, classifier, tuple(cfg["mean"]), tuple(cfg["std"]), arguments, side)

    def _not_to_plan(self, plan: Plan, error: Exception) -> Exception:
        """Words for what the constructor refused."""
        import timm

        arguments = self.arguments(plan)
        if "img_size" in arguments and "loading state_dict" in str(error):  # published weights that cannot be stretched
            cfg: Any = timm.get_pretrained_cfg(self.architecture)
            return one_size(self, "its published weights", cfg.input_size[-1], arguments["img_size"])
        return not_to_plan(self, arguments, error)

    def _check(self) -> None:
        import timm

        if not timm.is_model(self.architecture) or "." in self.architecture:
            raise unknown("timm", self.architecture, timm.list_models())

    def _size(self, image_size: int | None) -> dict[str, int]:
        """Tell networks of fixed size (most transformers) the size of the images; timm adapts their positions."""
        import timm

        cfg = timm.get_pretrained_cfg(self.architecture, allow_unregistered=True)
        fixed = cfg is not None and cfg.fixed_input_size and image_size not in (None, cfg.input_size[-1])
        return {"img_size": image_size} if fixed and image_size else {}

    def published(self, tag: str, plan: Plan, report: Report | None) -> Origin:
        """From the Hugging Face hub or the authors' address; read from timm's own caches where it is there already."""
        import timm

        self._check()
        name = f"{self.architecture}.{tag}" if tag else self.architecture
        tags = [each.partition(".")[2] for each in timm.list_pretrained(f"{self.architecture}.*")]
        cfg = timm.get_pretrained_cfg(name, allow_unregistered=True) if not tag or tag in tags else None
        if cfg is None or not source(cfg):
            raise no_such_tag(self, tag, tags)
        files = hub.Published(source(cfg))
        path = files.fetched(report, other_ways(self)) if report else files.here()
        # what lies in a file of the hub is an ordinary state dict, whatever `custom_load` says of the authors' address
        overlay = {"file": str(path), "custom_load": cfg.custom_load and not cfg.hf_hub_id}
        loading = {"pretrained_cfg_overlay": overlay} if path else {}
        return Origin(self._call(name, plan, pretrained=True, **loading), path, None, tuple(cfg.mean), tuple(cfg.std))

    def translations(self, body: Body) -> Sequence[Translation]:
        """timm's translation of the authors' names, in the module of the family."""
        return tuple(self._filters(sys.modules[type(body.module).__module__]))

    def _filters(self, family: Any) -> Iterator[Translation]:
        for name in self.FILTERS:
            if function := getattr(family, name, None):
                given = ("weights", "model")[: len(inspect.signature(function).parameters)]
                code = f"weights = {family.__name__}.{name}({', '.join(given)})"
                yield Translation(code, _called(function, len(given)))


def _called(function: Callable[..., Any], arguments: int) -> Callable[..., Any]:
    """With as many of its arguments as it takes."""
    return lambda *given: function(*given[:arguments])


def source(cfg: Any) -> str:
    """Where timm's set of weights is published, as `hub.Published` has it; empty where it is not."""
    if not cfg.hf_hub_id:
        return cfg.url or ""
    return f"{cfg.hf_hub_id}:{cfg.hf_hub_filename}" if cfg.hf_hub_filename else cfg.hf_hub_id


def _timm_classifier(module: Any, architecture: str) -> str:
    """The dotted name of timm's classifying layer; UserError for the few families that have several."""
    named = dict(module.named_modules())
    said = module.pretrained_cfg.get("classifier")
    several = isinstance(said, (tuple, list)) or getattr(module, "head_dist", None)  # each would need a head
    if isinstance(said, str) and classifies(named.get(said)) and not several:
        return said
    if not several:
        layer = module.get_classifier() if hasattr(module, "get_classifier") else None
        for name, child in named.items():
            if child is layer and classifies(child):
                return name
    raise UserError(
        f"Thaw cannot put a new head on timm's {architecture}.",
        "It has several classifiers, or none that is a single layer.",
        "Choose a relative of it, for instance the same name without 'distilled'.",
    )
