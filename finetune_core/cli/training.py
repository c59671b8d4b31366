"""Commands that train: start a run, stop it, go on with it."""

from __future__ import annotations

from finetune_core.cli.parser import Commands, Options, start_from
from finetune_core.cli.shared import check, open_run, read_recipe, work
from finetune_core.runs import launch, store


def add_to(commands: Commands) -> None:
    """Add these commands."""
    one = commands.add(train, "recipe", "runs")
    start_from(one)
    help = (
        "only make the run folder and print it, for torchrun on several machines (see finetune_core/runs/torchrun.py)"
    )
    one.add_argument("--create-only", action="store_true", help=help)
    commands.add(stop, "run")
    commands.add(resume, "run")


def train(options: Options) -> int:
    """Train a recipe in this terminal."""
    recipe = read_recipe(options)
    check(recipe)
    run = store.create(recipe, runs=options.runs)
    if options.create_only:
        run.report(state="stopped", message="Not started yet")
        print(run.path)
        return 0
    return work(run)


def stop(options: Options) -> None:
    """Stop a run: it saves and can go on later."""
    run = open_run(options)
    launch.stop(run, wait=True)
    print(f"{run.id} is {run.status.state}.")


def resume(options: Options) -> int:
    """Go on with a stopped or broken run in this terminal."""
    run = open_run(options)
    launch.check_resumable(run)
    return work(run)
