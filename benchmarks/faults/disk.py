"""Disks: full or refusing at every file in turn, really full, and files that came to harm between two lives."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.faults.kills import lines
from benchmarks.faults.lives import STEPS, Lab, Problem, Problems, begin, ended, finish, same, struck, told, until
from benchmarks.faults.trials import Trial
from finetune_core import places
from finetune_core.cli import main as command
from finetune_core.errors import UserError
from finetune_core.runs import launch, store
from finetune_core.runs.store import Run

# Files that a worker writes, and a later write than the first; those it writes once have none.
WRITTEN = {
    "status.json": 6,
    "metrics.jsonl": 7,
    "worker.json": 0,
    "targets.json": 0,
    "images.json": 0,
    "depth.json": 0,
    "step-*": 3,
    "best.*": 2,
    "best-before.*": 0,
    "last.*": 3,
    "phase-1.*": 0,
    "*": 9,
}


def refused(lab: Lab, what: str) -> Iterator[Trial]:
    """Each file's write is refused, at first or later on, once or for good; then there is room again."""
    from benchmarks.faults.driver import Hurt

    for file, later in WRITTEN.items():
        for nth in [1, later] if later else [1]:
            for lasting in (False, True):
                hurt = Hurt(what, file, nth, lasting)
                name = f"{what} {file} from write {nth}{' on' if lasting else ''}"
                yield Trial(name, lambda hurt=hurt: _refuse(lab, hurt))


def _refuse(lab: Lab, hurt: object) -> Problems:
    run = lab.run()
    with contextlib.suppress(UserError):
        finish(run, [hurt])
    yield from struck(run)
    yield from told(run)
    status = run.status
    if status.state == "failed" and (status.error or {}).get("kind") != "disk":
        yield Problem("words", f"failed, and not for the disk: {status.error}")
    if status.state not in ("finished", "failed", "lost"):
        yield Problem("state", f"it is {status.state}")
    if status.state == "finished" and "lost" in status.message:
        return  # all is learned; what the disk would not take for good is told
    if status.state != "finished":
        finish(run)
    yield from ended(run)
    yield from same(run, lab.whole(run.recipe))


def full(lab: Lab) -> Iterator[Trial]:
    """A real disk that is too small, then larger."""
    skipped = "" if _mountable() else "no file system can be mounted here"
    for kilobytes in (60, 500, 1500, 2500, 3500):
        yield Trial(f"a disk of {kilobytes} kB", lambda size=kilobytes: _fill(lab, size), skipped)


def _mountable() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        return _mounted(Path(folder), "size=64k") and _unmounted(Path(folder))


def _mounted(folder: Path, options: str) -> bool:
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False
        )
    except OSError:
        return False
    return done.returncode == 0


def _unmounted(folder: Path) -> bool:
    return subprocess.run(["umount", str(folder)], capture_output=True, check=False).returncode == 0


def _fill(lab: Lab, kilobytes: int) -> Problems:
    disk = lab.folder / f"disk-{kilobytes}"
    disk.mkdir()
    if not _mounted(disk, f"size={kilobytes}k"):
        yield Problem("lost", "it could not be mounted")
        return
    try:
        run = store.create(lab.recipe, runs=disk)
        with contextlib.suppress(UserError):
            finish(run)
        yield from told(run)
        yield from _kind_of(run, "disk")
        _mounted(disk, "remount,size=100m")
        if run.status.state != "finished":
            finish(run)
        yield from ended(run)
        yield from same(run, lab.whole(run.recipe))
    finally:
        _unmounted(disk)


def _kind_of(run: Run, kind: str) -> Problems:
    status = run.status
    if status.state == "failed" and (status.error or {}).get("kind") != kind:
        yield Problem("words", f"failed, and not for {kind}: {status.error}")


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for place in range(len(data) // 2, min(len(data), len(data) // 2 + 400)):
        data[place] ^= 0x40
    path.write_bytes(data)


def _into_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"\x00\x01garbage\n" * 500),
    "flipped": _flip,
    "not UTF-8": lambda path: path.write_bytes(b'{"state": "\xff\xfe"}\n' + path.read_bytes()),
    "a folder": _into_folder,
    "gone": lambda path: path.unlink(),
}

PASSING = ("start.lock",)  # files that are nothing by themselves


def damaged(lab: Lab) -> Iterator[Trial]:
    """Every file of a run that was killed on the way, damaged in every way: listed, then gone on with."""
    first = _killed(lab)
    for path in sorted(each for each in first.path.rglob("*") if each.is_file() and each.name not in PASSING):
        for name, damage in DAMAGES.items():
            place = path.relative_to(first.path)
            yield Trial(f"{place} {name}", lambda place=place, damage=damage: _damage(lab, first, place, damage))


def _killed(lab: Lab) -> Run:
    """A run that was killed in its last epoch."""
    run = lab.run()
    begin(run)
    until(lambda: lines(run) > STEPS + 2)
    launch.end_by_force(run)
    return run


def _damage(lab: Lab, first: Run, place: Path, damage: Callable[[Path], object]) -> Problems:
    run = Run(first.path.with_name(f"{first.id}-hurt"))
    shutil.rmtree(run.path, ignore_errors=True)
    shutil.copytree(first.path, run.path)
    before = (run.path / place).read_bytes()
    damage(run.path / place)
    yield from _listed(run)
    yield from _gone_on(lab, run, place, before)


def _listed(run: Run) -> Problems:
    """Home, Runs, the badge and `runs` read these; none may break."""
    found = [each for each in store.list_runs() if each.id == run.id]
    if not found and run.recipe_file.is_file():
        yield Problem("lost", "it is not listed")
    run.status  # noqa: B018 - must not raise
    with contextlib.suppress(UserError):
        run.records()
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = command(["runs"])
    if code or (run.recipe_file.is_file() and run.id not in out.getvalue() + err.getvalue()):
        yield Problem("words", f"`runs` gives exit code {code}: {err.getvalue()[-300:]}")


def _gone_on(lab: Lab, run: Run, place: Path, before: bytes) -> Problems:
    """It goes on to the same end; or it is refused in words, and goes on once the file is put back."""
    try:
        launch.check_resumable(run)
        code = finish(run)
        words = run.status.error or (run.status.state == "lost" and run.log_tail())
    except UserError as error:
        code, words = 2, error.words()
    yield from told(run)
    if code == 2:
        if not words:
            yield Problem("words", f"refused without a word: {run.status}")
        # A state that the run has meanwhile gone back behind is no state of it any more
        _put_back(run.path / place, None if place.name.startswith("step-") else before)
        if run.status.state != "finished":
            finish(run)
        yield from ended(run)
        yield from same(run, lab.whole(run.recipe))
        return
    yield from ended(run)
    for problem in same(run, lab.whole(run.recipe)):
        if not _excused(run, place, problem):
            yield problem


def _excused(run: Run, place: Path, problem: Problem) -> bool:
    """What a damaged file alone held cannot be had back; that is told, or by the file itself when it is read."""
    said = any(row.get("name") == "checkpoint" for row in run.records()[0])
    if place.name == "metrics.jsonl":
        return problem.text.startswith(("step", "epoch", "event", "scores"))
    if place.name == "best.safetensors":
        return said and "best" in problem.text
    return place.name.startswith("phase-") and "phase-" in problem.text


def _put_back(path: Path, before: bytes | None) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    if before is not None:
        places.replace_file(path, lambda draft: draft.write_bytes(before))
