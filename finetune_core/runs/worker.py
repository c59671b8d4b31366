"""The worker does the job of one run folder, `python -m finetune_core.runs.worker RUN_DIR`, and writes how it goes.

Exit codes: 0 done or stopped on request, 2 a mistake that a person can mend, 1 a bug (its traceback is in worker.log).
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import torch

from finetune_core.errors import UserError
from finetune_core.finder import race, range_test
from finetune_core.finder.suggest import suggest, together
from finetune_core.finder.sweep import RACE_STEPS, Sweep
from finetune_core.records import Epoch, Event, Lap, Record, Step
from finetune_core.runs import checkpoint
from finetune_core.runs.store import Bystander, Run
from finetune_core.training import distributed, stopwatch, timing
from finetune_core.training.loop import Save, Trainer
from finetune_core.training.session import prepare

Watch = Callable[[Record], None]
"""Called with every record, for a progress bar."""

REPORT_SECONDS = 0.5


def work(run: Run, watch: Watch = lambda _: None, say: Callable[[str], None] = lambda _: None) -> int:
    """Do the run's job in this process; returns the exit code. Never raises for what happens in the job."""
    mine = run if distributed.first() else Bystander(run.path)
    try:
        mine.claim(psutil.Process())
        with _Stopping(run) as stopping:
            JOBS[run.job["job"]](mine, stopping, watch, _Preparing(mine, say))
    except UserError as error:
        _failed(run, error)
        return 2
    except Exception as error:  # noqa: BLE001 - the last resort: nothing may die without a word in the folder
        traceback.print_exc()
        _failed(run, _known(error))
        return 1
    return 0


def _failed(run: Run, error: UserError) -> None:
    """Say it in the folder; of several processes the first that fails says why, and the others only miss it."""
    if distributed.size() == 1 or run.status.state != "failed":
        run.report(state="failed", message=error.what, error=vars(error))


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
            self.signalled or self._left_alone() or (distributed.first() and self.run.asked() == "stop")
        )

    def _left_alone(self) -> bool:
        """Whether whoever has started several processes is gone, so that nobody would notice if they hung."""
        return distributed.size() > 1 and (
            os.getppid() != self.parent or (distributed.first() and not self.run.alive())
        )


class _Preparing:
    """Passes on what is being prepared, not more often than a person can read."""

    def __init__(self, run: Run, say: Callable[[str], None]) -> None:
        self.run, self.say, self.next = run, say, 0.0

    def __call__(self, message: str) -> None:
        if time.monotonic() >= self.next or " of " not in message:
            self.next = time.monotonic() + REPORT_SECONDS
            self.run.report(state="preparing", message=message)
            self.say(message)


def _train(run: Run, stopping: _Stopping, watch: Watch, preparing: _Preparing) -> None:
    preparing("Waking up")
    session = prepare(run.recipe, preparing)
    run.save_targets(session.targets)
    trainer = Trainer(session)
    if run.resume_state.exists():
        checkpoint.restore(run, trainer)
        run.keep_records(trainer.done)
    progress = _Progress(run, trainer)
    progress.report(trainer, state="running", message="Training")
    for record in trainer.run():
        if isinstance(record, Save):
            checkpoint.save(run, trainer, record)
        else:
            run.append(record)
            watch(record)
        if isinstance(record, Epoch):
            progress.epoch_ended(record)
        if isinstance(record, Event) and record.name == "truth_failed":
            progress.warn(trainer, record.text)
        if isinstance(record, Step | Save) and stopping:
            checkpoint.save(run, trainer, Save())
            note = Event("stopped", trainer.done, "Stopped on request")
            run.append(note)
            progress.report(trainer, state="stopped", message="Stopped; it can go on from here")
            return
        progress.tick(trainer)
    progress.report(trainer, state="finished", message=progress.said("Finished"), seconds_left=0.0)


def _find(run: Run, stopping: _Stopping, watch: Watch, preparing: _Preparing) -> None:
    preparing("Waking up")
    options, recipe = dict(run.job), run.recipe
    phase, tries = options.get("phase", 0), options.get("tries", 1)
    sweep = Sweep(**{field.name: options[field.name] for field in fields(Sweep) if field.name in options})
    for trial in range(tries):
        session = prepare(range_test.seeded(recipe, trial), preparing)
        whose = f", try {trial + 1} of {tries}" if tries > 1 else ""
        run.report(state="running", message=f"Trying rates{whose}", steps=tries * sweep.steps)
        for record in range_test.range_test(session, phase, sweep, trial):
            run.append(record)
            watch(record)
            run.report(step=trial * sweep.steps + record.step + 1)
            if stopping:
                run.report(state="stopped", message="Stopped on request")
                return
    if not distributed.first():  # whose records are not to be read while the first still writes
        return
    found = suggest(*together(run.records()[0]), batches=session.train.steps)
    run.append(found)
    watch(found)
    run.report(state="finished", message=found.note or "Finished")


def _race(run: Run, stopping: _Stopping, watch: Watch, preparing: _Preparing) -> None:
    preparing("Waking up")
    session, options = prepare(run.recipe, preparing), run.job
    rates, steps = options["rates"], options.get("steps", RACE_STEPS)
    run.report(state="running", message="Racing", steps=len(rates) * steps)
    done = 0
    for record in race.race(session, rates, options.get("phase", 0), steps, options.get("group", "")):
        run.append(record)
        watch(record)
        done += isinstance(record, Lap)
        run.report(step=done)
        if stopping:
            run.report(state="stopped", message="Stopped on request")
            return
    run.report(state="finished", message="Finished")


def _measure(run: Run, stopping: _Stopping, watch: Watch, preparing: _Preparing) -> None:
    preparing("Waking up")
    recipe = run.recipe
    run.report(state="running", message="Measuring", steps=sum(stopwatch.REPEATS.values()))
    for done, record in enumerate(stopwatch.timings(recipe), start=1):
        run.append(record)
        watch(record)
        run.report(step=done)
        if stopping:
            run.report(state="stopped", message="Stopped on request")
            return
    if measured := timing.summary(run.records()[0], recipe.training.batch_size):
        timing.keep(recipe, measured)
    run.report(state="finished", message="Finished")


JOBS = {"train": _train, "find": _find, "race": _race, "measure": _measure}


class _Progress:
    """Keeps the status fresh: often enough for the eye, seldom enough for the disk."""

    def __init__(self, run: Run, trainer: Trainer) -> None:
        self.run, self.first, self.started = run, trainer.done, time.monotonic()
        self.next = 0.0
        self.warning = ""
        self.score = trainer.session.targets.about.score
        self.scores = [r["valid_score"] for r in run.records()[0] if r["kind"] == "epoch"]

    def epoch_ended(self, record: Epoch) -> None:
        self.scores.append(record.valid_score if math.isfinite(record.valid_score) else None)
        self.next = 0.0

    def warn(self, trainer: Trainer, warning: str) -> None:
        self.warning = warning
        self.report(trainer, message=self.said("Training"))

    def said(self, message: str) -> str:
        """The message, and what there is to worry about."""
        return f"{message}. {self.warning}" if self.warning else message

    def tick(self, trainer: Trainer) -> None:
        if time.monotonic() >= self.next:
            self.next = time.monotonic() + REPORT_SECONDS
            self.report(trainer, seconds_left=self._seconds_left(trainer))

    def report(self, trainer: Trainer, **changes: Any) -> None:
        self.run.report(
            step=trainer.done,
            steps=trainer.steps,
            epoch=trainer.at.epoch,
            epochs=trainer.epochs,
            epoch_steps=trainer.session.train.steps,
            valid_score=self.scores,
            best_score=self.score.best(self.scores),
            **changes,
        )

    def _seconds_left(self, trainer: Trainer) -> float | None:
        if trainer.done == self.first:
            return None
        each = (time.monotonic() - self.started) / (trainer.done - self.first)
        return round(each * (trainer.steps - trainer.done), 1)


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
    code = work(run, _log_failed_check)
    if not code:
        distributed.leave()
    if error := run.status.error:
        sys.stderr.write(" ".join(error.values()) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
