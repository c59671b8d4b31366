"""Gauges of a run beside its loss: how far weights move, how long a step waits for images, how busy the machine is.

All of it is read only: weights, gradients and random numbers are the same with it and without.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

import psutil
import torch
from torch import Tensor

from finetune_core import machine
from finetune_core.data.loader import Batch
from finetune_core.network.network import LayerGroup, Network
from finetune_core.training.reuse import Side

EVERY = 10  # steps from one look at the weights to the next; what it costs: `python -m benchmarks.gauges`
LARGEST = 300_000_000  # weights of a network up to which a copy of its start is kept, 1.2 GB in fp32


class Drift:
    """How far the weights of layer groups move in a step, and how far they are from where the run began.

    Lengths are Euclidean, over all weights of a group that learn, taken together. The start is the network as the
    session built it, pretrained and with the head of the recipe's seed: a copy on its device. A run that goes on builds
    the same before it takes the weights that were saved, so distances go on as well. Of very large networks no copy is
    kept, and no distance told.
    """

    def __init__(self, network: Network) -> None:
        self.module = network.module
        weights = dict(self.module.named_parameters())
        few = sum(weight.numel() for weight in weights.values()) <= LARGEST
        self.start = {name: weight.detach().clone() for name, weight in weights.items()} if few else {}

    def before(self, groups: Sequence[LayerGroup]) -> dict[str, dict[str, Tensor]]:
        """The weights of these groups as they are now, by group and name; to be taken just before a step."""
        return {
            group.name: {name: self.module.get_parameter(name).detach().clone() for name in group.parameters}
            for group in groups
        }

    def since(self, before: Mapping[str, Mapping[str, Tensor]]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Each group's update-to-weight ratio and its distance from the start, as scalars on the device.

        The ratio is |w - b| / |b| where b are the weights from `before` the step, the distance |w - s| / |s| where s
        are those of the start; not finite where the lower length is zero.
        """
        updates, distances = {}, {}
        for group, earlier in before.items():
            now = [self.module.get_parameter(name).detach() for name in earlier]
            updates[group] = _apart(now, list(earlier.values()))
            if self.start:
                distances[group] = _apart(now, [self.start[name] for name in earlier])
        return updates, distances


def length(tensors: Sequence[Tensor]) -> Tensor:
    """The Euclidean length of tensors taken together, as a scalar on their device."""
    return torch.stack(torch._foreach_norm(list(tensors))).square().sum().sqrt()


def _apart(now: list[Tensor], then: list[Tensor]) -> Tensor:
    return length(torch._foreach_sub(now, then)) / length(then)


def fetched(*scalars: Mapping[str, Tensor]) -> list[dict[str, float]]:
    """The numbers behind scalars of one device, by the same names: in a single transfer, which waits for the device."""
    numbers = iter(torch.stack([scalar for some in scalars for scalar in some.values()]).tolist())
    return [{name: next(numbers) for name in some} for some in scalars]


def waited_for(side: Side, epoch: int, start: int) -> Iterator[tuple[Batch, float]]:
    """Each batch of an epoch with the seconds that its images were waited for."""
    batches = side.batches(epoch, start)
    while True:
        asked, worked = time.perf_counter(), side.worked
        batch = next(batches, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - asked - (side.worked - worked)


def memory_mb(device: torch.device) -> float:
    """Memory in use in MB: the most the GPU has held, or the process's resident memory on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return psutil.Process().memory_info().rss / 1e6


class Busy:
    """How busy a training process keeps the machine; processes that read images ahead for it are not counted."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.cores, self.process = device, machine.cores(), psutil.Process()
        self.process.cpu_percent()  # from here on it is counted

    def cpu(self) -> float:
        """The share of the cores that it has used since this was last asked, in [0, 1]."""
        return min(1.0, self.process.cpu_percent() / 100 / self.cores)

    def gpu(self) -> float | None:
        """The share of the last moment (1/6 to 1 s) in which the GPU was at work, by NVIDIA's own count, in [0, 1].

        None where there is no such GPU, or nvidia-ml-py is not installed.
        """
        if self.device.type != "cuda":
            return None
        try:
            return torch.cuda.utilization(self.device) / 100
        except Exception:  # noqa: BLE001 - a gauge that cannot be read must not end a training; NVML has 30 errors
            self.device = torch.device("cpu")  # not asked again
            return None
