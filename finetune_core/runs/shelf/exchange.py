"""A run as one zip file: taken away, and brought in from elsewhere. What is brought in is not trusted.

A zip file may name places outside its folder, hold links or devices, claim to be small and unpack to a full disk, or
break off. So every name and size is checked before the first byte is written, all of it lands in a hidden folder, and
one rename makes a run of it: whatever happens before, no list shows anything.
"""

from __future__ import annotations

import re
import shutil
import stat
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from finetune_core import places
from finetune_core.errors import UserError
from finetune_core.recipe import Recipe
from finetune_core.runs.folder import RECIPE, draft_in, free_name
from finetune_core.runs.shelf.trash import check_idle, rest
from finetune_core.runs.store import Run

MOST_FILES = 2_000
MOST_BYTES = 50_000_000_000
MOST_TEXT = 2_000_000_000  # bytes of one file that is no checkpoint
SQUEEZED = 200  # times that a file may become larger; logs reach fifty
DEEPEST = 3  # folders
LONGEST = 200  # letters of one name
OWN = ("worker.json", "engine.json")  # of this machine, and of nobody else's interest
PACKED = (".safetensors", ".pt", ".npz")  # gain nothing from being squeezed

WITHOUT = "The run can be shown, compared and asked about images; going on needs what its recipe names."

_SAFE = re.compile(r"[^\s./\\:*?\"<>|\x00-\x1f\x7f][^/\\:*?\"<>|\x00-\x1f\x7f]*")


def export_run(run: Run, file: Path) -> Path:
    """Write a run as one zip file, whole or not at all. A UserError for a run at which a process is at work."""
    check_idle(run, "be exported")
    target = places.expanded(file)
    if target.is_dir():
        target = target / f"{run.id}.zip"
    with places.writing("the zip file", place=places.Place(target.parent, "TMPDIR")):
        target.parent.mkdir(parents=True, exist_ok=True)
        places.replace_file(target, lambda draft: _pack(run, draft))
    return target


def import_run(file: Path | IO[bytes], runs: Path | None = None, name: str = "") -> Run:
    """Make a run of a zip file that `export_run` wrote, here or elsewhere. A UserError where it is none, or unsafe.

    It gets the id that it had, or another one where that is taken; `name` is the id where the file has none.
    """
    runs = runs or places.runs_dir()
    with _opened(file) as archive:
        inside = _checked(archive)
        top = _top(inside)
        with draft_in(runs) as draft:
            for entry in inside:
                _unpack(archive, entry, draft / Path(entry.filename).relative_to(top))
            made = Run(draft)
            _ = made.recipe, made.job  # a UserError where it is no run
            rest(made)
            made.checkpoints.mkdir(exist_ok=True)
            wanted = (top if top != "." else name) or time.strftime("%Y%m%d-%H%M%S-imported")
            return Run(draft.rename(free_name(runs, _harmless(wanted))))


def missing(recipe: Recipe) -> list[str]:
    """The files and folders that a recipe from elsewhere names and that are not here: its images, its weights."""
    named = dict.fromkeys(text for text in _texts(recipe.model_dump(mode="json")) if Path(text).is_absolute())
    return [text for text in named if not places.is_there(text)]


def _texts(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict | list):
        for each in tree.values() if isinstance(tree, dict) else tree:
            yield from _texts(each)


def _pack(run: Run, draft: Path) -> None:
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for path in _files(run):
            how = zipfile.ZIP_STORED if path.suffix in PACKED else zipfile.ZIP_DEFLATED
            archive.write(path, f"{run.id}/{path.relative_to(run.path).as_posix()}", how)


def _files(run: Run) -> Iterator[Path]:
    """The files that go along: not what is hidden or a link, who works on it, nor what can be made from the rest."""
    for path in sorted(run.path.rglob("*")):
        if path.is_relative_to(run.exports):
            continue
        hidden = any(part.startswith(".") for part in path.relative_to(run.path).parts)
        if path.is_file() and not path.is_symlink() and not hidden and not _own(path.name):
            yield path


@contextmanager
def _opened(file: Path | IO[bytes]) -> Iterator[zipfile.ZipFile]:
    """The archive, its damages in words."""
    called = file.name if isinstance(file, Path) else getattr(file, "name", "The file")
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    except FileNotFoundError as error:
        raise UserError(f"There is no file {file}.", hint="Check the spelling.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise UserError(
            f"{called} cannot be read as a zip file.", f"{error}.", "Export the run again, or fetch the file again."
        ) from error


def _checked(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The files inside, all of which are harmless. A UserError otherwise."""
    files = [entry for entry in archive.infolist() if not entry.is_dir()]
    for entry in files:
        if why := _harm(entry):
            raise _unsafe(f"It holds {entry.filename[:80]!r}, {why}")
    names = {entry.filename.lower() for entry in files}
    if len(names) < len(files):
        raise _unsafe("Two of its files have the same name")
    if len(files) > MOST_FILES:
        raise _unsafe(f"It holds {len(files):,} files, and a run at most {MOST_FILES:,}")
    total = sum(entry.file_size for entry in files)
    if total > MOST_BYTES:
        raise _unsafe(f"It would unpack to {total / 1e9:,.0f} GB")
    return [entry for entry in files if not _own(Path(entry.filename).name)]


def _own(name: str) -> bool:
    return name in OWN or name.endswith(".lock")


def _harm(entry: zipfile.ZipInfo) -> str:
    """What is wrong with one file of an archive, in words; empty where nothing is."""
    kind, parts = stat.S_IFMT(entry.external_attr >> 16), entry.filename.split("/")
    checks = {
        "which is no plain file": kind not in (0, stat.S_IFREG),
        "which leads out of its folder or has a name that not every machine can write": not all(
            _SAFE.fullmatch(part) and len(part) <= LONGEST for part in parts
        ),
        "which lies too deep": len(parts) > DEEPEST + 1,
        "which is encrypted": bool(entry.flag_bits & 1),
        "which unpacks to far more than a run's files do": entry.file_size > SQUEEZED * entry.compress_size + 100_000
        or (entry.file_size > MOST_TEXT and not entry.filename.endswith(PACKED)),
    }
    return next((words for words, wrong in checks.items() if wrong), "")


def _top(files: list[zipfile.ZipInfo]) -> str:
    """The one folder in which the run lies inside the archive, `.` where it lies there bare."""
    tops = [Path(entry.filename).parent for entry in files if Path(entry.filename).name == RECIPE]
    top = min(tops, key=lambda path: len(path.parts), default=None)
    if top is None or len(top.parts) > 1:
        raise UserError("The zip file holds no run.", f"There is no {RECIPE} in it.", "Export one with `export-run`.")
    if any(top not in Path(entry.filename).parents for entry in files):
        raise _unsafe("Not all of it lies in the folder of the run")
    return str(top)


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> None:
    """One file. zipfile reads no more of it than was checked, and compares its checksum."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as packed, path.open("xb") as file:
        shutil.copyfileobj(packed, file, 1 << 20)


def _harmless(name: str) -> str:
    """A run's id that any machine can take for a folder's name, and no list hides."""
    kept = "".join(letter if letter.isalnum() or letter in "_.-" else "-" for letter in name)
    return kept[:80].strip("-.") or "imported"


def _unsafe(why: str) -> UserError:
    return UserError("The zip file is not taken.", f"{why}.", "Import only what `export-run` wrote.")
