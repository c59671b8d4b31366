"""Commands about what was trained: the runs, one of them, some against each other, what one's model sees."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from finetune_core import places
from finetune_core.cli.parser import Commands, Options, whole
from finetune_core.cli.shared import Bar, check_free, made_folder, open_run, open_runs, print_json, runs_folder, write
from finetune_core.errors import UserError
from finetune_core.parts.tasks import TASKS
from finetune_core.recipe.diff import differing, in_words
from finetune_core.runs.shelf import summaries
from finetune_core.runs.shelf.apart import told_apart
from finetune_core.runs.shelf.summaries import Summary
from finetune_core.runs.states import fitted
from finetune_core.runs.store import Run
from finetune_core.wording import count as counted
from finetune_core.wording import few, file_name, shown


def add_to(commands: Commands) -> None:
    """Add these commands."""
    one = commands.add(runs, "runs", "json")
    one.add_argument("--find", default="", metavar="TEXT", help="only those that hold these words somewhere")
    one.add_argument("--state", nargs="+", default=[], metavar="STATE", help="only those in one of these states")
    one.add_argument("--task", nargs="+", default=[], choices=list(TASKS), help="only those that learn this")
    one.add_argument("--tag", nargs="+", default=[], metavar="TAG", help="only those with all of these tags")
    one.add_argument("--starred", action="store_true", help="only those with a star")
    commands.add(show, "run", "json")
    one = commands.add(compare, "runs", "json")
    one.add_argument("compared", nargs="+", metavar="RUN", help="ids or folders of two runs or more")
    one = commands.add(evaluate, "run", "json")
    help = "valid, test, or a folder, an archive or a table of other images with their labels (default valid)"
    one.add_argument("--on", default="valid", metavar="IMAGES", help=help)
    help = "views of each image that its augmentation draws, for the mean of their answers (default 0: the plain image)"
    one.add_argument("--views", type=whole(0), default=0, metavar="N", help=help)
    one.add_argument(
        "--csv", type=places.expanded, metavar="FILE", help="write a table: each image, its label, all its values"
    )
    one = commands.add(calibrate, "run", "json")
    kept = one.add_mutually_exclusive_group()
    kept.add_argument("--keep", action="store_true", help="keep it with the model: predict, serve, export follow")
    kept.add_argument("--forget", action="store_true", help="keep nothing any more")
    one = commands.add(predict, "run", "json")
    one.add_argument("images", nargs="+", metavar="IMAGE", help="image files, folders of them, zip or tar archives")
    one.add_argument(
        "--csv", type=places.expanded, metavar="FILE", help="write a table: each image with all its values"
    )
    one.add_argument("--top", type=whole(1), default=5, metavar="N", help="classes per image (default 5)")
    one = commands.add(explain, "run")
    one.add_argument("images", nargs="+", metavar="IMAGE", help="image files, folders of them, zip or tar archives")
    one.add_argument(
        "--out", type=places.expanded, required=True, metavar="FOLDER", help="where the heat maps go, as PNG files"
    )
    one.add_argument("--name", default="", metavar="NAME", help="what to look for (default: what is likeliest)")
    help = "ask its layers, or cover part after part, which is slow (default layers)"
    one.add_argument("--way", choices=["layers", "covering"], default="layers", help=help)
    one = commands.add(features, "run", "json")
    help = "a file ending in .npz (NumPy) or .csv"
    one.add_argument("--out", type=places.expanded, metavar="FILE", help=help)
    help = "nearest training images that name a validation image (default 10)"
    one.add_argument("--neighbours", type=whole(1), default=10, metavar="N", help=help)
    one = commands.add(card, "run")
    help = "a file ending in .md, with a folder of pictures beside it, or in .html, with the pictures inside"
    one.add_argument("--out", type=places.expanded, required=True, metavar="FILE", help=help)
    one = commands.add(serve, "run")
    one.add_argument("--port", type=whole(1, 65535), default=8600, help="port (default 8600)")


def runs(options: Options) -> None:
    """List the runs, newest first."""
    all_of_them = summaries.summaries(runs_folder(options))
    found = summaries.matching(
        all_of_them,
        options.find,
        states=options.state,
        tasks=options.task,
        tags=options.tag,
        starred=options.starred,
    )
    if options.json:
        print_json([_summary(one) for one in found])
        return
    called = told_apart(all_of_them)
    for one in found:
        print(_line(one, called[one.id]))
    if not all_of_them:
        print("No runs yet. Start one with: python -m finetune_core init recipe.yaml")
    elif not found:
        print(f"None of the {len(all_of_them):,} runs is like that.")


def show(options: Options) -> None:
    """Show one run: state, epochs, recipe."""
    run = open_run(options)
    one = summaries.summary(run)
    if not one.readable:
        raise UserError.said(one.status.error or {"what": f"{run.id} cannot be read."})
    epochs = run.epochs()
    summary = {**_summary(one), "path": str(run.path), "message": one.status.message, "error": one.status.error}
    if options.json:
        print_json({**summary, "epochs_done": epochs, "recipe": run.recipe.model_dump(mode="json")})
        return
    for key, value in summary.items():
        print(f"{key:16}{_told(value)}")
    task = run.recipe.task
    for epoch in epochs:
        mark = "   best" if epoch["best"] else ""
        losses = f"loss {_loss(epoch['train_loss'])}   validation loss {_loss(epoch['valid_loss'])}"
        scores = ", ".join(
            f"{s.title} {s.shown(epoch['scores'][s.key])}" for s in task.scores if s.key in epoch["scores"]
        )
        print(f"epoch {epoch['epoch'] + 1:>3}   {losses}   {scores}{mark}")


def evaluate(options: Options) -> None:
    """Measure a run's best model on its validation images, or once, at the end, on those put aside for a test."""
    from finetune_core.understand.evaluate import evaluate as measure

    run = open_run(options)
    with Bar("Reading and measuring") as count:
        on = options.on if options.on in ("valid", "test") else places.expanded(options.on)
        look = measure(run, on, count, options.views)
    found, notes = look.found, look.notes
    if options.csv:
        from finetune_core.understand import many

        truth = [look.targets.about.spelled(look.targets, each) for each in look.answers.wanted]
        seen = many.of_answers(look.targets, look.answers)
        write(options.csv, many.table(seen, look.targets, truth))
    if options.json:
        print_json({**json.loads(found.line()), "notes": notes})
        return
    scores, views = run.recipe.task.scores, found.views
    where = "validation" if found.on == "valid" else shown(found.on)
    print(f"{counted(found.images, 'image')}, {where}{f', mean of {views + 1} views' * bool(views)}")
    for score in scores:
        if score.key in found.scores:
            print(f"{score.title:24}{score.shown(found.scores[score.key])}")
    for name, value in found.by_name.items():
        print(f"  {shown(name):22}{scores[0].shown(value)}")
    if found.look > 1:
        print(f"Look {found.look} at these test images: what is chosen by them is no test any more.")
    print(*notes, sep="\n", end="\n" * bool(notes))


def calibrate(options: Options) -> None:
    """Fit what a model's answers mean: a temperature for its confidence, or a threshold for each tag."""
    from finetune_core.understand import fitting

    run = open_run(options)
    if options.forget:
        fitted.save(run, None)
        if options.json:
            print_json({"kept": None})
        else:
            print("Nothing is kept with the model any more.")
        return
    found = fitting.fit(run)
    kept = found.fitted if options.keep else fitted.load(run)
    if options.keep:
        fitted.save(run, kept)
    if options.json:
        print_json({**asdict(found), "kept": kept and asdict(kept)})
        return
    print(*found.lines(), sep="\n")
    print("Kept with the model." if kept else "Not kept: the model answers as it has learned to. Keep it with --keep.")


def _loss(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _line(one: Summary, name: str) -> str:
    """A run, called so, in one line of a terminal; of an unreadable one, why."""
    star, status = "* " if one.notes.star else "  ", one.status
    if not one.readable:
        return f"{star}{shown(one.id):43} {status.state:11}{UserError.said(status.error or {'what': ''})}"
    tags = "".join(f"  #{tag}" for tag in one.notes.tags)
    best, epochs = one.score.shown(status.best_score), f"{status.epoch} of {status.epochs} epochs"
    return f"{star}{shown(one.id):43} {status.state:11}{best:>8}  {epochs:16}  {shown(name)}{tags}"


def _summary(one: Summary) -> dict[str, Any]:
    status = one.status
    return {
        "id": one.id,
        "state": status.state,
        "name": one.name,
        "title": one.title,
        "backbone": one.backbone,
        "epoch": status.epoch,
        "epochs": status.epochs,
        "task": one.task,
        "best_score": status.best_score,
        "star": one.notes.star,
        "tags": list(one.notes.tags),
        "notes": one.notes.text,
        "bytes": one.size,
        "error": status.error,
    }


def _told(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "–"
    return "–" if value in (None, "") else str(value)


def compare(options: Options) -> None:
    """Say which of some runs is the better one on the same validation images, and whether that may be chance."""
    from finetune_core.understand import compare as comparing

    found = open_runs(options.compared, options.runs)
    called = told_apart(map(summaries.summary, found))
    made = comparing.compare(found, called)
    recipes = [run.recipe for run in found]
    if options.json:
        words = [comparing.verdict(pair, made, called) for pair in (*made.pairs, made.gained)]
        pairs = {"agreements": [_agreement(one, other) for one, other in combinations(found, 2)]}
        print_json({**asdict(made), **pairs, "verdicts": words, "differences": differing(*recipes)})
        return
    _print_scores(made, called)
    for line in [*(comparing.verdict(pair, made, called) for pair in (*made.pairs, made.gained)), *made.notes]:
        print(f"\n{line}")
    _print_differences(recipes, list(called.values()))


def _agreement(one: Run, other: Run) -> dict[str, Any]:
    """What two runs say of the same images: how many each way, and which."""
    from finetune_core.understand.agreement import agreement

    made = agreement(one, other)
    groups = {key: [shown(made.images[place]) for place in places] for key, places in made.groups.items()}
    scores = {} if made.right is None else {"same": made.share, "kappa": made.kappa}
    return {"runs": [one.id, other.id], **scores, **groups}


TOGETHER = "All together"  # as the row of a table


def _print_scores(made: Any, called: dict[str, str]) -> None:
    wide = max(map(len, (*called.values(), TOGETHER))) + 2
    print(f"On {made.images:,} validation images, with intervals of 95 %:")
    print(f"{'':{wide}}" + "".join(f"{score.title:>28}" for score in made.scores))
    for name, scores in [*((called[run], each) for run, each in made.runs.items()), (TOGETHER, made.together)]:
        cells = (
            f"{s.shown(scores[s.key].value)} ({s.shown(scores[s.key].low)} to {s.shown(scores[s.key].high)})"
            for s in made.scores
        )
        print(f"{name:{wide}}" + "".join(f"{cell:>28}" for cell in cells))


def _print_differences(recipes: Sequence[Any], names: Sequence[str]) -> None:
    rows = in_words(*(recipe.replace(name="") for recipe in recipes))
    print("\nThe recipes are the same." if not rows else "\nWhat differs between the recipes:")
    for place, *values in rows:
        print(f"{place}: " + "; ".join(f"{name} {value}" for name, value in zip(names, values, strict=True)))


def predict(options: Options) -> None:
    """Say what a run's best model sees in images."""
    from finetune_core.understand import many, predict

    if options.csv and options.json:
        raise UserError("--csv and --json were both asked for.", hint="Choose one.")
    run = open_run(options)
    predictor = predict.load(run)
    with Bar("Looking") as count:
        found = many.look(predictor, many.pictures(options.images), count)
    if options.csv:
        write(options.csv, many.table(found, predictor.targets))
        print(f"Wrote {options.csv}: {counted(len(found), 'image')}.")
    elif options.json:
        print_json([each.plain(options.top) for each in found])
    else:
        for each in found:
            said = ", ".join(f"{name} {run.recipe.task.shown(value)}" for name, value in each.answers[: options.top])
            print(f"{shown(each.path)}: {said or each.why}")


def explain(options: Options) -> None:
    """Draw where a run's best model looks in images, as heat maps."""
    from finetune_core.understand import explain, many, predict

    predictor, paths = predict.load(open_run(options)), many.pictures(options.images)
    names, out = predictor.targets.names, made_folder(options.out)
    if options.name and options.name not in names:
        raise UserError(f"The run does not know {shown(options.name)}.", f"It knows {few(names)}.", "Choose of these.")
    written = 0
    with Bar("Looking") as count:
        found = explain.pictures(predictor, [(path, options.name) for path in paths], options.way, count)
        for number, (path, looked) in enumerate(zip(paths, found, strict=True), start=1):
            if looked is None:
                print(f"{shown(path)}: it cannot be read.")
                continue
            file = out / f"{number:04d}-{file_name(path.stem)}.png"
            write(file, looked.png())
            print(f"{shown(file)}: {shown(looked.name)}")
            written += 1
    if not written:
        raise UserError("None of the images can be read.", hint="Name pictures that can be opened.")


def features(options: Options) -> None:
    """Say how well a model's features alone tell images apart, by nearest neighbours; write the features to a file."""
    from finetune_core.understand import embedding

    run, out = open_run(options), options.out
    made: dict[str, Callable[[Any], str | bytes]] = {".npz": embedding.packed, ".csv": embedding.table}
    if out and out.suffix not in made:
        raise UserError(f"{shown(out.name)} ends in neither .npz nor .csv.", hint="Name such a file as --out.")
    with Bar("Looking at all images") as count:
        seen = embedding.look(run, count)
    if out:
        write(out, made[out.suffix](seen))
    right = embedding.by_neighbours(seen, options.neighbours) if run.recipe.task.exclusive else None
    if options.json:
        about = {"images": len(seen.paths), "features": seen.features.shape[1], "neighbours": options.neighbours}
        print_json({**about, "right": right, "out": str(out) if out else None})
        return
    print(f"{counted(len(seen.paths), 'image')}, {counted(seen.features.shape[1], 'feature')} each")
    if right is not None:
        print(
            f"Named right by {counted(options.neighbours, 'nearest training image')}: {right:.1%} of validation images"
        )
    if out:
        print(f"Wrote {shown(out)}.")


def card(options: Options) -> None:
    """Write a model card: what a run's model is, learned from what, how good it is, and where it is weak."""
    from finetune_core.export import card
    from finetune_core.understand import explain

    run, out = open_run(options), options.out
    if out.suffix not in (".md", ".html"):
        raise UserError(f"{shown(out.name)} ends in neither .md nor .html.", hint="Name such a file as --out.")
    card.sections(run)  # what is wrong is said before pictures are looked at
    with Bar("Looking") as count:
        figures = card.figures_of(explain.telling(run, card.FIGURES, count))
    every = card.sections(run, figures)
    if out.suffix == ".html":
        write(out, card.page(card.title(run), every))
    else:
        folder = made_folder(out.with_name(f"{out.stem}-pictures"))
        for earlier in folder.glob("[0-9]*.png"):
            earlier.unlink()
        for number, each in enumerate(figures, start=1):
            write(folder / f"{number}.png", each.png)
        write(out, card.markdown(card.title(run), every, folder.name))
    print(f"Wrote {shown(out)}.")


def serve(options: Options) -> None:
    """Answer pictures that other programs send, by HTTP, to this machine alone; with a page to try it."""
    run = open_run(options)
    check_free("127.0.0.1", options.port, "serve RUN")
    import uvicorn

    from finetune_core.export import serving

    app = serving.app(run)
    print(f"{run.id} answers at http://127.0.0.1:{options.port}. Ctrl-C ends it.")
    print(f"  curl --data-binary @photo.jpg http://127.0.0.1:{options.port}/predict", flush=True)
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning")
