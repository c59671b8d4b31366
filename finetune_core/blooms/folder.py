"""The data set as a folder of class folders, drawn once."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from finetune_core.blooms.picture import PER_CLASS, VERSION, draw
from finetune_core.blooms.species import SPECIES
from finetune_core.errors import UserError
from finetune_core.places import cache_dir
from finetune_core.records import Count

MARKER = f".blooms-{VERSION}"  # Written last, so a folder that holds it is complete.
QUALITY = 90
HANDS = min(4, os.cpu_count() or 1)
STALE = 3600.0  # Seconds after which a draft is surely nobody's.
LOOK = 0.5  # Seconds between two looks at another process that draws.
STUCK = 4.0  # Seconds without a picture, after which it is not waited for.


def place() -> Path:
    """Where the studio keeps it."""
    return cache_dir() / "blooms-v1"


def drawn(folder: Path) -> bool:
    """Whether it is there, whole."""
    return (folder / MARKER).exists()


def so_far(folder: Path) -> list[Path]:
    """The pictures that somebody who draws it now has drawn, in that order, less those that may be half written."""
    drafts = _drafts(folder)
    return _in(drafts[-1])[:-HANDS] if drafts else []


def _drafts(folder: Path) -> list[Path]:
    """What is being drawn, or was by a process that was killed; the newest last."""
    found = {}
    for draft in folder.parent.glob(f"{_prefix(folder)}*"):
        with suppress(FileNotFoundError):  # it was finished just now
            found[draft] = draft.stat().st_mtime
    return sorted(found, key=found.__getitem__)


def _in(draft: Path) -> list[Path]:
    paths = (draft / SPECIES[species].name / _name(number) for species, number in _jobs())
    return [path for path in paths if path.exists()]


def ensure(folder: Path, count: Count | None = None) -> Path:
    """Draw Blooms as `folder/<species>/<nnn>.jpg` unless it is there, and return the folder.

    It is drawn beside its place and moved there when complete, so an interruption leaves nothing half done. Where
    another process draws it, that one is waited for; of two that draw at once nevertheless the later keeps what the
    earlier one made.
    """
    folder = Path(folder)
    if drawn(folder):
        return folder
    _refuse_foreign(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    _look_on(folder, count)
    if drawn(folder):
        return folder
    draft = Path(tempfile.mkdtemp(prefix=_prefix(folder), dir=folder.parent))
    try:
        _draw_all(draft, count)
        (draft / MARKER).touch()
        _move(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _look_on(folder: Path, count: Count | None) -> None:
    """Wait for another process that draws it, as long as pictures come."""
    there, since = -1, time.monotonic()
    while (drafts := _drafts(folder)) and time.monotonic() - since < STUCK:
        # A draft that is put in its place while its pictures are counted seems to lose some
        if (now := max(there, len(_in(drafts[-1])))) != there:
            there, since = now, time.monotonic()
        if count is not None:
            count(now, len(SPECIES) * PER_CLASS)
        time.sleep(LOOK)


def _prefix(folder: Path) -> str:
    return f".{folder.name}-draft-"


def _refuse_foreign(folder: Path) -> None:
    """Never touch a folder that holds something we did not draw."""
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not list(folder.glob(".blooms-*")))):
        raise UserError(
            f"{folder} is not empty.", "Blooms is drawn into a folder of its own.", "Name a new or an empty folder."
        )


def _sweep(folder: Path) -> None:
    """Remove what processes killed in mid-drawing left behind; a draft in work is minutes old at most."""
    for draft in _drafts(folder):
        with suppress(FileNotFoundError):
            if time.time() - draft.stat().st_mtime > STALE:
                shutil.rmtree(draft, ignore_errors=True)


def _draw_all(folder: Path, count: Count | None) -> None:
    for species in SPECIES:
        (folder / species.name).mkdir()
    jobs = _jobs()

    def save(job: tuple[int, int]) -> None:
        species, number = job
        draw(species, number).save(folder / SPECIES[species].name / _name(number), quality=QUALITY)

    with ThreadPoolExecutor(max_workers=HANDS) as pool:
        try:
            for done, _ in enumerate(pool.map(save, jobs), start=1):
                if count is not None:
                    count(done, len(jobs))
        except BaseException:
            pool.shutdown(cancel_futures=True)  # Else an interruption would first draw all that is queued.
            raise


def _jobs() -> list[tuple[int, int]]:
    """Species and number of every picture, one of each species after the other: whoever looks on sees them all."""
    return [(species, number) for number in range(PER_CLASS) for species in range(len(SPECIES))]


def _name(number: int) -> str:
    return f"{number:03d}.jpg"


def _move(draft: Path, folder: Path) -> None:
    """Put the finished draft in place of an absent, empty or older folder."""
    draft.chmod(0o755)  # mkdtemp makes it private; a data set is not.
    if list(folder.glob(".blooms-*")) and not drawn(folder):
        shutil.rmtree(folder)
    try:
        draft.replace(folder)
    except OSError:
        if not drawn(folder):
            raise
