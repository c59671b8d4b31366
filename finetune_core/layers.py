"""The few layers and losses that neither torch, torchvision nor timm has; nothing here knows the rest of Thaw."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
        """Logits (N, C) and class numbers (N) to a scalar."""
        return super().forward(logits, labels).mean()


class FocalLoss(nn.Module):
    """Cross-entropy times (1 - p)^gamma, p being the probability of the right class (Lin et al. 2017).

    Its mean divides by the sum of the weights met, as torch's cross-entropy does, or by the number of images where
    `per_image`; at gamma 0 it is that cross-entropy.
    """

    weight: Tensor | None

    def __init__(self, gamma: float = 2.0, weight: Tensor | None = None, per_image: bool = False) -> None:
        super().__init__()
        self.gamma, self.per_image = gamma, per_image
        self.register_buffer("weight", weight)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (N, C) and class numbers (N) to a scalar."""
        log_right = F.log_softmax(logits.float(), 1).gather(1, labels[:, None])[:, 0]
        # never quite 0, where a power below 1 has no slope
        missing = (-torch.expm1(log_right)).clamp_min(torch.finfo(log_right.dtype).tiny)
        losses = -(missing**self.gamma) * log_right
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
    predicted. Classes without an image in the batch are left out: they could only score 0.
    """

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (N, C) and class numbers (N) to a scalar in [0, 1]."""
        shares = logits.float().softmax(1)
        truth = F.one_hot(labels, logits.shape[1]).to(shares.dtype)
        images = truth.sum(0)
        f1 = 2 * (shares * truth).sum(0) / (shares.sum(0) + images).clamp_min(1e-12)
        met = (images > 0).to(shares.dtype)
        return 1 - (f1 * met).sum() / met.sum()
