"""Reading a weights file: all that lies in it, tensors on the CPU, and the code that does the same.

No code of the file's own is run. What of it belongs to a network, `state_dicts` finds out.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any

from finetune_core.parts.backbones import pickles, weight_files
from finetune_core.parts.base import OWN_LAYERS

_one_at_a_time = threading.Lock()  # what torch lets through is one list for all threads


def read(path: Path) -> Any:
    """What was saved, as it was saved; UserError with the true cause where that is no tensors."""
    if weight_files.form(path) == "safetensors":
        return _safetensors(path)
    return _torch(path)


def code(path: Path) -> str:
    """The expression that reads it, for a script."""
    if weight_files.form(path) == "safetensors":
        return f"safetensors.torch.load_file({str(path)!r})"
    misnamed = path.suffix == ".safetensors"  # torch.load goes by the ending
    file = f'open({str(path)!r}, "rb")' if misnamed else repr(str(path))
    return f'torch.load({file}, map_location="cpu", weights_only=True)'


def allowing(path: Path) -> tuple[str, ...]:
    """The lines that must go before it, where something harmless lies beside the tensors."""
    items = [f'({_written(stand)}, "{name}")' for name, stand in _harmless(path)]
    if not items:
        return ()
    if any("np." in item for item in items):  # each number format of NumPy is a class of its own
        items.append('*((type(np.dtype(code)), f"{code}") for code in np.typecodes["All"])')
    return ("torch.serialization.add_safe_globals([", *(f"    {item}," for item in items), "])")


def own(path: Path) -> tuple[str, ...]:
    """Names in Thaw's own modules whose source a script needs for these lines."""
    return tuple(
        stand.removeprefix(f"{OWN_LAYERS}.") for _, stand in _harmless(path) if stand.startswith(f"{OWN_LAYERS}.")
    )


def _safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise weight_files.damaged(path, f"{error}.") from error


def _torch(path: Path) -> Any:
    import pickle
    import warnings

    import numpy as np
    import torch

    formats = [(type(np.dtype(code)), f"numpy {code}") for code in np.typecodes["All"]]
    harmless = [(_resolved(stand), name) for name, stand in _harmless(path)]
    try:
        with (
            _one_at_a_time,
            torch.serialization.safe_globals([*harmless, *formats]),
            warnings.catch_warnings(action="ignore"),
            path.open("rb") as file,
        ):
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise pickles.unloadable(path, error) from error
    except Exception as error:  # on garbage the unpickler fails in any way it can
        raise weight_files.damaged(path, "torch.load cannot read it: it is cut off or damaged.") from error


def _harmless(path: Path) -> Iterator[tuple[str, str]]:
    """What a file names beside tensors, each with what stands for it."""
    if weight_files.form(path) == "torch":
        for name in sorted(pickles.named(path) & pickles.HARMLESS.keys()):
            yield name, pickles.HARMLESS[name]


def _resolved(dotted: str) -> Any:
    module, _, name = dotted.rpartition(".")
    return getattr(import_module(module), name)


def _written(dotted: str) -> str:
    """As a script writes it."""
    aliases = {f"{OWN_LAYERS}.": "", "builtins.": "", "numpy.": "np."}
    return reduce(lambda text, alias: text.replace(alias[0], alias[1], 1), aliases.items(), dotted)
