"""The data set as a folder of class folders, drawn once."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from finetune_core.blooms.picture import PER_CLASS, VERSION, draw
from finetune_core.blooms.species import SPECIES
from finetune_core.errors import UserError
from finetune_core.records import Count

MARKER = f".blooms-{VERSION}"  # Written last, so a folder that holds it is complete.
QUALITY = 90
STALE = 3600.0  # Seconds after which a draft is surely nobody's.


def ensure(folder: Path, count: Count | None = None) -> Path:
    """Draw Blooms as `folder/<species>/<nnn>.jpg` unless it is there, and return the folder.

    It is drawn beside its place and moved there when complete, so an interruption leaves nothing half done, and of
    two processes that draw at once the later keeps what the earlier one made.
    """
    folder = Path(folder)
    if (folder / MARKER).exists():
        return folder
    _refuse_foreign(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    draft = Path(tempfile.mkdtemp(prefix=_prefix(folder), dir=folder.parent))
    try:
        _draw_all(draft, count)
        (draft / MARKER).touch()
        _move(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


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
    for draft in folder.parent.glob(f"{_prefix(folder)}*"):
        if time.time() - draft.stat().st_mtime > STALE:
            shutil.rmtree(draft, ignore_errors=True)


def _draw_all(folder: Path, count: Count | None) -> None:
    for species in SPECIES:
        (folder / species.name).mkdir()
    jobs = [(species, number) for species in range(len(SPECIES)) for number in range(PER_CLASS)]

    def save(job: tuple[int, int]) -> None:
        species, number = job
        draw(species, number).save(folder / SPECIES[species].name / f"{number:03d}.jpg", quality=QUALITY)

    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        try:
            for done, _ in enumerate(pool.map(save, jobs), start=1):
                if count is not None:
                    count(done, len(jobs))
        except BaseException:
            pool.shutdown(cancel_futures=True)  # Else an interruption would first draw all that is queued.
            raise


def _move(draft: Path, folder: Path) -> None:
    """Put the finished draft in place of an absent, empty or older folder."""
    draft.chmod(0o755)  # mkdtemp makes it private; a data set is not.
    if list(folder.glob(".blooms-*")) and not (folder / MARKER).exists():
        shutil.rmtree(folder)
    try:
        draft.replace(folder)
    except OSError:
        if not (folder / MARKER).exists():
            raise
