"""The trash of a folder of runs: what is thrown away can be brought back until the trash is emptied."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from finetune_core import places
from finetune_core.errors import UserError
from finetune_core.runs import holding
from finetune_core.runs.folder import free_name, is_run
from finetune_core.runs.shelf.summaries import Summary, size, summary
from finetune_core.runs.store import Run
from finetune_core.wording import count, few, shown

TRASH = ".trash"  # hidden, so that no list looks into it


def throw_away(run: Run) -> Path:
    """Move a run into the trash; returns its place there. A UserError for a run at which a process is at work."""
    with holding.queue_locked(run.path.parent):  # else it might begin meanwhile
        check_idle(run, "be thrown away")
        return _moved(run.path, _folder(run.path.parent))


def thrown_away(runs: Path | None = None) -> list[Summary]:
    """The runs in the trash, newest first."""
    folder = _folder(runs)
    found = filter(is_run, _inside(folder))
    return sorted((summary(Run(path)) for path in found), key=lambda one: one.id, reverse=True)


def bring_back(name: str, runs: Path | None = None) -> Run:
    """Take a run out of the trash. Where another one has its name by now, it gets a new one."""
    folder = _folder(runs)
    if name not in [one.name for one in _inside(folder)]:
        there = few(one.name for one in _inside(folder)) or "nothing"
        raise UserError(f"There is no run {name} in the trash.", f"It holds: {there}.", "Name one of these.")
    rest(Run(folder / name))
    return Run(_moved(folder / name, folder.parent))


def in_trash(runs: Path | None = None) -> int:
    """Bytes on disk that emptying the trash would free."""
    return size(_folder(runs))


def empty(runs: Path | None = None) -> int:
    """Delete what is in the trash, for good; returns the bytes that this freed. A UserError where that is refused."""
    folder = _folder(runs)
    before = size(folder)
    with _deleting():
        for one in _inside(folder):
            _delete(one)
    return before - size(folder)


def slim(run: Run) -> int:
    """Keep of a finished run's checkpoints only the best weights; returns the bytes that this freed.

    It can still be shown, compared and asked about images. A UserError where that would lose more than it says.
    """
    check_idle(run, "be slimmed")
    if run.status.state != "finished":
        hint = "Resume it first, or throw it away."
        raise UserError(f"The run {run.id} has not finished.", "Its checkpoints are what it would go on from.", hint)
    if not run.best.exists():
        raise UserError(f"The run {run.id} kept no best weights.", "All of it would be lost.", "Throw it away instead.")
    before = size(run.path)
    with _deleting():
        for file in run.checkpoints.iterdir():
            if file != run.best:
                file.unlink()
    return before - size(run.path)


def check_idle(run: Run, what: str) -> None:
    """A UserError where a process is at work on the run."""
    if run.status.active:
        raise UserError(f"The run {run.id} cannot {what}.", f"It is {run.status.state}.", "Stop it first.")


def rest(run: Run) -> None:
    """Have a run that comes back, or in, wait for nobody: else the queue would begin it without being asked."""
    with suppress(UserError):  # a damaged run waits for nobody
        if run.said().state == "queued":
            run.report(state="stopped", message="Taken out of the queue; it can begin from here")


def _folder(runs: Path | None) -> Path:
    return (runs or places.runs_dir()) / TRASH


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _moved(path: Path, folder: Path) -> Path:
    """One rename, so that a run is never in both places nor in none."""
    target = free_name(folder, path.name)
    with places.writing(count(1, "run"), place=places.Place(folder, "THAW_RUNS")):
        folder.mkdir(parents=True, exist_ok=True)
        return path.rename(target)


@contextmanager
def _deleting() -> Iterator[None]:
    """Turn the system's refusal into a UserError."""
    try:
        yield
    except OSError as error:
        hint = "See who may write there, then try again: what is gone by now stays gone."
        raise UserError(f"{shown(error.filename)} cannot be deleted.", f"{error.strerror}.", hint) from error


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
