"""Names of several runs that are shown together: where two would be called the same, they are told apart in words."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from finetune_core.recipe.words import BETWEEN
from finetune_core.runs.shelf.notes import LONGEST_NAME
from finetune_core.runs.shelf.summaries import Summary
from finetune_core.wording import tidy

MOST = 2  # details that a name gains; where they do not tell all apart, the time does


def told_apart(runs: Iterable[Summary]) -> dict[str, str]:
    """What to call each of some runs, by its id, on one line: no two of them the same, nor as a page shows them."""
    alike = defaultdict(list)
    for run in runs:
        alike[tidy(run.title, LONGEST_NAME)].append(run)
    names = {id: name for title, some in alike.items() for id, name in _apart(title, some).items()}
    twice = _repeated(names)  # where somebody has typed what another was told apart by
    return {id: f"{name}{BETWEEN}{id}" if name in twice else name for id, name in names.items()}


def _apart(title: str, runs: Sequence[Summary]) -> dict[str, str]:
    """By what differs, else by when they began, else by number."""
    if len(runs) == 1:
        return {runs[0].id: title}
    names = _unlike(title, runs)
    if twice := _repeated(names):
        names |= {run.id: BETWEEN.join((names[run.id], _when(run))) for run in runs if names[run.id] in twice}
    counted: Counter[str] = Counter()
    twice = _repeated(names)
    for run in sorted(runs, key=lambda run: run.id):  # the oldest is number 1
        if (name := names[run.id]) in twice:
            counted[name] += 1
            names[run.id] = f"{name}{BETWEEN}number {counted[name]}"
    return names


def _unlike(title: str, runs: Sequence[Summary]) -> dict[str, str]:
    """With the first details that tell any of them apart."""
    known = [run.details for run in runs if run.details]
    differ = [place for place, each in enumerate(zip(*known, strict=False)) if len({*each}) > 1][:MOST]
    return {
        run.id: BETWEEN.join((title, *(run.details[place] for place in differ if place < len(run.details))))
        for run in runs
    }


def _repeated(names: Mapping[str, str]) -> set[str]:
    return {name for name, times in Counter(names.values()).items() if times > 1}


def _when(run: Summary) -> str:
    return time.strftime("%d %b %H:%M", time.localtime(run.status.started)) if run.status.started else run.id
