"""The command about data: what there is to learn from, and what was left out."""

from __future__ import annotations

import sys
from typing import Any

from finetune_core.cli.parser import Commands, Options
from finetune_core.cli.shared import print_json, read_recipe
from finetune_core.data import doctor
from finetune_core.data.overview import Overview, overview
from finetune_core.data.pipeline import eval_side
from finetune_core.data.split import split
from finetune_core.findings import Finding
from finetune_core.records import Count


def add_to(commands: Commands) -> None:
    """Add this command."""
    one = commands.add(data, "recipe", "set", "json")
    one.add_argument("--quick", action="store_true", help="count only; open no image")


def data(options: Options) -> None:
    """Say what a recipe learns from: task, names with their counts, what was left out, what cannot be read."""
    chosen = read_recipe(options).data
    with _Bar("Drawing the sample images") as count:
        samples = chosen.source.samples(count)
    seen = overview(samples, split(samples, chosen.valid_share, chosen.split_seed))
    found: list[Finding] = []
    if not options.quick:
        with _Bar("Looking at every image") as count:
            examined = doctor.examine(samples, eval_side(chosen.image_size), chosen.channels, count)
        found = doctor.findings(samples, examined, chosen.image_size)
    if options.json:
        print_json(_tree(seen, found))
        return
    print(f"{seen.about.title}: {seen.line()}")
    width = max(len(seen.about.noun), *(len(each.name) for each in seen.names))
    if seen.about.counted:
        print(f"\n{seen.about.noun:{width}}   train   valid")
    for each in seen.names:
        print(f"{each.name:{width}}{each.train:8}{each.valid:8}" if seen.about.counted else each.name)
    print(*([""] if seen.notes or found else []), *seen.notes, *(each.line() for each in found), sep="\n", end="")
    print()


def _tree(seen: Overview, found: list[Finding]) -> dict[str, Any]:
    """For other programs."""
    return {
        "task": seen.task,
        "images": seen.images,
        "train": seen.train,
        "valid": seen.valid,
        "names": {each.name: {"train": each.train, "valid": each.valid} for each in seen.names},
        "notes": seen.notes,
        "findings": [{"level": each.level, "title": each.title, "text": each.text} for each in found],
    }


class _Bar:
    """A progress bar on stderr, where there is a terminal."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> Count:
        from tqdm import tqdm

        self.bar = tqdm(desc=self.what, total=0, unit="image", disable=None, leave=False, file=sys.stderr)

        def count(done: int, total: int) -> None:
            self.bar.total = total
            self.bar.update(done - self.bar.n)

        return count

    def __exit__(self, *_: object) -> None:
        self.bar.close()
