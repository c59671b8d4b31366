"""The processes that torchrun has started for one run: which one this is, and what they tell each other.

Without torchrun there is one process, and nothing here does anything. Every process must come by the same calls in the
same order. What they tell each other goes through gloo on CPUs and NCCL on GPUs.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from finetune_core.errors import UserError

PATIENCE = timedelta(hours=12)  # that the others wait for the one that decodes; who ends early is noticed at once
STRIDE = 7919  # between the seeds of neighbours, so that a run's tries, which count up by one, do not meet them


def join() -> None:
    """Meet the others, if torchrun has started this process."""
    if dist.is_torchelastic_launched():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, timeout=PATIENCE)


def leave() -> None:
    """Part from the others when all is done."""
    if dist.is_initialized():
        dist.destroy_process_group()


def share_norms(module: nn.Module, device: torch.device) -> None:
    """Let the batch norms of several processes see their batches together; names and numbers stay as they are.

    A UserError where torch cannot.
    """
    if size() == 1:
        return
    if device.type != "cuda":
        why = "Torch's SyncBatchNorm works on NVIDIA GPUs alone."
        raise UserError("Norms cannot go over all processes here.", why, "Switch training.sync_norm off.")
    from timm.layers import convert_sync_batchnorm  # it knows norms with activations too

    convert_sync_batchnorm(module)


def end(code: int) -> None:
    """End this process as it is: where Python is torn down, threads of the group may still work, and it aborts."""
    for printed in (sys.stdout, sys.stderr):
        with suppress(OSError):  # a disk without room for it
            printed.flush()
    os._exit(code)


def size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def local_rank() -> int:
    """Which of the processes on this machine this is, from 0."""
    return int(os.environ["LOCAL_RANK"]) if dist.is_initialized() else 0


def seed(base: int) -> int:
    """A seed of this process's own; the first one's is `base`."""
    return (base + STRIDE * rank()) % 2**32


def total(value: Tensor | int) -> Any:
    """The sum over all processes, of the same type."""
    if size() == 1:
        return value
    there = value.detach().clone() if isinstance(value, Tensor) else torch.tensor(value)
    dist.all_reduce(there)
    return there if isinstance(value, Tensor) else int(there)


def any_of(mine: bool) -> bool:
    """Whether it is so in any process."""
    return bool(total(int(mine)))


def most(mine: int) -> int:
    """The largest number that any process has."""
    if size() == 1:
        return mine
    there = torch.tensor(mine)
    dist.all_reduce(there, dist.ReduceOp.MAX)
    return int(there)


def collected(mine: Any) -> list[Any]:
    """What each process has, in order."""
    if size() == 1:
        return [mine]
    everyones: list[Any] = [None] * size()
    dist.all_gather_object(everyones, mine)
    return everyones


def from_first(mine: Any) -> Any:
    """What the first process has."""
    if size() == 1:
        return mine
    its = [mine]
    dist.broadcast_object_list(its)
    return its[0]


def gathered(rows: Tensor) -> Tensor:
    """The rows (n, …) of all processes below each other, in order; half precision widened, which gloo does not know."""
    if size() == 1:
        return rows
    rows = rows.float() if rows.is_floating_point() else rows
    counts = [torch.zeros((), dtype=torch.int64, device=rows.device) for _ in range(size())]
    dist.all_gather(counts, torch.tensor(len(rows), device=rows.device))
    most = max(map(int, counts))
    padded = rows.new_zeros(most, *rows.shape[1:])
    padded[: len(rows)] = rows
    everyones = [torch.empty_like(padded) for _ in range(size())]
    dist.all_gather(everyones, padded)
    return torch.cat([theirs[: int(count)] for theirs, count in zip(everyones, counts, strict=True)])


def shared(module: nn.Module) -> nn.Module:
    """The network with gradients that are sums over all processes, for the weights that learn at this moment.

    The loss may not reach every weight that learns, which torch must be told; `static_graph` would be quicker there,
    but does not work with micro-batches. Buffers are left alone: see `alike`.
    """
    if size() == 1:
        return module
    together = DistributedDataParallel(module, find_unused_parameters=True, forward_sync_buffers=False)
    together.register_comm_hook(None, _summed)
    return together


def _summed(state: None, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    """Instead of torch's mean, which would be wrong for shares of different size."""
    return dist.all_reduce(bucket.buffer(), async_op=True).get_future().then(lambda future: future.value()[0])


def alike(module: nn.Module) -> None:
    """Give all processes the first one's norm statistics, which each has gathered from its own share of the images."""
    if size() > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, 0)


def lost_touch(error: Exception) -> bool:
    """Whether an error comes from another process having ended; gloo has no class of its own for that."""
    return isinstance(error, dist.DistError) or (
        size() > 1 and isinstance(error, RuntimeError) and "gloo" in str(error)
    )


@contextmanager
def in_turn() -> Iterator[None]:
    """Let one process of each machine go ahead; the others follow when it is done, and find what it has left."""
    if local_rank():
        any_of(False)
    yield
    if not local_rank():
        any_of(False)
