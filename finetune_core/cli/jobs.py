"""Commands that do a job: one for each job that there is, with its knobs as options."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from finetune_core.cli.parser import Commands, Options
from finetune_core.cli.queueing import told
from finetune_core.cli.shared import check, print_json, read_recipe, work
from finetune_core.parts import Engine, Job, Knob
from finetune_core.parts.numbers import written
from finetune_core.recipe import Recipe, tree_of
from finetune_core.runs import store
from finetune_core.runs.waiting import engines, queue

PLAIN = ("int", "float", "text", "path", "numbers")  # kinds of knobs whose text the job reads itself


def add_to(commands: Commands) -> None:
    """Add these commands."""
    for kind in Job.kinds().values():
        _add_job(commands, kind)


def _add_job(commands: Commands, kind: type[Job]) -> None:
    do = partial(_do, kind)
    do.__name__, do.__doc__ = kind.command or kind.kind, kind.about()  # type: ignore[attr-defined]
    one = commands.add(do, "recipe", "runs", "json")
    help = "start from a run's best weights, or from this checkpoint, instead of the recipe's weights"
    one.add_argument("--from", metavar="RUN_OR_FILE", help=help)
    help = "look at every image first, and stop where the doctor finds something serious"
    one.add_argument("--careful", action="store_true", help=help)
    one.add_argument("--queue", action="store_true", help="let it wait in the queue until its device is free")
    places = ", ".join(Engine.kinds())
    one.add_argument("--on", choices=[*Engine.kinds()], help=f"where it runs: {places} (default this terminal)")
    help = "one knob of where it runs, such as partition=gpu"
    one.add_argument("--set-on", action="append", default=[], metavar="NAME=VALUE", help=help)
    for knob in kind.knobs():
        _add_option(one, knob)


def _add_option(parser: argparse.ArgumentParser, knob: Knob) -> None:
    """An option for a knob, of several words for a list or numbers; where it is not given the job's default holds."""
    name = f"--{knob.name.replace('_', '-')}"
    default = "" if knob.default in ("", {}) else f" (default {_told(knob.default)})"
    how: dict[str, Any] = {"type": str if knob.type in PLAIN else tree_of, "metavar": knob.name.upper()}
    if knob.type == "bool":
        how = {"action": argparse.BooleanOptionalAction}
    elif knob.type == "choice":
        how = {"choices": knob.choices, "type": type(knob.choices[0])}
    elif knob.type in ("numbers", "list") and (knob.named or not isinstance(knob.default, dict)):
        how |= {"nargs": "*"}
    parser.add_argument(name, default=argparse.SUPPRESS, help=f"{knob.help}{default}", **how)


def _told(default: Any) -> str:
    if isinstance(default, tuple):
        return " ".join(map(_told, default))
    return written(default) if isinstance(default, float) else getattr(default, "kind", str(default))


def _do(kind: type[Job], options: Options) -> int:
    """Do one job in this terminal, and print what came of it."""
    recipe, given = read_recipe(options), vars(options)
    job = kind.parsed({knob.name: given[knob.name] for knob in kind.knobs() if knob.name in given}, "The command")
    recipe = job.prepared(recipe)
    check(recipe, job, options.careful)
    if options.on:
        return _on(engines.parsed(options.on, options.set_on), recipe, job, options)
    if options.queue:
        told(queue.submit(recipe, job, options.runs), options.json)
        return 0
    run = store.create(recipe, job, options.runs)
    code = work(run, options.json)
    if code or run.status.state != "finished":
        return code or int(not job.resumable)  # what was stopped and cannot go on has no result
    return _print_result(run, options.json)


def _on(engine: Engine, recipe: Recipe, job: Job, options: Options) -> int:
    """Give the run to an engine, and say what a person must know."""
    run = engines.begin(recipe, engine, job, options.runs)
    if options.json:
        print_json({"run": str(run.path), "state": run.status.state, "words": engine.words(run)})
        return 0
    print(*filter(None, (run.status.message, engine.words(run), run.path)), sep="\n")
    return 0


def _print_result(run: store.Run, as_json: bool) -> int:
    job, recipe, rows = run.job, run.recipe, run.records()[0]
    if as_json:
        print_json({"run": str(run.path), **job.summary(rows, recipe)})
    else:
        for line in job.lines(rows, recipe):
            print(line)
    return 0
