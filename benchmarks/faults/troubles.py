"""Troubles of the work itself: numbers that are none and memory that runs out; and the way on that is offered then."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.faults.lives import STEPS, Lab, Problem, Problems, ended, finish, struck
from benchmarks.faults.trials import Trial
from finetune_core.runs.states import branch, mending
from finetune_core.runs.store import Run


def broken(lab: Lab) -> Iterator[Trial]:
    """The loss is no number, or memory runs out: at the first step, in the midst, at the last one."""
    from benchmarks.faults.driver import OUT_OF_MEMORY, Hurt

    for nth in (1, STEPS // 2 + 2, STEPS):
        yield Trial(f"nan at step {nth}", lambda nth=nth: _break(lab, Hurt("nan", nth=nth), "diverged"))
        for what in OUT_OF_MEMORY:
            yield Trial(f"{what} at step {nth}", lambda what=what, nth=nth: _break(lab, Hurt(what, nth=nth), "memory"))


def _break(lab: Lab, hurt: object, kind: str) -> Problems:
    """It fails in words, and the way that is offered leads to the end, the past being as it was."""
    run = lab.run()
    finish(run, [hurt])
    yield from struck(run)
    yield from ended(run, "diverged" if kind == "diverged" else "failed")
    if (run.status.error or {}).get("kind") != kind:
        yield Problem("words", f"not told as {kind}: {run.status.error}")
    way = mending.way(run)
    if way is None:
        yield Problem("words", "no way to go on is offered")
        return
    other = branch.go_on(run, way.recipe, way.step)
    begun = other.status.step
    finish(other)
    yield from ended(other)
    mine, before = _losses(other), _losses(lab.whole(run.recipe))
    if [*mine] != list(range(STEPS)):
        yield Problem("lost", f"steps {[*mine]}")
    if any(mine[step] != before[step] for step in range(begun)):
        yield Problem("lost", f"the {begun} steps before are others")


def _losses(run: Run) -> dict[int, float]:
    return {row["step"]: row["loss"] for row in run.records()[0] if row["kind"] == "step"}
