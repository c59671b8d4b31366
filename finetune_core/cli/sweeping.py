"""Commands about sweeps: queue runs that differ in one knob or two, and show what came of them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from finetune_core.cli.parser import Commands, Options, whole
from finetune_core.cli.shared import check, print_json, read_recipe, runs_folder
from finetune_core.errors import UserError
from finetune_core.recipe import Recipe, variants
from finetune_core.runs.waiting import sweeps
from finetune_core.runs.waiting.sweeps import Point, Sweep


def add_to(commands: Commands) -> None:
    """Add these commands."""
    one = commands.add(sweep, "recipe", "runs", "json")
    help = "a knob by dotted path and its values, such as 'phases.0.learning_rate=1e-4; 3e-4; 1e-3'; once or twice"
    one.add_argument("--over", action="append", default=[], metavar="PATH=VALUES", help=help)
    help = "repeat each with so many seeds, which shows what is chance (default 1)"
    one.add_argument("--seeds", type=whole(1, 10), default=1, metavar="N", help=help)
    one.add_argument("--knobs", action="store_true", help="only list what can be varied in this recipe")
    one = commands.add(sweep_result, "runs", "json")
    one.add_argument("sweep", nargs="?", metavar="SWEEP", help="a sweep's id (default: list them)")


def sweep(options: Options) -> None:
    """Queue a run for every value of a knob, or of two, so that they tell which is best."""
    recipe = read_recipe(options)
    names = _names(recipe)
    if options.knobs:
        _print_knobs(recipe, names, options.json)
        return
    axes = [_axis(recipe, names, text) for text in options.over]
    check(recipe)
    made = sweeps.begin(axes, variants.variants(recipe, axes, names, options.seeds), options.runs)
    if options.json:
        print_json(_tree(made))
        return
    print(f"{len(made.trials)} runs wait in the queue. See what comes of them with:")
    print(f"python -m finetune_core sweep-result {made.id}")


def sweep_result(options: Options) -> None:
    """Show a sweep: the score at each value, and which is best; without a name list the sweeps."""
    folder = runs_folder(options)
    if options.sweep is None:
        found = sweeps.list_sweeps(folder)
        if options.json:
            print_json([_tree(each) for each in found])
            return
        for each in found:
            print(f"{each.id:28}{len(each.trials):>4} runs  {each.title}")
        return
    one = sweeps.open_sweep(options.sweep, folder)
    if options.json:
        print_json(_tree(one))
        return
    points, score = one.points(), one.score
    top = sweeps.best(points, score)
    for point in points:
        name = "  ".join(f"{word:>16}" for word in point.words)
        several = f" ± {score.shown(point.spread)} over {len(point.scores)} seeds" if len(point.scores) > 1 else ""
        rest = "  best" if point is top else f"  {point.open} to come" if point.open else ""
        print(f"{name}  {score.shown(point.mean):>8}{several}{rest}")
    print(sweeps.verdict(one, points))


def _axis(recipe: Recipe, names: tuple[str, ...], text: str) -> variants.Axis:
    path, sign, values = text.partition("=")
    if not sign:
        raise UserError(f"--over {text} has no '='.", hint="Write it as --over 'training.batch_size=16; 32; 64'.")
    return variants.axis(recipe, names, path.strip(), values)


def _names(recipe: Recipe) -> tuple[str, ...]:
    from finetune_core.network import catalogue

    return catalogue.layer_names(recipe.model)


def _print_knobs(recipe: Recipe, names: tuple[str, ...], as_json: bool) -> None:
    found = variants.knobs(recipe, names).values()
    if as_json:
        print_json([{"path": each.path, "title": each.title, "values": _fits(each)} for each in found])
        return
    for each in found:
        print(f"{each.path:36}{each.title:32}{_fits(each)}")


def _fits(knobs: variants.Knobs) -> str:
    return knobs.scale.words() if knobs.scale else ", ".join(knobs.choices)


def _tree(one: Sweep) -> dict[str, Any]:
    """For other programs."""
    points = one.points()
    top = sweeps.best(points, one.score)
    return {
        "sweep": one.id,
        "axes": [asdict(axis) for axis in one.axes],
        "score": one.score.key,
        "points": [_point(point) for point in points],
        "best": _point(top) if top else None,
        "verdict": sweeps.verdict(one, points),
        "runs": [{"id": trial.run.id, "values": trial.values, "seed": trial.seed} for trial in one.trials],
    }


def _point(point: Point) -> dict[str, Any]:
    return {**asdict(point), "mean": point.mean, "spread": point.spread}
