"""A worker in a world that hurts it: the real `worker.main` in a process of its own, with faults let in from outside.

Nothing in Thaw knows of this. The process is forked off a server that has imported what a worker needs (`preload` of
`multiprocessing`), so that a life takes a second instead of ten.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timm  # noqa: F401 - here and below: so that they are there when a life begins
import torch
import torchvision.transforms.v2  # noqa: F401

from finetune_core import places
from finetune_core.finder import range_test  # noqa: F401
from finetune_core.runs.states import checkpoint  # noqa: F401
from finetune_core.runs.work import worker
from finetune_core.training import loop, session, stepper  # noqa: F401

STRUCK = "benchmarks.faults: a fault struck here"
OUT_OF_MEMORY: dict[str, Callable[[], Exception]] = {
    "gpu memory": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "memory": lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    "python memory": MemoryError,
}


@dataclass(frozen=True)
class Hurt:
    """Something that goes wrong from the `nth` write of a file on, once or for good, or at the `nth` step.

    `what` is the name of an errno (the write of half the file is refused with it), "die within" or "die after" a write;
    of a step "nan" (all weights are no numbers from then on) or a key of OUT_OF_MEMORY.
    """

    what: str
    file: str = ""
    nth: int = 1
    lasting: bool = False


def live(run: str, hurts: Sequence[Hurt] = (), module: str = "worker") -> None:
    """Be the worker of a run folder, as `launch.start` would have it; does not return."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    _print_into(Path(run) / "worker.log")
    for hurt in hurts:
        _let_in(hurt)
    sys.argv = [module, run]
    code = 1
    try:
        code = worker.main()
    except BaseException:  # noqa: BLE001 - it goes no further; the log is looked through
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _print_into(log: Path) -> None:
    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError:  # the log is what is damaged; the run must not need it
        file = os.open(os.devnull, os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)


def _let_in(hurt: Hurt) -> None:
    if hurt.file:
        _into_writes(hurt)
    else:
        _into_steps(hurt)


def _into_writes(hurt: Hurt) -> None:
    """Hurt whole files and appended lines alike: both go through `places`."""
    whole, line, seen = places.replace_file, places.append_line, iter(range(1, 1_000_000))

    def struck(path: Path) -> bool:
        if not fnmatch.fnmatch(path.name, hurt.file):
            return False
        number = next(seen)
        strikes = number == hurt.nth or (hurt.lasting and number > hurt.nth)
        if strikes:
            _note()
        return strikes

    def replace_file(path: Path, write: Callable[[Path], object], lasting: bool = False) -> None:
        if not struck(path):
            whole(path, write, lasting)
        elif hurt.what == "die after":
            whole(path, write, lasting)
            _die()
        else:
            whole(path, lambda draft: _half(draft, write, hurt), lasting)

    def append_line(path: Path, text: str) -> None:
        if struck(path):
            if hurt.what.startswith("die"):
                with path.open("ab") as file:
                    file.write(text.encode()[: len(text) // 2])
                _die()
            raise _refusal(hurt, path)
        line(path, text)

    places.replace_file, places.append_line = replace_file, append_line


def _half(draft: Path, write: Callable[[Path], object], hurt: Hurt) -> None:
    write(draft)
    os.truncate(draft, draft.stat().st_size // 2)
    if hurt.what.startswith("die"):
        _die()
    raise _refusal(hurt, draft)


def _refusal(hurt: Hurt, path: Path) -> OSError:
    number = getattr(errno, hurt.what)
    return OSError(number, os.strerror(number), str(path))


def _note() -> None:
    """Leave word in the log that the fault has struck: a trial in which none did shows nothing."""
    os.write(2, f"{STRUCK}\n".encode())


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _into_steps(hurt: Hurt) -> None:
    step, seen = stepper.Stepper.step, iter(range(1, 1_000_000))

    def hurt_step(self: stepper.Stepper, *batch: Any) -> stepper.Outcome:
        if next(seen) != hurt.nth:
            return step(self, *batch)
        _note()
        if hurt.what in OUT_OF_MEMORY:
            raise OUT_OF_MEMORY[hurt.what]()
        return replace(step(self, *batch), loss=float("nan"))

    stepper.Stepper.step = hurt_step
