"""What this machine has, read without torch so that the first page is quick."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

from finetune_core import places
from finetune_core.errors import UserError

PAIRS = {"2.14": "0.29"}  # torch to the torchvision that is built against it


@dataclass(frozen=True)
class Gpu:
    """One of NVIDIA's: its name, memory in GB, and compute capability, such as 8.0 for an A100 (0: unknown)."""

    name: str
    memory_gb: float
    capability: float


@dataclass(frozen=True)
class Machine:
    """Cores, memory and free disk (GB), GPUs, and what the processor can do with half precision."""

    cores: int
    memory_gb: float
    free_disk_gb: float
    gpus: tuple[Gpu, ...] = ()
    apple_gpu: bool = False
    cpu_bf16: bool = False
    cpu_fp16: bool = False

    @property
    def devices(self) -> tuple[str, ...]:
        """What there is to train on, the fastest first, by the names that a recipe uses."""
        return (*(["cuda"] if self.gpus else []), *(["mps"] if self.apple_gpu else []), "cpu")

    def device_words(self, device: str) -> str:
        """A device as people call it: `2 × NVIDIA A100 (80 GB)`, `8 CPU cores`."""
        if device == "cuda":
            counts = Counter(f"{gpu.name} ({gpu.memory_gb:.0f} GB)" for gpu in self.gpus)
            return " + ".join(name if count == 1 else f"{count} × {name}" for name, count in counts.items())
        return "Apple's GPU" if device == "mps" else f"{self.cores} CPU core{'' if self.cores == 1 else 's'}"

    def sentence(self) -> str:
        """One line for people."""
        fastest = self.devices[0]
        device = "no GPU: training runs on the CPU" if fastest == "cpu" else self.device_words(fastest)
        memory = f"{self.memory_gb:.0f} GB memory · {self.free_disk_gb:.0f} GB free disk"
        return f"{self.device_words('cpu')} · {memory} · {device}"


@dataclass(frozen=True)
class Speed:
    """What a number format does on a device, in words, and whether fp32 would be faster there."""

    text: str
    slow: bool = False


# Measured: on a Xeon without bf16 instructions ResNet-18 and MobileNetV3-small took 1.4 to 2.9 times as long in bf16 as
# in fp32; on an EPYC with them 0.5 and 2.1 times as long, and in fp16 13 times. GPUs: by their makers' word alone.
ON_CPU = {
    ("fp32", False): Speed("fp32 is exact, and the fastest here."),
    ("fp32", True): Speed("fp32 is exact. bf16 can be faster here, but not for networks like MobileNet."),
    ("bf16", False): Speed(
        "This CPU shows no bf16 instructions: without, bf16 takes 1.4 to 2.9 times as long as fp32.", True
    ),
    ("bf16", True): Speed(
        "This CPU has bf16 instructions: ResNet-18 trains twice as fast as in fp32, MobileNetV3 half as fast."
    ),
    ("fp16", False): Speed(
        "This CPU shows no fp16 instructions: without, fp16 takes over ten times as long as fp32.", True
    ),
    ("fp16", True): Speed("This CPU has fp16 instructions, but bf16 is safer: it has the range of fp32."),
}
AMPERE, VOLTA = 8.0, 7.0  # compute capabilities from which on there is bf16 and TF32, and tensor cores for fp16
ON_CUDA = {
    ("fp32", False): Speed("fp32 is exact."),
    ("fp32", True): Speed("fp32 is exact, but leaves the tensor cores idle; TF32 and bf16 use them."),
    ("tf32", False): Speed("TF32 changes nothing: this GPU is older than it."),
    ("tf32", True): Speed("TF32: the tensor cores multiply with 10 bits of fraction and add in fp32."),
    ("bf16", False): Speed("This GPU has no bf16 instructions and imitates them, slowly.", True),
    ("bf16", True): Speed("bf16 runs on the tensor cores: half the memory, the range of fp32, 7 bits of fraction."),
    ("fp16", False): Speed("fp16 halves the memory here, but hardly saves time: this GPU has no tensor cores."),
    ("fp16", True): Speed("fp16 runs on the tensor cores: half the memory; scaling keeps small gradients."),
}
ON_MPS = {
    "fp32": Speed("fp32 is exact."),
    "bf16": Speed("bf16 halves the memory, from macOS 14 on."),
    "fp16": Speed("fp16 halves the memory; scaling keeps small gradients."),
}


def speed(machine: Machine, device: str, precision: str, tf32: bool = False) -> Speed:
    """What a number format does on a device of this machine (`auto`: the fastest)."""
    device = device_of(machine, device)
    if device == "mps":
        return ON_MPS[precision]
    if device == "cpu":
        return ON_CPU[precision, machine.cpu_fp16 if precision == "fp16" else machine.cpu_bf16]
    capability = min((gpu.capability for gpu in machine.gpus), default=AMPERE)
    mode = "tf32" if tf32 and precision == "fp32" else precision
    return ON_CUDA[mode, capability >= (VOLTA if mode == "fp16" else AMPERE)]


def device_of(machine: Machine, wanted: str) -> str:
    """The device that `auto` will take, or the one that was chosen."""
    return machine.devices[0] if wanted == "auto" else wanted


def facts() -> Machine:
    """Look at the machine (about 10 ms, more where there is a GPU)."""
    folder = places.runs_dir()
    while not folder.exists():
        folder = folder.parent
    return Machine(
        cores=cores(),
        memory_gb=psutil.virtual_memory().total / 1e9,
        free_disk_gb=shutil.disk_usage(folder).free / 1e9,
        gpus=_visible(_gpus()),
        apple_gpu=platform.system() == "Darwin" and platform.machine() == "arm64",
        cpu_bf16=bool(_cpu_flags() & {"avx512_bf16", "amx_bf16", "bf16"}),
        cpu_fp16=bool(_cpu_flags() & {"avx512_fp16", "amx_fp16"}),
    )


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _cpu_flags() -> frozenset[str]:
    """The processor's abilities by Linux's names for them; none on other systems."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return frozenset()
    lines = (line.partition(":") for line in text.splitlines())
    return frozenset(
        flag for name, _, flags in lines if name.strip() in ("flags", "Features") for flag in flags.split()
    )


@cache
def _gpus() -> tuple[Gpu, ...]:
    # nvidia-smi answers without a CUDA context, which importing torch would be too slow for here.
    if not (tool := shutil.which("nvidia-smi")):
        return ()
    query = [tool, "--query-gpu=name,memory.total,compute_cap", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=5, check=True)
    except (subprocess.SubprocessError, OSError):
        return ()
    return tuple(_gpu(line) for line in answer.stdout.splitlines() if line.count(",") >= 2)


def _gpu(line: str) -> Gpu:
    """A line such as `NVIDIA A100-SXM4-80GB, 81920, 8.0`; memory is told in MiB."""
    name, memory, capability = line.rsplit(",", 2)
    return Gpu(name.strip(), (_number(memory) or 0.0) * 2**20 / 1e9, _number(capability) or 0.0)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # "[N/A]"
        return None


def _visible(gpus: tuple[Gpu, ...]) -> tuple[Gpu, ...]:
    """As many as CUDA_VISIBLE_DEVICES lets a program see."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    return gpus if listed is None else gpus[: len([each for each in listed.split(",") if each.strip()])]


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
