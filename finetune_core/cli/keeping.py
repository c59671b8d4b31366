"""Commands about what is kept of runs: notes, the trash, disk space, zip files."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

from finetune_core import places
from finetune_core.cli.parser import Commands, Options
from finetune_core.cli.shared import open_run, open_runs, runs_folder
from finetune_core.data import cache, rows
from finetune_core.errors import UserError
from finetune_core.runs.shelf import exchange, summaries
from finetune_core.runs.shelf import notes as kept
from finetune_core.runs.shelf import trash as bin_
from finetune_core.wording import count, megabytes, shown


def add_to(commands: Commands) -> None:
    """Add these commands."""
    _add_note(commands)
    commands.add(disk, "runs")
    commands.add(clear_features)
    commands.add(clear_images)
    for each, help in ((trash, "ids or folders"), (restore, "ids in the trash"), (slim, "ids or folders")):
        one = commands.add(each, "runs")
        one.add_argument("several", nargs="+", metavar="RUN", help=help)
    commands.add(empty_trash, "runs").add_argument("--yes", action="store_true", help="do not ask")
    commands.add(export_run, "run").add_argument("file", type=places.expanded, metavar="FILE.zip")
    commands.add(import_run, "runs").add_argument("file", type=places.expanded, metavar="FILE.zip")


def _add_note(commands: Commands) -> None:
    one = commands.add(note, "run")
    one.add_argument("--name", help="what to call it")
    one.add_argument("--text", help="what to remember of it")
    one.add_argument("--tag", nargs="+", default=[], metavar="TAG", help="add these tags")
    one.add_argument("--untag", nargs="+", default=[], metavar="TAG", help="take these tags away")
    one.add_argument("--star", action=argparse.BooleanOptionalAction, help="give it a star, or take it away")


def note(options: Options) -> None:
    """Name, tag or star a run, or write a note on it."""
    run = open_run(options)
    had = kept.read(run)
    given = {key: vars(options)[key] for key in ("name", "text", "star") if vars(options)[key] is not None}
    tags = ({*had.tags} | {*options.tag}) - {*options.untag}
    kept.write(run, replace(had, tags=tuple(tags), **given))
    now = kept.read(run)
    print("  ".join(filter(None, (run.id, "*" * now.star, now.name, *(f"#{tag}" for tag in now.tags)))))
    if now.text:
        print(now.text)


def disk(options: Options) -> None:
    """Say how much disk space each run takes, the largest first, the trash and what is kept of frozen layers."""
    folder = runs_folder(options)
    found = sorted(summaries.summaries(folder), key=lambda one: one.size, reverse=True)
    for one in found:
        print(f"{megabytes(one.size):>10}  {shown(one.id)}")
    print(f"{megabytes(sum(one.size for one in found)):>10}  {count(len(found), 'run')}")
    print(f"{megabytes(bin_.in_trash(folder)):>10}  the trash")
    print(f"{megabytes(rows.size()):>10}  kept features, at most {megabytes(rows.LIMIT)}")
    print(f"{megabytes(cache.size()):>10}  decoded images, at most {megabytes(cache.LIMIT)}")


def clear_features(options: Options) -> None:
    """Delete what frozen layers have given for images; runs that need it work it out again."""
    print(f"{megabytes(rows.clear())} are free.")


def clear_images(options: Options) -> None:
    """Delete decoded images; they are decoded again when they are needed. Your files stay as they are."""
    print(f"{megabytes(cache.clear())} are free.")


def trash(options: Options) -> None:
    """Move runs into the trash, from which `restore` brings them back."""
    for run in open_runs(options.several, options.runs):
        bin_.throw_away(run)
        print(f"{run.id} is in the trash.")


def restore(options: Options) -> None:
    """Bring runs back from the trash."""
    folder = runs_folder(options)
    for name in dict.fromkeys(options.several):
        print(bin_.bring_back(name, folder).path)


def empty_trash(options: Options) -> None:
    """Delete what is in the trash, for good."""
    folder = runs_folder(options)
    there = bin_.thrown_away(folder)
    size = megabytes(bin_.in_trash(folder))
    if not options.yes and there:
        what = f"This deletes {count(len(there), 'run')} ({size}) for good."
        raise UserError(what, ", ".join(one.id for one in there), "Say it again with --yes.")
    bin_.empty(folder)
    print(f"The trash is empty: {size} are free." if there else "The trash is empty.")


def slim(options: Options) -> None:
    """Keep of finished runs only their best weights, and delete their other checkpoints for good."""
    for run in open_runs(options.several, options.runs):
        print(f"{run.id}: {megabytes(bin_.slim(run))} are free.")


def export_run(options: Options) -> None:
    """Write a run with all that belongs to it as one zip file."""
    file = exchange.export_run(open_run(options), options.file)
    print(f"{file}  {megabytes(file.stat().st_size)}")


def import_run(options: Options) -> None:
    """Bring in a run that `export-run` wrote, from here or elsewhere."""
    run = exchange.import_run(options.file, options.runs, options.file.stem)
    for lacking in exchange.missing(run.recipe):
        print(f"Warning: {shown(lacking)} is not here. {exchange.WITHOUT}", file=sys.stderr)
    print(run.path)
