"""Commands about what was trained: the runs, one of them, what its model sees."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finetune_core.cli.parser import Commands, Options, whole
from finetune_core.cli.shared import open_run, print_json
from finetune_core.errors import UserError
from finetune_core.parts.tasks import TASKS
from finetune_core.runs import store


def add_to(commands: Commands) -> None:
    """Add these commands."""
    commands.add(runs, "runs", "json")
    commands.add(show, "run", "json")
    one = commands.add(predict, "run", "json")
    one.add_argument("images", nargs="+", metavar="IMAGE", help="image files")
    one.add_argument("--top", type=whole(1), default=5, metavar="N", help="classes per image (default 5)")


def runs(options: Options) -> None:
    """List the runs, newest first."""
    rows = list(_summaries(store.list_runs(options.runs)))
    if options.json:
        print_json(rows)
        return
    for row in rows:
        best = TASKS[row["task"]].score.shown(row["best_score"])
        print(f"{row['id']:44}{row['state']:10}{best:>8}  {row['epoch']} of {row['epochs']} epochs")
    if not rows:
        print("No runs yet. Start one with: python -m finetune_core init recipe.yaml")


def show(options: Options) -> None:
    """Show one run: state, epochs, recipe."""
    run = open_run(options)
    epochs = [record for record in run.records()[0] if record["kind"] == "epoch"]
    summary = {**_summary(run), "path": str(run.path), "message": run.status.message, "error": run.status.error}
    if options.json:
        print_json({**summary, "epochs_done": epochs, "recipe": run.recipe.model_dump(mode="json")})
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


def _summaries(found: list[store.Run]) -> Iterator[dict[str, Any]]:
    """Of each run that can be read; of the others it is said why not."""
    for run in found:
        try:
            yield _summary(run)
        except UserError as error:
            print(f"{run.id} cannot be read. {error}", file=sys.stderr)


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


def predict(options: Options) -> None:
    """Say what a run's best model sees in images."""
    from finetune_core.understand import predict

    run = open_run(options)
    answers = predict.load(run)([Path(image) for image in options.images], options.top)
    if options.json:
        pairs = zip(options.images, answers, strict=True)
        print_json([{"image": image, "answers": [{"name": n, "value": v} for n, v in a]} for image, a in pairs])
        return
    shown = run.recipe.task.shown
    for image, answer in zip(options.images, answers, strict=True):
        print(f"{image}: " + ", ".join(f"{name} {shown(value)}" for name, value in answer))
