"""Jobs: what can be done with a recipe. One class each; worker, command line and pages take it from there."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from enum import IntEnum
from typing import Any, ClassVar, Protocol

from finetune_core.parts.base import Part
from finetune_core.records import Record, Report

Rows = Sequence[Mapping[str, Any]]
"""Records as plain data, in order."""


Doing = Generator[Record, None, None]
"""Records as they come; a `Stop` may be thrown in wherever one is yielded."""


class Stop(Exception):  # noqa: N818 - a wish, not an error
    """Raised inside a job, where it yields, when a person asks it to stop: save what should be saved, and return."""


class Wish(IntEnum):
    """What is asked of a job that is being done, in the order in which one goes before the other."""

    GO = 0
    SAVE = 1  # it is time to
    CHANGE = 2
    PAUSE = 3
    STOP = 4


class Work(Protocol):
    """What a job is given to work with: a recipe, a run's folder, and somebody to tell how far it is."""

    @property
    def recipe(self) -> Any:
        """The recipe of the run."""

    @property
    def files(self) -> Any:
        """The run's folder: where its files lie, and how they are written whole."""

    @property
    def report(self) -> Report:
        """To be told what is being prepared."""

    @property
    def heard(self) -> Wish:
        """What was asked for when the last record was yielded; the same in each of several processes."""

    def track(self, trackers: Sequence[Any], step: int) -> None:
        """Tell these trackers of every record from here on; later records of steps from `step` on come again."""

    def changes(self) -> Sequence[tuple[int, Mapping[str, Any]]]:
        """The changes asked for, each with the number of the wish."""

    def save(self, write: Callable[[], None]) -> None:
        """Have the state written by `write`, which is timed: where it takes long it is asked for less often."""

    def pause(self, write: Callable[[], None]) -> Wish:
        """Have the state written, and wait until something else is asked for; returns what."""

    def begin(self, doing: str, steps: int, **facts: Any) -> None:
        """The work itself begins: so many steps, called so; `facts` go into the run's status."""

    def advance(self, step: int, now: bool = False, **facts: Any) -> None:
        """So many steps are done; written down at once where `now`, else often enough for the eye."""

    def keep(self, record: Record) -> None:
        """Write a record down beside those that are yielded, for what this process alone can tell; never raises."""

    def conclude(self, words: str) -> None:
        """What the run's last word shall be instead of `Finished`."""


class Job(Part):
    """What is to be done with a recipe."""

    command: ClassVar[str] = ""  # on the command line; empty: its kind
    resumable: ClassVar[bool] = False  # whether it can go on after a stop
    trains: ClassVar[bool] = False  # whether its records are steps and epochs of a training, to be drawn as such
    rounds: ClassVar[bool] = False  # whether what it has found until it is stopped is worth telling
    gentle: ClassVar[bool] = False  # whether it gives way to all else on this machine
    checked: ClassVar[bool] = True  # whether preflight must find nothing wrong first

    def run(self, work: Work) -> Doing:
        """Do it: yield records, each of which is kept in the run's folder. UserErrors end it in words.

        At every yield a `Stop` may be raised.
        """
        raise NotImplementedError

    def prepared(self, recipe: Any) -> Any:
        """The recipe that it is really done with. A UserError where it cannot be done with this one."""
        return recipe

    def summary(self, rows: Rows, recipe: Any) -> dict[str, Any]:
        """What came of it, as plain data for other programs."""
        return {"records": list(rows)}

    def lines(self, rows: Rows, recipe: Any) -> list[str]:
        """What came of it, for people."""
        return []
