"""Weight files: what one is, by its content and not by its ending, and what it says about itself.

All of it without torch, so that pages can show the facts of a file at once.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, Literal

from finetune_core.errors import UserError
from finetune_core.parts.backbones import pickles
from finetune_core.wording import shown

Form = Literal["safetensors", "torch"]

AGAIN = "Copy or download it again."
ANOTHER = "Choose a weights file made for PyTorch."
LARGEST_HEADER = 100_000_000  # bytes; the safetensors format allows no more
OPENING = 512  # bytes that tell what a file is

# What is taken for weights by mistake: how it begins, what it is, what to do.
MISTAKES = (
    (rb"version https://git-lfs", "It is a pointer of Git LFS; the weights are not here.", "Run git lfs pull there."),
    (rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype|html|head|\?xml)", "It is a web page: the download went wrong.", AGAIN),
    (rb"(\xef\xbb\xbf)?\s*[{\[]\s*[\"'{}\]]", "It is JSON, such as an index or a server's error.", ANOTHER),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd", "It is a packed archive.", "Unpack it first."),
    (rb".{257}ustar", "It is a tar archive.", "Unpack it first."),
    (rb"\x89HDF", "It is an HDF5 file, as Keras writes it.", ANOTHER),
    (rb".{4}TFL3", "It is a TensorFlow Lite file.", ANOTHER),
    (rb"GGUF|ggml", "It is a GGUF file, for language models.", ANOTHER),
    (rb"\x93NUMPY", "It is a NumPy array.", ANOTHER),
    (rb"\x08[\x00-\x10]\x12.pytorch", "It is an ONNX file.", ANOTHER),
    (rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF", "It is a picture.", ANOTHER),
    (rb"%PDF", "It is a PDF.", ANOTHER),
)


@dataclass(frozen=True)
class FileFacts:
    """What a weights file says about itself; empty where it says nothing (files of torch.save always)."""

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
    """Read a file's own description without torch; UserError if there is no such file or it holds no weights."""
    size = _size(path)
    if form(path) == "torch":
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
        raise damaged(path, f"Its description cannot be understood ({error}).") from error


def form(path: Path) -> Form:
    """How a file is to be read, by its content; UserError with the true cause where it holds no weights at all."""
    size = _size(path)
    with path.open("rb") as file:
        opening = file.read(OPENING)
    if not opening:
        raise damaged(path, "It is empty.")
    for tell, what, hint in MISTAKES:
        if re.match(tell, opening, re.DOTALL):
            raise damaged(path, what, hint)
    if pickles.made_by_torch(path, opening):
        return "torch"
    if opening.isascii() and b"\0" not in opening:
        raise damaged(path, "It is a text.", ANOTHER)
    if opening[8:9] == b"{" or path.suffix.lower() == ".safetensors":
        _header(path, size)
        return "safetensors"
    raise damaged(path, "It is neither a safetensors file nor made by torch.save.", ANOTHER)


def _size(path: Path) -> int:
    try:
        if path.is_file():
            return path.stat().st_size
    except (OSError, ValueError):  # a name that no disk can have
        pass
    where = shown(path) if path.name else "in an empty path"
    raise UserError(
        f"There is no weights file {where}.",
        "The path does not lead to a file.",
        "Check the path, or choose other weights.",
    )


def _header(path: Path, size: int) -> dict[str, Any]:
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(LARGEST_HEADER, size - 8):
            raise damaged(path, "It is not a safetensors file, or it is cut off.")
        try:
            header = json.loads(file.read(length))
            end = max((entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"), default=0)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise damaged(path, "Its header is not valid.") from error
    if size < 8 + length + end:
        raise damaged(path, f"It is cut off: {size} bytes of {8 + length + end}.")
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


def damaged(path: Path, why: str, hint: str = AGAIN) -> UserError:
    """The words for a file that holds no weights that can be read."""
    return UserError(f"The weights file {shown(path.name)} cannot be read.", why, hint)
