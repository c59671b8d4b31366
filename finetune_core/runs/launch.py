"""Start, stop, pause, change and resume the worker of a run. The worker is a command that a person could type."""

import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil

from finetune_core import places
from finetune_core.errors import UserError
from finetune_core.runs import holding
from finetune_core.runs.store import Run

GRACE_SECONDS = 30.0

# Kept so that the children are reaped: an unreaped child stays a zombie.
_children: list[subprocess.Popen[bytes]] = []


def start(run: Run, gpus: Sequence[str] = ()) -> None:
    """Start the worker in a session of its own, so that it outlives whoever started it.

    It sees these `gpus` alone, by CUDA's names for them; without any all that this process sees. A UserError where the
    run has a worker already.
    """
    variables = {"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {}
    with holding.starting(run), run.writing():
        run.report_start("Starting the worker")
        worker = spawn(program(run), run.log, variables)
        with contextlib.suppress(psutil.NoSuchProcess):  # it is gone already, and its log says why
            run.claim(psutil.Process(worker))


def program(run: Run) -> list[str]:
    """The program that works on a run, with its arguments."""
    module = "torchrun" if run.recipe.training.processes > 1 else "worker"
    return [sys.executable, "-m", f"finetune_core.runs.work.{module}", str(run.path)]


def spawn(program: Sequence[str], log: Path, variables: Mapping[str, str] = MappingProxyType({})) -> int:
    """Start a program in a session of its own; what it prints is added to `log`. Gives the process id."""
    _reap()
    with log.open("ab") as printed:
        child = subprocess.Popen(
            program,
            cwd=places.ROOT,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children.append(child)
    return child.pid


def stop(run: Run, wait: bool = False, now: bool = False) -> None:
    """Ask the worker to save and stop; with `wait`, wait for it and end it by force after a grace time.

    `now` ends it at once: what it has learned since it saved last is lost.
    """
    pid = _worker(run, "stop")
    if now:
        end_by_force(run)
        with contextlib.suppress(OSError):  # a full disk keeps nobody running
            run.report(state="stopped", message="Stopped at once; what was saved last remains", seconds_left=None)
        return
    run.ask("stop")
    if wait:
        try:
            psutil.Process(pid).wait(GRACE_SECONDS)
        except psutil.NoSuchProcess:
            pass
        except psutil.TimeoutExpired:
            end_by_force(run)


def pause(run: Run) -> None:
    """Ask the worker to save and wait, with all that it holds in memory."""
    _worker(run, "pause")
    _trains(run, "paused")
    run.ask("pause")


def change(run: Run, what: Mapping[str, Any]) -> None:
    """Ask the worker to change something before its next step: a `recipe.changes.Change` as plain data."""
    _worker(run, "change")
    _trains(run, "changed on the way")
    if not run.status.changeable:
        why = f"It is {run.status.state}."
        raise UserError(f"The run {run.id} cannot be changed now.", why, "Change it while it is running or paused.")
    run.ask_change(what)


def _worker(run: Run, verb: str) -> int:
    """The process to be asked; a UserError where there is none, or none that is still at work."""
    pid, status = run.worker_pid(), run.status
    if pid is None or not status.active:  # its process may still be there, tidying up or with other work to do
        raise UserError(f"The run {run.id} is not running.", f"It is {status.state}.", f"There is nothing to {verb}.")
    return pid


def _trains(run: Run, what: str) -> None:
    if not run.job.trains:
        raise UserError(f"{run.id} cannot be {what}: it is no training.", f"{run.job.title}.", "Stop it instead.")


def end_by_force(run: Run) -> None:
    """End the worker and its children at once; what was saved last remains."""
    if pid := run.worker_pid():
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            for one in [*process.children(recursive=True), process]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
            process.wait(GRACE_SECONDS)


def check_resumable(run: Run) -> None:
    """A UserError where a run cannot go on."""
    status = run.status
    if status.state in ("finished", "queued") or (status.active and status.state != "paused"):
        raise UserError(
            f"The run {run.id} cannot be resumed.", f"It is {status.state}.", "Only a stopped or broken run goes on."
        )
    if not run.job.resumable:
        raise UserError(f"{run.id} cannot go on: it is no training.", f"{run.job.title}.", "Start a new one.")


def resume(run: Run) -> None:
    """Let a paused run go on, or a stopped or broken one from what it saved last (from the start without that)."""
    check_resumable(run)
    if run.status.state == "paused":
        run.ask("go")
        return
    if pid := run.worker_pid():  # it has said that it stops, and is still tidying up
        with contextlib.suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
            psutil.Process(pid).wait(GRACE_SECONDS)
    start(run)


def command(recipe: Path | str = "recipe.yaml") -> str:
    """The command that trains a recipe from a shell, as shown to people."""
    return f"python -m finetune_core train {shlex.quote(str(recipe))}"


def _reap() -> None:
    _children[:] = [child for child in _children if child.poll() is None]
