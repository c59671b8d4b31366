"""What neither torch, torchvision nor timm has: a few layers, losses and transforms, and a change of input channels.

Nothing here knows the rest of Thaw.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import v2


def pooled(rows: Tensor) -> Tensor:
    """The mean over places, (N, D): maps (N, C, H, W), or channels last; tokens (N, L, C); or features as they are."""
    if rows.ndim == 4:
        last = rows.shape[1] == rows.shape[2] != rows.shape[3]  # maps are as wide as they are high
        return rows.mean((1, 2) if last else (2, 3))
    return rows.mean(1) if rows.ndim == 3 else rows.flatten(1)


class TokenPool(nn.Module):
    """Mean beside maximum over an image's tokens: (N, L, C) to (N, 2·C); the first `prefix` tokens are left out.

    What average and maximum pooling are to a feature map; class and register tokens stand for no place in the image.
    """

    def __init__(self, prefix: int = 0) -> None:
        super().__init__()
        self.prefix = prefix

    def forward(self, x: Tensor) -> Tensor:
        """Pool."""
        places = x[:, self.prefix :]
        return torch.cat((places.mean(1), places.amax(1)), 1)

    def extra_repr(self) -> str:
        """As it is called."""
        return f"prefix={self.prefix}"


class CrossEntropyPerImage(nn.CrossEntropyLoss):
    """Weighted cross-entropy divided by the number of images instead of the sum of their weights."""

    def __init__(self, weight: Tensor | None = None, label_smoothing: float = 0.0) -> None:
        super().__init__(weight, reduction="none", label_smoothing=label_smoothing)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (N, C) and class numbers (N) or shares of each class (N, C) to a scalar."""
        return super().forward(logits, labels).mean()


class FocalLoss(nn.Module):
    """Cross-entropy times (1 - p)^gamma, p being the probability of the right class (Lin et al. 2017).

    Its mean divides by the sum of the weights met, as torch's cross-entropy does, or by the number of images where
    `per_image`; at gamma 0 it is that cross-entropy. Of shares of classes it is the mean over those shares, and, again
    as in torch, divided by the number of images.
    """

    weight: Tensor | None

    def __init__(self, gamma: float = 2.0, weight: Tensor | None = None, per_image: bool = False) -> None:
        super().__init__()
        self.gamma, self.per_image = gamma, per_image
        self.register_buffer("weight", weight)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (N, C) and class numbers (N) or shares of each class (N, C) to a scalar."""
        log_shares = F.log_softmax(logits.float(), 1)
        # never quite 0, where a power below 1 has no slope
        missing = (-torch.expm1(log_shares)).clamp_min(torch.finfo(log_shares.dtype).tiny)
        each = -(missing**self.gamma) * log_shares  # of every class, were it the right one
        if labels.is_floating_point():
            return (each * labels * (1 if self.weight is None else self.weight)).sum(1).mean()
        losses = each.gather(1, labels[:, None])[:, 0]
        if self.weight is None:
            return losses.mean()
        weights = self.weight[labels]
        return (losses * weights).sum() / (len(labels) if self.per_image else weights.sum())

    def extra_repr(self) -> str:
        """As it is called."""
        return f"gamma={self.gamma}, per_image={self.per_image}"


class SoftF1Loss(nn.Module):
    """One minus the mean F1 of the classes in the batch, counted with probabilities so that it has a slope.

    Of each class: the probability given to it on its own images is its true positives, that on all images what was
    predicted. Classes without an image in the batch are left out: they could only score 0. With `each` every output
    is a question of its own (tags), else they share one probability (classes).
    """

    def __init__(self, each: bool = False) -> None:
        super().__init__()
        self.each = each

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Logits (N, C) and class numbers (N) or shares of each class (N, C) to a scalar in [0, 1]."""
        shares = logits.float().sigmoid() if self.each else logits.float().softmax(1)
        truth = targets if targets.is_floating_point() else F.one_hot(targets, logits.shape[1])
        truth = truth.to(shares.dtype)
        images = truth.sum(0)
        f1 = 2 * (shares * truth).sum(0) / (shares.sum(0) + images).clamp_min(1e-12)
        met = (images > 0).to(shares.dtype)
        return 1 - (f1 * met).sum() / met.sum().clamp_min(1)

    def extra_repr(self) -> str:
        """As it is called."""
        return f"each={self.each}"


class TripletLoss(nn.Module):
    """Images of one class shall lie nearer to each other than to those of others, by a margin; and be named right.

    Distances are Euclidean, between embeddings that are brought to length 1 unless they are to stay as they are: what
    is given beside the outputs, or the outputs themselves, or (`softmax`) their probabilities. A triplet (anchor,
    another of its class, one of another class) costs what its negative is too near: d(a, p) - d(a, n) + margin, if
    above 0. `mining` says which triplets of the batch are averaged: of each anchor the one with the farthest positive
    and the nearest negative ("hardest", Hermans et al. 2017); those whose negative is farther than the positive, but
    not by the margin ("semi-hard", Schroff et al. 2015); or all that cost something ("all"). A batch without any costs
    0.
    Cross-entropy makes up the share `classify` of the loss.
    """

    def __init__(
        self,
        margin: float = 0.2,
        mining: str = "semi-hard",
        classify: float = 0.5,
        normalise: bool = True,
        softmax: bool = False,
    ) -> None:
        super().__init__()
        self.margin, self.mining, self.classify = margin, mining, classify
        self.normalise, self.softmax = normalise, softmax

    def forward(self, logits: Tensor, labels: Tensor, embedding: Tensor | None = None) -> Tensor:
        """Logits (N, C), class numbers (N) and perhaps embeddings (N, D) to a scalar.

        Needs memory for N · N · (images of a class) numbers.
        """
        named = F.cross_entropy(logits.float(), labels)
        compared = logits.float().softmax(1) if self.softmax else logits if embedding is None else embedding
        return self.classify * named + (1 - self.classify) * self.triplets(compared, labels)

    def triplets(self, embedding: Tensor, labels: Tensor) -> Tensor:
        """The mean cost of the triplets that were mined."""
        embedding = F.normalize(embedding.float(), dim=1) if self.normalise else embedding.float()
        # by differences, for by products near ones would be inexact
        apart = torch.cdist(embedding, embedding, compute_mode="donot_use_mm_for_euclid_dist")
        same = labels[:, None] == labels
        pairs = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        costs = self._hardest(apart, same, pairs) if self.mining == "hardest" else self._each(apart, same, pairs)
        return costs.sum() / max(len(costs), 1)

    def _hardest(self, apart: Tensor, same: Tensor, pairs: Tensor) -> Tensor:
        """One cost per anchor that has both a positive and a negative."""
        farthest = apart.masked_fill(~pairs, -math.inf).amax(1)
        nearest = apart.masked_fill(same, math.inf).amin(1)
        return (farthest - nearest + self.margin)[pairs.any(1) & ~same.all(1)].relu()

    def _each(self, apart: Tensor, same: Tensor, pairs: Tensor) -> Tensor:
        """The cost of every triplet that has one, or of the semi-hard ones."""
        anchors, positives = pairs.nonzero(as_tuple=True)
        to_positive, to_all = apart[anchors, positives][:, None], apart[anchors]
        costs = to_positive - to_all + self.margin
        mined = ~same[anchors] & (costs > 0)
        if self.mining == "semi-hard":
            mined &= to_all > to_positive
        return costs[mined]

    def extra_repr(self) -> str:
        """As it is called."""
        own = f"margin={self.margin}, mining={self.mining!r}, classify={self.classify}"
        return f"{own}, normalise={self.normalise}, softmax={self.softmax}"


class SutskeverSGD(torch.optim.Optimizer):
    """SGD whose velocity holds the rate: v = μ v + (1 - d) η g, w = w - v (Sutskever et al. 2013)."""

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        own = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        super().__init__(params, {**own, "nesterov": nesterov})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step; as in torch the first gradient is not dampened."""
        loss = closure() if closure else None
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.sub_(self._move(weight, group))
        return loss

    def _move(self, weight: Tensor, group: dict[str, Any]) -> Tensor:
        own = (weight.grad + group["weight_decay"] * weight) * group["lr"]
        if not group["momentum"]:
            return own
        velocity = self.state[weight].get("momentum_buffer")
        if velocity is None:
            velocity = self.state[weight]["momentum_buffer"] = own.clone()
        else:
            velocity.mul_(group["momentum"]).add_(own, alpha=1 - group["dampening"])
        return own + group["momentum"] * velocity if group["nesterov"] else velocity


def as_dict(*_: Any) -> dict[Any, Any]:
    """What a pickled defaultdict is read as: torch's careful reader fills none but plain dictionaries."""
    return {}


def as_list(*_: Any) -> list[Any]:
    """What a pickled deque is read as, in the same way."""
    return []


class OnColour(nn.Module):
    """A transform of the colours of an image with alpha (..., 4, H, W), which it leaves as it is."""

    def __init__(self, transform: nn.Module) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, image: Tensor) -> Tensor:
        """An image of the same shape."""
        return torch.cat((self.transform(image[..., :3, :, :]), image[..., 3:, :, :]), -3)


class AlphaApart:
    """Torchvision's automatic augmentations for (..., 4, H, W): what moves pixels moves alpha, colours leave it."""

    MOVING = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")

    def _apply_image_or_video_transform(self, image: Tensor, transform_id: str, *args: Any, **kwargs: Any) -> Tensor:
        apply = super()._apply_image_or_video_transform  # type: ignore[misc]
        if transform_id in self.MOVING:
            return apply(image, transform_id, *args, **kwargs)
        return torch.cat((apply(image[..., :3, :, :], transform_id, *args, **kwargs), image[..., 3:, :, :]), -3)


class RandAugmentAlpha(AlphaApart, v2.RandAugment):  # type: ignore[misc]
    """RandAugment for images with alpha."""


class TrivialAugmentAlpha(AlphaApart, v2.TrivialAugmentWide):  # type: ignore[misc]
    """TrivialAugment for images with alpha."""


class AutoAugmentAlpha(AlphaApart, v2.AutoAugment):  # type: ignore[misc]
    """AutoAugment for images with alpha."""


class AugMixAlpha(AlphaApart, v2.AugMix):  # type: ignore[misc]
    """AugMix for images with alpha."""


def with_channels(model: nn.Module, channels: int) -> nn.Module:
    """A network for RGB images made one for so many channels, its first weights adapted as timm does it.

    For grey images they are summed, so that it sees what it would see in three equal channels; else repeated and
    scaled. Raises NotImplementedError where it does not begin with a convolution, or looks at colours by itself.
    """
    from timm.models import adapt_input_conv

    convolutions = (name for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d))
    timms: Any = getattr(model, "pretrained_cfg", None)
    first = timms.get("first_conv") if timms else next(convolutions)
    if not first or getattr(model, "transform_input", False):
        raise NotImplementedError("Its code looks at the three colours by itself.")
    for name in [first] if isinstance(first, str) else first:
        layer: Any = model.get_submodule(name)
        weight = adapt_input_conv(channels, layer.weight.detach())
        layer.weight, layer.in_channels = nn.Parameter(weight), weight.shape[1]
    return model
