"""Seals: a checkpoint of Thaw's carries a digest of all that it holds, so that damage is seen before it is used.

A file that was cut off says so itself; bytes that were flipped do not, and would train on as weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SEAL = "sha256"  # its name in the file's metadata


def sealed(tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> dict[str, str]:
    """The metadata with a seal over itself and the tensors, which must be on the CPU."""
    return {**facts, SEAL: _digest(tensors, facts)}


def broken(tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> bool:
    """Whether what was read differs from what was sealed; files without a seal are taken as they are."""
    rest = {name: text for name, text in facts.items() if name != SEAL}
    return SEAL in facts and facts[SEAL] != _digest(tensors, rest)


def _digest(tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> str:
    import torch

    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name].detach().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
