"""Ends by force: kills at any moment and between the files of a checkpoint, and signals that ask politely."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.faults.lives import EPOCHS, STEPS, Lab, Problem, Problems, begin, ended, finish, same, struck, until
from benchmarks.faults.trials import Trial
from finetune_core.runs import launch
from finetune_core.runs.store import Run


@dataclass(frozen=True)
class Moment:
    """A time of a run's life: what it begins with, and how many seconds after that the kill may come."""

    name: str
    share: float  # of all kills
    begins: Callable[[Run, random.Random], bool]
    within: float


def lines(run: Run) -> int:
    """How many records there are, half ones left out."""
    return run.records_file.read_bytes().count(b"\n") if run.records_file.exists() else 0


def _any_line(run: Run, chance: random.Random) -> bool:
    wanted = chance.randrange(2, STEPS + EPOCHS)
    return until(lambda: lines(run) >= wanted or not run.alive())


def _a_draft(run: Run, chance: random.Random) -> bool:
    """One of the files of a checkpoint is just being written."""
    epoch = chance.randrange(EPOCHS)
    until(lambda: lines(run) > epoch * STEPS // EPOCHS or not run.alive())
    return until(lambda: any(run.checkpoints.glob(".*")) or not run.alive())


MOMENTS = (
    Moment("while importing", 0.1, lambda run, chance: True, 8.0),
    Moment(
        "while preparing", 0.14, lambda run, chance: until(lambda: run.status.state == "preparing" or lines(run)), 0.3
    ),
    Moment("at the first steps", 0.14, lambda run, chance: until(lambda: lines(run) > 0), 0.05),
    Moment("mid-epoch", 0.3, _any_line, 0.03),
    Moment("while saving", 0.2, _a_draft, 0.02),
    Moment("at the end", 0.12, lambda run, chance: until(lambda: lines(run) > STEPS + EPOCHS or not run.alive()), 0.1),
)


def killed(lab: Lab, kills: int) -> Iterator[Trial]:
    """`kill -9` at random moments of a run's life; every third run is killed twice."""
    for number, moment in enumerate(_spread(kills)):
        yield Trial(f"{moment.name}, {number}", lambda moment=moment, again=number % 3 == 2: _kill(lab, moment, again))


def _spread(kills: int) -> list[Moment]:
    """As many moments as kills, in order of a life, each as often as its share says."""
    bounds = [sum(moment.share for moment in MOMENTS[: number + 1]) for number in range(len(MOMENTS))]
    places = [(number + 0.5) / kills for number in range(kills)]
    return [
        next(moment for moment, bound in zip(MOMENTS, bounds, strict=True) if place <= bound + 1e-9) for place in places
    ]


def _kill(lab: Lab, moment: Moment, again: bool) -> Problems:
    run = lab.run()
    for each in (moment, *[lab.chance.choice(MOMENTS[1:])] * again):
        if run.status.state == "finished":
            break
        if each.name == "while importing":
            launch.start(run)  # the very command, which imports all by itself
        else:
            begin(run)
        each.begins(run, lab.chance)
        time.sleep(lab.chance.uniform(0, each.within))
        launch.end_by_force(run)
        yield from _dead(run)
    if run.status.state != "finished":
        finish(run)
    yield from ended(run)
    yield from same(run, lab.whole(run.recipe))


def _dead(run: Run) -> Problems:
    state = run.status.state
    if state not in ("lost", "finished"):
        yield Problem("state", f"a killed run is {state}")


def aimed(lab: Lab, kills: int) -> Iterator[Trial]:
    """A worker that is killed within or between the files of a checkpoint, or half-way through a record."""
    from benchmarks.faults.driver import Hurt

    files = {"step-*": EPOCHS, "best.*": 2, "best-before.*": 1, "last.*": EPOCHS, "phase-1.*": 1}
    spots = [(file, nth + 1) for file, times in files.items() for nth in range(times)]
    hurts = [Hurt(what, file, nth) for file, nth in spots for what in ("die within", "die after")]
    hurts += [Hurt("die within", name, nth) for name in ("metrics.jsonl", "status.json") for nth in (2, 7)]
    for hurt in lab.chance.sample(hurts, min(kills, len(hurts))):
        yield Trial(f"{hurt.what} {hurt.file} {hurt.nth}", lambda hurt=hurt: _aim(lab, hurt))


def _aim(lab: Lab, hurt: object) -> Problems:
    run = lab.run()
    finish(run, [hurt])
    yield from struck(run)
    yield from _dead(run)
    if run.status.state != "finished":
        finish(run)
    yield from ended(run)
    yield from same(run, lab.whole(run.recipe))


def signalled(lab: Lab, times: int) -> Iterator[Trial]:
    """SIGTERM, SIGINT and SIGHUP at random moments: the run saves, stops and says so."""
    for name in ("SIGTERM", "SIGINT", "SIGHUP"):
        for number in range(times):
            moment = MOMENTS[1:5][number % 4]
            yield Trial(f"{name} {moment.name}", lambda name=name, moment=moment: _signal(lab, name, moment))


def _signal(lab: Lab, name: str, moment: Moment) -> Problems:
    run = lab.run()
    process = begin(run)
    moment.begins(run, lab.chance)
    time.sleep(lab.chance.uniform(0, moment.within))
    if process.is_alive():
        os.kill(process.pid or 0, getattr(signal, name))
    process.join(60)
    if process.exitcode != 0:
        yield Problem("state", f"exit code {process.exitcode}")
    if run.status.state != "finished":
        yield from ended(run, "stopped")
        finish(run)
    yield from ended(run)
    yield from same(run, lab.whole(run.recipe))
