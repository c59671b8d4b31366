"""Commands about a run that is under way, or was: stop, pause, change, go on, branch, prove."""

from __future__ import annotations

from finetune_core.cli.parser import Commands, Options
from finetune_core.cli.shared import changed, check, open_run, print_json, work
from finetune_core.errors import UserError
from finetune_core.recipe.changes import EXAMPLES, parsed
from finetune_core.runs import changing, launch
from finetune_core.runs.states import branch as branches
from finetune_core.runs.states import facts
from finetune_core.runs.telling import history
from finetune_core.runs.waiting import engines


def add_to(commands: Commands) -> None:
    """Add these commands."""
    one = commands.add(stop, "run")
    help = "do not wait for it to save: what it has learned since it saved last is lost"
    one.add_argument("--now", action="store_true", help=help)
    commands.add(pause, "run")
    one = commands.add(set, "run")
    one.add_argument("change", nargs="+", metavar="CHANGE", help=f"what is to be so from now on, such as: {EXAMPLES}")
    commands.add(resume, "run")
    one = commands.add(branch, "run", "set")
    one.add_argument("--at", type=int, metavar="STEP", help="from the checkpoint of this step (default the newest)")
    one.add_argument("--create-only", action="store_true", help="only make the run folder and print it")
    commands.add(verify, "run", "json")


def stop(options: Options) -> None:
    """Stop a run: it saves and can go on later."""
    run = open_run(options)
    launch.stop(run, wait=True, now=options.now)
    print(f"{run.id} is {run.status.state}.")


def pause(options: Options) -> None:
    """Have a run save and wait; `resume` lets it go on."""
    run = open_run(options)
    launch.pause(run)
    print(f"{run.id} pauses after this step.")


def set(options: Options) -> None:
    """Change a run on its way, before its next step: its rate, its epochs, which layer groups learn."""
    run = open_run(options)
    made = changing.ask(run, parsed(" ".join(options.change)), history.read(run.records_file))
    print(f"Asked for. {made.text}")


def resume(options: Options) -> int:
    """Go on with a paused run, or in this terminal with a stopped or broken one; elsewhere where it was elsewhere."""
    run = open_run(options)
    launch.check_resumable(run)
    if run.status.state == "paused":
        launch.resume(run)
        print(f"{run.id} goes on.")
        return 0
    if run.engine_file.exists():
        engines.resume(run)
        print(*filter(None, (run.status.message, engines.of(run).words(run))), sep="\n")
        return 0
    return work(run)


def branch(options: Options) -> int:
    """Go on from a run's checkpoint as a new run, with values changed from there on."""
    run = open_run(options)
    recipe = changed(run.recipe_at(options.at), options.set)
    check(recipe)
    if options.at is not None and not run.state_file(options.at).exists():
        steps = ", ".join(str(facts.step(path)) for path in reversed(run.states))
        raise UserError(f"There is no checkpoint of step {options.at}.", f"There are: {steps or 'none'}.", "Take one.")
    made = branches.branch(run, recipe, options.at)
    print(made.status.message)
    if options.create_only:
        print(made.path)
        return 0
    return work(made)


def verify(options: Options) -> int:
    """Train the last saved stretch of a run again and say how far the result is from what was saved."""
    from tqdm import tqdm

    from finetune_core.records import counted
    from finetune_core.runs.states import verify as proof

    with tqdm(total=0, disable=True if options.json else None, leave=False) as bar:

        def report(what: str, done: float = 0, total: float = 0, unit: str = "") -> None:
            bar.set_description_str(counted(what, done, total, unit))

        verdict = proof.verify(open_run(options), report)
    if options.json:
        print_json({**vars(verdict), "same": verdict.same})
    else:
        print(verdict.words())
    return 0
