"""Backbones: the network that has already learned to see, as its library builds it.

torch and the libraries are imported when a network is built, not before.
"""

from __future__ import annotations

import difflib
import inspect
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import SerializeAsAny

from finetune_core import hub, places, pooling, weight_files
from finetune_core.errors import UserError
from finetune_core.parts.base import Call, Part, knob
from finetune_core.parts.weights import (
    Body,
    Bundled,
    Checkpoint,
    File,
    Hub,
    Origin,
    Plan,
    Progress,
    RandomWeights,
    Sighted,
    Weights,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Backbone", "Bundled", "Checkpoint", "File", "Hub", "RandomWeights", "Timm", "Torchvision", "Weights"]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RGB = 3  # channels that published networks are made for
IMAGES = {1: "grey images", 3: "colour images", 4: "images with transparency"}  # by channels
ALPHA_MEAN, ALPHA_STD = 1.0, 0.5  # so that what is opaque, as all of a photo, is 0
TORCHVISION_SIDE = 224  # px that its networks of fixed size are built for unless told otherwise


class Backbone(Part):
    """The network that has already learned to see."""

    architecture: str = knob("", "Architecture", "The library's name for the network.")
    weights: SerializeAsAny[Weights] = Hub()
    drop_rate: float = knob(
        0.0,
        "Dropout",
        "Share of features silenced at random in training, mostly before the head; 0 leaves it to the library.",
        low=0.0,
        high=0.9,
        more=True,
    )
    drop_path_rate: float = knob(
        0.0,
        "Stochastic depth",
        "Chance that the last block is skipped in training, less for those before it; 0 leaves it to the library.",
        low=0.0,
        high=0.9,
        more=True,
    )

    def arguments(self, plan: Plan) -> dict[str, Any]:
        """What the library's constructor is told beside name, outputs and dropout."""
        raise NotImplementedError

    def call(self, plan: Plan) -> Call:
        """The library's constructor for this network, to plan and with random weights."""
        raise NotImplementedError

    def published(self, tag: str, plan: Plan, progress: Progress | None) -> Origin:
        """The weights of the library's hub; without `progress` only what is on this machine already."""
        raise NotImplementedError

    def made(self, call: Call, plan: Plan) -> Body:
        """What a call of the constructor gives; UserError if there is no such network or it cannot be built to plan."""
        raise NotImplementedError

    def bare(self, plan: Plan) -> Body:
        """The network with random weights; UserError as in `made`."""
        return self.made(self.call(plan), plan)

    def fill(self, body: Body, named: Mapping[str, Tensor], source: str) -> None:
        """Copy a state dict into the network, all but its classifier; UserError where it does not fit."""
        raise NotImplementedError

    def adapting(self, body: Body, named: Mapping[str, Tensor]) -> Sequence[str]:
        """The code by which `fill` makes `weights` fit the `model`, nothing where they do."""
        raise NotImplementedError

    def socket(self, body: Body) -> pooling.Socket:
        """Open the network for a head that pools by itself; UserError where its features cannot be had unpooled."""
        raise NotImplementedError

    def take(self, channels: int, network: Sighted) -> None:
        """Make a network for colour images one for so many channels, if it is not; UserError where it cannot be."""
        if channels == network.channels:
            return
        from finetune_core.layers import with_channels

        what = f"{self.title}'s {self.architecture} cannot take {IMAGES[channels]}"
        hint = "Choose other channels (on the data page, under More), or another architecture."
        if network.channels != RGB:
            raise UserError(f"{what}.", f"Its weights were made for {IMAGES[network.channels]}.", hint)
        try:
            with_channels(network.module, channels)
        except NotImplementedError as error:
            raise UserError(f"{what}.", str(error), hint) from error
        network.mean = _per_channel(network.mean, channels, ALPHA_MEAN)
        network.std = _per_channel(network.std, channels, ALPHA_STD)

    def drops(self) -> dict[str, Any]:
        """What the library's constructor is told of dropout and stochastic depth: nothing where left to it."""
        names = self.drop_names()
        rates = {names[0]: self.drop_rate, names[1]: self.drop_path_rate}
        return {name: rate for name, rate in rates.items() if rate > 0}

    def drop_names(self) -> tuple[str, str]:
        """The constructor's words for dropout and stochastic depth."""
        raise NotImplementedError


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

    def socket(self, body: Body) -> pooling.Socket:
        """timm's own way, checked by a forward pass."""
        return pooling.timm_socket(body.module, body.classifier, self.architecture, body.side, body.channels)

    def made(self, call: Call, plan: Plan) -> Body:
        """With the classifier that timm names, and the normalisation of its weights."""
        self._check()
        arguments = self.arguments(plan)
        try:
            module = call.build()
        except (TypeError, ValueError, AssertionError, RuntimeError) as error:
            raise _not_to_plan(self, arguments, error) from error
        cfg = module.pretrained_cfg
        classifier = _timm_classifier(module, self.architecture)
        side = plan.image_size or arguments.get("img_size") or cfg["input_size"][-1]
        return Body(module, classifier, tuple(cfg["mean"]), tuple(cfg["std"]), arguments, side)

    def _check(self) -> None:
        import timm

        if not timm.is_model(self.architecture) or "." in self.architecture:
            raise _unknown("timm", self.architecture, timm.list_models())

    def _size(self, image_size: int | None) -> dict[str, int]:
        """Tell networks of fixed size (most transformers) the size of the images; timm adapts their positions."""
        import timm

        cfg = timm.get_pretrained_cfg(self.architecture, allow_unregistered=True)
        fixed = cfg is not None and cfg.fixed_input_size and image_size not in (None, cfg.input_size[-1])
        return {"img_size": image_size} if fixed and image_size else {}

    def published(self, tag: str, plan: Plan, progress: Progress | None) -> Origin:
        """From the Hugging Face hub or the authors' address; read from timm's own caches where it is there already."""
        import timm

        self._check()
        name = f"{self.architecture}.{tag}" if tag else self.architecture
        tags = [each.partition(".")[2] for each in timm.list_pretrained(f"{self.architecture}.*")]
        cfg = timm.get_pretrained_cfg(name, allow_unregistered=True) if not tag or tag in tags else None
        if cfg is None or not (cfg.hf_hub_id or cfg.url):
            raise _no_such_tag("timm", self.architecture, tag, tags)
        path = _timm_file(cfg, name, progress)
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
    SIDE_BRANCHES: ClassVar[tuple[str, ...]] = ("aux1", "aux2", "AuxLogits")

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

    def socket(self, body: Body) -> pooling.Socket:
        """Where its pooling is found."""
        return pooling.torchvision_socket(body.module, body.classifier, self.architecture, body.side, body.channels)

    def made(self, call: Call, plan: Plan) -> Body:
        """With the last layer as classifier, and the normalisation of ImageNet."""
        self._check()
        arguments = self.arguments(plan)
        try:
            module = call.build()
        except (TypeError, ValueError, AssertionError, RuntimeError) as error:
            raise _not_to_plan(self, arguments, error) from error
        classifier = _torchvision_classifier(module, self.architecture)
        built_for = arguments.get("image_size") or arguments.get("input_size", (TORCHVISION_SIDE,))[0]
        side = plan.image_size or built_for
        return Body(module, classifier, IMAGENET_MEAN, IMAGENET_STD, arguments, side)

    def _check(self) -> None:
        """Whether there is such a network, and it can be told its dropout: some swallow words that they do not know."""
        from torchvision import models

        names = models.list_models(module=models)
        if self.architecture not in names:
            raise _unknown("torchvision", self.architecture, names)
        made = inspect.signature(models.get_model_builder(self.architecture)).return_annotation
        known = inspect.signature(made).parameters
        for name in self.drops():
            if name not in known:
                raise _does_not_drop(self, f"{made.__name__} has no {name}")

    def _size(self, image_size: int | None) -> dict[str, Any]:
        """The families of fixed size call it by different names."""
        if image_size is None or image_size == TORCHVISION_SIDE:
            return {}
        if self.architecture.startswith("vit_"):
            return {"image_size": image_size}
        return {"input_size": (image_size, image_size)} if self.architecture.startswith("maxvit_") else {}

    def published(self, tag: str, plan: Plan, progress: Progress | None) -> Origin:
        """From PyTorch's server, or from torch's own cache."""
        from torchvision import models

        self._check()
        sets = models.get_model_weights(self.architecture)
        if tag and tag not in sets.__members__:
            raise _no_such_tag("torchvision", self.architecture, tag, list(sets.__members__))
        chosen = sets[tag or "DEFAULT"]
        path = _from_url(chosen.url, progress)
        state = f"torchvision.models.get_weight({str(chosen)!r}).get_state_dict()"
        transforms = chosen.transforms()
        return Origin(self.call(plan), path, state, tuple(transforms.mean), tuple(transforms.std))

    def fill(self, body: Body, named: Mapping[str, Tensor], source: str) -> None:
        """Names as torchvision writes them; a ViT's positions are stretched to the size of the images."""
        module: Any = body.module
        if self.adapting(body, named):
            from torchvision.models.vision_transformer import interpolate_embeddings

            named = interpolate_embeddings(module.image_size, module.patch_size, OrderedDict(named))
        weight_files.fill(body.module, named, [body.classifier, *self.SIDE_BRANCHES], source)

    def adapting(self, body: Body, named: Mapping[str, Tensor]) -> Sequence[str]:
        """torchvision's own stretching."""
        module: Any = body.module
        positions = named.get("encoder.pos_embedding")
        if positions is None or not hasattr(module, "patch_size"):
            return ()
        if positions.shape == module.encoder.pos_embedding.shape:
            return ()
        stretch = "torchvision.models.vision_transformer.interpolate_embeddings"
        return (f"weights = {stretch}(model.image_size, model.patch_size, weights)",)


def _per_channel(colours: tuple[float, ...], channels: int, alpha: float) -> tuple[float, ...]:
    """A mean or standard deviation of three colours as that of grey images, or of colour and alpha."""
    return (sum(colours) / len(colours),) if channels == 1 else (*colours, alpha)


def _timm_file(cfg: Any, name: str, progress: Progress | None) -> Path | None:
    """The file of a pretrained tag: from the Hugging Face cache, our own cache, or downloaded into the latter."""
    if not cfg.hf_hub_id:
        return _from_url(cfg.url, progress)
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
    if progress is None:
        return None
    host = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    for file in files:
        try:
            return hub.fetch(f"{host}/{cfg.hf_hub_id}/resolve/main/{file}", own[file], progress)
        except hub.NotPublishedError:
            continue
    raise UserError(
        f"The hub has no weights for {name}.",
        f"{cfg.hf_hub_id} is not there.",
        f"Choose another tag. {weight_files.OTHER_WAYS}",
    )


def _from_url(url: str, progress: Progress | None) -> Path | None:
    import torch

    target = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if progress is None:
        return target if target.is_file() else None
    try:
        return hub.fetch(url, target, progress)
    except hub.NotPublishedError as error:
        raise UserError(f"{target.name} is no longer published.", f"{error}.", weight_files.OTHER_WAYS) from error


def _timm_classifier(module: Any, architecture: str) -> str:
    """The dotted name of timm's classifying layer; UserError for the few families that have several."""
    named = dict(module.named_modules())
    said = module.pretrained_cfg.get("classifier")
    several = isinstance(said, (tuple, list)) or getattr(module, "head_dist", None)  # each would need a head
    if isinstance(said, str) and _classifies(named.get(said)) and not several:
        return said
    if not several:
        layer = module.get_classifier() if hasattr(module, "get_classifier") else None
        for name, child in named.items():
            if child is layer and _classifies(child):
                return name
    raise UserError(
        f"Thaw cannot put a new head on timm's {architecture}.",
        "It has several classifiers, or none that is a single layer.",
        "Choose a relative of it, for instance the same name without 'distilled'.",
    )


def _torchvision_classifier(module: nn.Module, architecture: str) -> str:
    """The last linear or 1×1 convolution layer under the name that torchvision's families use for it."""
    for root in ("fc", "classifier", "heads", "head"):
        child = getattr(module, root, None)
        if child is not None:
            layers = [name for name, layer in child.named_modules(prefix=root) if _classifies(layer)]
            if layers:
                return layers[-1]
    raise UserError(
        f"Thaw cannot put a new head on torchvision's {architecture}.",
        "It has no single classifying layer.",
        "Choose another architecture.",
    )


def _classifies(layer: object) -> bool:
    from torch import nn

    return isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and tuple(layer.kernel_size) == (1, 1))


def _not_to_plan(backbone: Backbone, arguments: Mapping[str, Any], error: Exception) -> Exception:
    """Words for what a constructor refused; the error itself where nothing special was asked of it."""
    if isinstance(error, TypeError) and any(name in str(error) for name in backbone.drops()):
        return _does_not_drop(backbone, f"Its constructor says: {error}")
    if not arguments:
        return error
    asked = ", ".join(f"{key}={value}" for key, value in arguments.items())
    return UserError(
        f"{backbone.title} cannot build {backbone.architecture} with {asked}.",
        f"It says: {str(error).splitlines()[0] if str(error) else type(error).__name__}.",
        "Choose the image size or the architecture that the weights were made for.",
    )


def _does_not_drop(backbone: Backbone, why: str) -> UserError:
    return UserError(
        f"{backbone.title}'s {backbone.architecture} cannot be told its dropout or stochastic depth.",
        f"{why}.",
        "Set it back to 0, which leaves it to the library, or choose another architecture.",
    )


def _unknown(library: str, architecture: str, known: Sequence[str]) -> UserError:
    near = difflib.get_close_matches(architecture.partition(".")[0], known, n=3)
    return UserError(
        f"{library} has no network called {architecture or '(nothing)'}.",
        f"Did you mean {' or '.join(near)}?" if near else "",
        "Choose a name from the list on the model page; a tag of weights is set apart from the name.",
    )


def _no_such_tag(library: str, architecture: str, tag: str, tags: Sequence[str]) -> UserError:
    if not tags:
        return UserError(
            f"{library} publishes no weights for {architecture}.",
            "Only its design is published.",
            weight_files.OTHER_WAYS,
        )
    return UserError(
        f"{library} has no weights {tag or '(default)'} for {architecture}.",
        f"There are {', '.join(tags)}.",
        "Choose one of these, or leave the tag empty.",
    )
