"""Sweeps: groups of queued runs that differ in one knob or two, and what comes of them.

Each run of a sweep says so itself: `sweep.json` in its folder holds the sweep's id, its axes and the run's own values.
So a sweep is whatever runs of it there are, and nothing is torn where one is thrown away or taken elsewhere.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from finetune_core import places
from finetune_core.errors import UserError
from finetune_core.parts.tasks import Score
from finetune_core.recipe import Recipe
from finetune_core.recipe.variants import MOST, Axis, Variant
from finetune_core.runs import preflight
from finetune_core.runs.folder import read_json
from finetune_core.runs.shelf.summaries import summaries
from finetune_core.runs.store import Run
from finetune_core.runs.waiting import queue
from finetune_core.wording import few

SEVERAL = 3  # seeds that tell chance from the rest


@dataclass(frozen=True)
class Mark:
    """What a run says of the sweep that it belongs to, with its own values."""

    sweep: str
    axes: tuple[Axis, ...]
    values: tuple[Any, ...]
    seed: int

    @property
    def sound(self) -> bool:
        """Whether its values are among those of the axes, each of which has a word."""
        named = all(len(axis.values) == len(axis.words) for axis in self.axes)
        return named and len(self.values) == len(self.axes) and all(map(_among, self.values, self.axes))


_MARK = TypeAdapter(Mark)


@dataclass(frozen=True)
class Trial:
    """One run of a sweep, at one value for each axis."""

    run: Run
    values: tuple[Any, ...]
    seed: int


@dataclass(frozen=True)
class Point:
    """What is known at one combination of values: the best score of each finished run.

    `open` runs are to come, of which some are `waiting`; `without` says how those ended that have no score to compare.
    """

    values: tuple[Any, ...]
    words: tuple[str, ...]
    scores: tuple[float, ...]
    open: int
    waiting: int = 0
    without: tuple[str, ...] = ()

    @property
    def mean(self) -> float | None:
        """Over the seeds; None before the first score."""
        return statistics.fmean(self.scores) if self.scores else None

    @property
    def spread(self) -> float:
        """Half the way from the lowest to the highest score of its seeds."""
        return (max(self.scores) - min(self.scores)) / 2 if self.scores else 0.0


@dataclass(frozen=True)
class Sweep:
    """The runs of a sweep, in the order of their values."""

    id: str
    axes: tuple[Axis, ...]
    trials: tuple[Trial, ...]

    @property
    def score(self) -> Score:
        """What its runs are judged by."""
        return self.trials[0].run.recipe.task.score

    @property
    def title(self) -> str:
        """`Learning rate`, or `Learning rate × Batch size`."""
        return " × ".join(axis.title for axis in self.axes)

    def points(self) -> list[Point]:
        """One for every combination of values, also where no run is left."""
        status = {trial: trial.run.status for trial in self.trials}
        made = []
        for values in product(*(axis.values for axis in self.axes)):
            here = [status[trial] for trial in self.trials if trial.values == values]
            scores = tuple(each.best_score for each in here if each.state == "finished" and each.best_score is not None)
            words = tuple(axis.words[axis.values.index(value)] for axis, value in zip(self.axes, values, strict=True))
            waiting = sum(each.state == "queued" for each in here)
            open_runs = waiting + sum(each.active for each in here)
            ended = tuple(each.state for each in here if not each.active and each.state not in ("queued", "finished"))
            made.append(Point(values, words, scores, open_runs, waiting, ended))
        return made


def begin(axes: Sequence[Axis], made: Sequence[Variant], runs: Path | None = None) -> Sweep:
    """Queue a run for each of the variants that were made of these axes.

    UserErrors as `queue.submit`, and where one of them could not run; then none is queued.
    """
    for recipe in {each.values: each.recipe for each in made}.values():  # seeds make no difference
        _check(recipe)
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-sweep"
    taken = {sweep.id for sweep in list_sweeps(runs)}
    name = next(each for each in (name, *(f"{name}-{number}" for number in range(2, 1000))) if each not in taken)

    def mark(run: Run, place: int) -> None:
        run.write_json(run.sweep_file, asdict(Mark(name, tuple(axes), made[place].values, made[place].seed)))

    queue.submit_all([each.recipe for each in made], runs=runs, mark=mark)
    return open_sweep(name, runs)


def _check(recipe: Recipe) -> None:
    for finding in preflight.findings(recipe):
        if finding.error:
            raise UserError(f"{recipe.name}: {finding.error.what}", finding.error.why, finding.error.hint)


def list_sweeps(runs: Path | None = None) -> list[Sweep]:
    """All sweeps, the newest first."""
    folder = runs or places.runs_dir()
    found: dict[str, list[tuple[Mark, Run]]] = {}
    for run in (Run(folder / one.id) for one in summaries(runs, job=None) if one.swept):
        if mark := mark_of(run):
            found.setdefault(mark.sweep, []).append((mark, run))
    return sorted((_sweep(name, each) for name, each in found.items()), key=lambda sweep: sweep.id, reverse=True)


def open_sweep(name: str, runs: Path | None = None) -> Sweep:
    """The sweep of this id; a UserError where there is none."""
    for sweep in list_sweeps(runs):
        if sweep.id == name:
            return sweep
    raise UserError(f"There is no sweep {name}.", "No run says that it belongs to it.", "See them with `sweep-result`.")


def mark_of(run: Run) -> Mark | None:
    """What a run says of the sweep that it belongs to; None where it belongs to none, or its file is damaged."""
    try:
        saved = read_json(run.sweep_file)
        mark = _MARK.validate_python(saved) if saved else None
    except (UserError, ValidationError):
        return None
    return mark if mark and mark.sound else None


def repeatable(sweep: Sweep) -> bool:
    """Whether `SEVERAL` seeds could tell more: not where they are tried already, or where that were too many runs."""
    alone = len({trial.values for trial in sweep.trials})
    seeds = any(axis.path == "training.seed" for axis in sweep.axes)
    return not seeds and alone == len(sweep.trials) and SEVERAL * alone <= MOST


def repeated(sweep: Sweep) -> list[Variant]:
    """All its values once more, each with `SEVERAL` seeds. A UserError where a run's recipe cannot be read."""
    alone = [(trial.values, trial.run.recipe) for trial in sweep.trials]
    return [
        Variant(values, seed, recipe.with_value("training.seed", seed).replace(name=f"{recipe.name}, seed {seed}"))
        for values, recipe in alone
        for seed in range(recipe.training.seed, recipe.training.seed + SEVERAL)
    ]


def cancel(sweep: Sweep) -> int:
    """Take all its waiting runs out of the queue; how many."""
    return queue.cancel_all([trial.run for trial in sweep.trials])


def best(points: Sequence[Point], score: Score) -> Point | None:
    """The point with the best mean score; None before there is one."""
    known = [point for point in points if point.mean is not None]
    return max(known, key=lambda point: score.signed(point.mean or 0.0), default=None)


def verdict(sweep: Sweep, points: Sequence[Point]) -> str:
    """The answer in a sentence, and how far it can be trusted."""
    score, missing = sweep.score, _missing(sweep, points)
    top, left = best(points, score), sum(point.open for point in points)
    if top is None or top.mean is None:
        return f"No run has a score{' yet' if left else ''}.{missing}"
    said = f"Best at {_called(sweep.axes, top)}: {score.inside} {score.shown(top.mean)}."
    if left:
        to_come = f"{left} of {len(sweep.trials)} runs {'is' if left == 1 else 'are'} still to come."
        return f"So far: {said[0].lower()}{said[1:]} {to_come}{missing}"
    return f"{said}{_doubt(sweep, points, top)}{missing}"


def _missing(sweep: Sweep, points: Sequence[Point]) -> str:
    """Which values cannot be compared, since no run of them has a score or will have one, and how those ended."""
    without = [point for point in points if not point.scores and not point.open]
    names = [f"{_called(sweep.axes, point)} ({few(point.without) or 'no score'})" for point in without]
    return f" Without a finished run, and so not compared: {few(names)}." if names else ""


def _doubt(sweep: Sweep, points: Sequence[Point], top: Point) -> str:
    """Which others are as good, as far as the seeds tell: their scores lie among those of the best."""
    others = [point for point in points if point is not top and point.scores]
    if not others:
        return ""
    if max(len(point.scores) for point in points) < 2:
        more = f" Repeat it with {SEVERAL} seeds to see." if repeatable(sweep) else ""
        return f" One seed each: small differences may be chance.{more}"
    rivals = [point for point in others if _meet(point.scores, top.scores)]
    if not rivals:
        return " Every seed of it is better than any seed of the others."
    names = ", ".join(_called(sweep.axes, point) for point in rivals[:3])
    return f" Not distinguishable from {names}{' and others' if len(rivals) > 3 else ''}: their seeds overlap."


def _meet(some: Sequence[float], others: Sequence[float]) -> bool:
    return min(some) <= max(others) and min(others) <= max(some)


def _called(axes: Sequence[Axis], point: Point) -> str:
    return ", ".join(f"{axis.title.lower()} {word}" for axis, word in zip(axes, point.words, strict=True))


def _sweep(name: str, found: Sequence[tuple[Mark, Run]]) -> Sweep:
    axes = found[0][0].axes
    trials: dict[tuple[int, ...], Trial] = {}
    for mark, run in sorted(found, key=lambda each: each[1].id):
        if mark.axes == axes:  # a copy, which has a later id, is no other seed
            trials.setdefault(_order(mark), Trial(run, mark.values, mark.seed))
    return Sweep(name, axes, tuple(trials[place] for place in sorted(trials)))


def _order(mark: Mark) -> tuple[int, ...]:
    return (*(axis.values.index(value) for axis, value in zip(mark.axes, mark.values, strict=True)), mark.seed)


def _among(value: Any, axis: Axis) -> bool:
    return value in axis.values
