"""Commands that try something out: the learning-rate range test, a race of rates, the speed of a network."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from finetune_core import machine
from finetune_core.cli.parser import Commands, Options, count, start_from
from finetune_core.cli.shared import check, phase_index, print_json, read_recipe, work
from finetune_core.finder import sweep
from finetune_core.finder.suggest import winner
from finetune_core.parts.tasks import Score
from finetune_core.runs import store
from finetune_core.training import timing

SUGGESTIONS = {
    "steepest": "steepest fall",
    "minimum_tenth": "minimum / 10",
    "valley": "middle of the valley",
    "slide": "interval slide rule",
}


def add_to(commands: Commands) -> None:
    """Add these commands."""
    find = commands.add(lr_find, "recipe", "runs", "json")
    find.add_argument("--steps", type=int, default=sweep.STEPS, metavar="N", help="steps of the sweep (default 100)")
    find.add_argument("--tries", type=count, default=1, metavar="N", help="tries, each with its own seed (default 1)")
    find.add_argument("--low", type=float, default=sweep.LOW, metavar="RATE", help="lowest rate (default 1e-7)")
    find.add_argument("--high", type=float, metavar="RATE", help="highest rate (default 10, downwards 0.1)")
    find.add_argument("--down", action="store_true", help="go from the highest rate to the lowest")
    one = commands.add(race, "recipe", "runs", "json")
    one.add_argument("--rates", type=float, nargs="+", required=True, metavar="RATE", help="the contenders")
    help = "steps of each contender (default 50)"
    one.add_argument("--steps", type=count, default=sweep.RACE_STEPS, metavar="N", help=help)
    for probing in (find, one):
        start_from(probing)
        probing.add_argument("--phase", type=int, default=1, metavar="N", help="the phase to probe, from 1 (default 1)")
        help = "move the rate of this layer group alone; the others keep theirs"
        probing.add_argument("--group", default="", metavar="NAME", help=help)
    commands.add(measure, "recipe", "runs", "json")


def lr_find(options: Options) -> int:
    """Run the learning-rate range test and print its suggestions."""
    recipe = read_recipe(options)
    check(recipe)
    wanted = {key: vars(options)[key] for key in ("steps", "tries", "low", "down", "group")}
    wanted["high"] = options.high or (sweep.DOWN_FROM if options.down else sweep.HIGH)
    wanted["phase"] = phase_index(options.phase, len(recipe.phases))
    run = store.create(recipe, job="find", runs=options.runs, **wanted)
    code = work(run, quiet=options.json)
    if code:
        return code
    *curve, found = run.records()[0]
    if options.json:
        said = {key: found[key] for key in ("note", "confidence", "why", "between")}
        points = [{key: point[key] for key in ("step", "lr", "loss", "smooth", "trial")} for point in curve]
        suggestions = {key: found[key] for key in SUGGESTIONS}
        print_json({"run": str(run.path), "suggestions": suggestions, **said, "curve": points})
        return 0
    for key, title in SUGGESTIONS.items():
        print(f"{title:22}{_number(found[key])}")
    if found["confidence"]:
        print(f"{found['confidence'].capitalize()} confidence. {found['why']}")
    if found["note"]:
        print(found["note"])
    return 0


def _number(value: float | None) -> str:
    return "no suggestion" if value is None else f"{value:.2e}"


def race(options: Options) -> int:
    """Let learning rates train side by side for a few steps, and print where each arrived."""
    recipe = read_recipe(options)
    check(recipe)
    rates = {f"{rate:g}": rate for rate in options.rates}
    wanted = {"steps": options.steps, "group": options.group, "phase": phase_index(options.phase, len(recipe.phases))}
    run = store.create(recipe, job="race", runs=options.runs, rates=rates, **wanted)
    code = work(run, quiet=options.json)
    if code:
        return code
    places = [record for record in run.records()[0] if record["kind"] == "place"]
    best = winner(places)
    if options.json:
        print_json({"run": str(run.path), "winner": best and best["lr"], "places": places})
        return 0
    for place in places:
        print(_place(place, recipe.task.score) + ("   winner" if place is best else ""))
    return 0


def _place(place: dict[str, Any], score: Score) -> str:
    if place["valid_loss"] is None:
        return f"{place['lr']:<12.3g}diverged at step {place['step']}"
    losses = f"loss {place['train_loss']:.4f}   validation loss {place['valid_loss']:.4f}"
    return f"{place['lr']:<12.3g}{losses}   {score.inside} {score.shown(place['valid_score'])}"


def measure(options: Options) -> int:
    """Time the recipe's network on this machine: one image, and training steps."""
    recipe = read_recipe(options)
    machine.check_torch_pair()
    wanted = timing.asked(recipe, recipe.model.backbone)
    run = store.create(wanted, job="measure", runs=options.runs)
    code = work(run, quiet=True)
    found = timing.summary(run.records()[0], wanted.training.batch_size)
    if code or not found:
        return code or 1
    if options.json:
        print_json(asdict(found))
    else:
        print(found.sentence())
    return 0
