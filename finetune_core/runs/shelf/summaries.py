"""What lists say of runs: one small value for each, read again only where a file of the run has changed.

Lists are drawn every other second and by everybody who looks, and there may be hundreds of runs. So a summary is kept
as long as the stamps of the run's files stay the same: here for all sessions of a server, and in the cache folder for
other processes. Of an active run alone everything is looked up each time, since its process may be gone.

This is also the one place where a damaged run is caught: it becomes an unreadable one, and the others are listed.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from finetune_core import __version__, places
from finetune_core.errors import UserError
from finetune_core.parts.tasks import ONE_CLASS, TASKS, Score
from finetune_core.recipe.words import detail_words, model_words, source_words
from finetune_core.runs.folder import RECIPE, is_run
from finetune_core.runs.jobs import Train
from finetune_core.runs.shelf import naming, notes
from finetune_core.runs.shelf.notes import Notes
from finetune_core.runs.store import Run, Status, kind_of

FILES = (RECIPE, "changes.jsonl", "job.json", "status.json", "metrics.jsonl", "notes.json", "checkpoints")
STAMPED = (*FILES, "")  # "" is the folder

Stamps = list[tuple[int, int, int, int] | None]


@dataclass(frozen=True)
class Summary:
    """A run as lists show it. Of an unreadable one there is the status, which says what is wrong, and little else."""

    id: str
    job: str = Train.kind
    status: Status = field(default_factory=Status)
    notes: Notes = field(default_factory=Notes)
    name: str = ""  # that people gave it, on this page or in the recipe
    title: str = ""  # what to call it, in any case; where several are shown, see `apart.told_apart`
    made: str = ""  # what it would be called without a name of its own
    details: tuple[str, ...] = ()  # what its title leaves out, the most telling first
    data: str = ""
    backbone: str = ""
    thawed: str = ""
    task: str = ONE_CLASS.key
    size: int = 0  # bytes on disk
    swept: bool = False  # whether it belongs to a sweep

    @property
    def score(self) -> Score:
        """The score by which its task is judged."""
        return TASKS[self.task].score

    @property
    def readable(self) -> bool:
        """Whether all its files could be read."""
        return self.status.state != "unreadable"

    @property
    def curve(self) -> list[float]:
        """The score on the validation images, epoch by epoch, as far as it was a number."""
        return [value for value in self.status.valid_score if value is not None]

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return max(0.0, self.status.updated - self.status.started)


def summaries(runs: Path | None = None, job: str | None = Train.kind) -> list[Summary]:
    """All runs of a kind of job, or of any, newest first; damaged ones are listed with the trainings."""
    found = _shelf((runs or places.runs_dir()).absolute()).look()
    return sorted((one for one in found if job in (None, one.job)), key=lambda one: one.id, reverse=True)


def summary(run: Run) -> Summary:
    """One run as it is now. Never raises for what is wrong with its files."""
    try:
        return _read(run)
    except UserError as error:
        return Summary(run.id, kind_of(run), _unreadable(error), title=run.id, size=size(run.path))


def matching(
    found: Iterable[Summary],
    text: str = "",
    *,
    states: Sequence[str] = (),
    tasks: Sequence[str] = (),
    tags: Sequence[str] = (),
    starred: bool = False,
) -> list[Summary]:
    """Those that hold every word of the text somewhere, have one of the states and tasks, and all of the tags."""
    words = text.lower().split()
    return [
        one
        for one in found
        if (not states or one.status.state in states)
        and (not tasks or one.task in tasks)
        and {*tags} <= {*one.notes.tags}
        and (one.notes.star or not starred)
        and all(word in _text(one) for word in words)
    ]


def moving(found: Iterable[Summary]) -> bool:
    """Whether one of them is being worked on, or will be by itself."""
    return any(one.status.active or one.status.state == "queued" for one in found)


def size(folder: Path) -> int:
    """Bytes on disk below a folder; a file with several names counts once."""
    found = {}
    for parent, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):  # gone meanwhile
                facts = (Path(parent) / name).lstat()
                found[facts.st_dev, facts.st_ino] = facts.st_size
    return sum(found.values())


class _Shelf:
    """The summaries of one folder of runs, shared by all who ask in this process."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self.lock = threading.Lock()
        self.kept = _load(_file(runs))

    def look(self) -> list[Summary]:
        """All that there are now."""
        with self.lock:
            now = {name: self._one(name, stamps) for name, stamps in self._stamped()}
            settled = {name: each for name, each in now.items() if _settled(each[1])}
            if settled != self.kept:
                self.kept = settled
                _save(_file(self.runs), settled)
            return [each[1] for each in now.values()]

    def _one(self, name: str, stamps: Stamps) -> tuple[Stamps, Summary]:
        kept = self.kept.get(name)
        return kept if kept and kept[0] == stamps else (stamps, summary(Run(self.runs / name)))

    def _stamped(self) -> list[tuple[str, Stamps]]:
        try:
            names = os.listdir(self.runs)  # noqa: PTH208 - names are all that is needed
        except OSError:
            return []
        found = ((name, _stamps(self.runs / name)) for name in names if not name.startswith("."))
        return [(name, stamps) for name, stamps in found if stamps[0] or is_run(self.runs / name)]


_Kept = dict[str, tuple[Stamps, Summary]]


@cache
def _shelf(runs: Path) -> _Shelf:
    return _Shelf(runs)


def _settled(one: Summary) -> bool:
    """Whether only a change of its files can change it: the process of an active run may go without a word."""
    return not one.status.active and one.status.state != "lost"


def _stamps(folder: Path) -> Stamps:
    """What changes with each of the files that a summary is made of; None where there is none."""
    found: Stamps = []
    for name in STAMPED:
        try:
            facts = os.lstat(f"{folder}/{name}")
            found.append((facts.st_mtime_ns, facts.st_size, stat.S_IMODE(facts.st_mode), facts.st_ino))
        except OSError:
            found.append(None)
    return found


def _read(run: Run) -> Summary:
    recipe = _usable(run.recipe_file, lambda: run.recipe)
    job, said, made = _usable(run.job_file, lambda: run.job), notes.read(run), naming.made(recipe)
    return Summary(
        id=run.id,
        job=job.kind,
        status=run.status,
        notes=said,
        name=said.name or recipe.name,
        title=said.name or recipe.name or made,
        made=made,
        details=detail_words(recipe),
        data=source_words(recipe),
        backbone=model_words(recipe),
        thawed=naming.thawed(_usable(run.changes_file, run.recipe_at)),
        task=recipe.task.key,
        size=size(run.path),
        swept=run.sweep_file.exists(),
    )


def _usable(file: Path, read: Callable[[], Any]) -> Any:
    """What was read; the words of parts are for who edits them, and do not name the file."""
    try:
        return read()
    except UserError as error:
        raise UserError(f"{file} cannot be used.", f"{error.what} {error.why}", error.hint) from error


def _unreadable(error: UserError) -> Status:
    return Status(state="unreadable", message=error.what, error=error.words())


def _text(one: Summary) -> str:
    said = (one.id, one.title, one.made, one.data, one.backbone, one.thawed, one.notes.text, *one.notes.tags)
    return "\n".join(said).lower()


@cache
def _adapter() -> TypeAdapter[_Kept]:
    return TypeAdapter(_Kept)


def _file(runs: Path) -> Path:
    """Where the summaries of a folder of runs are kept; another version, or another shape of them, has another file."""
    about = f"{runs}\n{__version__}\n{_adapter().json_schema()}"
    return places.cache_dir() / "summaries" / f"{hashlib.sha256(about.encode()).hexdigest()[:32]}.json"


def _load(file: Path) -> _Kept:
    try:
        return _adapter().validate_json(file.read_bytes())
    except (OSError, ValidationError):  # a cache: what is not there, or damaged, is made anew
        return {}


def _save(file: Path, kept: _Kept) -> None:
    with suppress(OSError):  # what cannot be kept is read each time
        file.parent.mkdir(parents=True, exist_ok=True)
        places.replace_file(file, lambda draft: draft.write_bytes(_adapter().dump_json(kept)))
