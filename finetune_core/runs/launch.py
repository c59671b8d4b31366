"""Start, stop, pause, change and resume the worker of a run. The worker is a command that a person could type."""

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil

from finetune_core import places
from finetune_core.errors import UserError
from finetune_core.finder import probes
from finetune_core.runs import holding, standby, store
from finetune_core.runs.store import Run

GRACE_SECONDS = 30.0
LOOK = 0.05  # seconds between two looks at a worker that is waited for

# Kept so that the children are reaped: an unreaped child stays a zombie.
_children: list[subprocess.Popen[bytes]] = []


def start(run: Run, gpus: Sequence[str] = ()) -> None:
    """Start the worker in a session of its own, so that it outlives whoever started it.

    It sees these `gpus` alone, by CUDA's names for them; without any all that this process sees. A UserError where the
    run has a worker already.
    """
    variables = {"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {}
    with holding.starting(run), run.writing():
        if run.path.parent != probes.runs_dir():
            _make_way()
        run.report_start("Starting the worker")
        run.log.open("ab").close()  # where that is refused, it is told here and now
        forked = standby.take(run.path, run.log, variables) if run.recipe.training.processes == 1 else None
        worker = forked or spawn(program(run), run.log, variables)
        with contextlib.suppress(psutil.NoSuchProcess):  # it is gone already, and its log says why
            run.claim(psutil.Process(worker))


def _make_way() -> None:
    """Ask all that works without having been asked for to end: pages begin it anew once nothing else is at work."""
    for each in store.every_run(probes.runs_dir()):
        with contextlib.suppress(UserError, OSError):  # it has just ended, or the disk is full
            if each.status.active:
                stop(each)


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
    _check_at_work(run, "stop")
    if now:
        _stop_at_once(run)
        return
    run.ask("stop")
    if wait and not _gone(run) and holding.process(run):  # one of another machine is left to what it was asked for
        end_by_force(run)


def _stop_at_once(run: Run) -> None:
    """End the worker and say so, unless its own last word came first."""
    end_by_force(run)
    if run.status.state in ("lost", "unreadable"):
        with contextlib.suppress(OSError):  # a full disk keeps nobody running
            holding.forget_drafts(run)
            run.report(state="stopped", message="Stopped at once; what was saved last remains", seconds_left=None)


def pause(run: Run) -> None:
    """Ask the worker to save and wait, with all that it holds in memory."""
    _check_at_work(run, "pause")
    _trains(run, "paused")
    run.ask("pause")


def change(run: Run, what: Mapping[str, Any]) -> None:
    """Ask the worker to change something before its next step: a `recipe.changes.Change` as plain data."""
    _check_at_work(run, "change")
    _trains(run, "changed on the way")
    if not run.status.changeable:
        why = f"It is {run.status.state}."
        raise UserError(f"The run {run.id} cannot be changed now.", why, "Change it while it is running or paused.")
    run.ask_change(what)


def _check_at_work(run: Run, verb: str) -> None:
    """A UserError where no process is at work, though one may still be there, tidying up or with other work to do."""
    if not (status := run.status).active:
        raise UserError(f"The run {run.id} is not running.", f"It is {status.state}.", f"There is nothing to {verb}.")


def _gone(run: Run) -> bool:
    """Wait until no process works on the run, on whatever machine; whether that came in time."""
    end = time.monotonic() + GRACE_SECONDS
    while run.alive():
        if time.monotonic() > end:
            return False
        time.sleep(LOOK)
    return True


def _trains(run: Run, what: str) -> None:
    if not run.job.trains:
        raise UserError(f"{run.id} cannot be {what}: it is no training.", f"{run.job.title}.", "Stop it instead.")


def end_by_force(run: Run) -> None:
    """End the worker and its children at once; what was saved last remains. A UserError where that cannot be done."""
    if process := holding.process(run):
        try:
            _kill(process)
        except psutil.AccessDenied as error:
            why, hint = f"Process {process.pid} belongs to another user.", "Stop it without force, or ask them."
            raise UserError(f"{run.id} cannot be ended at once.", why, hint) from error
        except psutil.TimeoutExpired as error:
            why = f"Process {process.pid} is still there: while it waits for a disk or a device it cannot be killed."
            raise UserError(f"{run.id} has not ended yet.", why, "Wait, or restart the machine.") from error
    elif run.alive():
        why = f"It is at work on another machine, {holding.host(run)}."
        raise UserError(f"{run.id} cannot be ended at once from here.", why, "Stop it without force, or end it there.")


def _kill(process: psutil.Process) -> None:
    """Kill a process and all that it has started, and wait for its end."""
    with contextlib.suppress(psutil.NoSuchProcess):
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


def resume(run: Run, begin: Callable[[Run], None] = start) -> None:
    """Let a paused run go on, or a stopped or broken one from what it saved last (from the start without that).

    The latter is begun by `begin`, on this machine unless told otherwise; see `waiting.engines.resume`.
    """
    check_resumable(run)
    if run.status.state == "paused":
        run.ask("go")
        return
    _gone(run)  # its worker has said that it stops, and may still be tidying up
    begin(run)


def command(*words: str | Path) -> str:
    """A command of Thaw's as a page shows it: pasted into a terminal in the project's folder, it does what it says.

    It names the interpreter that this process runs on, and the folder of runs where that is not the project's own.
    """
    typed = [_python(), "-m", "finetune_core", *map(str, words), *_elsewhere()]
    return subprocess.list2cmdline(typed) if os.name == "nt" else shlex.join(typed)


def near(path: Path) -> Path:
    """A path as it is called from the project's folder."""
    return path.relative_to(places.ROOT) if path.is_relative_to(places.ROOT) else path


def _python() -> str:
    """Plain `python` where this environment is active, else the path of the interpreter."""
    here, found = Path(sys.executable), shutil.which("python")
    return "python" if found and Path(found).absolute().parent == here.parent else str(near(here))


def _elsewhere() -> list[str]:
    runs = places.runs_place()
    if runs.folder == places.ROOT / "runs":
        return []
    if runs.variable == places.WORKSPACE:
        return ["--workspace", str(runs.folder.parent)]
    return ["--runs", str(runs.folder)]


def _reap() -> None:
    _children[:] = [child for child in _children if child.poll() is None]
