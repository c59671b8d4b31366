"""One side's work in a process of its own: started, listened to, timed."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.peers.environment import last_line
from benchmarks.peers.task import Task
from finetune_core import places

KEEP_FREED = dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), str(1 << 30))  # as `memory` sets them


@dataclass(frozen=True)
class Answer:
    """What a process said, each line with the seconds since it was started; or why it did not."""

    said: tuple[tuple[float, dict[str, Any]], ...]
    problem: str = ""

    @property
    def value(self) -> float | None:
        """The one number that was asked for."""
        return next((each["value"] for _, each in self.said if "value" in each), None)

    @property
    def curve(self) -> list[tuple[float, float]]:
        """Accuracies by the time when they were reached."""
        return [(seconds, round(each["accuracy"], 4)) for seconds, each in self.said if "accuracy" in each]

    def until(self, mark: str) -> float | None:
        """Seconds until it came to what it marks so."""
        return next((seconds for seconds, each in self.said if each.get("mark") == mark), None)


def done(python: str, module: str, task: Task, variables: Mapping[str, str]) -> Answer:
    """Let a side do a task with nothing kept from before; `variables` are set in its environment besides."""
    with tempfile.TemporaryDirectory(prefix="thaw-peers-") as folder:
        file = Path(folder) / "task.json"
        replace(task, scratch=folder).save(file)
        own = {places.CACHE: f"{folder}/cache", places.RUNS: f"{folder}/runs", "PYTHONWARNINGS": "ignore"}
        command = [python, "-m", f"benchmarks.peers.sides.{module}", str(file)]
        with (Path(folder) / "errors").open("w+", encoding="utf-8") as errors:
            started = time.monotonic()
            process = subprocess.Popen(
                command,
                cwd=places.ROOT,
                env={**os.environ, **own, **variables},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
            said = tuple((time.monotonic() - started, told) for told in map(_told, process.stdout or ()) if told)
            if not process.wait():
                return Answer(said)
            errors.seek(0)
            return Answer(said, last_line(errors.read()))


def _told(line: str) -> dict[str, Any]:
    try:
        told = json.loads(line) if line.startswith("{") else {}
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
