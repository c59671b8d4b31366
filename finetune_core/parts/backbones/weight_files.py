"""Weight files: what one says about itself, and getting its tensors into a network with every name and shape checked.

Reading a header needs no torch, so that pages can show the facts of a file at once.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune_core.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
OTHER_WAYS = "Choose the bundled backbone, a weights file of your own, or random weights."
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")  # best first, as timm reads its own checkpoints
PREFIXES = ("_orig_mod.", "module.", "model.")  # left by torch.compile, DataParallel and Lightning
LARGEST_HEADER = 100_000_000  # bytes; the safetensors format allows no more


@dataclass(frozen=True)
class FileFacts:
    """What a weights file says about itself; empty where it says nothing (.pth files always)."""

    size: int  # bytes
    library: str = ""
    architecture: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)  # for the library's constructor, such as pad_type
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    parameters: int = 0  # single numbers stored
    outputs: int = 0  # classes that its head was trained for

    def line(self) -> str:
        """One line for people."""
        made_for = f"{self.library} {self.architecture}".strip()
        numbers = f"{self.parameters / 1e6:.1f} M numbers" if self.parameters else ""
        return ", ".join(filter(None, (made_for, numbers, f"{self.size / 1e6:.1f} MB")))


def facts(path: Path) -> FileFacts:
    """Read a file's own description without torch; UserError if there is no such file or it is damaged."""
    _check(path)
    size = path.stat().st_size
    if path.suffix != ".safetensors":
        return FileFacts(size)
    header = _header(path, size)
    said = header.pop("__metadata__", {})
    arguments, mean, std = said.get("model_kwargs"), said.get("mean"), said.get("std")
    try:
        return FileFacts(
            size,
            said.get("library", ""),
            said.get("architecture", ""),
            _arguments(arguments) if arguments else {},
            _numbers(mean),
            _numbers(std),
            sum(prod(entry["shape"]) for entry in header.values()),
            int(said.get("num_classes", 0)),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(path, f"Its description cannot be understood ({error}).") from error


def _header(path: Path, size: int) -> dict[str, Any]:
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(LARGEST_HEADER, size - 8):
            raise _damaged(path, "It is not a safetensors file, or it is cut off.")
        try:
            header = json.loads(file.read(length))
            end = max((entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"), default=0)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise _damaged(path, "Its header is not valid.") from error
    if size < 8 + length + end:
        raise _damaged(path, f"It is cut off: {size} bytes of {8 + length + end}.")
    return header


def _arguments(text: str) -> dict[str, Any]:
    """Plain values for a constructor; a file may not choose what is loaded or how many classes there are."""
    values = json.loads(text)
    reserved = ("pretrained", "checkpoint", "cache", "num_classes", "in_chans", "features_only", "weights", "file")
    if not isinstance(values, dict):
        raise TypeError("model_kwargs is no mapping")
    return {key: value for key, value in values.items() if _plain(value) and not key.startswith(reserved)}


def _plain(value: Any) -> bool:
    return isinstance(value, (str, int, float)) or (isinstance(value, list) and all(map(_plain, value)))


def _numbers(text: str | None) -> tuple[float, ...]:
    return tuple(float(part) for part in text.strip("[]() ").split(",")) if text else ()


def tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file on the CPU, wrappers and prefixes removed. Never runs code from the file."""
    _check(path)
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return _unprefixed(load_file(path))
        except SafetensorError as error:
            raise _damaged(path, f"{error}.") from error
    return _unprefixed(_unwrapped(path, _unpickled(path)))


def _unpickled(path: Path) -> Any:
    import pickle

    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"The weights file {path.name} holds more than tensors.",
            "Loading it could run code hidden in it, so Thaw does not.",
            "Save its state_dict() alone, best as .safetensors.",
        ) from error
    except Exception as error:  # on garbage the unpickler fails in any way it can
        raise _damaged(path, "torch.load cannot read it.") from error


def _unwrapped(path: Path, tree: Any) -> dict[str, Tensor]:
    import torch

    if isinstance(tree, dict):
        for key in WRAPPERS:
            if isinstance(tree.get(key), dict):
                tree = tree[key]
                break
        found = {key: value for key, value in tree.items() if isinstance(value, torch.Tensor)}
        if found:
            return found
    raise UserError(
        f"The weights file {path.name} holds no named tensors.",
        "It is not a state dict.",
        "Save model.state_dict() into it.",
    )


def _unprefixed(named: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in (*PREFIXES, *PREFIXES):  # wrapped in either order
        if named and all(name.startswith(prefix) for name in named):
            named = {name.removeprefix(prefix): tensor for name, tensor in named.items()}
    return named


def fill(module: nn.Module, named: Mapping[str, Tensor], without: Iterable[str], source: str) -> None:
    """Copy tensors into a network, half precision widened; names and shapes must match exactly.

    Whatever lies under the dotted names `without` (the old classifier, helpers that only training used) is left out on
    both sides. UserError names the first that do not match; `source` is what people call the file.
    """
    skip = tuple(without)
    wanted = {name: tuple(value.shape) for name, value in module.state_dict().items() if not _under(name, skip)}
    given = {name: value for name, value in named.items() if not _under(name, skip)}
    problems = [f"{name} is missing" for name in wanted if name not in given and not name.endswith("batches_tracked")]
    problems += [f"{name} is not part of the network" for name in sorted(given) if name not in wanted]
    problems += [
        f"{name} is {_shape(value.shape)} instead of {_shape(wanted[name])}"
        for name, value in given.items()
        if name in wanted and tuple(value.shape) != wanted[name]
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(
            f"The weights in {source} do not fit this network.",
            f"This looks like a file for another architecture: {'; '.join(problems[:3])}{more}.",
            "Choose the architecture that the file was made for, or another file.",
        )
    module.load_state_dict(dict(given), strict=False)


def fits(module: nn.Module, named: Mapping[str, Tensor], without: Iterable[str]) -> bool:
    """Whether names and shapes are those of the network, leaving out `without`."""
    skip = tuple(without)
    wanted = {name: value.shape for name, value in module.state_dict().items() if not _under(name, skip)}
    return wanted == {name: value.shape for name, value in named.items() if not _under(name, skip)}


def _under(name: str, paths: tuple[str, ...]) -> bool:
    return any(name == path or name.startswith(f"{path}.") for path in paths)


def _shape(shape: Iterable[int]) -> str:
    return "×".join(map(str, shape)) or "a single number"


def _check(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise UserError(
            f"{path.name or 'An empty path'} is not a weights file that Thaw knows.",
            f"It should end in {', '.join(SUFFIXES)}.",
            "Choose another file, or save the weights as .safetensors.",
        )
    if not path.is_file():
        raise UserError(
            f"There is no weights file {path}.", "The path does not lead to a file.", f"Check the path. {OTHER_WAYS}"
        )


def _damaged(path: Path, why: str) -> UserError:
    return UserError(f"The weights file {path.name} cannot be read.", why, "Copy or download it again.")
