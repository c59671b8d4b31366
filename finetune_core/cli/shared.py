"""What several commands do: read a recipe or a run, check it, do its job, write files, print JSON."""

from __future__ import annotations

import errno
import json
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetune_core import machine, places
from finetune_core.cli.parser import Options
from finetune_core.errors import UserError
from finetune_core.parts import Job
from finetune_core.parts.numbers import written
from finetune_core.parts.tasks import Score
from finetune_core.recipe import Recipe, load, tree_of
from finetune_core.records import Count, Epoch, Event, Record, Step, counted, finite
from finetune_core.runs import store
from finetune_core.runs.jobs import Train
from finetune_core.wording import shown


def read_recipe(options: Options) -> Recipe:
    """The recipe that was named, with the weights and values that the command changes."""
    recipe = _named(options)
    if start := vars(options).get("from"):
        file = store.checkpoint(start, options.runs)
        recipe = recipe.with_value("model.backbone.weights", {"kind": "checkpoint", "path": str(file)})
    return changed(recipe, options.set)


def _named(options: Options) -> Recipe:
    """The recipe of a file or, as changes on the way have left it, of a run."""
    run, hint = vars(options).get("run"), "Name a file, as written by init, or a run with --run."
    if bool(run) == bool(options.recipe):
        what = "Two recipes were named." if run else "No recipe was named."
        raise UserError(what, hint=hint)
    return store.open_run(run, vars(options).get("runs")).recipe_at() if run else load(places.expanded(options.recipe))


def changed(recipe: Recipe, pairs: Sequence[str]) -> Recipe:
    """The recipe with values changed, each as `PATH=VALUE`."""
    for pair in pairs:
        path, sign, text = pair.partition("=")
        if not sign:
            raise UserError(f"--set {pair} has no '='.", hint="Write it as --set phases.0.epochs=3.")
        value = tree_of(text, f"value of {path}")
        # A number is left to its field, which reads what people write as it does on pages
        recipe = recipe.with_value(path, text if type(value) in (int, float) else value)
    return recipe


def open_run(options: Options) -> store.Run:
    """The run that was named."""
    return store.open_run(options.run, options.runs)


def open_runs(names: Sequence[str], runs: Path | None) -> list[store.Run]:
    """All runs that were named, each once however it was named, before anything is done to the first."""
    found = [store.open_run(name, runs) for name in names]
    return list({run.path.resolve(): run for run in found}.values())


def runs_folder(options: Options) -> Path:
    """The folder of runs to look into; a UserError for a file, or where the one that was named is not there."""
    folder: Path = options.runs or places.runs_dir()
    if places.is_there(str(folder)) and not folder.is_dir():
        raise UserError(f"{shown(folder)} is no folder.", "It is a file.", "Name the folder of the runs.")
    if options.runs and not folder.is_dir():
        raise UserError(f"There is no folder {shown(folder)}.", "It was named as --runs.", "Check the path.")
    return folder


def phase_index(number: int | None, count: int) -> int:
    """A phase as code counts, from 0; the last one where none was named."""
    if number is None:
        return count - 1
    if not 1 <= number <= count:
        raise UserError(f"There is no phase {number}.", f"The recipe has {count}.", "Count from 1.")
    return number - 1


def check(recipe: Recipe, job: Job = Train(), careful: bool = False) -> None:  # noqa: B008 - frozen
    """Raise what the run would stop with, as far as that can be known before anything starts; warnings go to stderr.

    If `careful` every image is looked at, and what is serious is a UserError.
    """
    from finetune_core.runs.preflight import findings

    machine.check_torch_pair()
    if careful:
        from finetune_core.data.doctor import full

        with Bar("Looking at every image") as count:
            found = full(recipe, count)
        if asks := [each for each in found if each.level == "ask"]:
            hint = "See `doctor RECIPE`, which can mend it (--mend FILE), or go on without --careful."
            raise UserError("The data ask for a decision.", " ".join(each.line() for each in asks), hint)
    found = findings(recipe, saves=job.trains) if job.checked else []
    for finding in found:
        if finding.error:
            raise finding.error
    for finding in found:
        if finding.level in ("warn", "ask"):
            print(f"Warning: {finding.line()}", file=sys.stderr)


def _line(record: Record, score: Score, rates: dict[str, float]) -> str:
    """What stands in the terminal of an epoch or an event; `rates` are those of the last step."""
    if isinstance(record, Event):
        return record.text
    if not isinstance(record, Epoch):
        return ""
    reached = f"{score.inside} {score.told(record.valid_score)}"
    return f"epoch {record.epoch + 1}: loss {record.train_loss:.4f}, {reached}{_rates(rates)}"


def _rates(rates: dict[str, float]) -> str:
    """Those that the groups had in the last step, alike ones together; frozen groups have none."""
    groups: dict[str, list[str]] = {}
    for name, rate in rates.items():
        groups.setdefault(written(rate, 3), []).append(name)
    said = [f"{rate} ({', '.join(names)})" for rate, names in groups.items() if float(rate)]
    return f", rates {'; '.join(said)}" if said else ""


def work(run: store.Run, quiet: bool = False) -> int:
    """Do a run's job here, with a progress bar on stderr; prints the run folder last."""
    from tqdm import tqdm

    if run.recipe.training.processes > 1:
        from finetune_core.runs.work.torchrun import lead as do
    else:
        from finetune_core.runs.work.worker import work as do
    score, rates = run.recipe.task.score, dict[str, float]()
    # Without a terminal there is no bar (None), only a line per epoch.
    with tqdm(total=0, unit="step", disable=True if quiet else None, dynamic_ncols=True, leave=False) as bar:

        def report(what: str, done: float = 0, total: float = 0, unit: str = "") -> None:
            bar.set_description_str(counted(what, done, total, unit))

        def watch(record: Record) -> None:
            if quiet:  # another program reads what this one prints
                return
            bar.total, bar.n = run.status.steps, run.status.step
            if isinstance(record, Step):
                rates.update(record.lr)
            if line := _line(record, score, rates):
                bar.write(line)
            elif hasattr(record, "loss"):
                bar.set_description_str(f"loss {record.loss:.4f}")
            else:
                bar.refresh()

        code = do(run, watch, report)
    if code == 2:
        raise UserError.said(run.status.error or {"what": "The run failed."})
    if not quiet and not code:
        print(run.path)
    return code


class Bar:
    """A progress bar on stderr, where there is a terminal."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> Count:
        from tqdm import tqdm

        self.bar = tqdm(desc=self.what, total=0, unit="image", disable=None, leave=False, file=sys.stderr)

        def count(done: int, total: int) -> None:
            self.bar.total = total
            self.bar.update(done - self.bar.n)

        return count

    def __exit__(self, *_: object) -> None:
        self.bar.close()


def write(path: Path, content: str | bytes) -> None:
    """Write a file; a UserError where that is not possible."""
    try:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise UserError(f"{path} cannot be written.", f"{error.strerror}.", "Choose another place.") from error


def made_folder(named: Path) -> Path:
    """A folder to write into, made if it is not there; a UserError where that is not possible."""
    folder = places.expanded(named)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "It is a file." if folder.is_file() else f"{error.strerror}."
        raise UserError(f"{shown(folder)} cannot be a folder.", why, "Choose another place.") from error
    return folder


def print_json(value: Any) -> None:
    """For other programs."""
    print(json.dumps(finite(value), indent=1, default=lambda item: getattr(item, "model_dump", lambda: str(item))()))


def check_free(address: str, port: int, command: str) -> None:
    """A UserError where nothing can listen there; `command` is what could take another port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise _refused(address, port, command, error) from error


def _refused(address: str, port: int, command: str, error: OSError) -> UserError:
    if error.errno == errno.EADDRINUSE:
        return UserError(
            f"Port {port} is taken.",
            "Another program, perhaps Thaw itself, is using it.",
            f"Open http://localhost:{port}, or take another: python -m finetune_core {command} --port {port + 1}",
        )
    why = f"{error.strerror or error}."
    return UserError(f"Nothing can listen at {address}, port {port}.", why, "Take another address or port.")
