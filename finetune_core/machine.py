"""What this machine has, read without torch so that the first page is quick."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
from dataclasses import dataclass

import psutil

from finetune_core import places
from finetune_core.errors import UserError

PAIRS = {"2.14": "0.29"}  # torch to the torchvision that is built against it


@dataclass(frozen=True)
class Machine:
    """Cores, memory and free disk (GB), and the GPUs' names."""

    cores: int
    memory_gb: float
    free_disk_gb: float
    gpus: tuple[str, ...]

    def sentence(self) -> str:
        """One line for people."""
        device = " + ".join(self.gpus) or "no GPU: training runs on the CPU"
        return (
            f"{self.cores} CPU cores · {self.memory_gb:.0f} GB memory · {self.free_disk_gb:.0f} GB free disk · {device}"
        )


def facts() -> Machine:
    """Look at the machine (about 10 ms, more where there is a GPU)."""
    folder = places.runs_dir()
    while not folder.exists():
        folder = folder.parent
    return Machine(
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gb=psutil.virtual_memory().total / 1e9,
        free_disk_gb=shutil.disk_usage(folder).free / 1e9,
        gpus=_gpus(),
    )


def _gpus() -> tuple[str, ...]:
    # nvidia-smi answers without a CUDA context, which importing torch would be too slow for here.
    if not (tool := shutil.which("nvidia-smi")):
        return ()
    try:
        answer = subprocess.run(
            [tool, "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, timeout=5, check=True
        )
    except (subprocess.SubprocessError, OSError):
        return ()
    return tuple(line.strip() for line in answer.stdout.splitlines() if line.strip())


def check_torch_pair() -> None:
    """A UserError where torch and torchvision are not built for each other, which fails obscurely on import."""
    try:
        torch, vision = importlib.metadata.version("torch"), importlib.metadata.version("torchvision")
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(
            f"{error.name} is not installed.", "Thaw cannot run without it.", "Run `make setup`."
        ) from error
    wanted = PAIRS.get(".".join(torch.split(".")[:2]))
    cpu_only = {"+cpu" in torch, "+cpu" in vision}
    if (wanted and not vision.startswith(wanted)) or len(cpu_only) == 2:
        raise UserError(
            f"torch {torch} and torchvision {vision} do not belong together.",
            "They are built as a pair, from one place.",
            "Run `pip install -r requirements.txt` in a new virtual environment.",
        )
