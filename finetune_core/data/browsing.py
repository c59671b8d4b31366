"""What lies in a folder, for people who choose one: one level of it, and never longer than they would wait.

A folder may lie at the other end of a network and never answer, so that disks are asked by threads of their own, for
which nobody waits longer than a moment; one that hangs is not asked again until it has answered. Names come first. How
much lies in the folders below is counted as far as that goes.

Whoever may come into the studio may look: they may have any path read and programs run here anyway (see `access`).
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

import psutil

from finetune_core import places
from finetune_core.errors import UserError
from finetune_core.parts.sources.files import ENDINGS, SYSTEM
from finetune_core.parts.sources.samples import natural
from finetune_core.wording import count, shown

PATIENCE = 4.0  # seconds that a folder has to say what lies in it
MOMENT = 0.5  # seconds for what may as well be missing
MOST = 200_000  # entries of a folder that are looked at
COUNTED = 2_000  # entries that are counted of a folder below
KEPT = 6  # folders that are remembered
MOUNTS = ("/media", "/run/media", "/mnt", "/Volumes")  # where systems put drives
_asked: dict[Hashable, threading.Thread] = {}  # the thread at work on each question
_asking = threading.Lock()


@dataclass(frozen=True)
class Tally:
    """How much lies directly in a folder; `more` where counting ended before it."""

    folders: int = 0
    images: int = 0
    more: bool = False

    def words(self) -> str:
        """Such as `12 folders, 340 images`."""
        said = [count(number, noun) for number, noun in ((self.folders, "folder"), (self.images, "image")) if number]
        if not said:
            return "no images so far" if self.more else "no images"
        return ", ".join(said) + " or more" * self.more


@dataclass
class Listing:
    """The names of what lies in a folder, in natural order: folders, and files that are wanted; nothing hidden.

    `here.more` says that there is more than was looked at.
    """

    folder: Path
    folders: Sequence[str]
    files: Sequence[str]
    here: Tally
    _known: dict[str, Tally | None] = field(default_factory=dict)

    def words(self, folders: Sequence[str]) -> list[str]:
        """How much lies in each of these folders, empty where that is not known yet."""
        _within(("tally", self.folder), partial(self._count, [each for each in folders if each not in self._known]))
        known = {name: tally.words() if tally else "cannot be read" for name, tally in [*self._known.items()]}
        return [known.get(name, "") for name in folders]

    def _count(self, folders: Sequence[str]) -> None:
        for name in folders:
            self._known[name] = _tally(self.folder / name)


def look(folder: Path, endings: Sequence[str] = (), patience: float = PATIENCE) -> Listing:
    """What lies in a folder: its folders, and the files of these endings. A UserError where that cannot be told."""
    found: list[Listing | Exception] = []

    def read() -> None:
        try:
            found.append(_read(folder, tuple(endings)))
        except (OSError, ValueError) as error:
            found.append(error)

    _within(("look", folder), read, patience)
    if not found:
        raise UserError(
            f"{shown(folder)} does not answer.",
            "It may lie on a network drive that sleeps, or is gone.",
            "Try again in a while, or look elsewhere.",
        )
    if isinstance(found[0], Exception):
        raise _refusal(folder, found[0]) from found[0]
    order = lambda name: natural(shown(name))  # noqa: E731
    return replace(found[0], folders=sorted(found[0].folders, key=order), files=sorted(found[0].files, key=order))


def beginning(named: str) -> Path:
    """Where to begin to look: at what is named already, else where something was found last, else at home."""
    wishes = [*_told(named), *last()]
    found: list[Path] = []

    def choose() -> None:
        for wish in wishes:
            found.extend(_nearest(wish))

    _within(("beginning", *wishes), choose)
    return found[0] if found else Path.home()


@dataclass(frozen=True)
class Spot:
    """A place to begin at, and what it is."""

    kind: Literal["home", "work", "drive", "root", "last"]
    title: str
    path: Path


def spots() -> list[Spot]:
    """Home, the workspace, drives, and the folders in which something was found last."""
    work, drives = places.runs_dir().parent, list[Path]()
    _within("drives", lambda: drives.extend(_drives()))
    return [
        Spot("home", "Home", Path.home()),
        Spot("work", "Workspace", work),
        *[Spot("root", "This machine", Path("/"))] * (os.name == "posix"),
        *[Spot("drive", shown(path.name or path), path) for path in drives],
        *[Spot("last", shown(path.name or path), path) for path in last()],
    ]


def last() -> list[Path]:
    """The folders in which something was found, the last one first; none where nothing was, or the file is damaged."""
    try:
        told = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [Path(each) for each in told if isinstance(each, str)][:KEPT] if isinstance(told, list) else []


def remember(path: str) -> None:
    """Keep the folder that somebody has chosen, or chosen a file in. A UserError where the disk refuses."""
    folder = next((each for place in _told(path) for each in (place, place.parent) if _is_folder(each)), None)
    if folder is None:  # which is told where the path is used
        return
    kept = [str(each) for each in dict.fromkeys([folder, *last()])][:KEPT]
    with places.writing("the folders that were used last", place=places.runs_place()):
        _file().parent.mkdir(parents=True, exist_ok=True)
        places.write_whole(_file(), json.dumps(kept))


def _file() -> Path:
    """Beside the draft."""
    return places.runs_dir() / "folders.json"


def _within(question: Hashable, work: Callable[[], object], seconds: float = MOMENT) -> None:
    """Let a thread work, and wait for it so long; nothing new is begun while the one before still hangs."""
    until, mine = time.monotonic() + seconds, threading.Thread(target=work, name="browsing", daemon=True)
    while (now := _at_work(question, mine)) is not mine:  # another tab's, which finds nothing for this one
        now.join(max(0.0, until - time.monotonic()))
        if now.is_alive():
            return
    mine.join(max(0.0, until - time.monotonic()))


def _at_work(question: Hashable, mine: threading.Thread) -> threading.Thread:
    """Whose thread is at work on a question: this one, begun now, unless another still is."""
    with _asking:
        for done in [each for each, thread in _asked.items() if not thread.is_alive()]:
            del _asked[done]
        if question not in _asked:
            mine.start()
            _asked[question] = mine
        return _asked[question]


def _read(folder: Path, endings: tuple[str, ...]) -> Listing:
    if folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve()):
        folder = folder.resolve()  # else one would go round in circles
    folders, files, links, images, more = list[str](), list[str](), list[str](), 0, False
    with os.scandir(folder) as entries:
        for number, entry in enumerate(entries):
            if more := number >= MOST:
                break
            name = entry.name.lower()
            if _hidden(name):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            elif name.endswith(endings):
                files.append(entry.name)
            elif name.endswith(ENDINGS):
                images += 1
            elif entry.is_symlink():
                links.append(entry.name)
    folders += _leading_to_folders(folder, links)
    return Listing(folder, folders, files, Tally(len(folders), images, more))


def _leading_to_folders(folder: Path, links: Sequence[str]) -> list[str]:
    """Those of the links; also those that do not answer, for a dead drive must not hide what lies beside the link."""
    known: dict[str, bool] = {}

    def follow() -> None:
        for name in links:
            known[name] = _is_folder(folder / name)

    _within(("links", folder), follow)
    return [name for name in links if known.get(name, True)]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _tally(folder: Path) -> Tally | None:
    """How much lies in a folder, of so many entries at most; None where it cannot be read."""
    folders = images = 0
    try:
        with os.scandir(folder) as entries:
            for number, entry in enumerate(entries):
                if number >= COUNTED:
                    return Tally(folders, images, True)
                name = entry.name.lower()
                if _hidden(name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders += 1
                else:
                    images += name.endswith(ENDINGS)
    except OSError:
        return None
    return Tally(folders, images)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in SYSTEM


def _refusal(folder: Path, error: Exception) -> UserError:
    hint = "Go up, or choose another place."
    if isinstance(error, FileNotFoundError):
        return UserError(f"{shown(folder)} is not there any more.", hint=hint)
    if isinstance(error, NotADirectoryError):
        return UserError(f"{shown(folder)} is no folder.", hint=hint)
    why = f"{str(getattr(error, 'strerror', None) or error).rstrip('.')}."
    return UserError(f"{shown(folder)} cannot be read.", why, "Choose another place, or change its permissions.")


def _told(named: str) -> list[Path]:
    """What somebody named, if it can be a path at all."""
    try:
        return [places.expanded(named).absolute()] if places.bare(named) else []
    except UserError:
        return []


def _nearest(path: Path) -> list[Path]:
    """The folder itself, or the next above it that is there; not the root of all, which says nothing."""
    above = (each for each in (path, *path.parents) if each != Path(each.anchor) or each == path)
    return [*islice(filter(_is_folder, above), 1)]


def _drives() -> Iterator[Path]:
    """Where drives other than the system's own are to be found."""
    if os.name == "nt":
        yield from (Path(each.mountpoint) for each in psutil.disk_partitions(all=True))
    for parent in map(Path, MOUNTS):
        for path in _inside(parent):
            mine = path.name == Path.home().name  # Linux has a folder for each person there
            yield from _inside(path) if mine else [path]


def _inside(parent: Path) -> list[Path]:
    try:
        return sorted(path for path in parent.iterdir() if not path.name.startswith("."))
    except OSError:  # most systems have only some of these
        return []
