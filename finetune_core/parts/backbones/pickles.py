"""What torch.save has written, looked at before anything of it is loaded: what its pickle asks for by name.

torch loads tensors alone (`weights_only`), and beside them only what is named here and merely holds data. Looking runs
nothing: the names stand in the pickle as text. No torch here, so that a page can say at once what a run would refuse.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from finetune_core.errors import UserError
from finetune_core.parts.backbones.refusals import damaged, refused
from finetune_core.wording import shown

OPENING = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # of what torch.save wrote before 2020
PICKLED = 5  # pickles in such a file: a magic number, a version, the machine, what was saved, keys of its storages
PICKLE = re.compile(rb"\x80[\x02-\x05]")
SAVE_TENSORS = "Save its tensors alone, where it was made: torch.save(model.state_dict(), path)."

_NUMPY = {
    f"numpy.{core}.multiarray.{name}": f"numpy._core.multiarray.{name}"
    for core in ("core", "_core")
    for name in ("scalar", "_reconstruct")
}
_OF_PATHS = {
    f"{module}.{'Pure' * pure}{kind}Path": f"pathlib.Pure{kind or 'Posix'}Path"
    for module in ("pathlib", "pathlib._local")
    for pure in (False, True)
    for kind in ("", "Posix", "Windows")
}
_SETTINGS = (  # dictionaries with attributes, in which people keep their settings
    "addict.addict.Dict",
    "easydict.EasyDict",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "ml_collections.config_dict.config_dict.ConfigDict",
    "mmengine.config.config.ConfigDict",
    "munch.Munch",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "yacs.config.CfgNode",
)
_PLAIN = ("bool", "bytes", "dict", "float", "frozenset", "int", "list", "object", "slice", "str", "tuple")
HARMLESS: Mapping[str, str] = {
    **_NUMPY,
    **_OF_PATHS,
    **dict.fromkeys(_SETTINGS, "collections.OrderedDict"),
    **{f"builtins.{name}": f"builtins.{name}" for name in _PLAIN},
    "argparse.Namespace": "argparse.Namespace",
    "types.SimpleNamespace": "types.SimpleNamespace",
    "collections.defaultdict": "finetune_core.parts.modules.as_dict",
    "collections.deque": "finetune_core.parts.modules.as_list",
    "datetime.date": "datetime.date",
    "datetime.datetime": "datetime.datetime",
    "datetime.timedelta": "datetime.timedelta",
    "datetime.timezone": "datetime.timezone",
    "decimal.Decimal": "decimal.Decimal",
    "fractions.Fraction": "fractions.Fraction",
    "numpy.dtype": "numpy.dtype",
    "numpy.ndarray": "numpy.ndarray",
    "uuid.UUID": "uuid.UUID",
}
"""What a pickle may name beside what torch knows as harmless, by what is taken for it."""

# What torch itself lets through or refuses, when it comes to loading.
TORCHS = re.compile(
    r"torch\.(\w+|_\w+\.\w+|(storage|serialization|nn\.parameter|cuda|sparse)\.\w+)"
    r"|collections\.(OrderedDict|Counter)|_codecs\.encode|builtins\.(bytearray|set|complex)"
)


def harmless(path: Path, opening: bytes) -> dict[str, str] | None:
    """What a file of torch.save names beside tensors, by what is taken for it; None where it begins like another.

    UserError where it is something like it, or names what loading would call.
    """
    if opening.startswith(b"PK"):
        _check_entries(path)
    elif not PICKLE.match(opening):
        return None
    elif not opening.startswith(OPENING):
        why = "It was written by pickle.dump, not by torch.save."
        raise refused(path, "holds no weights that can be read.", why, SAVE_TENSORS)
    names = _named(path)
    _check(path, names)
    return {name: HARMLESS[name] for name in sorted(names & HARMLESS.keys())}


def _check_entries(path: Path) -> None:
    """UserError where a zip archive is none of torch.save."""
    names = _entries(path)
    if any(name.endswith("constants.pkl") for name in names):
        raise refused(
            path,
            "is a TorchScript archive.",
            "It holds code beside its weights, which Thaw does not run.",
            "Save its tensors: torch.save(torch.jit.load(path).state_dict(), other_path).",
        )
    if not any(name.endswith("data.pkl") for name in names):
        inside = f", with {shown(names[0])} and more" if names else ""
        raise refused(path, "holds no weights.", f"It is a zip archive{inside}.", "Unpack it first.")


def _named(path: Path) -> set[str]:
    """The classes and functions that the pickle of a file asks for, by dotted name."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                inner = next(name for name in archive.namelist() if name.endswith("data.pkl"))
                with archive.open(inner) as file:
                    return set(_globals(file))
        with path.open("rb") as file:
            return {name for _ in range(PICKLED) for name in _globals(file)}
    except (ValueError, zipfile.BadZipFile, EOFError, OSError, KeyError, IndexError) as error:
        raise damaged(path) from error


def _globals(file: IO[bytes]) -> Iterator[str]:
    """The names in one pickle; later protocols push module and name as strings."""
    texts: list[str] = []
    for code, argument, _ in pickletools.genops(file):
        if code.name in ("GLOBAL", "INST"):
            yield _today(*str(argument).split(" ", 1))
        elif code.name == "STACK_GLOBAL":
            yield ".".join(texts[-2:])
        elif isinstance(argument, str):
            texts = [*texts[-1:], argument]


def _today(module: str, name: str) -> str:
    """What Python 2 called otherwise; torch.save writes its names still."""
    return ".".join(NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name)))


def _check(path: Path, names: set[str]) -> None:
    """UserError with the names that loading would call, if there are any."""
    strange = sorted(name for name in names if name not in HARMLESS and not TORCHS.fullmatch(name))
    if not strange:
        return
    if any(name.startswith("torch.nn.modules.") for name in strange):
        own = next((name for name in strange if not name.startswith("torch.")), strange[0])
        why = f"It is a whole model, not its tensors: loading it would run the code of {shown(own)}."
    else:
        some = ", ".join(map(shown, strange[:3])) + f" and {len(strange) - 3} more" * (len(strange) > 3)
        why = f"Loading it would call {some}, and so could run code hidden in it; Thaw does not."
    raise refused(path, "holds more than tensors.", why, SAVE_TENSORS)


def unloadable(path: Path, error: Exception) -> UserError:
    """The words for what torch refuses to load all the same."""
    said = re.search(r"(?:GLOBAL|global|operand|persistent) .*", str(error))
    why = f"torch.load does not take it for tensors alone: {said.group() if said else str(error).splitlines()[0]}."
    return refused(path, "holds more than tensors.", why, SAVE_TENSORS)


def _entries(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except zipfile.BadZipFile as error:
        raise damaged(path) from error
