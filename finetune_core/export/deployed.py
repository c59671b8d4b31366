"""A run's model as it leaves: one program from a whole picture to answers, its preprocessing inside.

What is left behind at other exports, and makes their models answer otherwise, is how a picture was scaled and cut. Here
the network gets `read_image` and `eval_pipeline` in front, written in torch, so that whatever is made of it
(torch.export, ONNX) carries them, too. What is left to the caller is to decode a file: `reading.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from finetune_core.data.image import MAX_ASPECT
from finetune_core.errors import UserError
from finetune_core.understand.predict import Predictor

_tracing = threading.Lock()
SMALLEST, LARGEST = 2, 1 << 15  # px of a picture's side


class Deployed(nn.Module):
    """A picture as (H, W, channels) uint8, upright and on white, to answers (names,).

    Answers are probabilities (float32), or numbers in their own units (float64). Sides are those of the recipe: `side`
    at which images are kept, `measured` to which they are scaled from there, `size` of the middle that is seen.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, predictor: Predictor) -> None:
        """Take the predictor's network, which stays on its device."""
        super().__init__()
        data, network = predictor.data, predictor.network
        self.network, self.targets = network.module, predictor.targets
        self.side, self.measured, self.size = data.side, data.measured_side, data.image_size
        self.register_buffer("mean", torch.tensor(network.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(network.std).view(1, -1, 1, 1), persistent=False)
        self.eval()

    def forward(self, picture: Tensor) -> Tensor:
        """Scale, cut, normalise, answer."""
        outputs = self.network(self.seen(picture))
        return self.targets.about.meaning(self.targets, outputs)[0]

    def seen(self, picture: Tensor) -> Tensor:
        """What the network is shown, (1, channels, size, size) float32."""
        pixels = scaled(picture.permute(2, 0, 1).unsqueeze(0).double(), self.side, self.measured)
        return (middle(pixels, self.size).float() / 255 - self.mean) / self.std


def program(predictor: Predictor) -> ExportedProgram:
    """The same without Python, for pictures of any size; a UserError where the network cannot be traced."""
    deployed = Deployed(predictor).cpu()
    example = torch.zeros(deployed.side + 17, deployed.side, predictor.network.channels, dtype=torch.uint8)
    free = {0: Dim("height", min=SMALLEST, max=LARGEST), 1: Dim("width", min=SMALLEST, max=LARGEST)}
    try:
        with torch.no_grad(), usual_products():
            return torch.export.export(deployed, (example,), dynamic_shapes={"picture": free})
    except Exception as error:  # torch raises whatever a network's own code does when it is traced
        first = str(error).strip().partition("\n")[0]
        raise UserError(
            "This network cannot be taken away as a program.",
            f"torch.export does not get through its code: {first[:200]}",
            "Take the weights, or the script that builds the network in Python.",
        ) from error


@contextmanager
def usual_products() -> Iterator[None]:
    """While tracing, which asks cuDNN for its number format by a way that answers only where nothing was chosen."""
    cudnn: Any = torch.backends.cudnn
    operators = cudnn.conv, cudnn.rnn
    with _tracing:  # the format is the whole process's
        chosen = [each.fp32_precision for each in operators]
        for each in operators:
            each.fp32_precision = "tf32"
        try:
            yield
        finally:
            for each, before in zip(operators, chosen, strict=True):
                each.fp32_precision = before


def scaled(pixels: Tensor, side: int, measured: int) -> Tensor:
    """Whole numbers (1, C, H, W) float64 as `read_image` scales them to `side`, and the pipeline on to `measured`."""
    height, width = pixels.shape[-2:]
    short = torch.sym_min(height, width)
    parts = [torch.sym_min(each, MAX_ASPECT * short) for each in (height, width)]
    kept = [torch.sym_min(_rounded(each * side, short), MAX_ASPECT * side) for each in (height, width)]
    pixels = _resized(pixels, kept, parts, cubic=True)
    if measured == side:
        return pixels
    least = torch.sym_min(kept[0], kept[1])
    return _resized(pixels, [each * measured // least for each in kept], kept, cubic=False)


def middle(pixels: Tensor, size: int) -> Tensor:
    """What torchvision's CenterCrop leaves, which rounds halves to even ones."""
    over = [each - size for each in pixels.shape[-2:]]
    top, left = (each // 2 + (each % 2) * (each // 2 % 2) for each in over)
    return _cut(pixels, size, size, top, left)


def _cut(pixels: Tensor, height: Any, width: Any, top: Any, left: Any) -> Tensor:
    return pixels[..., top : top + height, left : left + width]


def _resized(pixels: Tensor, wanted: Any, parts: Any, cubic: bool) -> Tensor:
    """To the last bit what Pillow (cubic) and torchvision (linear) make of whole numbers: rows first, then columns.

    The middle `parts` become `wanted`, each high and wide.
    """
    pixels = _to_whole(pixels @ _weights(pixels.shape[-1], parts[1], wanted[1], cubic).T)
    return _to_whole(_weights(pixels.shape[-2], parts[0], wanted[0], cubic) @ pixels)


def _to_whole(pixels: Tensor) -> Tensor:
    return (pixels + 0.5).floor().clamp(0, 255)


def _weights(size: Any, part: Any, wanted: Any, cubic: bool) -> Tensor:
    """Of `size` pixels in each of `wanted` over their middle `part`, (wanted, size) float64, rounded as both do.

    Pillow gives its weights 22 bits; torch as many as keep the largest one below 2 ** 15.
    """
    scale = torch.full((1,), part, dtype=torch.float64) / wanted
    centres = (torch.arange(wanted, dtype=torch.float64) + 0.5) * scale + (size - part) // 2
    places = torch.arange(size, dtype=torch.float64) + 0.5
    away = (places - centres.unsqueeze(1)).abs() / scale.clamp(min=1.0)
    if cubic:  # Keys 1981 with a = -0.5
        near, far = (1.5 * away - 2.5) * away * away + 1.0, ((2.5 - 0.5 * away) * away - 4.0) * away + 2.0
        weights = torch.where(away < 1.0, near, torch.where(away < 2.0, far, 0.0))
    else:
        weights = (1.0 - away).clamp(min=0.0)
    weights = weights / weights.sum(1, keepdim=True)
    bits = 22.0 if cubic else torch.floor(torch.log2((2.0**15 - 0.5) / weights.max()))
    return torch.round(weights * 2.0**bits) / 2.0**bits


def _rounded(value: Any, by: Any) -> Any:
    """Their quotient as `round` has it, halves to even ones; whole numbers alone, for a size may be a symbol."""
    twice = 2 * value + by
    up = twice // (2 * by)
    is_half = 1 - torch.sym_min(1, twice % (2 * by))
    return up - is_half * (up % 2)
