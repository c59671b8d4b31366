"""A trainer's state, nested plain data with tensors in it, as flat named tensors and a JSON text, and back.

So one safetensors file holds all of it, and nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

TENSOR, TUPLE, PAIRS = "tensor", "tuple", "pairs"  # how what JSON does not know is marked


def packed(state: Any) -> tuple[dict[str, Any], str]:
    """The tensors by number, on the CPU and each in memory of its own, and the rest as JSON that names them."""
    from torch import Tensor

    tensors: dict[str, Tensor] = {}

    def plain(value: Any) -> Any:
        if isinstance(value, Tensor):
            name = str(len(tensors))
            tensors[name] = value.detach().cpu().clone().contiguous()
            return {TENSOR: name}
        if isinstance(value, Mapping):
            return {PAIRS: [[plain(key), plain(item)] for key, item in value.items()]}
        if isinstance(value, tuple):
            return {TUPLE: [plain(item) for item in value]}
        if isinstance(value, list):
            return [plain(item) for item in value]
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise TypeError(f"{type(value).__name__} is no plain data")

    return tensors, json.dumps(plain(state))


def unpacked(tensors: Mapping[str, Any], text: str) -> Any:
    """The same state again."""

    def whole(value: Any) -> Any:
        if isinstance(value, list):
            return [whole(item) for item in value]
        if not isinstance(value, dict):
            return value
        if TENSOR in value:
            return tensors[value[TENSOR]]
        if TUPLE in value:
            return tuple(whole(item) for item in value[TUPLE])
        return {whole(key): whole(item) for key, item in value[PAIRS]}

    return whole(json.loads(text))
