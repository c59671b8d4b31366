"""Weight files: what one is, by its content and not by its ending, and what it says about itself.

All of it without torch, so that pages can show the facts of a file at once.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, Literal

from finetune_core.errors import UserError
from finetune_core.parts import openings
from finetune_core.parts.backbones import pickles
from finetune_core.parts.backbones.refusals import AGAIN, ANOTHER, damaged
from finetune_core.wording import shown

Form = Literal["safetensors", "torch"]

APART = "thaw:"  # how the names of tensors begin that lie beside the weights in a checkpoint of a run
LARGEST_HEADER = 100_000_000  # bytes; the safetensors format allows no more

# What to do about what is taken for weights by mistake, and what else there is to say of it.
HINTS = {
    openings.POINTER: "Run git lfs pull there.",
    openings.PAGE: AGAIN,
    openings.XML: AGAIN,
    openings.PACKED: "Unpack it first.",
    openings.TAR: "Unpack it first.",
}
MORE = {
    openings.POINTER: "; the weights are not here",
    openings.PAGE: ": the download went wrong",
    openings.XML: ", such as a server's error",
    openings.JSON: ", such as an index or a server's error",
}


@dataclass(frozen=True)
class Opened:
    """A weights file that has been looked at: how it is to be read."""

    path: Path
    form: Form
    harmless: Mapping[str, str] = field(default_factory=dict)  # what it names beside tensors, by what is taken for it


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
        parameters = f"{self.parameters / 1e6:.1f} M parameters" if self.parameters else ""
        return ", ".join(filter(None, (made_for, parameters, f"{self.size / 1e6:.1f} MB")))


def facts(path: Path) -> FileFacts:
    """Read a file's own description without torch; UserError if there is no such file or it holds no weights."""
    size = _size(path)
    if opened(path).form == "torch":
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
            sum(prod(entry["shape"]) for name, entry in header.items() if not name.startswith(APART)),
            int(said.get("num_classes", 0)),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise damaged(path, f"Its description cannot be understood ({error}).") from error


def opened(path: Path) -> Opened:
    """Look at a file, by its content; UserError with the true cause where it holds no weights at all."""
    size = _size(path)
    with path.open("rb") as file:
        opening = file.read(openings.LENGTH)
    if not opening:
        raise damaged(path, "It is empty.")
    harmless = pickles.harmless(path, opening)
    if harmless is not None:
        return Opened(path, "torch", harmless)
    if what := openings.told(opening):
        raise damaged(path, f"It is {what}{MORE.get(what, '')}.", HINTS.get(what, ANOTHER))
    if opening.isascii() and b"\0" not in opening:
        raise damaged(path, "It is a text.", ANOTHER)
    if opening[8:9] == b"{" or path.suffix.lower() == ".safetensors":
        _header(path, size)
        return Opened(path, "safetensors")
    raise damaged(path, "It is neither a safetensors file nor made by torch.save.", ANOTHER)


def _size(path: Path) -> int:
    try:
        if path.is_file():
            return path.stat().st_size
    except (OSError, ValueError):  # a name that no disk can have
        pass
    raise UserError(
        f"There is no weights file {shown(path)}.",
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
