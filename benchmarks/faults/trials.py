"""Trials: something done to a run, which yields what should not be; and the table of what came of them."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from benchmarks.faults.lives import LOST, STATE, WORDS, Problem, Problems

KINDS = {LOST: "nothing lost", STATE: "end state true", WORDS: "words"}


@dataclass(frozen=True)
class Trial:
    """One fault: its name, and what does it and yields what should not be."""

    name: str
    act: Callable[[], Problems]
    skipped: str = ""  # why it cannot be done here


@dataclass(frozen=True)
class Outcome:
    """What came of a trial."""

    trial: Trial
    problems: tuple[Problem, ...]
    seconds: float


def outcome(trial: Trial) -> Outcome:
    """Do it; an error of the trial's own counts as a lost one."""
    start = time.perf_counter()
    try:
        problems = () if trial.skipped else tuple(trial.act())
    except Exception as error:  # noqa: BLE001 - a trial that breaks shows that something is wrong, and others follow
        problems = (Problem(LOST, f"{type(error).__name__}: {error}. {traceback.format_exc(limit=-2)}"),)
    return Outcome(trial, problems, time.perf_counter() - start)


def row(scenario: str, outcomes: Iterable[Outcome]) -> str:
    """A line of the table."""
    done = [each for each in outcomes if not each.trial.skipped]
    if not done:
        why = next((each.trial.skipped for each in outcomes), "")
        return f"{scenario:26}  skipped: {why}"
    right = {kind: sum(all(p.kind != kind for p in each.problems) for each in done) for kind in KINDS}
    counts = "".join(f"{f'{number}/{len(done)}':>16}" for number in right.values())
    return f"{scenario:26}{len(done):>7}{counts}{sum(each.seconds for each in done):>9.0f}"


HEAD = f"{'scenario':26}{'trials':>7}{''.join(f'{title:>16}' for title in KINDS.values())}{'seconds':>9}"
