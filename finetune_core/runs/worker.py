"""The worker does the job of one run folder, `python -m finetune_core.runs.worker RUN_DIR`, and writes how it goes.

Exit codes: 0 done or stopped on request, 2 a mistake that a person can mend, 1 a bug (its traceback is in worker.log).
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import torch

from finetune_core.errors import UserError
from finetune_core.parts import Job
from finetune_core.parts.jobs import Stop
from finetune_core.records import Event, Record, Report, silent
from finetune_core.runs.store import Bystander, Run
from finetune_core.training import distributed

Watch = Callable[[Record], None]
"""Called with every record, for a progress bar."""

REPORT_SECONDS = 0.5


def work(run: Run, watch: Watch = lambda _: None, report: Report = silent) -> int:
    """Do the run's job in this process; returns the exit code. Never raises for what happens in the job.

    A UserError where another process is at work on the run.
    """
    mine = run if distributed.first() else Bystander(run.path)
    mine.claim(psutil.Process())
    try:
        with _Stopping(run) as stopping:
            _drive(run.job, _Desk(mine, report, stopping), watch)
    except UserError as error:
        _failed(run, error)
        return 2
    except Exception as error:  # noqa: BLE001 - the last resort: nothing may die without a word in the folder
        traceback.print_exc()
        _failed(run, _known(error))
        return 1
    return 0


def _drive(job: Job, desk: _Desk, watch: Watch) -> None:
    """Keep each record that the job yields, and let it stop where somebody asks for that."""
    records = job.run(desk)
    try:
        desk.report("Waking up")
        for record in records:
            desk.files.append(record)
            watch(record)
            if desk.stopping:
                records.throw(Stop())
                break
        else:
            desk.finish()
            return
    except (Stop, StopIteration):
        pass
    desk.stop(job.resumable)


class _Desk:
    """What a job works with: its recipe, its folder, and a status that is written down as often as a person looks."""

    def __init__(self, files: Run, listener: Report, stopping: _Stopping) -> None:
        self.files, self.recipe, self.listener, self.stopping = files, files.recipe, listener, stopping
        self.next, self.preparing, self.last_words = 0.0, "", ""
        self.started, self.first = time.monotonic(), 0
        self.waiting: dict[str, Any] = {}  # facts that are not written down yet

    def report(self, what: str, done: float = 0, total: float = 0, unit: str = "") -> None:
        """What is being prepared, and how far that is; ended by a wish to stop, which one process alone can obey."""
        if what != self.preparing or done >= total or time.monotonic() >= self.next:
            self.preparing, self.next = what, time.monotonic() + REPORT_SECONDS
            self.files.report(state="preparing", message=what, done=done, total=total, unit=unit, error=None)
            self.listener(what, done, total, unit)
            if distributed.size() == 1 and self.stopping:
                raise Stop

    def begin(self, doing: str, steps: int, step: int = 0, **facts: Any) -> None:
        """The work itself begins."""
        self.started, self.first = time.monotonic(), step
        self.waiting = {"step": step, "steps": steps}
        self._write(state="running", message=doing, **facts)

    def advance(self, step: int, now: bool = False, **facts: Any) -> None:
        """So many steps are done."""
        self.waiting |= {"step": step, **facts}
        if now or time.monotonic() >= self.next:
            self._write(seconds_left=self._seconds_left())

    def conclude(self, words: str) -> None:
        """The last word."""
        self.last_words = words

    def finish(self) -> None:
        """All is done."""
        self._write(state="finished", message=self.last_words or "Finished", seconds_left=0.0)

    def stop(self, resumable: bool) -> None:
        """It was stopped."""
        message = "Stopped; it can go on from here" if resumable else "Stopped on request"
        self._write(state="stopped", message=message)
        if resumable:
            self.files.append(Event("stopped", self.files.status.step, "Stopped on request"))

    def _write(self, **changes: Any) -> None:
        self.next = time.monotonic() + REPORT_SECONDS
        self.files.report(**{**self.waiting, **changes})

    def _seconds_left(self) -> float | None:
        done = self.waiting["step"] - self.first
        if done <= 0:
            return None
        left = self.waiting["steps"] - self.waiting["step"]
        return round((time.monotonic() - self.started) / done * left, 1)


def _failed(run: Run, error: UserError) -> None:
    """Say it in the folder; of several processes the first that fails says why, and the others only miss it."""
    if distributed.size() == 1 or run.status.state != "failed":
        run.report(state="failed", message=error.what, error=error.words())


class _Stopping:
    """Whether the person asked to stop, by the control file, Ctrl-C or SIGTERM."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.signalled = False
        self.parent = os.getppid()

    def __enter__(self) -> _Stopping:
        self.before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signalled = True

    def __bool__(self) -> bool:
        """Of several processes all say the same, so that they stop at the same step."""
        return distributed.any_of(
            self.signalled or self._left_alone() or (distributed.first() and self.run.wish() == "stop")
        )

    def _left_alone(self) -> bool:
        """Whether whoever has started several processes is gone, so that nobody would notice if they hung."""
        return distributed.size() > 1 and (
            os.getppid() != self.parent or (distributed.first() and not self.run.alive())
        )


def _known(error: Exception) -> UserError:
    """Words for failures that are not the person's mistake, as far as the reason is known."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        hint = "Use more micro-batches (training.accumulate), take smaller images, or freeze more layers."
        return UserError("The memory ran out.", str(error).split("\n")[0], hint)
    if distributed.lost_touch(error):
        what = f"One of the {distributed.size()} processes that trained together is gone."
        hint = "What was saved last remains: resume the run. The log may say more."
        return UserError(what, "It was killed, or the memory ran out.", hint)
    why = f"{type(error).__name__}: {error}"
    return UserError("Thaw made a mistake.", why, "The log has the details; the run's folder is intact.")


def _log_failed_check(record: Record) -> None:
    if isinstance(record, Event) and record.name == "truth_failed":
        sys.stderr.write(f"{record.text}\n")


def main() -> int:
    """Work on the run folder named on the command line; what it prints lands in worker.log."""
    run = Run(Path(sys.argv[1]).absolute())
    distributed.join()
    try:
        code = work(run, _log_failed_check)
    except UserError as taken:
        sys.stderr.write(f"{taken}\n")
        return 2
    if not code:
        distributed.leave()
    if error := run.status.error:
        sys.stderr.write(" ".join(error.values()) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
