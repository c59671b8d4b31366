"""Where a network looked: a heat map over what it was shown, for one of its classes, tags or numbers.

By its layers: what each place of a layer group has to do with the answer, as the mean of two measures, each of which
is wrong where the other is not: activation times gradient (HiResCAM, Draelos and Carin 2020), and what changes at the
place on the way from a plain picture of the same mean colour (conductance, Dhamdhere et al. 2018). Deep groups know
what counts but hardly where, early ones where but not what: the map is the product of all groups, warm where nearly
all took part.

By covering: the answer is asked for again and again with a window covered, which is slow, and knows nothing of layers
(occlusion, Zeiler and Fergus 2014). The measures are captum's; `python -m benchmarks.heat` says how far they hit.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from captum.attr import LayerConductance, LayerGradientXActivation, Occlusion
from PIL import Image
from scipy import ndimage
from torch import Tensor, nn

from finetune_core.data.chosen import of_run
from finetune_core.data.image import Picture, UnreadableError
from finetune_core.errors import UserError
from finetune_core.network.network import Network
from finetune_core.recipe.names import HEAD
from finetune_core.records import Count
from finetune_core.runs.store import Run
from finetune_core.understand import predict
from finetune_core.understand.outcomes import outcomes
from finetune_core.understand.predict import Predictor

Way = Literal["layers", "covering"]
STEPS = 8  # pictures between the plain one and the whole
GROUPS = 8  # layer groups, of more so many from all over them
LEFT = 0.03  # of a place that a group took no part in: one group alone may be wrong
AT_ONCE = 16  # pictures in a pass
WINDOW, STRIDE = 8, 16  # parts of the side that are covered, and by which the window moves
SOFT, GAMMA = 50, 0.4  # of what is drawn: the side by this is a blur, and an exponent
EMBER = np.array([[14, 20, 36], [64, 32, 64], [196, 74, 34], [255, 158, 44], [255, 244, 200]], np.float32)


@dataclass(frozen=True)
class Looked:
    """A picture with the heat for a name on it, (size, size, 3) uint8."""

    name: str
    pixels: np.ndarray

    def png(self) -> bytes:
        """As a file."""
        file = io.BytesIO()
        Image.fromarray(self.pixels).save(file, "PNG")
        return file.getvalue()


def explain(predictor: Predictor, images: Tensor, names: Sequence[int] | np.ndarray, way: Way = "layers") -> np.ndarray:
    """For each image what speaks for that name (its number) in it, (N, size, size) float32 from 0 to 1.

    `images` are as the evaluation pipeline gives them, uint8. All zeros where nothing in an image speaks for the name.
    """
    shown = predictor.normalised(images)
    asked = torch.as_tensor(np.asarray(names, np.int64), device=shown.device)
    plain = shown.mean((2, 3), keepdim=True).expand_as(shown)
    answer = _margin if predictor.targets.about.exclusive else _own
    module = predictor.network.module

    def told(inputs: Tensor) -> Tensor:
        return answer(module(inputs))

    with torch.enable_grad():
        maps = _conducted if way == "layers" else _covered
        found = maps(predictor.network, told, shown, plain, asked)
    return found.float().cpu().numpy()


def pictures(
    predictor: Predictor,
    asked: Sequence[tuple[Picture, str]],
    way: Way = "layers",
    count: Count | None = None,
) -> Iterator[Looked | None]:
    """Each picture as the network is shown it, with what speaks for that name in it; None of one that cannot be read.

    Where the name is "", for the likeliest one; of numbers for the first.
    """
    names = predictor.targets.names
    for done, (picture, name) in enumerate(asked):
        if count:
            count(done, len(asked))
        try:
            image = predictor.shown(picture)
        except UnreadableError:
            yield None
            continue
        likeliest = int(predictor.answered(image[None])[0].argmax()) if predictor.targets.about.counted else 0
        number = names.index(name) if name else likeliest
        yield Looked(names[number], laid_over(image, explain(predictor, image[None], [number], way)[0]))


def telling(run: Run, most: int, count: Count | None = None) -> list[tuple[str, Looked]]:
    """Validation images that tell most, each with what it is: half of them the surest mistakes, then the surest right.

    Nothing where the run has no such answers, its images are gone, or its network has no places to point at.
    """
    try:
        found, samples = outcomes(run), of_run(run.recipe.data, run.begun)[0]
    except UserError:
        return []
    wrong = found.mistakes()[: most // 2]
    right = np.argsort(np.where(found.right, -found.sure, 1), kind="stable")[: most - len(wrong)]
    places = [int(place) for place in (*wrong, *right) if place in wrong or found.right[place]]
    there = [place for place in places if (samples.root / found.images[place]).is_file()]
    asked = [(samples.root / found.images[place], found.names[found.guess[place]]) for place in there]
    try:
        looked = list(pictures(predict.load(run), asked, count=count))
    except UserError:  # a network without places
        return []
    return [(found.names[found.truth[place]], each) for place, each in zip(there, looked, strict=True) if each]


def laid_over(image: Tensor, heat: np.ndarray) -> np.ndarray:
    """The image in grey with its heat on it, (size, size, 3) uint8: dark where nothing speaks for it, else ember."""
    grey = image[:3].float().mean(0).numpy()[..., None]
    soft = ndimage.gaussian_filter(heat, heat.shape[-1] / SOFT)  # a place, not a pixel
    warm = (soft / max(float(soft.max()), 1e-12)) ** GAMMA  # products fall off steeply: show the second place, too
    places = warm * (len(EMBER) - 1)
    low = np.floor(places).astype(int).clip(0, len(EMBER) - 2)
    ember = EMBER[low] + (EMBER[low + 1] - EMBER[low]) * (places - low)[..., None]
    share = (0.2 + 0.5 * warm)[..., None]
    found: np.ndarray = ((1 - share) * grey + share * ember).clip(0, 255).astype(np.uint8)
    return found


def _margin(outputs: Tensor) -> Tensor:
    """Of classes that exclude each other: how far each is ahead of the mean."""
    return outputs - outputs.mean(1, keepdim=True)


def _own(outputs: Tensor) -> Tensor:
    return outputs


Told = Callable[[Tensor], Tensor]


def _conducted(network: Network, told: Told, shown: Tensor, plain: Tensor, asked: Tensor) -> Tensor:
    """The product over layer groups."""
    product = shown.new_ones((len(shown), *shown.shape[-2:]))
    found_layers, last = _layers(network, shown[:1])
    layers = _spread(found_layers)
    if not layers or hasattr(network.module, "reroll"):  # Hiera's tokens are in the order of its masks
        raise UserError(
            "This network has no layers that keep the places of a picture.",
            hint="Look by covering instead, which asks nothing of the layers.",
        )
    for layer in layers:
        way = {"baselines": plain, "n_steps": STEPS, "internal_batch_size": max(AT_ONCE, len(shown))}
        moved = LayerConductance(told, layer).attribute(shown, target=asked, **way)
        there = LayerGradientXActivation(told, layer).attribute(shown, target=asked)
        product *= LEFT + (_share(moved, shown, last) + _share(there, shown, last)) / 2
    return _from_0_to_1(product - product.flatten(1).amin(1)[:, None, None])


def _share(found: Tensor, shown: Tensor, last: bool) -> Tensor:
    """What speaks for the answer at each pixel, of what was found at each number that a layer gives."""
    places = _places(found.detach(), last)
    assert places is not None
    sums = places.sum(1, keepdim=True).clamp(min=0)
    return _from_0_to_1(nn.functional.interpolate(sums, size=shown.shape[-2:], mode="bilinear")[:, 0])


def _covered(network: Network, told: Told, shown: Tensor, plain: Tensor, asked: Tensor) -> Tensor:
    """What is lost where a window is covered."""
    side = shown.shape[-1]
    window, stride = max(2, side // WINDOW), max(1, side // STRIDE)
    lost = Occlusion(told).attribute(
        shown,
        sliding_window_shapes=(shown.shape[1], window, window),
        strides=(shown.shape[1], stride, stride),
        baselines=plain,
        target=asked,
        perturbations_per_eval=max(1, AT_ONCE // len(shown)),
    )
    return _from_0_to_1(lost.mean(1).clamp(min=0).detach())


def _layers(network: Network, image: Tensor) -> tuple[list[nn.Module], bool]:
    """Of each layer group the last module whose output still has places, stem first; and whether channels come last."""
    last: dict[str, nn.Module] = {}
    laid: list[bool] = []

    def watch(group: str) -> Callable[[nn.Module, object, object], None]:
        def seen(module: nn.Module, _: object, output: object) -> None:
            if isinstance(output, Tensor) and _places(output) is not None:
                last[group] = module
                laid.append(output.ndim == 4 and output.shape[1] == output.shape[2] != output.shape[3])

        return seen

    modules = dict(network.module.named_modules())
    body = [group for group in network.groups if group.name != HEAD]
    hooks = [modules[name].register_forward_hook(watch(group.name)) for group in body for name in group.modules]
    try:
        with torch.no_grad():
            network.module(image)
    finally:
        for hook in hooks:
            hook.remove()
    return [last[group.name] for group in body if group.name in last], any(laid)


def _places(output: Tensor, last: bool = False) -> Tensor | None:
    """A layer's output as (N, C, H, W) with more than one place; of tokens without those that stand for none.

    Where `last`, the network lays out N, H, W, C, as Swin does: there may be as many channels as rows.
    """
    if output.ndim == 4:
        turned = output.shape[2] != output.shape[3] or (last and _even(output))
        laid = output.permute(0, 3, 1, 2) if turned else output
        return laid if laid.shape[-1] > 1 else None
    if output.ndim != 3:
        return None
    side = int(output.shape[1] ** 0.5)
    if side < 2:
        return None
    tokens = output[:, output.shape[1] - side * side :]  # class and register tokens come first
    return tokens.transpose(1, 2).unflatten(2, (side, side))


def _even(output: Tensor) -> bool:
    """Whether nothing tells rows, columns and channels apart."""
    return output.shape[1] == output.shape[2] == output.shape[3]


def _spread(layers: Sequence[nn.Module]) -> list[nn.Module]:
    most = np.unique(np.linspace(0, len(layers) - 1, min(GROUPS, len(layers))).round().astype(int)) if layers else ()
    return [layers[place] for place in most]


def _from_0_to_1(maps: Tensor) -> Tensor:
    return maps / maps.flatten(1).amax(1).clamp(min=1e-12)[:, None, None]
