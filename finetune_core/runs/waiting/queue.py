"""The queue: runs that wait until their device is free, in the order of their submission or as people move them.

A waiting run is a run folder like any other, with its recipe frozen in it; its state is `queued`, and that alone says
that it waits. `queue.json` beside the folders holds the order, under one lock for all tabs, users and terminals; where
it is damaged or gone, runs wait in the order in which they came. A small process starts them: see `dispatcher`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import psutil

from finetune_core import places
from finetune_core.errors import UserError
from finetune_core.machine import Machine
from finetune_core.parts import Job
from finetune_core.recipe import Recipe
from finetune_core.runs import holding, launch, store
from finetune_core.runs.folder import read_json
from finetune_core.runs.shelf import summaries
from finetune_core.runs.store import Run
from finetune_core.runs.waiting import devices, engines

ORDER, LOG = "queue.json", "queue.log"
DISPATCHER = "dispatcher.json"  # who it is: process id and start time
WAITS = "Waiting in the queue"

Where = Literal["first", "up", "down", "last"]
MOVES: tuple[Where, ...] = get_args(Where)


@dataclass(frozen=True)
class Queue:
    """Who waits, the next one first, and who is at work."""

    waiting: tuple[Run, ...]
    active: tuple[Run, ...]

    @property
    def ours(self) -> tuple[Run, ...]:
        """Those who wait and whom this process may start: another user's run it may not write to, and leaves alone."""
        return tuple(run for run in self.waiting if os.access(run.path, os.W_OK))

    def lane(self, kind: str, here: Machine) -> list[Run]:
        """Those who wait for this kind of device."""
        return [each for each in self.waiting if waits_for(each, here) == kind]

    def place(self, run: Run, here: Machine) -> int:
        """The run's place among those who wait for the same kind of device, from 1; 0 where it does not wait."""
        ids = [each.id for each in self.lane(waits_for(run, here), here)]
        return ids.index(run.id) + 1 if run.id in ids else 0

    def before(self, recipe: Recipe, here: Machine, run: Run | None = None) -> list[Run]:
        """Whom a new run of this recipe, or one that waits already, must let go first; empty where it can begin now."""
        kind = devices.kind_of(recipe, here)
        lane = [each.id for each in self.lane(kind, here)]
        ahead = self.lane(kind, here)[: lane.index(run.id) if run and run.id in lane else None]
        if not ahead and devices.free_for(recipe, devices.taken(self.active, here), here):
            return []
        wanted = {*devices.names(kind, here)}
        return [each for each in self.active if wanted & devices.held(each, here)] + ahead


def look(runs: Path | None = None) -> Queue:
    """The queue as it stands."""
    folder = runs or places.runs_dir()
    listed = {name: place for place, name in enumerate(_order(folder))}
    waiting, active = [], []
    for one in summaries.summaries(folder, job=None):
        run = Run(folder / one.id)
        status = one.status if one.readable else run.status  # its recipe is what its turn will tell of
        if status.active:
            active.append((status.started, run.id, run))
        elif run.engine_file.exists():  # it waits in a queue that is not this one
            continue
        # One that is still listed was just being started when its dispatcher was killed
        elif status.state == "queued" or (status.state == "lost" and run.id in listed):
            waiting.append((listed.get(run.id, len(listed)), status.started, run.id, run))
    return Queue(tuple(each[-1] for each in sorted(waiting)), tuple(each[-1] for each in sorted(active)))


def waits_for(run: Run, here: Machine) -> str:
    """The kind of device that a run waits for; the fastest where its recipe cannot be read: its turn will tell."""
    try:
        return devices.kind_of(run.recipe, here)
    except UserError:
        return here.devices[0]


def submit(recipe: Recipe, job: Job | None = None, runs: Path | None = None) -> Run:
    """A new run that waits for its turn, with the recipe as it is now. A UserError where there is no room for it."""
    return submit_all([recipe], job, runs)[0]


def submit_all(
    recipes: Sequence[Recipe],
    job: Job | None = None,
    runs: Path | None = None,
    mark: Callable[[Run, int], None] = lambda run, place: None,
) -> list[Run]:
    """New runs that wait one behind the other; before each does, `mark` may write into its folder."""
    folder, made = runs or places.runs_dir(), []
    with holding.queue_locked(folder):
        for place, recipe in enumerate(recipes):
            run = store.create(recipe, job, folder)
            mark(run, place)
            run.report(state="queued", message=WAITS)
            made.append(run)
        keep(folder, [each.id for each in look(folder).waiting])
    ensure(folder)
    return made


def cancel(run: Run) -> None:
    """Take a waiting run out of the queue, here or elsewhere; its folder remains. A UserError if it does not wait."""
    with holding.queue_locked(run.path.parent):
        if run.engine_file.exists() and run.status.state == "queued":
            engines.of(run).cancel(run)
        else:
            _check_waiting(run)
        _take_out(run.path.parent, [run])


def cancel_all(runs: Sequence[Run]) -> int:
    """Take those of some runs of one folder out of the queue that still wait in it; how many those are."""
    if not runs:
        return 0
    with holding.queue_locked(runs[0].path.parent):
        waiting = [run for run in runs if run.status.state == "queued"]  # now that none of them can begin
        _take_out(runs[0].path.parent, waiting)
    return len(waiting)


def _take_out(folder: Path, runs: Sequence[Run]) -> None:
    for run in runs:
        run.report(state="stopped", message="Cancelled before it began")
    keep(folder, [each.id for each in look(folder).waiting])


def start_now(run: Run) -> None:
    """Start a waiting run whatever else is at work. A UserError where it does not wait."""
    with holding.queue_locked(run.path.parent):
        _check_waiting(run)
        keep(run.path.parent, [each.id for each in look(run.path.parent).waiting if each.id != run.id])
        begin(run)


def move(run: Run, where: Where, here: Machine) -> None:
    """Move a waiting run among those who wait for the same kind of device. A UserError where it does not wait."""
    folder = run.path.parent
    with holding.queue_locked(folder):
        _check_waiting(run)
        now = look(folder)
        lane = [each.id for each in now.lane(waits_for(run, here), here)]
        keep(folder, woven([each.id for each in now.waiting], moved(lane, run.id, where)))


def moved(names: Sequence[str], name: str, where: Where) -> list[str]:
    """The names with one of them moved."""
    place, rest = names.index(name), [each for each in names if each != name]
    to = {"first": 0, "up": max(0, place - 1), "down": place + 1, "last": len(rest)}[where]
    return [*rest[:to], name, *rest[to:]]


def woven(names: Sequence[str], lane: Sequence[str]) -> list[str]:
    """The names, those of the lane in its order at the places where the lane stands."""
    following = iter(lane)
    return [next(following) if name in lane else name for name in names]


def begin(run: Run, gpus: Sequence[str] = ()) -> None:
    """Start a waiting run's worker; its time counts from now. The caller holds the lock."""
    run.report(started=time.time())
    launch.start(run, gpus)


def keep(folder: Path, names: Sequence[str]) -> None:
    """Write down who waits, in order; the caller holds the lock."""
    if list(names) != _order(folder):
        places.write_whole(folder / ORDER, json.dumps({"order": list(names)}, indent=1))


def ensure(runs: Path | None = None) -> None:
    """See to it that a dispatcher is at work where somebody waits; whoever looks at a queue may call this."""
    folder = (runs or places.runs_dir()).absolute()
    if not look(folder).ours or holding.living_in(folder / DISPATCHER):
        return
    with holding.queue_locked(folder):
        if not holding.living_in(folder / DISPATCHER):  # nobody was quicker
            program = [sys.executable, "-m", "finetune_core.runs.waiting.dispatcher", str(folder)]
            note(folder, psutil.Process(launch.spawn(program, folder / LOG)))


def note(folder: Path, dispatcher: psutil.Process) -> None:
    """Write down who the dispatcher is; the caller holds the lock."""
    places.write_whole(folder / DISPATCHER, json.dumps(holding.described(dispatcher)))


def _check_waiting(run: Run) -> None:
    waiting = [each.id for each in look(run.path.parent).waiting]
    if run.id not in waiting:
        hint = "See who waits with `python -m finetune_core queue`."
        raise UserError(f"The run {run.id} does not wait in the queue.", f"It is {run.status.state}.", hint)


def _order(folder: Path) -> list[str]:
    """The ids as they were written down; none where the file is damaged, which then loses no run but their order."""
    try:
        return [str(name) for name in (read_json(folder / ORDER) or {}).get("order", [])]
    except (UserError, TypeError):
        return []
