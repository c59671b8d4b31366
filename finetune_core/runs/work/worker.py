"""The worker, `python -m finetune_core.runs.work.worker RUN_DIR`, does the job of one run and writes how it goes.

Exit codes: 0 done or stopped on request, 2 a mistake that a person can mend, 1 a bug (its traceback is in worker.log).
What needs torch is imported once the run is held and a wish to stop is heard: it takes seconds.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune_core import cores, memory
from finetune_core.errors import UserError
from finetune_core.parts.jobs import Stop, Wish
from finetune_core.records import Event, Record, Report, silent
from finetune_core.runs import holding
from finetune_core.runs.store import Bystander, Run
from finetune_core.runs.work import failures
from finetune_core.runs.work.hearing import EARLY, Ear
from finetune_core.runs.work.tracking import Tracking
from finetune_core.wording import count

if TYPE_CHECKING:
    from finetune_core.parts import Job, Tracker

Watch = Callable[[Record], None]
"""Called with every record, for a progress bar."""

REPORT_SECONDS = 0.5
LAST_SECONDS = 10.0  # that a disk without room is given when all is over; twice that is less than a stop waits
GENTLE = 10  # of 19, how far a job gives way
SPARED = 20.0  # times as long as saving took, until it is done again


class _Gone(Exception):  # noqa: N818 - not ours to mend
    """The run's folder is there no longer."""


def work(run: Run, watch: Watch = lambda _: None, report: Report = silent, alone: bool = False) -> int:
    """Do the run's job in this process; returns the exit code. Never raises for what happens in the job.

    A UserError where another process is at work on the run, or the folder cannot be written: then nothing is written.
    `alone` says that nothing else goes on in this process, so that it may be ended at once.
    """
    if _rank():
        return _work(bystander := Bystander(run.path), watch, report, Ear(bystander, alone))
    announced = run.announced()
    with holding.held(run) as own:
        if own and not announced:
            with run.writing():
                run.report_start("Waking up")
        return _work(run, watch, report, Ear(run, alone))


def _work(run: Run, watch: Watch, report: Report, ear: Ear) -> int:
    memory.keep_freed()
    desk = None
    try:
        with ear:
            desk = _Desk(run, report, ear)
            _drive(run.job, desk, watch)
    except Stop:
        _say(run, state="stopped", message=EARLY)
    except _Gone:  # nothing is written, so that nothing of it comes back
        _log(f"{run.path} was thrown away or moved while it was worked on; the work ends.")
        return 2
    except Exception as error:  # noqa: BLE001 - the last resort: nothing may die without a word
        failure = failures.told(error)
        if failure.bug:
            _log(traceback.format_exc().rstrip())
        _failed(run, failure, desk.part() if desk else "", ear.alone)
        return 1 if failure.bug else 2
    finally:
        if desk:
            desk.tracking.close(0)  # where even the last word could not be said
    return 0


def _drive(job: Job, desk: _Desk, watch: Watch) -> None:
    """Keep each record that the job yields, and let it stop where somebody asks for that."""
    desk.report("Waking up")
    if job.gentle and desk.ear.alone and hasattr(os, "nice"):  # not whoever has called this, for good
        os.nice(GENTLE)
    records = job.run(desk)
    try:
        for record in records:
            desk.keep(record)
            watch(record)
            if desk.hear() == Wish.STOP:
                records.throw(Stop())
                break
    except Stop:
        if not desk.begun:
            raise
        desk.heard = Wish.STOP
    except StopIteration:  # the job has ended in its own way
        desk.heard = Wish.STOP
    if desk.heard == Wish.STOP:
        desk.stop(job.resumable)
    else:
        desk.finish()


class _Desk:
    """What a job works with: its recipe, its folder, wishes, and a status written as often as a person looks."""

    def __init__(self, files: Run, listener: Report, ear: Ear) -> None:
        self.files, self.recipe, self.listener, self.ear = files, files.recipe, listener, ear
        self.next, self.preparing, self.last_words = 0.0, "", "Finished"
        self.started, self.first = time.monotonic(), 0
        self.begun, self.doing = False, ""
        self.facts: dict[str, Any] = {}  # all that is to be told, in case somebody harms the file
        self.unwritten: list[Record] = []  # records that the disk would not take
        self.saved, self.save_again = time.monotonic(), 0.0
        self.heard = Wish.GO
        self.tracking = Tracking()
        if _processes() > 1:  # whoever has started them ends them while they prepare
            ear.preparing = False

    def report(self, what: str, done: float = 0, total: float = 0, unit: str = "") -> None:
        """What is being prepared, and how far that is; ended by a wish to stop, which one process alone can obey."""
        if what != self.preparing or done >= total or time.monotonic() >= self.next:
            self._check_there()
            self.preparing, self.next = what, time.monotonic() + REPORT_SECONDS
            told = {"message": what, "done": done, "total": total, "unit": unit}
            if self.begun:  # between two steps; the last word of it is that the work goes on
                self._write(**(told if done < total else {"message": self.doing, "done": 0, "total": 0}))
            else:
                _say(self.files, state="preparing", error=None, **told)
            self.listener(what, done, total, unit)
            if _processes() == 1 and self.ear.wish() == Wish.STOP:
                raise Stop

    def begin(self, doing: str, steps: int, step: int = 0, **facts: Any) -> None:
        """The work itself begins."""
        if _processes() == 1:
            self.ear.begun()
        self.begun, self.doing = True, doing
        self.started, self.first = time.monotonic(), step
        self.saved = time.monotonic()
        self._write(state="running", message=doing, done=0, total=0, step=step, steps=steps, **facts)

    def advance(self, step: int, now: bool = False, **facts: Any) -> None:
        """So many steps are done."""
        self.facts |= {"step": step, **facts}
        if now or time.monotonic() >= self.next:
            self._write(seconds_left=self._seconds_left())

    def keep(self, record: Record) -> None:
        """Write a record down, or keep it until the disk takes it: what cannot be written never stops the work."""
        self.unwritten += [record, *self.tracking.note(record)]
        self._write_down()

    def _write_down(self) -> bool:
        """Write down the records that wait for it, as far as the disk takes them; whether none is left."""
        with suppress(OSError):
            while self.unwritten:
                self.files.append(self.unwritten[0])
                self.unwritten.pop(0)
        return not self.unwritten

    def track(self, trackers: Sequence[Tracker], step: int) -> None:
        """Tell these of every record from an optimizer step on; of several processes the first one does."""
        if not _rank():
            self.tracking = Tracking(trackers, self.files.path, self.recipe.model_dump(mode="json"), step)

    def hear(self) -> Wish:
        """What is asked for between two steps; all of several processes say the same."""
        self._check_there()
        due = time.monotonic() - self.saved >= max(60.0 * self.recipe.training.save_minutes, self.save_again)
        mine = max(self.ear.wish(), Wish.SAVE if due else Wish.GO, Wish.STOP if self._left_alone() else Wish.GO)
        self.heard = Wish(_most(mine))
        return self.heard

    def changes(self) -> list[tuple[int, dict[str, Any]]]:
        """The changes asked for, each with the number of the wish; all of several processes say the same."""
        asked, self.ear.waiting = _from_first(self.ear.waiting), []
        return asked

    def save(self, write: Callable[[], None]) -> None:
        """Save, and remember how long that takes."""
        before = time.monotonic()
        write()
        self.saved = time.monotonic()
        self.save_again = SPARED * (self.saved - before)

    def pause(self, save: Callable[[], None]) -> Wish:
        """Save and wait until something else is asked for; returns what."""
        self.save(save)
        self._write(state="paused", message="Paused", seconds_left=None)
        while self.hear() == Wish.PAUSE:
            time.sleep(0.2)
        self.started += time.monotonic() - self.saved
        self.saved = time.monotonic()
        self._write(state="running", message="Training")
        return self.heard

    def conclude(self, words: str) -> None:
        """The last word."""
        self.last_words = words

    def part(self) -> str:
        """Nothing more is to come: end the trackers, and give the disk some time. Words for what is lost nevertheless.

        To be called before the last word is said: who hears that looks no more.
        """
        self.unwritten += self.tracking.close(self.facts.get("step", 0))
        _patiently(self._write_down)
        lost, self.unwritten = len(self.unwritten), []
        return f" {count(lost, 'record')} could not be written and {'is' if lost == 1 else 'are'} lost." if lost else ""

    def finish(self) -> None:
        """All is done."""
        self._end(self.last_words, state="finished", seconds_left=0.0)

    def stop(self, resumable: bool) -> None:
        """It was stopped."""
        message = "Stopped; it can go on from here" if resumable else "Stopped on request"
        if resumable:
            self.keep(Event("stopped", self.facts["step"], "Stopped on request"))
        self._end(message, state="stopped")

    def _end(self, message: str, **changes: Any) -> None:
        """The last word, for which the disk is given some time, too."""
        if lost := self.part():
            message = f"{message.rstrip('.')}.{lost}"
        _patiently(lambda: _say(self.files, **{**self.facts, **changes, "message": message}))

    def _write(self, **changes: Any) -> None:
        self.next = time.monotonic() + REPORT_SECONDS
        self.facts |= changes
        waiting = f". {count(len(self.unwritten), 'record')} cannot be written yet: the disk has no room."
        _say(self.files, **{**self.facts, "message": self.facts["message"] + waiting * bool(self.unwritten)})

    def _seconds_left(self) -> float | None:
        done = self.facts["step"] - self.first
        if done <= 0:
            return None
        left = self.facts["steps"] - self.facts["step"]
        return round((time.monotonic() - self.started) / done * left, 1)

    def _check_there(self) -> None:
        if not self.files.recipe_file.exists():
            raise _Gone

    def _left_alone(self) -> bool:
        """Whether whoever has started several processes is gone, so that nobody would notice if they hung."""
        return _processes() > 1 and (os.getppid() != self.ear.parent or (not _rank() and not self.files.alive()))


def _say(run: Run, **facts: Any) -> bool:
    """Write the status down; whether that was possible: a disk that is full for a moment is no reason to end."""
    with suppress(OSError):
        run.report(**facts)
        return True
    return False


def _patiently(act: Callable[[], bool]) -> None:
    """Do something at the end of a run until it succeeds, for nobody will do it later; but not for ever."""
    end = time.monotonic() + LAST_SECONDS
    while not act() and time.monotonic() < end:
        time.sleep(REPORT_SECONDS)


def _failed(run: Run, failure: failures.Failure, lost: str, alone: bool) -> None:
    """Say it in the folder; of several processes the first that fails says why, and the others only miss it.

    In the log first, where this process has one: who hears that the run has failed looks there, and no more.
    """
    if _processes() == 1 or run.status.state not in ("failed", "diverged"):
        words = {**failure.error.words(), "kind": failure.kind}
        facts = {"state": failure.state, "message": f"{failure.error.what}{lost}", "error": words}
        if alone:
            _log(str(failure.error))
        _patiently(lambda: _say(run, **facts, seconds_left=None))


def _processes() -> int:
    return int(os.environ.get("WORLD_SIZE", 1)) if _of_several() else 1


def _rank() -> int:
    return int(os.environ.get("RANK", 0)) if _of_several() else 0


def _of_several() -> bool:
    """Whether torchrun has started this process; told by its environment, so that torch need not be there yet."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def _most(number: int) -> int:
    if _processes() == 1:
        return number
    from finetune_core.training import distributed

    return distributed.most(number)


def _from_first(value: Any) -> Any:
    if _processes() == 1:
        return value
    from finetune_core.training import distributed

    return distributed.from_first(value)


def _log_failed_check(record: Record) -> None:
    if isinstance(record, Event) and record.name == "truth_failed":
        _log(record.text)


def _log(text: str) -> None:
    """Print it, which lands in worker.log; a disk without room for it keeps nobody from working, nor from the rest."""
    with suppress(OSError):
        sys.stderr.write(f"{text}\n")


def main() -> int:
    """Work on the run folder named on the command line; what it prints lands in worker.log."""
    run = Run(Path(sys.argv[1]).absolute())
    cores.share()
    try:
        if _of_several():
            from finetune_core.training import distributed

            distributed.join()
        code = work(run, _log_failed_check, alone=True)
    except UserError as error:
        _log(str(error))
        return 2
    if _of_several() and not code:
        distributed.leave()
    if _of_several():
        distributed.end(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
