"""What all peers that run plain torch share: the network with its weights, the images, and which weights learn."""

from __future__ import annotations

import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from benchmarks.peers.task import ARCHITECTURE, LEAST_SCALE, RATE, Labelled, Task

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def network(task: Task) -> nn.Module:
    """The pretrained network with a new head, all of it frozen that is not to learn."""
    made = timm.create_model(ARCHITECTURE, num_classes=task.classes)
    weights = {name: each for name, each in load_file(task.weights).items() if not name.startswith("classifier.")}
    made.load_state_dict(weights, strict=False)
    for name, parameter in made.named_parameters():
        parameter.requires_grad_(task.learning(name))
    return hold(made).to(task.device)


def hold(module: nn.Module) -> nn.Module:
    """Let frozen norm layers keep their statistics, whoever puts the network into training mode."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d) and not layer.weight.requires_grad:
            layer.eval()
            layer.train = lambda mode=True, layer=layer: layer  # type: ignore[method-assign, misc]
    return module


def optimizer(module: nn.Module) -> torch.optim.Optimizer:
    """AdamW over what learns."""
    return torch.optim.AdamW([each for each in module.parameters() if each.requires_grad], lr=RATE)


def training_views(size: int) -> v2.Compose:
    """A random crop and flip, as torchvision's references have them."""
    crop = v2.RandomResizedCrop(size, scale=(LEAST_SCALE, 1.0), antialias=True)
    return v2.Compose([crop, v2.RandomHorizontalFlip(), *_as_input()])


def validation_views(size: int) -> v2.Compose:
    """The middle."""
    return v2.Compose([v2.Resize(size, antialias=True), v2.CenterCrop(size), *_as_input()])


def _as_input() -> list[nn.Module]:
    return [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]


class Photos(Dataset[tuple[Tensor, int]]):
    """Images read from their files each time, as everybody's first dataset does."""

    def __init__(self, images: Labelled, transform: v2.Compose | None = None) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, label = self.images[index]
        with Image.open(path) as file:
            image = file.convert("RGB")
        return (self.transform(image) if self.transform else image), label


def loader(task: Task, train: bool = True, keep: bool = True) -> DataLoader[tuple[Tensor, int]]:
    """torch's own, with worker processes that it may keep for the next epoch."""
    views = training_views(task.size) if train else validation_views(task.size)
    return DataLoader(
        Photos(task.train if train else task.valid, views),
        batch_size=task.batch,
        shuffle=train,
        num_workers=task.workers,
        persistent_workers=keep,
        pin_memory=task.device == "cuda",
    )
