"""Fine-tune a backbone on a folder of class folders and print what it reaches: the measure of a set of weights."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from assets.backbones.pretrain.batches import Augment, augmented, plain, shuffled


@dataclass(frozen=True)
class Trial:
    """One fine-tuning budget: what is thawed, at which rates, for how long."""

    epochs: int = 5
    batch: int = 32
    pixels: int = 128
    head_rate: float = 3e-3
    body_rate: float = 3e-4
    thawed: str = "everything"
    decay: float = 0.05
    smoothing: float = 0.0
    bf16: bool = False
    augment: Augment = field(default_factory=Augment)


def read_folder(folder: Path, presize: int, skip: int = 0) -> tuple[Tensor, Tensor, list[str]]:
    """Every picture of a class-per-folder data set at presize x presize, with its label."""
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    images, labels = [], []
    for label, name in enumerate(classes):
        for path in sorted((folder / name).iterdir())[skip:]:
            if path.suffix.lower() in {".jpg", ".jpeg", ".png"}:
                with Image.open(path) as picture:
                    small = picture.convert("RGB").resize((presize, presize), Image.Resampling.BILINEAR)
                images.append(np.asarray(small))
                labels.append(label)
    return torch.from_numpy(np.stack(images)), torch.tensor(labels), classes


def split(labels: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Train and validation indices with the same share of each class."""
    rng = torch.Generator().manual_seed(seed)
    train, held = [], []
    for label in range(int(labels.max()) + 1):
        members = torch.nonzero(labels == label).flatten()
        members = members[torch.randperm(len(members), generator=rng)]
        cut = round(len(members) * share)
        held.append(members[:cut])
        train.append(members[cut:])
    return torch.cat(train), torch.cat(held)


def build(arch: str, classes: int, weights: Path | None, seed: int) -> nn.Module:
    """The network with a fresh small head, so that the first loss is about ln(classes)."""
    torch.manual_seed(seed)
    if arch == "mobilenetv2_100" and weights is not None:
        overlay = {"file": str(weights)}
        net = timm.create_model(
            arch, pretrained=True, num_classes=classes, pad_type="same", pretrained_cfg_overlay=overlay
        )
    else:
        net = timm.create_model(arch, num_classes=classes)
        if weights is not None:
            missing, unexpected = net.load_state_dict(
                {k: v.float() if v.is_floating_point() else v for k, v in load_file(weights).items()}, strict=False
            )
            if unexpected or any(not key.startswith(("fc.", "classifier.", "head.")) for key in missing):
                raise ValueError(f"{weights} does not fit {arch}: missing {missing}, unexpected {unexpected}")
    head = net.get_classifier()
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    return net.to(memory_format=torch.channels_last)


def thaw(net: nn.Module, thawed: str) -> None:
    """Freeze what the trial leaves alone: all but the head, the stages named (`layer3+layer4`), or nothing."""
    if thawed == "everything":
        return
    stages = () if thawed == "head" else tuple(f"{stage}." for stage in thawed.split("+"))
    head = {id(p) for p in net.get_classifier().parameters()}  # type: ignore[operator]
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(id(parameter) in head or name.startswith(stages) if stages else id(parameter) in head)


def frozen_eval(net: nn.Module) -> None:
    """Train mode only where something trains: BatchNorm of a frozen part keeps its running statistics."""
    net.train()
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not module.weight.requires_grad:
            module.eval()


def one_cycle(t: float, warm: float = 0.25) -> float:
    """Share of the peak rate at progress t: up for the first quarter, then down to almost nothing, as cosines."""
    if t < warm:
        return 0.04 + 0.96 * 0.5 * (1 - float(np.cos(np.pi * t / warm)))
    return 0.5 * (1 + float(np.cos(np.pi * (t - warm) / (1 - warm)))) + 1e-4


def fine_tune(net: nn.Module, data: tuple[Tensor, Tensor], trial: Trial, seed: int) -> float:
    """Train in place; returns the seconds it took."""
    images, labels = data
    thaw(net, trial.thawed)
    rng = torch.Generator().manual_seed(seed)
    head = {id(p) for p in net.get_classifier().parameters()}  # type: ignore[operator]
    body = [p for p in net.parameters() if p.requires_grad and id(p) not in head]
    groups = [{"params": [p for p in net.parameters() if id(p) in head], "peak": trial.head_rate}]
    if body:
        groups.append({"params": body, "peak": trial.body_rate})
    optimizer = torch.optim.AdamW(groups, lr=trial.head_rate, weight_decay=trial.decay)
    total = trial.epochs * len(list(shuffled(len(labels), trial.batch, torch.Generator())))
    step, start = 0, time.perf_counter()
    for _ in range(trial.epochs):
        frozen_eval(net)
        for part in shuffled(len(labels), trial.batch, rng):
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * one_cycle(step / total)
            batch = augmented(images[part], trial.pixels, trial.augment, rng)
            with torch.autocast("cpu", torch.bfloat16, enabled=trial.bf16):
                logits = net(batch)
            loss = functional.cross_entropy(logits.float(), labels[part], label_smoothing=trial.smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            step += 1
    return time.perf_counter() - start


@torch.inference_mode()
def predict(net: nn.Module, images: Tensor, pixels: int) -> Tensor:
    """The class of each picture, without augmentation."""
    net.eval()
    return torch.cat([net(plain(part, pixels)).argmax(1) for part in images.split(128)])


@dataclass(frozen=True)
class Result:
    """Validation accuracy, seconds of training, and who was taken for whom (truth by guess)."""

    accuracy: float
    seconds: float
    confusion: Tensor


def measure(folder: Path, arch: str, weights: Path | None, trial: Trial, seed: int, skip: int = 0) -> Result:
    """Fine-tune on four fifths of the folder and test on the rest."""
    images, labels, classes = read_folder(folder, int(trial.pixels * 1.15), skip)
    train, held = split(labels, 0.2, seed)
    net = build(arch, len(classes), weights, seed)
    seconds = fine_tune(net, (images[train], labels[train]), trial, seed)
    guess = predict(net, images[held], trial.pixels)
    confusion = torch.zeros(len(classes), len(classes), dtype=torch.long)
    for truth, said in zip(labels[held].tolist(), guess.tolist(), strict=True):
        confusion[truth, said] += 1
    return Result(float((guess == labels[held]).float().mean()), seconds, confusion)
