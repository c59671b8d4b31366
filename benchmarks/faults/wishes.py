"""Wishes at awkward moments: pause and stop in the first seconds, in mid-epoch, and at once."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import psutil

from benchmarks.faults.kills import lines
from benchmarks.faults.lives import Lab, Problem, Problems, ended, until
from benchmarks.faults.trials import Trial
from finetune_core.runs import launch
from finetune_core.runs.store import Run

SOON = 3.0  # seconds, on an idle machine, until a run that prepares has stopped
ENDLESS = 900  # epochs


def asked(lab: Lab) -> Iterator[Trial]:
    """Stop, pause and stop --now, after so many seconds from the launch, or in mid-epoch (None)."""
    for after in (0.0, 1.0, 3.0, None):
        when = "mid-epoch" if after is None else f"after {after:g} s"
        yield Trial(f"stop {when}", lambda after=after: _stop(lab, after))
        yield Trial(f"pause {when}", lambda after=after: _pause(lab, after))
        yield Trial(f"stop --now {when}", lambda after=after: _stop_now(lab, after))


def _launched(lab: Lab, after: float | None) -> tuple[Run, list[psutil.Process]]:
    run = lab.run(phases__1__epochs=ENDLESS)
    launch.start(run)
    if after is None:
        until(lambda: lines(run) > 20)
    time.sleep(after or 0.0)
    pid = run.worker_pid()
    return run, [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)] if pid else []


def _soon() -> float:
    """Seconds that count as soon here: more where others keep the cores busy."""
    return SOON * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def _stop(lab: Lab, after: float | None) -> Problems:
    run, family = _launched(lab, after)
    was, at, asked = run.status, lines(run), time.monotonic()
    launch.stop(run)
    until(lambda: not run.alive(), 60)
    took = time.monotonic() - asked
    if was.settling and took > _soon():
        yield Problem("state", f"it stopped after {took:.1f} s, {was.state}")
    if not was.settling and lines(run) - at > 4:  # the step under way, one more of the polls, the event
        yield Problem("state", f"{lines(run) - at} records after it was asked to stop")
    yield from _over(run, family)


def _over(run: Run, family: list[psutil.Process]) -> Problems:
    yield from ended(run, "stopped")
    until(lambda: not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in family), 30)
    for each in family:
        if each.is_running() and each.status() != psutil.STATUS_ZOMBIE:
            yield Problem("state", f"left: {each}")


def _pause(lab: Lab, after: float | None) -> Problems:
    run, family = _launched(lab, after)
    launch.pause(run)
    at = lines(run)
    if not until(lambda: run.status.state == "paused", 120):
        yield Problem("state", f"asked to pause, it is {run.status.state}")
    if after is None and lines(run) - at > 4:
        yield Problem("state", f"{lines(run) - at} records after it was asked to pause")
    at = lines(run)
    time.sleep(0.5)
    if lines(run) != at:
        yield Problem("state", "it goes on while it is paused")
    launch.resume(run)
    if not until(lambda: lines(run) > at + 3, 60):
        yield Problem("state", "it does not go on")
    launch.stop(run, wait=True)
    yield from _over(run, family)


def _stop_now(lab: Lab, after: float | None) -> Problems:
    run, family = _launched(lab, after)
    launch.stop(run, now=True)
    yield from _over(run, family)
