"""The commands about data: what there is to learn from, what was left out, and what is wrong with it."""

from __future__ import annotations

from typing import Any

from finetune_core import places
from finetune_core.cli.parser import Commands, Options
from finetune_core.cli.shared import Bar, print_json, read_recipe, write
from finetune_core.data.chosen import chosen
from finetune_core.data.doctor import Doubt, full
from finetune_core.data.overview import Overview, overview
from finetune_core.finder import probes
from finetune_core.findings import Finding
from finetune_core.parts.sources.samples import Samples
from finetune_core.recipe import Recipe

MOST = 20  # clicks in a row
MARKS = {"ok": "fine:", "warn": "look:", "ask": "serious:", "error": "wrong:"}


def add_to(commands: Commands) -> None:
    """Add this command."""
    one = commands.add(data, "recipe", "set", "json")
    one.add_argument("--quick", action="store_true", help="count only; open no image")
    one = commands.add(doctor, "recipe", "set", "json")
    help = "write the recipe with what is proposed first for each finding; the images stay as they are"
    one.add_argument("--mend", type=places.expanded, metavar="FILE", help=help)


def data(options: Options) -> None:
    """Say what a recipe learns from: task, names with their counts, what was left out, what cannot be read."""
    recipe = read_recipe(options)
    wanted = recipe.data
    with Bar(wanted.source.making) as count:
        samples, parts = chosen(wanted, count)
    seen = overview(samples, parts)
    found: list[Finding] = []
    if not options.quick:
        found = _examined(recipe)
    if options.json:
        print_json(_tree(seen, found))
        return
    print(f"{seen.about.title}: {seen.line()}")
    for fix in wanted.fixes:
        print(fix.line())
    width = max(len(seen.about.noun), *(len(each.name) for each in seen.names))
    if seen.about.counted:
        print(f"\n{seen.about.noun:{width}}   train   valid")
    for each in seen.names:
        print(f"{each.name:{width}}{each.train:8}{each.valid:8}" if seen.about.counted else each.name)
    print(*([""] if seen.notes or found else []), *seen.notes, *(each.line() for each in found), sep="\n", end="")
    print()


def doctor(options: Options) -> int:
    """Read every image of a recipe's data and say what is wrong with them; exit code 1 where it asks for a decision."""
    recipe = read_recipe(options)
    found = _examined(recipe)
    samples = chosen(recipe.data)[0]
    mended, left = recipe, found
    if options.mend:
        mended, left = _mended(recipe, found)
        write(options.mend, mended.to_yaml())
    if options.json:
        print_json({"findings": [_finding(samples, each) for each in found], "mended": mended.data.fixes})
    else:
        for each in found:
            print(f"{MARKS[each.level]} {each.line()}")
            for mend in each.mends:
                print(f"    {mend.title}?")
        if options.mend:
            print(f"Mended in {options.mend}:", *(fix.line() for fix in mended.data.fixes), sep="\n  ")
    return int(any(each.level == "ask" for each in left))


def _mended(recipe: Recipe, found: list[Finding]) -> tuple[Recipe, list[Finding]]:
    """The recipe with the first click of each finding done, one after another, and what is found then."""
    for _ in range(MOST):
        mend = next((each.mend for each in found if each.mend), None)
        if mend is None:
            break
        recipe = recipe.with_value(mend.path, mend.value)
        found = [each for each in _examined(recipe) if each.mend != mend]
    return recipe, found


def _examined(recipe: Recipe) -> list[Finding]:
    seen = probes.known_before(recipe, recipe.model.backbone)
    doubts = tuple(Doubt(*each) for each in seen.doubts) if seen else ()
    with Bar("Looking at every image") as count:
        return full(recipe, count, doubts, seen.twins if seen else ())


def _finding(samples: Samples, finding: Finding) -> dict[str, Any]:
    """For other programs."""
    images = [samples.place(index) for index in finding.images]
    mends = [{"title": each.title, "set": each.path, "value": each.value} for each in finding.mends]
    return {"level": finding.level, "title": finding.title, "text": finding.text, "images": images, "mends": mends}


def _tree(seen: Overview, found: list[Finding]) -> dict[str, Any]:
    """For other programs."""
    return {
        "task": seen.task,
        "images": seen.images,
        "train": seen.train,
        "valid": seen.valid,
        "test": seen.test,
        "names": {each.name: {"train": each.train, "valid": each.valid} for each in seen.names},
        "notes": seen.notes,
        "findings": [{"level": each.level, "title": each.title, "text": each.text} for each in found],
    }
