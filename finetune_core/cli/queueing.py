"""Commands about the queue: who waits and who is at work, and moving or taking out who waits."""

from __future__ import annotations

from typing import Any

from finetune_core import machine
from finetune_core.cli.parser import Commands, Options
from finetune_core.cli.shared import open_run, print_json, runs_folder
from finetune_core.runs.store import Run
from finetune_core.runs.waiting import devices
from finetune_core.runs.waiting import queue as queues
from finetune_core.wording import shown


def add_to(commands: Commands) -> None:
    """Add these commands."""
    commands.add(queue, "runs", "json")
    commands.add(move, "run").add_argument("where", choices=queues.MOVES, help="where to")
    commands.add(cancel, "run")


def queue(options: Options) -> None:
    """List who is at work and who waits until a device is free, the next one first."""
    folder = runs_folder(options)
    queues.ensure(folder)
    rows = _rows(queues.look(folder))
    if options.json:
        print_json(rows)
        return
    for row in rows:
        print(f"{row['place'] or '':>3} {shown(row['id']):43} {row['state']:10} {', '.join(row['devices'])}")
    if not any(row["place"] for row in rows):
        print("Nobody waits. Let a run wait with: python -m finetune_core train recipe.yaml --queue")


def _rows(now: queues.Queue) -> list[dict[str, Any]]:
    here = machine.facts()
    at_work = [_row(run, 0, sorted(devices.held(run, here))) for run in now.active]
    return at_work + [_row(run, now.place(run, here), [queues.waits_for(run, here)]) for run in now.waiting]


def _row(run: Run, place: int, on: list[str]) -> dict[str, Any]:
    return {"id": run.id, "state": run.status.state, "place": place or None, "devices": on}


def move(options: Options) -> None:
    """Move a waiting run: first, up, down or last."""
    run = open_run(options)
    queues.move(run, options.where, machine.facts())
    told(run)


def cancel(options: Options) -> None:
    """Take a waiting run out of the queue; its folder remains."""
    run = open_run(options)
    queues.cancel(run)
    print(f"{run.id} was cancelled.")


def told(run: Run, as_json: bool = False) -> None:
    """Print a queued run's place and folder."""
    here, now = machine.facts(), queues.look(run.path.parent)
    place, kind = now.place(run, here), queues.waits_for(run, here)
    if as_json:
        print_json({"run": str(run.path), **_row(run, place, [kind])})
        return
    print(f"Number {place} in the queue for {here.device_words(kind) or kind}." if place else "It begins.")
    print(run.path)
