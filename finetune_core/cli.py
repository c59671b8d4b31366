"""The command line: everything the studio does, without a browser.

Exit codes: 0 success, 2 a mistake that the person can mend (two plain lines on stderr), 1 a bug.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from finetune_core import __version__, latency, launch, machine, milestones, places, store, sweep
from finetune_core.errors import UserError
from finetune_core.parts import FAMILIES, Part
from finetune_core.phases import PRESETS, RATE_RULES, apply_rule
from finetune_core.recipe import Recipe, load
from finetune_core.sweep import winner
from finetune_core.tasks import TASKS

if TYPE_CHECKING:
    from finetune_core.tree import Tree

SUGGESTIONS = {
    "steepest": "steepest fall",
    "minimum_tenth": "minimum / 10",
    "valley": "middle of the valley",
    "slide": "interval slide rule",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        options = _parser().parse_args(arguments)
        code: int | None = options.command(options)
        return code or 0
    except UserError as error:
        print(*error.lines(), sep="\n", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader (`head`, say) has seen enough
        sys.stderr.close()
        return 0


def studio(options: argparse.Namespace) -> int:
    """Open the studio in a browser on this machine."""
    from finetune_core.studio import serve

    return serve(options.port)


def init(options: argparse.Namespace) -> None:
    """Write the default recipe."""
    if options.file == "-":
        print(Recipe().to_yaml(), end="")
        return
    path = Path(options.file)
    if path.exists():
        raise UserError(
            f"{path} exists already.", "It would be overwritten.", "Choose another name or remove it first."
        )
    _save(Recipe(), path)
    print(f"Wrote {path}. Train it with: {launch.command(path)}")


def train(options: argparse.Namespace) -> int:
    """Train a recipe in this terminal."""
    recipe = _recipe(options)
    _check(recipe)
    run = store.create(recipe, runs=options.runs)
    if options.create_only:
        run.report(state="stopped", message="Not started yet")
        print(run.path)
        return 0
    return _work(run)


def resume(options: argparse.Namespace) -> int:
    """Go on with a stopped or broken run in this terminal."""
    run = _run(options)
    launch.check_resumable(run)
    return _work(run)


def lr_find(options: argparse.Namespace) -> int:
    """Run the learning-rate range test and print its suggestions."""
    recipe = _recipe(options)
    _check(recipe)
    wanted = {key: vars(options)[key] for key in ("steps", "tries", "low", "down", "group")}
    wanted["high"] = options.high or (sweep.DOWN_FROM if options.down else sweep.HIGH)
    wanted["phase"] = _phase_index(options.phase, len(recipe.phases))
    run = store.create(recipe, job="find", runs=options.runs, **wanted)
    code = _work(run, quiet=options.json)
    if code:
        return code
    *curve, found = run.records()[0]
    if options.json:
        said = {key: found[key] for key in ("note", "confidence", "why", "between")}
        points = [{key: point[key] for key in ("step", "lr", "loss", "smooth", "trial")} for point in curve]
        suggestions = {key: found[key] for key in SUGGESTIONS}
        _print_json({"run": str(run.path), "suggestions": suggestions, **said, "curve": points})
        return 0
    for key, title in SUGGESTIONS.items():
        print(f"{title:22}{_number(found[key])}")
    if found["confidence"]:
        print(f"{found['confidence'].capitalize()} confidence. {found['why']}")
    if found["note"]:
        print(found["note"])
    return 0


def race(options: argparse.Namespace) -> int:
    """Let learning rates train side by side for a few steps, and print where each arrived."""
    recipe = _recipe(options)
    _check(recipe)
    rates = {f"{rate:g}": rate for rate in options.rates}
    wanted = {"steps": options.steps, "group": options.group, "phase": _phase_index(options.phase, len(recipe.phases))}
    run = store.create(recipe, job="race", runs=options.runs, rates=rates, **wanted)
    code = _work(run, quiet=options.json)
    if code:
        return code
    places = [record for record in run.records()[0] if record["kind"] == "place"]
    best = winner(places)
    if options.json:
        _print_json({"run": str(run.path), "winner": best and best["lr"], "places": places})
        return 0
    for place in places:
        if place["valid_loss"] is None:
            print(f"{place['lr']:<12.3g}diverged at step {place['step']}")
            continue
        losses = f"loss {place['train_loss']:.4f}   validation loss {place['valid_loss']:.4f}"
        mark = "   winner" if place is best else ""
        reached = f"{recipe.task.score.title.lower()} {recipe.task.score.shown(place['valid_score'])}"
        print(f"{place['lr']:<12.3g}{losses}   {reached}{mark}")
    return 0


def measure(options: argparse.Namespace) -> int:
    """Time the recipe's network on this machine: one image, and training steps."""
    recipe = _recipe(options)
    machine.check_torch_pair()
    wanted = latency.asked(recipe, recipe.model.backbone)
    run = store.create(wanted, job="measure", runs=options.runs)
    code = _work(run, quiet=True)
    found = latency.summary(run.records()[0], wanted.training.batch_size)
    if code or not found:
        return code or 1
    if options.json:
        _print_json(asdict(found))
    else:
        print(found.sentence())
    return 0


def groups(options: argparse.Namespace) -> None:
    """Print the layer groups, stem to head: parameters, frozen or not, peak rate and what is held in each phase."""
    from finetune_core import plan

    recipe = _recipe(options)
    counts = _groups(recipe)
    peaks = [plan.peak_rates(phase, list(counts)) for phase in recipe.phases]
    rates = {name: [peak[name] for peak in peaks] for name in counts}
    held = _held(recipe)
    if options.json:
        keys = ("name", "parameters", "frozen", "lr", "held")
        rows = ((n, counts[n], not any(r), r, [phase.get(n, 0) for phase in held]) for n, r in rates.items())
        _print_json([dict(zip(keys, row, strict=True)) for row in rows])
        return
    total = sum(counts.values())
    for name, peaks_of_name in rates.items():
        in_phases = zip(peaks_of_name, (phase.get(name, 0) for phase in held), strict=True)
        shown = "  ".join(_phase_words(rate, still) for rate, still in in_phases)
        print(f"{name:20}{counts[name]:>12,}{counts[name] / total:>8.1%}   {shown}")


def _phase_words(rate: float, held: int) -> str:
    still = f" ({held} parameter{'' if held == 1 else 's'} held)" if held else ""
    return f"{rate:.2e}{still}" if rate else "frozen"


def _held(recipe: Recipe) -> list[dict[str, int]]:
    """How many parameters of each layer group are held, for each phase; torch is only asked where any are."""
    if not any(phase.hold for phase in recipe.phases):
        return [{} for _ in recipe.phases]
    whole = _tree(recipe)
    return [whole.held(phase.hold) for phase in recipe.phases]


def tree(options: argparse.Namespace) -> None:
    """Print the network as a tree: each module's class, parameters and layer group."""
    whole = _tree(_recipe(options))
    if options.json:
        _print_json([asdict(node) for node in whole.nodes])
        return
    for node in whole.nodes:
        if not options.depth or node.depth < options.depth:
            name = "  " * node.depth + node.path.rpartition(".")[2]
            print(f"{name:36}{node.type:28}{node.parameters:>12,}   {node.group}")


def _tree(recipe: Recipe) -> Tree:
    from finetune_core.tree import build

    return build(recipe.model, len(recipe.data.source.samples().classes), recipe.data.image_size)


def phases(options: argparse.Namespace) -> None:
    """Print the phases of a recipe, or make them by rule, from milestones, or as milestones."""
    recipe = _recipe(options)
    names = list(_groups(recipe))
    made = recipe.phases
    if options.milestones:
        imported = milestones.read(options.milestones, names)
        made = imported.phases
        for note in imported.notes:
            print(f"Note: {note}", file=sys.stderr)
    if options.preset:
        made = PRESETS[options.preset].make(made, names)
    if options.rates:
        made = apply_rule(made, _phase_index(options.phase, len(made)), names, *_rule(options.rates))
    recipe = recipe.replace(phases=made)
    if options.out:
        _save(recipe, options.out)
    if options.export:
        print(milestones.to_text(milestones.to_milestones(made, names)), end="")
    elif options.json:
        _print_json([phase.model_dump(mode="json") for phase in made])
    else:
        _print_phases(recipe, names)


def _phase_index(number: int | None, count: int) -> int:
    if number is None:
        return count - 1
    if not 1 <= number <= count:
        raise UserError(f"There is no phase {number}.", f"The recipe has {count}.", "Count from 1.")
    return number - 1


def _rule(words: list[str]) -> tuple[str, list[float]]:
    key, *numbers = words
    if key not in RATE_RULES:
        raise UserError(f"There is no rule {key} for rates.", hint=f"There are {', '.join(RATE_RULES)}.")
    try:
        return key, [float(number) for number in numbers]
    except ValueError as error:
        raise UserError(f"The rule {key} takes numbers, not {' '.join(numbers)}.", hint="Such as 1e-5.") from error


def _print_phases(recipe: Recipe, names: list[str]) -> None:
    from finetune_core import plan

    for number, phase in enumerate(recipe.phases, start=1):
        print(f"phase {number}: {phase.epochs} epochs, {phase.schedule.title.lower()}")
        for name, rate in plan.peak_rates(phase, names).items():
            print(f"  {name:20}{f'{rate:.2e}' if rate else 'frozen'}")


def plan(options: argparse.Namespace) -> None:
    """Print each group's learning rate at every optimizer step."""
    from finetune_core import plan
    from finetune_core.data.loader import count_steps
    from finetune_core.data.split import split

    recipe = _recipe(options)
    samples = recipe.data.source.samples()
    training = split(samples, recipe.data.valid_share, recipe.data.split_seed).train
    names = list(_groups(recipe))
    rows = plan.plan(recipe, names, count_steps(len(training), recipe.training.batch_size))
    if options.json:
        _print_json(rows)
        return
    print(f"{'step':>6}" + "".join(f"{name:>14}" for name in names))
    for row in rows:
        print(f"{row['step']:>6}" + "".join(f"{row['lr'][name]:>14.4e}" for name in names))


def runs(options: argparse.Namespace) -> None:
    """List the runs, newest first."""
    rows = [_summary(run) for run in store.list_runs(options.runs)]
    if options.json:
        _print_json(rows)
        return
    for row in rows:
        best = TASKS[row["task"]].score.shown(row["best_score"])
        print(f"{row['id']:44}{row['state']:10}{best:>8}  {row['epoch']} of {row['epochs']} epochs")
    if not rows:
        print("No runs yet. Start one with: python -m finetune_core init recipe.yaml")


def show(options: argparse.Namespace) -> None:
    """Show one run: state, epochs, recipe."""
    run = _run(options)
    epochs = [record for record in run.records()[0] if record["kind"] == "epoch"]
    summary = {**_summary(run), "path": str(run.path), "message": run.status.message, "error": run.status.error}
    if options.json:
        _print_json({**summary, "epochs_done": epochs, "recipe": run.recipe.model_dump(mode="json")})
        return
    for key, value in summary.items():
        print(f"{key:16}{value if value is not None else '–'}")
    task = run.recipe.task
    for epoch in epochs:
        mark = "   best" if epoch["best"] else ""
        losses = f"loss {epoch['train_loss']:.4f}   validation loss {epoch['valid_loss']:.4f}"
        scores = ", ".join(
            f"{s.title} {s.shown(epoch['scores'][s.key])}" for s in task.scores if s.key in epoch["scores"]
        )
        print(f"epoch {epoch['epoch'] + 1:>3}   {losses}   {scores}{mark}")


def stop(options: argparse.Namespace) -> None:
    """Stop a run: it saves and can go on later."""
    run = _run(options)
    launch.stop(run, wait=True)
    print(f"{run.id} is {run.status.state}.")


def predict(options: argparse.Namespace) -> None:
    """Say what a run's best model sees in images."""
    from finetune_core import predict

    run = _run(options)
    answers = predict.load(run)([Path(image) for image in options.images], options.top)
    if options.json:
        pairs = zip(options.images, answers, strict=True)
        _print_json([{"image": image, "answers": [{"name": n, "value": v} for n, v in a]} for image, a in pairs])
        return
    shown = "{:.4g}" if run.recipe.task.key == "regression" else "{:.1%}"
    for image, answer in zip(options.images, answers, strict=True):
        print(f"{image}: " + ", ".join(f"{name} {shown.format(value)}" for name, value in answer))


def export(options: argparse.Namespace) -> None:
    """Write a recipe, or that of a run, as one script in plain PyTorch."""
    machine.check_torch_pair()
    text = EXPORTS[options.format](_recipe_or_run(options), lambda said: print(said, file=sys.stderr))
    if options.out is None:
        print(text, end="")
        return
    _write(options.out, text)
    print(f"Wrote {options.out}. Run it with: python {options.out}")


def _script(recipe: Recipe, progress: Callable[[str], None]) -> str:
    from finetune_core import script

    return script.whole(recipe, script.gather(recipe, progress))


EXPORTS = {"script": _script}


def parts(options: argparse.Namespace) -> None:
    """List everything that can be chosen, with its knobs."""
    table = {name: [_part(part) for part in family.kinds().values()] for name, family in FAMILIES.items()}
    if options.json:
        _print_json(table)
        return
    for family, members in table.items():
        print(f"\n{family}")
        for part in members:
            print(f"  {part['kind']:24}{part['about']}")
            for knob in part["knobs"]:
                print(f"    {knob['name']:22}{knob['default']!s:12}{knob['help']}")


def _check(recipe: Recipe) -> None:
    """Raise what the run would stop with, as far as that can be known before anything starts."""
    from finetune_core import preflight

    machine.check_torch_pair()
    for finding in preflight.findings(recipe):
        if finding.error:
            raise finding.error


def _work(run: store.Run, quiet: bool = False) -> int:
    """Do a run's job here, with a progress bar on stderr; prints the run folder last."""
    from tqdm import tqdm

    from finetune_core.records import Epoch, Event, Record

    if run.recipe.training.processes > 1:
        from finetune_core.leader import lead as work
    else:
        from finetune_core.worker import work
    score = run.recipe.task.score
    # Without a terminal there is no bar (None), only a line per epoch.
    with tqdm(total=0, unit="step", disable=True if quiet else None, dynamic_ncols=True, leave=False) as bar:

        def say(message: str) -> None:
            bar.set_description_str(message)

        def watch(record: Record) -> None:
            bar.total = run.status.steps
            if isinstance(record, Epoch):
                reached = f"{score.title.lower()} {score.shown(record.valid_score)}"
                bar.write(f"epoch {record.epoch + 1}: loss {record.train_loss:.4f}, {reached}")
            elif isinstance(record, Event):
                bar.write(record.text)
            elif hasattr(record, "loss"):
                bar.set_description_str(f"loss {record.loss:.4f}")
                bar.update()

        code = work(run, watch, say)
    if code == 2:
        raise UserError(**(run.status.error or {"what": "The run failed."}))
    if not quiet and not code:
        print(run.path)
    return code


def _recipe(options: argparse.Namespace) -> Recipe:
    recipe = load(Path(options.recipe))
    if start := vars(options).get("from"):
        file = store.checkpoint(start, options.runs)
        recipe = recipe.with_value("model.backbone.weights", {"kind": "checkpoint", "path": str(file)})
    return _changed(recipe, options.set)


def _recipe_or_run(options: argparse.Namespace) -> Recipe:
    path = Path(options.recipe)
    if path.is_file() or path.suffix in (".yaml", ".yml"):
        return _recipe(options)
    return _changed(store.open_run(options.recipe, options.runs).recipe, options.set)


def _changed(recipe: Recipe, pairs: Sequence[str]) -> Recipe:
    for pair in pairs:
        path, sign, text = pair.partition("=")
        if not sign:
            raise UserError(f"--set {pair} has no '='.", hint="Write it as --set phases.0.epochs=3.")
        recipe = recipe.with_value(path, yaml.safe_load(text))
    return recipe


def _save(recipe: Recipe, path: Path) -> None:
    _write(path, recipe.to_yaml())


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written.", f"{error.strerror}.", "Choose another place.") from error


def _run(options: argparse.Namespace) -> store.Run:
    return store.open_run(options.run, options.runs)


def _groups(recipe: Recipe) -> dict[str, int]:
    """Parameters of each layer group, stem to head."""
    from finetune_core import catalogue

    return catalogue.layer_counts(recipe.model, len(recipe.data.source.samples().classes))


def _summary(run: store.Run) -> dict[str, Any]:
    status, recipe = run.status, run.recipe
    return {
        "id": run.id,
        "state": status.state,
        "name": recipe.name,
        "backbone": recipe.model.backbone.architecture,
        "epoch": status.epoch,
        "epochs": status.epochs,
        "task": recipe.task.key,
        "best_score": status.best_score,
    }


def _count(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number} is too few; take at least 1")
    return number


def _part(part: type[Part]) -> dict[str, Any]:
    knobs = [
        {key: value for key, value in vars(knob).items() if value not in (None, "", ())} | {"default": knob.default}
        for knob in part.knobs()
    ]
    return {"kind": part.kind, "title": part.title, "about": part.about(), "knobs": knobs}


def _number(value: float | None) -> str:
    return "no suggestion" if value is None else f"{value:.2e}"


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, default=lambda item: getattr(item, "model_dump", lambda: str(item))()))


class _Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are UserErrors: two plain lines instead of a usage screen."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message[0].upper()}{message[1:]}.", hint=f"See `{self.prog} --help`.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m finetune_core", description="Thaw: fine-tune pretrained image models.")
    parser.add_argument("--version", action="version", version=f"Thaw {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(function: Callable[[argparse.Namespace], int | None], *shared: str) -> argparse.ArgumentParser:
        name = function.__name__.replace("_", "-")
        one = commands.add_parser(name, help=function.__doc__, description=function.__doc__)
        one.set_defaults(command=function)
        if "recipe" in shared:
            one.add_argument("recipe", metavar="RECIPE", help="a recipe file, as written by init")
            one.add_argument(
                "--set", action="append", default=[], metavar="PATH=VALUE", help="change one value, by dotted path"
            )
        if "run" in shared:
            one.add_argument("run", metavar="RUN", help="a run's id or folder")
        if "runs" in shared or "run" in shared:
            one.add_argument("--runs", type=Path, default=places.runs_dir(), metavar="DIR", help="folder of the runs")
        if "json" in shared:
            one.add_argument("--json", action="store_true", help="print JSON")
        return one

    command(studio).add_argument("--port", type=int, default=8501, help="port on localhost (default 8501)")
    command(init).add_argument("file", metavar="FILE", help="where to write it; - prints it")
    training = command(train, "recipe", "runs")
    find = command(lr_find, "recipe", "runs", "json")
    find.add_argument("--steps", type=int, default=sweep.STEPS, metavar="N", help="steps of the sweep (default 100)")
    find.add_argument("--tries", type=_count, default=1, metavar="N", help="tries, each with its own seed (default 1)")
    find.add_argument("--low", type=float, default=sweep.LOW, metavar="RATE", help="lowest rate (default 1e-7)")
    find.add_argument("--high", type=float, metavar="RATE", help="highest rate (default 10, downwards 0.1)")
    find.add_argument("--down", action="store_true", help="go from the highest rate to the lowest")
    one = command(race, "recipe", "runs", "json")
    one.add_argument("--rates", type=float, nargs="+", required=True, metavar="RATE", help="the contenders")
    help = "steps of each contender (default 50)"
    one.add_argument("--steps", type=_count, default=sweep.RACE_STEPS, metavar="N", help=help)
    help = "only make the run folder and print it, for torchrun on several machines (see finetune_core/leader.py)"
    training.add_argument("--create-only", action="store_true", help=help)
    for starting in (training, find, one):
        help = "start from a run's best weights, or from this checkpoint, instead of the recipe's weights"
        starting.add_argument("--from", metavar="RUN_OR_FILE", help=help)
    for probing in (find, one):
        probing.add_argument("--phase", type=int, default=1, metavar="N", help="the phase to probe, from 1 (default 1)")
        help = "move the rate of this layer group alone; the others keep theirs"
        probing.add_argument("--group", default="", metavar="NAME", help=help)
    command(measure, "recipe", "runs", "json")
    command(groups, "recipe", "json")
    one = command(tree, "recipe", "json")
    one.add_argument("--depth", type=_count, metavar="N", help="modules down to this depth only")
    one = command(phases, "recipe", "json")
    one.add_argument("--preset", choices=PRESETS, help="replace the phases by this preset")
    help = "replace the phases by a dictionary of milestones: {1: {'freeze_to': -1, 'duration': 1, 'lrs': [...]}, ...}"
    one.add_argument("--milestones", type=Path, metavar="FILE", help=help)
    help = f"set one phase's rates by rule: {', '.join(RATE_RULES)}, and its numbers (--rates slice 1e-5 1e-3)"
    one.add_argument("--rates", nargs="+", metavar=("RULE", "NUMBER"), help=help)
    one.add_argument("--phase", type=int, metavar="N", help="the phase for --rates, from 1 (default: the last)")
    one.add_argument("--out", type=Path, metavar="FILE", help="write the recipe with these phases")
    one.add_argument("--export", action="store_true", help="print the phases as a dictionary of milestones")
    command(plan, "recipe", "json")
    command(runs, "runs", "json")
    command(show, "run", "json")
    command(stop, "run")
    command(resume, "run")
    one = command(predict, "run", "json")
    one.add_argument("images", nargs="+", metavar="IMAGE", help="image files")
    one.add_argument("--top", type=int, default=5, metavar="N", help="classes per image (default 5)")
    one = command(export, "runs")
    one.add_argument("recipe", metavar="RECIPE|RUN", help="a recipe file, or a run's id or folder")
    one.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", help="change one value, by dotted path"
    )
    one.add_argument("--format", choices=EXPORTS, default="script", help="what to write (default script)")
    one.add_argument("--out", type=Path, metavar="FILE", help="where to write it (default: print it)")
    command(parts, "json")
    return parser
