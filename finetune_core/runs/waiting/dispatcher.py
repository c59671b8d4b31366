"""The dispatcher starts the runs of a queue when their device is free; it is a program of its own.

There is one for a folder of runs, named in `dispatcher.json`. It ends when nobody waits, and may be killed at any
moment: all that it knows is on disk, and whoever submits or looks at the queue next starts another (`queue.ensure`).
Every turn is taken under the queue's lock, so that even two of them would start nothing twice.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

from finetune_core import machine, places
from finetune_core.errors import UserError
from finetune_core.machine import Machine
from finetune_core.runs import holding
from finetune_core.runs.store import Run
from finetune_core.runs.waiting import devices, queue

EVERY = 1.0  # seconds between two looks at who is at work


def serve(folder: Path) -> None:
    """Start whoever's turn it is, until nobody waits; nothing at all where another dispatcher is at work."""
    here, trouble = machine.facts(), ""
    while True:
        try:
            with holding.queue_locked(folder):
                if not _on_duty(folder) or not _turn(folder, here):
                    return
                trouble = ""
        except UserError as error:  # a full disk, most likely: wait until it is not
            if str(error) != trouble:  # once, however long that takes
                _say(trouble := str(error))
        time.sleep(EVERY)


def _on_duty(folder: Path) -> bool:
    """Whether this process is the dispatcher, which it becomes where there is none."""
    me, file = psutil.Process(), folder / queue.DISPATCHER
    if holding.living_in(file) is None:
        queue.note(folder, me)
    mine = holding.process_in(file) == me
    if mine:
        file.touch()  # a sign of life for other machines that share the folder
    return mine


def _turn(folder: Path, here: Machine) -> bool:
    """Start who can be started; whether somebody still waits whom this process may start."""
    now = queue.look(folder)
    busy = devices.taken(now.active, here)
    left = [run.id for run in now.waiting]
    queue.keep(folder, left)  # before anything starts: who is listed and has not begun is started again after a kill
    ours = now.ours
    for run in ours:
        got = _started(run, busy, here)
        if got is None:
            busy |= {*devices.names(devices.kind_of(run.recipe, here), here)}  # nobody behind it overtakes
            continue
        busy |= got
        left.remove(run.id)
        queue.keep(folder, left)
    waits = any(run.id in left for run in ours)
    if not waits:
        (folder / queue.DISPATCHER).unlink()  # under the lock: whoever submits next sees that nobody is here
    return waits


def _started(run: Run, busy: frozenset[str], here: Machine) -> frozenset[str] | None:
    """The devices that a run got now, none where it failed at once; None where it must wait."""
    try:
        got = devices.free_for(run.recipe, busy, here)
        if got:
            queue.begin(run, devices.gpus(got) if len(here.gpus) > 1 else ())
            _say(f"{run.id} begins on {', '.join(got)}")
        return frozenset(got) or None
    except FileNotFoundError:  # its folder was thrown away just now
        return frozenset()
    except UserError as error:
        if run.alive() or not run.path.exists():  # somebody has just started it by hand, or thrown it away
            return frozenset()
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in places.FULL:  # no run could mend that
            raise
        run.report(state="failed", message=error.what, error=error.words())
        _say(f"{run.id} cannot begin: {error}")
        return frozenset()


def _say(words: str) -> None:
    with suppress(OSError):  # a disk that is full keeps nobody from waiting until it is not
        sys.stdout.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {words}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve(Path(sys.argv[1]).absolute())
