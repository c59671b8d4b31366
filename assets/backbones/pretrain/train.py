"""Pretrain the backbone: answer questions about drawn things, and see them as a larger trained network does.

Two sources of truth share one pass over each batch. The drawn pictures come with exact answers (kind, count, form, hue,
second hue, rows), and a teacher trained on ImageNet sees every view, drawn or photographed, and the student learns to
predict the teacher's features and class scores of that very view. Photographs are used without their labels.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, distributed, nn
from torch.nn import functional

from assets.backbones.pretrain import drawn
from assets.backbones.pretrain.batches import MEAN, STD, Augment, augmented
from assets.backbones.pretrain.source import QUESTIONS

FEATURES, SCORES = 1280, 1000  # What the teacher offers.


@dataclass(frozen=True)
class Plan:
    """One pretraining run."""

    arch: str = "resnet10t"
    steps: int = 2000
    batch: int = 96
    photos: int = 20
    pixels: int = 96
    crop: tuple[float, float] = (0.55, 1.0)
    photo_crop: tuple[float, float] = (0.3, 0.95)
    rate: float = 2e-3
    decay: float = 0.05
    anneal: float = 0.5
    temperature: float = 2.0
    keep: float = 0.98
    seed: int = 1


class Student(nn.Module):
    """The backbone with its temporary heads: one per question, and two that imitate the teacher."""

    def __init__(self, arch: str) -> None:
        super().__init__()
        self.body = timm.create_model(arch, num_classes=0)
        width = self.body.num_features
        self.questions = nn.ModuleDict({name: nn.Linear(width, size) for name, size in QUESTIONS.items()})
        self.features = nn.Linear(width, FEATURES)
        self.scores = nn.Linear(width, SCORES)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """What each head says of the images."""
        pooled = self.body(images)
        answers = {name: head(pooled) for name, head in self.questions.items()}
        return answers | {"features": self.features(pooled), "scores": self.scores(pooled)}


class Teacher(nn.Module):
    """The frozen teacher: standardised pooled features, and class scores."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        overlay = {"file": str(weights)}
        net = timm.create_model("mobilenetv2_100", pretrained=True, pad_type="same", pretrained_cfg_overlay=overlay)
        self.net = net.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("std", torch.ones(FEATURES))

    @torch.no_grad()
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features and scores, in single precision."""
        with torch.autocast("cpu", torch.bfloat16):
            pooled = self.net.forward_head(self.net.forward_features(images), pre_logits=True).float()
        return (pooled - self.mean) / self.std, self.net.classifier(pooled)

    def calibrate(self, views: list[Tensor]) -> None:
        """Learn mean and spread of the features, so that each counts alike."""
        raw = torch.cat([self(view)[0] for view in views])
        self.mean, self.std = raw.mean(0), raw.std(0) + 0.05


def read_photos(folder: Path, share: int, size: int = 200) -> Tensor:
    """The first `share` photos of each class; the others are never opened here and measure the transfer."""
    paths = [p for d in sorted(folder.iterdir()) if d.is_dir() for p in sorted(d.iterdir())[:share]]
    photos = []
    for path in paths:
        with Image.open(path) as picture:
            photos.append(np.asarray(picture.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)))
    return torch.from_numpy(np.stack(photos))


def views(source: Path, photos: Tensor, plan: Plan, workers: int, rank: int) -> Iterator[tuple[Tensor, Tensor]]:
    """One process's part of endless augmented batches, and their answers, which are -1 for photographs."""
    images, facts = drawn.load(source)
    rng = torch.Generator().manual_seed(plan.seed * 1000 + rank)
    soft = Augment(crop=plan.crop, aspect=0.15, degrees=30, brightness=0.25, contrast=0.25, saturation=0.15)
    hard = Augment(crop=plan.photo_crop, aspect=0.25, degrees=15, brightness=0.3, contrast=0.3, saturation=0.4)
    answers = torch.from_numpy(facts)
    real_part = plan.photos // workers
    fresh = plan.batch // workers - real_part
    while True:
        # Each process walks its own share of the pictures.
        for part in (torch.randperm(len(images) // workers, generator=rng) * workers + rank).split(fresh):
            own = augmented(torch.from_numpy(images[part.numpy()]), plan.pixels, soft, rng)
            real = augmented(photos[torch.randint(len(photos), (real_part,), generator=rng)], plan.pixels, hard, rng)
            none = torch.full((real_part, len(QUESTIONS)), -1)
            yield torch.cat([own, real]).contiguous(memory_format=torch.channels_last), torch.cat([answers[part], none])


def losses(out: dict[str, Tensor], truth: Tensor, taught: tuple[Tensor, Tensor], plan: Plan) -> dict[str, Tensor]:
    """What the student still gets wrong, by kind of lesson."""
    t = plan.temperature
    asked = [
        functional.cross_entropy(out[name].float(), truth[:, i], ignore_index=-1, label_smoothing=0.05)
        for i, name in enumerate(QUESTIONS)
    ]
    features, scores = taught
    soft = functional.kl_div(
        functional.log_softmax(out["scores"].float() / t, 1), functional.softmax(scores / t, 1), reduction="batchmean"
    )
    return {
        "questions": torch.stack(asked).mean(),
        "features": functional.mse_loss(out["features"].float(), features),
        "scores": soft * t * t / 4.0,
    }


def save(student: nn.Module, path: Path, plan: Plan, step: int) -> None:
    """The backbone alone, in half precision, with what a reader needs to know in its header; beside it the student."""
    body = student.get_submodule("body").state_dict()
    state = {k: v.half() if v.is_floating_point() else v for k, v in body.items()}
    about = {
        "architecture": plan.arch,
        "library": "timm",
        "mean": json.dumps(MEAN),
        "std": json.dumps(STD),
        "input_size": json.dumps([3, 128, 128]),
        "seed": str(plan.seed),
        "licence": "Apache-2.0",
        "plan": json.dumps(asdict(plan) | {"step": step}),
    }
    draft = path.with_suffix(".part")
    save_file({k: v.contiguous() for k, v in state.items()}, draft, metadata=about)
    draft.chmod(0o644)
    draft.replace(path)
    save_file({k: v.contiguous() for k, v in student.state_dict().items()}, path.with_suffix(".student"))


@dataclass(frozen=True)
class Inputs:
    """The files a run reads and writes."""

    source: Path
    photos: Path
    share: int
    teacher: Path
    out: Path
    start: Path | None


def train(rank: int, workers: int, plan: Plan, inputs: Inputs, port: int) -> None:
    """One of `workers` processes that share each batch and average their gradients.

    Processes of one thread each wait for one another once a step, not once an operation as threads do, which keeps
    its speed on a machine that others use too.
    """
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=workers)
    torch.manual_seed(plan.seed)
    student = Student(plan.arch).to(memory_format=torch.channels_last)
    if inputs.start is not None:
        student.load_state_dict(load_file(inputs.start))
    batches = views(inputs.source, read_photos(inputs.photos, inputs.share), plan, workers, rank)
    guide = Teacher(inputs.teacher)
    guide.calibrate([next(batches)[0] for _ in range(8)])
    for buffer in (guide.mean, guide.std):
        distributed.all_reduce(buffer.div_(workers))
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(plan.keep)
    smooth = torch.optim.swa_utils.AveragedModel(student, multi_avg_fn=average, use_buffers=True)
    plain = [p for p in student.parameters() if p.ndim < 2]
    matrices = [p for p in student.parameters() if p.ndim >= 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": plan.decay}, {"params": plain, "weight_decay": 0.0}], lr=plan.rate
    )
    student.train()
    began = time.perf_counter()
    for step in range(1, plan.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = plan.rate * schedule(step, plan)
        view, truth = next(batches)
        taught = guide(view)
        with torch.autocast("cpu", torch.bfloat16):
            told = student(view)
        parts = losses(told, truth, taught, plan)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(parts.values())).sum().backward()
        share_gradients(list(student.parameters()), workers)
        nn.utils.clip_grad_norm_(student.parameters(), 5.0)
        optimizer.step()
        smooth.update_parameters(student)
        if rank == 0 and step % 20 == 0:
            print(f"{step}/{plan.steps} {time.perf_counter() - began:.0f}s  {report(parts, told, truth)}", flush=True)
        if rank == 0 and (step % 50 == 0 or step == plan.steps):
            save(smooth.module, inputs.out, plan, step)


def schedule(step: int, plan: Plan) -> float:
    """Up over 40 steps, level, then down in a straight line over the last part of the run."""
    left = (plan.steps - step) / plan.steps
    return min(1.0, step / 40) * (min(1.0, left / plan.anneal) if plan.anneal else 1.0)


def share_gradients(parameters: list[nn.Parameter], workers: int) -> None:
    """Replace each gradient by its mean over the processes, in one message."""
    flat = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
    distributed.all_reduce(flat.div_(workers))
    start = 0
    for parameter in parameters:
        if parameter.grad is not None:
            size = parameter.grad.numel()
            parameter.grad.copy_(flat[start : start + size].view_as(parameter.grad))
            start += size


def report(parts: dict[str, Tensor], told: dict[str, Tensor], truth: Tensor) -> str:
    """The losses and the share of right answers of one batch."""
    asked = truth[:, 0] >= 0
    right = {n: float((told[n].argmax(1) == truth[:, i])[asked].float().mean()) for i, n in enumerate(QUESTIONS)}
    return "  ".join(
        [f"{k} {float(v.detach()):.3f}" for k, v in parts.items()] + [f"{k} {v:.2f}" for k, v in right.items()]
    )
