"""Commands that measure a claim: the lessons, and some recipes of one's own against each other."""

from __future__ import annotations

from typing import Any

from finetune_core import places
from finetune_core.cli.parser import Commands, Options, whole
from finetune_core.cli.shared import check, print_json, work
from finetune_core.errors import UserError
from finetune_core.lessons import ARTICLES, Lesson
from finetune_core.recipe import load
from finetune_core.recipe.arms import MEASURES, SCORE, against
from finetune_core.runs import store
from finetune_core.runs.jobs import Experiment
from finetune_core.runs.store import Run
from finetune_core.wording import few


def add_to(commands: Commands) -> None:
    """Add these commands."""
    one = commands.add(lesson, "runs", "json")
    one.add_argument("what", choices=("list", "run"), help="list all of them, or run one")
    one.add_argument("name", nargs="?", default="", metavar="NAME", help="the lesson to run")
    one.add_argument("--seeds", type=whole(1, 10), metavar="N", help="how often each is tried (default: the lesson's)")
    one = commands.add(versus, "runs", "json")
    one.add_argument("recipes", nargs="+", type=places.expanded, metavar="RECIPE", help="two recipe files or more")
    one.add_argument("--seeds", type=whole(1, 10), default=3, metavar="N", help="how often each is tried (default 3)")
    one.add_argument("--measure", choices=MEASURES, default=SCORE, help="what is measured (default score)")


def lesson(options: Options) -> int | None:
    """List the lessons, or run one: what an article claims, measured here in about a minute."""
    known = Lesson.kinds()
    if options.what == "list":
        _list(options.json)
        return None
    if options.name not in known:
        hint = f"There are: {few(known, len(known))}."
        raise UserError(f"There is no lesson {options.name}." if options.name else "Which lesson?", hint=hint)
    one = known[options.name]()
    run, code = _worked(one.recipe(), one.job(seeds=options.seeds), options)
    if code:
        return code
    made = one.answer(run.records()[0])
    if options.json:
        said = {"claim": one.claim, "sentences": made.sentences, "showed": made.word}
        print_json({"run": str(run.path), "lesson": one.kind, **said, **_summary(run)})
        return _ended(run)
    print(f"{one.question}\n\nThe article: {one.claim}\n")
    print(*run.job.lines(run.records()[0], run.recipe), "", *made.sentences, made.showed, sep="\n")
    return _ended(run)


def versus(options: Options) -> int:
    """Train recipes of your own with several seeds each, and say which is better for sure."""
    recipe, arms = against([load(path) for path in options.recipes])
    job = Experiment(arms=arms, seeds=options.seeds, measure=options.measure)
    run, code = _worked(recipe, job, options)
    if code:
        return code
    if options.json:
        print_json({"run": str(run.path), **_summary(run)})
    else:
        print(*run.job.lines(run.records()[0], run.recipe), sep="\n")
    return _ended(run)


def _worked(recipe: Any, job: Experiment, options: Options) -> tuple[Run, int]:
    recipe = job.prepared(recipe)
    check(recipe, job)
    run = store.create(recipe, job, options.runs)
    return run, work(run, options.json)


def _ended(run: Run) -> int:
    """The exit code: what was stopped has told what it had found until then."""
    return int(run.status.state != "finished")


def _summary(run: Run) -> dict[str, Any]:
    return run.job.summary(run.records()[0], run.recipe)


def _list(as_json: bool) -> None:
    every = [kind() for kind in Lesson.kinds().values()]
    if as_json:
        print_json(
            [
                {
                    "name": one.kind,
                    "topic": one.topic,
                    "question": one.question,
                    "arms": [arm.name for arm in one.arms],
                    "claim": one.claim,
                    "article": ARTICLES[one.article],
                }
                for one in every
            ]
        )
        return
    for one in every:
        print(f"{one.kind:24}{one.topic:28}{one.title}")
