"""Where things lie on disk: the assets that come with Thaw, what it keeps for reuse, and the runs.

A *workspace* holds all that a person's work leaves behind: `--workspace DIR` or $THAW_WORKSPACE. $THAW_RUNS and
$THAW_CACHE move one of its two folders elsewhere; the flag outranks them all.
"""

import errno
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.request import url2pathname

import psutil

from finetune_core.errors import UserError
from finetune_core.wording import shown

DAY = 86400  # seconds
DRAFT = ".draft"  # how the names of files end that are being written
ROOT = Path(__file__).resolve().parent.parent  # of the checkout
ASSETS = ROOT / "assets"
QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "„": "“", "‘": "’", "«": "»"}  # what opens, and what then closes
WORKSPACE, RUNS, CACHE = "THAW_WORKSPACE", "THAW_RUNS", "THAW_CACHE"  # variables of the environment
FULL = (errno.ENOSPC, errno.EDQUOT)
REFUSED = (
    errno.EACCES,
    errno.ENOENT,  # no folder can be made in /proc, on a drive that is gone
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
)


def cache_dir() -> Path:
    """Decoded images, drawn sample data: may be deleted at any time. `cache` in the workspace, else ~/.cache/thaw."""
    return cache_place().folder


def runs_dir() -> Path:
    """The folder of all runs and of the draft: `runs` in the workspace, else ./runs."""
    return runs_place().folder


def pictures_dir() -> Path:
    """Where pictures that people bring are kept, unless they say another place: in the workspace, else with theirs."""
    if workspace := os.environ.get(WORKSPACE):
        return expanded(workspace).absolute() / "pictures"
    return Path.home() / "Pictures" / "Thaw"


def work_in(workspace: str) -> None:
    """Keep everything in this folder from now on, in this process and in those that it starts. A UserError for a file.

    It need not be there yet.
    """
    folder = expanded(workspace).absolute()
    if is_there(str(folder), file=True):
        raise UserError(f"{shown(folder)} is no folder.", "It is a file.", "Name a folder as --workspace.")
    os.environ[WORKSPACE] = str(folder)
    for variable in (RUNS, CACHE):
        os.environ.pop(variable, None)


def replace_file(path: Path, write: Callable[[Path], object], lasting: bool = False) -> None:
    """Let `write` make a file beside this one, then put it in its place: no reader ever sees half of it.

    A `lasting` one is on the disk itself before the one before it goes, so that a power cut leaves one of the two.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}{DRAFT}")
    try:
        draft.touch()
        mode = draft.stat().st_mode  # what the person's umask says; some libraries write for the owner alone
        write(draft)
        draft.chmod(mode)
        if lasting:
            _sync(draft)
        draft.replace(path)
        if lasting:
            _sync(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk; Windows cannot be asked for the latter."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def forget_drafts(folder: Path, others: str = "") -> None:
    """Remove what writers that were killed have left half written; what living ones are writing stays.

    Also what others leave, by a pattern of their names, where no living one can be at it.
    """
    for path in folder.glob(others) if others else ():
        path.unlink(missing_ok=True)
    for draft in folder.glob(f".*{DRAFT}"):
        writer = draft.name.split(".")[-3]
        if not (writer.isdigit() and psutil.pid_exists(int(writer))):
            draft.unlink(missing_ok=True)


def forget_folders(parent: Path, begins: str) -> None:
    """Remove folders whose names begin so, which were being made a day ago and never finished."""
    for draft in parent.glob(f"{begins}*"):
        with suppress(FileNotFoundError):
            if time.time() - draft.stat().st_mtime > DAY:
                shutil.rmtree(draft, ignore_errors=True)


def publish(draft: Path, folder: Path) -> None:
    """Give a folder that was made under another name its own, unless another process was quicker with the same."""
    try:
        draft.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) and not folder.is_dir():
            raise  # else it was there, though a third may have taken it away by now


def append_line(path: Path, line: str) -> None:
    """Add a whole line to a file, or nothing where the disk is full; half a line that a killed writer left is ended."""
    with path.open("ab+", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        torn = file.read(1) not in (b"", b"\n")
        rest = memoryview(f"{chr(10) * torn}{line}\n".encode())
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(end)
            raise


def write_whole(path: Path, text: str) -> None:
    """Replace a text file as a whole."""
    replace_file(path, lambda draft: draft.write_text(text, encoding="utf-8"))


def expanded(path: str | Path) -> Path:
    """A path that a person wrote, its ~ replaced; a UserError where there is no such user."""
    try:
        return Path(bare(path) if isinstance(path, str) else path).expanduser()
    except RuntimeError as error:
        raise UserError(f"{shown(path)} leads nowhere.", f"{error}", "Write the path in full.") from error


def bare(text: str) -> str:
    """A path as it was pasted, without what copying puts around it: spaces, quotation marks, and file:// in front."""
    text = text.strip()
    while len(text) > 1 and QUOTES.get(text[0]) == text[-1]:
        text = text[1:-1].strip()
    if not text.lower().startswith("file:/"):
        return text
    host, _, rest = text[5:].removeprefix("//").partition("/")
    return url2pathname(f"/{rest}" if host.lower() in ("", "localhost") else f"//{host}/{rest}")


def pasted(text: str) -> str:
    """The same; a UserError where it is not to be written down, for a recipe is text and names of files may not be."""
    path = bare(text)
    if any("\ud800" <= letter <= "\udfff" for letter in path):  # stand for bytes that are no UTF-8
        raise UserError(f"The name {shown(path)} is no text.", "Recipes and fields hold text alone.", "Rename it.")
    return path


def is_there(path: str, file: bool = False) -> bool:
    """Whether what a person named exists, as a `file` where it must be one; whatever cannot be named does not."""
    try:
        found = Path(bare(path)).expanduser()
        return found.is_file() if file else found.exists()
    except (OSError, ValueError, RuntimeError):
        return False


def stamp(path: Path) -> tuple[int, int] | None:
    """Changes when a file does; None where there is none."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size


@dataclass(frozen=True)
class Place:
    """A folder that is written to, and the environment variable by which a person moves it."""

    folder: Path
    variable: str

    @property
    def way(self) -> str:
        """How a person moves it, in words."""
        if not self.variable:
            return "its place"
        return ("--workspace, or " if self.variable == WORKSPACE else "") + f"the environment variable {self.variable},"

    def check(self, what: str) -> None:
        """Make the folder where it is not there yet. A UserError where nothing can be written into it."""
        with writing(what, place=self):
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass


def cache_place() -> Place:
    """The cache as such a place."""
    return _place(CACHE, "cache", Path.home() / ".cache" / "thaw")


def runs_place() -> Place:
    """The folder of runs as such a place."""
    return _place(RUNS, "runs", Path("runs"))


def _place(variable: str, name: str, otherwise: Path) -> Place:
    if own := os.environ.get(variable):
        return Place(expanded(own).absolute(), variable)
    if workspace := os.environ.get(WORKSPACE):
        return Place(expanded(workspace).absolute() / name, WORKSPACE)
    return Place(otherwise.absolute(), variable)


@contextmanager
def writing(what: str, needed: int | None = None, place: Place | None = None) -> Iterator[None]:
    """Turn the refusal of a full or write-protected disk into a UserError; `needed` bytes are named if known.

    What is written lies in `place`, the cache unless told otherwise.
    """
    place = place or cache_place()
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise no_room(what, needed, place) from error
        if error.errno in REFUSED:
            raise UserError(
                f"There is no place for {what}.",
                f"{shown(place.folder)} cannot be written: {(error.strerror or 'refused').lower()}.",
                f"Set {place.way} to a folder of yours.",
            ) from error
        raise


def no_room(what: str, needed: int | None, place: Place | None = None) -> UserError:
    """The words for a full disk; `needed` bytes are named if known."""
    place = place or cache_place()
    there = next(each for each in (place.folder, *place.folder.absolute().parents) if each.exists())
    free = f"{shutil.disk_usage(there).free / 1e9:.1f} GB is free in {shown(place.folder)}"
    why = f"They need about {needed / 1e9:.1f} GB and {free}." if needed is not None else f"{free}."
    return UserError(
        f"The disk has no room for {what}.",
        why,
        f"Free some space, or set {place.way} to a folder on a larger disk.",
    )
