"""timm (PyTorch Image Models): its networks, their published weights and classifiers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from finetune_core import places
from finetune_core.errors import UserError
from finetune_core.parts.backbones import hub, sockets, weight_files
from finetune_core.parts.backbones.spec import Body, Origin, Plan
from finetune_core.parts.base import Call, knob
from finetune_core.records import Report

if TYPE_CHECKING:
    from torch import Tensor

from finetune_core.parts.backbones.family import Backbone
from finetune_core.parts.backbones.library import classifies, from_url, no_such_tag, not_to_plan, unknown


class Timm(Backbone):
    """A network from timm (PyTorch Image Models), the largest collection of image backbones."""

    kind: ClassVar[str] = "timm"
    title: ClassVar[str] = "timm"
    architecture: str = knob("resnet10t", "Architecture", "timm's name for the network, such as resnet50.")

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
            raise not_to_plan(self, arguments, error) from error
        cfg = module.pretrained_cfg
        classifier = _timm_classifier(module, self.architecture)
        side = plan.image_size or arguments.get("img_size") or cfg["input_size"][-1]
        return Body(module, classifier, tuple(cfg["mean"]), tuple(cfg["std"]), arguments, side)

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
        if cfg is None or not (cfg.hf_hub_id or cfg.url):
            raise no_such_tag("timm", self.architecture, tag, tags)
        path = _timm_file(cfg, name, report)
        # what lies in a file of the hub is an ordinary state dict, whatever `custom_load` says of the authors' address
        overlay = {"file": str(path), "custom_load": cfg.custom_load and not cfg.hf_hub_id}
        loading = {"pretrained_cfg_overlay": overlay} if path else {}
        return Origin(self._call(name, plan, pretrained=True, **loading), path, None, tuple(cfg.mean), tuple(cfg.std))

    def fill(self, body: Body, named: Mapping[str, Tensor], source: str) -> None:
        """Names as timm writes them, or as the family's authors did where timm can translate."""
        import contextlib
        import sys

        if self.adapting(body, named):
            # what is not the authors' format either: `fill` says what does not match
            with contextlib.suppress(KeyError, AttributeError, IndexError, RuntimeError, TypeError, ValueError):
                named = sys.modules[type(body.module).__module__].checkpoint_filter_fn(dict(named), body.module)
        weight_files.fill(body.module, named, [body.classifier], source)

    def adapting(self, body: Body, named: Mapping[str, Tensor]) -> Sequence[str]:
        """timm's translation of the authors' names, in the module of the family."""
        import sys

        family = type(body.module).__module__
        translates = hasattr(sys.modules[family], "checkpoint_filter_fn")
        if not translates or weight_files.fits(body.module, named, [body.classifier]):
            return ()
        return (f"weights = {family}.checkpoint_filter_fn(weights, model)",)


def _timm_file(cfg: Any, name: str, report: Report | None) -> Path | None:
    """The file of a pretrained tag: from the Hugging Face cache, our own cache, or downloaded into the latter."""
    if not cfg.hf_hub_id:
        return from_url(cfg.url, report)
    from huggingface_hub import try_to_load_from_cache

    files = [cfg.hf_hub_filename] if cfg.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]
    # named in full, so that another default tag in a later timm is another file
    own = {file: places.cache_dir() / "weights" / f"{Path(cfg.hf_hub_id).name}{Path(file).suffix}" for file in files}
    for file in files:
        cached = try_to_load_from_cache(cfg.hf_hub_id, file)
        if isinstance(cached, str):
            return Path(cached)
        if own[file].is_file():
            return own[file]
    if report is None:
        return None
    host = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    for file in files:
        try:
            return hub.fetch(f"{host}/{cfg.hf_hub_id}/resolve/main/{file}", own[file], report)
        except hub.NotPublishedError:
            continue
    raise UserError(
        f"The hub has no weights for {name}.",
        f"{cfg.hf_hub_id} is not there.",
        f"Choose another tag. {weight_files.OTHER_WAYS}",
    )


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
