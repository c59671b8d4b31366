"""Crowds: two who launch or resume at once, a queue, and several processes of which one is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from benchmarks.faults.kills import lines
from benchmarks.faults.lives import Lab, Problem, Problems, begin, ended, same, until
from benchmarks.faults.trials import Trial
from finetune_core.places import ROOT
from finetune_core.runs import holding, launch
from finetune_core.runs.store import Run
from finetune_core.runs.waiting import queue

ASK = "import sys; from finetune_core.runs import launch, store; launch.{}(store.open_run(sys.argv[1]))"


def at_once(lab: Lab) -> Iterator[Trial]:
    """Two processes launch a new run, or resume a stopped one, in the same moment."""
    yield Trial("two launches", lambda: _two(lab, lab.run(), "start"))
    yield Trial("two resumes of a stopped run", lambda: _two(lab, _stopped(lab), "resume"))
    yield Trial("two resumes of a killed run", lambda: _two(lab, _killed(lab), "resume"))


def _stopped(lab: Lab) -> Run:
    run = lab.run()
    begin(run)
    until(lambda: lines(run) > 6)
    launch.stop(run, wait=True)
    return run


def _killed(lab: Lab) -> Run:
    run = lab.run()
    begin(run)
    until(lambda: lines(run) > 6)
    launch.end_by_force(run)
    return run


def _two(lab: Lab, run: Run, verb: str) -> Problems:
    command = [sys.executable, "-c", ASK.format(verb), str(run.path)]
    both = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [child.communicate(timeout=300)[1] for child in both]
    codes = sorted(child.returncode for child in both)
    until(lambda: not run.alive())
    if codes[0] != 0:
        yield Problem("state", f"nobody could {verb} it: {said}")
    for text in said:
        if text and "UserError" not in text:
            yield Problem("words", text[-300:])
    yield from ended(run)
    yield from same(run, lab.whole(run.recipe))


def queued(lab: Lab) -> Iterator[Trial]:
    """Four runs in the queue of one device; whoever starts them is killed on the way, and one of them, too."""
    yield Trial("four runs", lambda: _queue(lab))


def _queue(lab: Lab) -> Problems:
    folder = lab.folder / "queue"
    runs = queue.submit_all([lab.recipe] * 4, runs=folder)
    first = runs[0]
    until(lambda: lines(first) > 2)
    if pid := holding.living_in(folder / queue.DISPATCHER):
        os.kill(pid, signal.SIGKILL)
    launch.end_by_force(first)
    until(lambda: _over(runs, folder))
    if first.status.state != "finished":
        launch.start(first)
    until(lambda: not first.alive())
    for run in runs:
        yield from ended(run)
        yield from same(run, lab.whole(run.recipe))


def _over(runs: list[Run], folder: Path) -> bool:
    """Whether all but the killed one have finished, and it is at rest; who looks sees to it that runs are started."""
    queue.ensure(folder)
    states = [run.status for run in runs]
    busy = sum(each.active for each in states)
    if busy > 1:
        raise RuntimeError(f"{busy} runs at work on one device")
    return states[0].state in ("lost", "finished") and all(each.state == "finished" for each in states[1:])


def several(lab: Lab, times: int) -> Iterator[Trial]:
    """Two processes train together; the leader or one of them is killed, mid-epoch."""
    victims = {"the leader": _leader, "rank 0": lambda run: _rank(run, 0), "rank 1": lambda run: _rank(run, 1)}
    for number in range(times):
        for name, find in victims.items():
            yield Trial(f"{name}, {number}", lambda find=find: _kill_one(lab, find))


def _leader(run: Run) -> psutil.Process | None:
    return psutil.Process(run.worker_pid()) if run.worker_pid() else None


def _rank(run: Run, rank: int) -> psutil.Process | None:
    kin = psutil.Process(run.worker_pid()).children(recursive=True)
    return next((each for each in kin if each.environ().get("RANK") == str(rank)), None)


def _kill_one(lab: Lab, find: Callable[[Run], psutil.Process | None]) -> Problems:
    recipe = lab.with_values({"training__processes": 2, "phases__1__epochs": 4})
    whole, run = lab.whole(recipe), lab.run(training__processes=2, phases__1__epochs=4)
    launch.start(run)
    family = [os.getpid()]
    until(lambda: lines(run) > 6 or not run.alive())
    victim = find(run)
    if victim is None:
        yield Problem("lost", "there was nobody to kill")
        return
    family = [run.worker_pid(), *(each.pid for each in psutil.Process(run.worker_pid()).children(recursive=True))]
    os.kill(victim.pid, signal.SIGKILL)
    until(lambda: not any(map(_lives, family)), 90)
    if left := [pid for pid in family if _lives(pid)]:
        yield Problem("state", f"processes are still there: {left}")
    if run.status.state not in ("lost", "failed", "stopped"):
        yield Problem("state", f"one of two was killed, and it is {run.status.state}")
    if (run.status.error or {}).get("kind", "process") != "process":
        yield Problem("words", f"{run.status.error}")
    launch.resume(run)
    until(lambda: not run.alive())
    yield from ended(run)
    yield from same(run, whole)


def _lives(pid: int | None) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
