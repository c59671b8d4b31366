"""Telling trackers of a run's records: what they get of each, and that none of them can stop the training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from finetune_core.parts.trackers import Log, Tracker
from finetune_core.records import Epoch, Event, Record, Step


class Tracking:
    """The trackers of one run, from where it begins or goes on until it ends."""

    def __init__(
        self,
        trackers: Sequence[Tracker] = (),
        folder: Path = Path(),
        recipe: Mapping[str, Any] = MappingProxyType({}),
        step: int = 0,
    ) -> None:
        """Begin with each; one that cannot is left out, and `told` says why."""
        self.logs: dict[str, Log] = {}
        self._told: list[Event] = []
        for tracker in trackers:
            try:
                self.logs[tracker.title] = tracker.begin(folder, recipe, step)
            except Exception as error:  # noqa: BLE001 - another program's failure is no reason not to train
                self._left(tracker.title, error, step)

    def note(self, record: Record) -> Iterator[Event]:
        """Tell them of a record; gives what is to be told of trackers that failed, each once."""
        for title, log in list(self.logs.items()):
            try:
                _write(log, record)
            except Exception as error:  # noqa: BLE001 - as above
                del self.logs[title]
                self._left(title, error, getattr(record, "step", 0))
        yield from self._told
        self._told.clear()

    def close(self, step: int) -> list[Event]:
        """Nothing more is to come; gives what is to be told of trackers that could not finish, each once."""
        for title, log in self.logs.items():
            try:
                log.close()
            except Exception as error:  # noqa: BLE001 - as above
                self._left(title, error, step, "may lack the end of this run")
        told, self.logs, self._told = self._told, {}, []
        return told

    def _left(self, title: str, error: Exception, step: int, what: str = "gets nothing more of this run") -> None:
        why = f"{type(error).__name__}: {error}".split("\n")[0]
        self._told.append(Event("tracker", step, f"{title} {what}. {why:.300}"))


def numbers(record: Step | Epoch) -> dict[str, float]:
    """A record's numbers by the names that trackers show; those that are not finite are left out."""
    if isinstance(record, Step):
        plain = {name: getattr(record, name) for name in ("loss", "grad_norm", "images_per_s", "memory_mb")}
        groups = {"rate": record.lr, "grad_norm": record.group_grad_norm}
        found = {f"train/{name}": value for name, value in plain.items()}
        found |= {f"{what}/{group}": value for what, each in groups.items() for group, value in each.items()}
    else:
        names = ("train_loss", "train_score", "valid_loss", "valid_score")
        found = {f"epoch/{name}": getattr(record, name) for name in names}
        found |= {f"scores/{name}": value for name, value in record.scores.items()}
    return {name: value for name, value in found.items() if value is not None and math.isfinite(value)}


def place(record: Step | Epoch) -> int:
    """The optimizer step that a record's numbers stand at, from 0; an epoch's at its last, which is not done again."""
    return record.step - isinstance(record, Epoch)


def _write(log: Log, record: Record) -> None:
    if isinstance(record, Step | Epoch):
        log.numbers(numbers(record), place(record))
    elif isinstance(record, Event):
        log.text(f"events/{record.name}", record.text, record.step)
