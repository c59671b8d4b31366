"""How much of a heat map lies where the class is: a square of one colour, at any place of a real photo, is the class.

    python -m benchmarks.heat [--photos DIR] [--steps 400] [--images 24] [NETWORK ...]

Each network learns the four colours, from nothing or from weights in ../shared where they are there, and is then asked
about photos with other squares. The square is 9 % of the picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from finetune_core.network import build
from finetune_core.parts.sources import files
from finetune_core.parts.tasks import single_label
from finetune_core.places import ROOT
from finetune_core.recipe import Recipe
from finetune_core.understand import explain
from finetune_core.understand.predict import Predictor

SHARED = ROOT.parent / "shared"
SIDE, SQUARE = 160, 48  # px
COLOURS = torch.tensor([[255, 40, 40], [40, 255, 40], [60, 60, 255], [255, 255, 40]], dtype=torch.uint8)
NETWORKS = ("test_resnet", "test_efficientnet", "test_convnext", "test_vit", "squeezenet1_1", "mobilenetv2_100")
WEIGHTS = {
    "squeezenet1_1": ("torchvision", "torchvision_squeezenet1_1_imagenet1k.safetensors"),
    "mobilenetv2_100": ("timm", "timm_mobilenetv2_100_imagenet1k.safetensors"),
}


def main() -> None:
    """Print the share of the heat on the square, by its layers and by covering, for each network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK")
    parser.add_argument("--photos", type=Path, default=SHARED / "data" / "clothing10")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--images", type=int, default=24)
    given = parser.parse_args()
    photos = _photos(given.photos)
    print(f"{'network':20}{'right':>8}{'by its layers':>16}{'by covering':>14}")
    for name in given.networks:
        predictor = untrained(name)
        learn(predictor, photos, given.steps, 3e-4 if name in WEIGHTS else 2e-3)
        images, classes, places = planted(photos, given.images, seed=10**6)
        right = float((predictor.answered(images).argmax(1) == classes).float().mean())
        shares = [share(predictor, images, classes, places, way) for way in ("layers", "covering")]
        print(f"{name:20}{right:>8.0%}{shares[0]:>16.1%}{shares[1]:>14.1%}", flush=True)


def planted(photos: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Photos (N, 3, SIDE, SIDE) uint8 with a square each, which colour it has, and where its upper left corner is."""
    random = torch.Generator().manual_seed(seed)
    images = photos[torch.randint(len(photos), (count,), generator=random)].clone()
    classes = torch.randint(len(COLOURS), (count,), generator=random)
    places = torch.randint(SIDE - SQUARE, (count, 2), generator=random)
    for image, colour, (top, left) in zip(images, classes, places.tolist(), strict=True):
        image[:, top : top + SQUARE, left : left + SQUARE] = COLOURS[colour][:, None, None]
    return images, classes, places


def share(predictor: Predictor, images: Tensor, classes: Tensor, places: Tensor, way: explain.Way) -> float:
    """The mean share of the heat for the true class that lies on the square."""
    heat = explain.explain(predictor, images, classes.numpy(), way)
    on_it = [
        float(each[top : top + SQUARE, left : left + SQUARE].sum() / max(each.sum(), 1e-12))
        for each, (top, left) in zip(heat, places.tolist(), strict=True)
    ]
    return float(np.mean(on_it))


def _photos(folder: Path) -> Tensor:
    found = files.below(folder).images
    pixels = [np.asarray(Image.open(each).convert("RGB").resize((SIDE, SIDE))) for each in found[:400]]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()


def untrained(name: str) -> Predictor:
    """A network with four names, from nothing or from weights in ../shared."""
    library, file = WEIGHTS.get(name, ("timm", ""))
    there = (SHARED / "weights" / file).is_file()
    weights = {"kind": "file", "path": str(SHARED / "weights" / file)} if there else {"kind": "random"}
    backbone = {"kind": library, "architecture": name, "weights": weights}
    recipe = Recipe().with_value("model.backbone", backbone).with_value("data.image_size", SIDE)
    torch.manual_seed(0)
    network = build.build(recipe.model, len(COLOURS), image_size=SIDE)
    targets = single_label([10] * len(COLOURS), ("red", "green", "blue", "yellow"))
    return Predictor(network, targets, recipe.data, torch.device("cpu"))


def learn(predictor: Predictor, photos: Tensor, steps: int, rate: float) -> None:
    """Teach it the colours."""
    module = predictor.network.module.train()
    optimizer = torch.optim.AdamW(module.parameters(), rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for step in range(steps):
        images, classes, _ = planted(photos, 32, seed=step)
        loss = nn.functional.cross_entropy(module(predictor.normalised(images)), classes)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    module.eval()


if __name__ == "__main__":
    main()
