"""Start, stop and resume the worker of a run. The worker is a command that a person could type."""

import contextlib
import shlex
import subprocess
import sys
from pathlib import Path

import psutil

from finetune_core import places
from finetune_core.errors import UserError
from finetune_core.runs.store import Run

GRACE_SECONDS = 30.0

# Kept so that the children are reaped: an unreaped child stays a zombie.
_children: list[subprocess.Popen[bytes]] = []


def start(run: Run) -> None:
    """Start the worker in a session of its own, so that it outlives whoever started it."""
    _reap()
    module = "torchrun" if run.recipe.training.processes > 1 else "worker"
    run.report_start("Starting the worker")
    with run.log.open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", f"finetune_core.runs.{module}", str(run.path)],
            cwd=places.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children.append(child)
    run.claim(psutil.Process(child.pid))


def stop(run: Run, wait: bool = False) -> None:
    """Ask the worker to save and stop; with `wait`, wait for it and end it by force after a grace time."""
    pid, status = run.worker_pid(), run.status
    if pid is None or not status.active:  # its process may still be there, tidying up or with other work to do
        raise UserError(f"The run {run.id} is not running.", f"It is {status.state}.", "There is nothing to stop.")
    run.ask("stop")
    if wait:
        try:
            psutil.Process(pid).wait(GRACE_SECONDS)
        except psutil.NoSuchProcess:
            pass
        except psutil.TimeoutExpired:
            end_by_force(run)


def end_by_force(run: Run) -> None:
    """End the worker and its children at once; what was saved last remains."""
    if pid := run.worker_pid():
        process = psutil.Process(pid)
        for one in [*process.children(recursive=True), process]:
            one.kill()
        process.wait(GRACE_SECONDS)


def check_resumable(run: Run) -> None:
    """A UserError where a run cannot go on."""
    status = run.status
    if status.state == "finished" or status.active:
        raise UserError(
            f"The run {run.id} cannot be resumed.", f"It is {status.state}.", "Only a stopped or broken run goes on."
        )
    if not run.job.resumable:
        raise UserError(f"{run.id} cannot go on: it is no training.", f"{run.job.title}.", "Start a new one.")


def resume(run: Run) -> None:
    """Let a stopped, lost or failed run go on from what it saved last (from the start where it saved nothing)."""
    check_resumable(run)
    if pid := run.worker_pid():  # it has said that it stops, and is still tidying up
        with contextlib.suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
            psutil.Process(pid).wait(GRACE_SECONDS)
    start(run)


def command(recipe: Path | str = "recipe.yaml") -> str:
    """The command that trains a recipe from a shell, as shown to people."""
    return f"python -m finetune_core train {shlex.quote(str(recipe))}"


def _reap() -> None:
    _children[:] = [child for child in _children if child.poll() is None]
