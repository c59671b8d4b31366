r"""Several processes for one run: `python -m finetune_core.runs.work.torchrun RUN_DIR` starts them and waits for them.

The leader is the worker that others see: it holds the run, passes on a wish to stop, and says so where a process ends
without a word. It needs no torch. torchrun itself does on several machines, with a run folder that all of them share:

    torchrun --nnodes 2 --nproc-per-node 4 --rdzv-id thaw --rdzv-backend c10d --rdzv-endpoint HOST:29500 \
        -m finetune_core.runs.work.worker RUN_DIR
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType

import psutil

from finetune_core import machine, places, records
from finetune_core.errors import UserError
from finetune_core.records import Record, Report, silent
from finetune_core.runs import holding
from finetune_core.runs.store import ENDED, Run
from finetune_core.runs.work.hearing import EARLY

EVERY = 0.2  # seconds between two looks at the run
GRACE = 30.0  # seconds that processes have to save and end once torchrun is gone


def lead(run: Run, watch: Callable[[Record], None] = lambda _: None, report: Report = silent) -> int:
    """Do the run's job in as many processes as its recipe wants; returns the exit code, as `worker.work`."""
    processes, announced = run.recipe.training.processes, run.announced()
    with holding.held(run), ExitStack() as stack:
        if not announced:
            with run.writing():
                run.report_start(f"Waking up {processes} processes")
        follower = _Follower(run, watch, report)
        child = stack.enter_context(_started(run, processes))
        stack.callback(_end, child)
        stack.enter_context(_PassingOn(run, child))
        kin: list[psutil.Process] = []
        while child.poll() is None:
            with suppress(psutil.NoSuchProcess):
                kin = psutil.Process(child.pid).children(recursive=True)
            follower.all_new()
            if run.wish() == "stop" and _settling(run):
                _end(child)
                child.wait()
                _wait_for(kin)  # before the last word: else one of them might yet say that it begins
                run.report(state="stopped", message=EARLY)
                return 0
            time.sleep(EVERY)
        _wait_for(kin)
        follower.all_new()
        return _judged(run, child.returncode)


def _settling(run: Run) -> bool:
    """Whether the processes prepare still: there is nothing to be saved, and nobody who would hear a wish."""
    return run.said().settling


def _started(run: Run, processes: int) -> subprocess.Popen[bytes]:
    """Start torchrun, in a session of its own, so that Ctrl-C reaches the leader alone; it prints into the log."""
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    threads = max(1, machine.facts().cores // processes)
    ours = {"OMP_NUM_THREADS": str(threads), "TORCH_CPP_LOG_LEVEL": "ERROR"}  # a person's own settings go first
    with run.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", *torchrun, "-m", "finetune_core.runs.work.worker", str(run.path)],
            cwd=places.ROOT,
            env=ours | os.environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


class _PassingOn:
    """Turns Ctrl-C and SIGTERM into a wish to stop in the run folder; the second time all ends at once."""

    def __init__(self, run: Run, child: subprocess.Popen[bytes]) -> None:
        self.run, self.child, self.asked = run, child, False

    def __enter__(self) -> None:
        self.before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            _end(self.child)
        self.run.ask("stop")
        self.asked = True


class _Follower:
    """Passes on what the processes have written since the last time."""

    def __init__(self, run: Run, watch: Callable[[Record], None], report: Report) -> None:
        self.run, self.watch, self.report = run, watch, report
        self.cursor, self.file = run.records()[1], self._file()

    def all_new(self) -> None:
        status = self.run.status
        if status.state == "preparing":
            self.report(status.message, status.done, status.total, status.unit)
        if self._file() != self.file:  # a resumed worker has taken records back: what follows begins after the rest
            self.cursor, self.file = self.run.records()[1], self._file()
        rows, self.cursor = self.run.records(self.cursor)
        for row in rows:
            self.watch(records.parse(row))

    def _file(self) -> int:
        """Which file the records are in: it is replaced where records are taken back."""
        with suppress(FileNotFoundError):
            return self.run.records_file.stat().st_ino
        return 0


def _end(child: subprocess.Popen[bytes]) -> None:
    """End torchrun and all it has started, if they are still there."""
    with suppress(psutil.NoSuchProcess):
        family = psutil.Process(child.pid)
        for one in [*family.children(recursive=True), family]:
            with suppress(psutil.NoSuchProcess):
                one.kill()


def _wait_for(kin: list[psutil.Process]) -> None:
    """Give processes that torchrun has left behind the time to save, which they do when they miss it."""
    for late in psutil.wait_procs(kin, timeout=GRACE)[1]:
        with suppress(psutil.NoSuchProcess):
            late.kill()


def _judged(run: Run, code: int) -> int:
    """The exit code; a run whose processes ended without a word is said to have failed."""
    state = run.said().state
    if state in ("finished", "stopped"):
        return 0
    if state not in ENDED:
        what = f"One of the {run.recipe.training.processes} processes that trained together ended without a word."
        why = f"torchrun gave exit code {code}: it was killed, or the memory ran out."
        error = UserError(what, why, "What was saved last remains: resume the run. The log may say more.")
        run.report(state="failed", message=error.what, error={**error.words(), "kind": "process"})
    return 2


def main() -> int:
    """Lead the run folder named on the command line; what is printed lands in worker.log."""
    return lead(Run(Path(sys.argv[1]).absolute()))


if __name__ == "__main__":
    sys.exit(main())
