"""Reading a weights file: all that lies in it, tensors on the CPU, and the code that does the same.

No code of the file's own is run. What of it belongs to a network, `state_dicts` finds out.
"""

from __future__ import annotations

import threading
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any

from finetune_core.parts.backbones import pickles, seals
from finetune_core.parts.backbones.refusals import damaged
from finetune_core.parts.backbones.weight_files import APART, Opened
from finetune_core.parts.base import OWN_LAYERS

_one_at_a_time = threading.Lock()  # what torch lets through is one list for all threads


def read(file: Opened) -> Any:
    """What was saved, as it was saved; UserError with the true cause where that is no tensors."""
    return _safetensors(file.path) if file.form == "safetensors" else _torch(file)


def code(file: Opened) -> str:
    """The expression that reads it, for a script."""
    path = str(file.path)
    if file.form == "safetensors":
        return f"safetensors.torch.load_file({path!r})"
    misnamed = file.path.suffix == ".safetensors"  # torch.load goes by the ending
    argument = f'open({path!r}, "rb")' if misnamed else repr(path)
    return f'torch.load({argument}, map_location="cpu", weights_only=True)'


def allowing(file: Opened) -> tuple[str, ...]:
    """The lines that must go before it, where something harmless lies beside the tensors."""
    items = [f'({_written(stand)}, "{name}")' for name, stand in file.harmless.items()]
    if not items:
        return ()
    if any("np." in item for item in items):  # each number format of NumPy is a class of its own
        items.append('*((type(np.dtype(code)), f"{code}") for code in np.typecodes["All"])')
    return ("torch.serialization.add_safe_globals([", *(f"    {item}," for item in items), "])")


def own(file: Opened) -> tuple[str, ...]:
    """Names in Thaw's own modules whose source a script needs for these lines."""
    ours = f"{OWN_LAYERS}."
    return tuple(stand.removeprefix(ours) for stand in file.harmless.values() if stand.startswith(ours))


def _safetensors(path: Path) -> Any:
    tensors, _ = sealed(path)
    return {name: value for name, value in tensors.items() if not name.startswith(APART)}


def sealed(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """All tensors of a safetensors file and its metadata; UserError where it is damaged."""
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
        with safe_open(path, "pt") as file:
            facts = dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise damaged(path, f"{error}.") from error
    if seals.broken(tensors, facts):
        raise damaged(path, "Its bytes are no longer those that were written.")
    return tensors, facts


def _torch(opened: Opened) -> Any:
    import pickle
    import warnings

    import numpy as np
    import torch

    formats = [(type(np.dtype(code)), f"numpy {code}") for code in np.typecodes["All"]]
    harmless = [(_resolved(stand), name) for name, stand in opened.harmless.items()]
    try:
        with (
            _one_at_a_time,
            torch.serialization.safe_globals([*harmless, *formats]),
            warnings.catch_warnings(action="ignore"),
            opened.path.open("rb") as file,
        ):
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise pickles.unloadable(opened.path, error) from error
    except Exception as error:  # on garbage the unpickler fails in any way it can
        raise damaged(opened.path, "torch.load cannot read it: it is cut off or damaged.") from error


def _resolved(dotted: str) -> Any:
    module, _, name = dotted.rpartition(".")
    return getattr(import_module(module), name)


def _written(dotted: str) -> str:
    """As a script writes it."""
    aliases = {f"{OWN_LAYERS}.": "", "builtins.": "", "numpy.": "np."}
    return reduce(lambda text, alias: text.replace(alias[0], alias[1], 1), aliases.items(), dotted)
