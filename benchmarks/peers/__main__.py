"""Thaw beside fastai, Lightning, timm's loader, torch-lr-finder and plain torch: the same work on the same images.

    python -m benchmarks.peers [--rounds 3] [--gpu] [--quick] [--only WORD …]

Makes an environment for the peers, beside the torch that is there, and lets each side do each work in a process of its
own, in turn. Prints medians, ratios and versions, and writes docs/performance.md, again after each round. What is
missing (photos, weights, a peer that cannot be installed) is left out and said. `--quick` only shows that it runs.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.peers import page
from benchmarks.peers.environment import Environment
from benchmarks.peers.measured import Measured, Race
from benchmarks.peers.processes import KEEP_FREED, Answer, done
from benchmarks.peers.rows import ACCURACY, ROWS, Entry
from benchmarks.peers.task import Labelled, Task
from finetune_core.data.chosen import chosen
from finetune_core.parts.sources import Folder
from finetune_core.places import ROOT
from finetune_core.recipe import Data

PHOTOS, WEIGHTS = "data/clothing10", "weights/timm_mobilenetv2_100_imagenet1k.safetensors"
FEW = 8  # images of a class for --quick


def main() -> int:
    """Measure in turn, print, write the page."""
    options = _options()
    shared = options.shared.absolute()
    if absent := [each for each in (PHOTOS, WEIGHTS) if not (shared / each).exists()]:
        print(f"Nothing can be measured: {' and '.join(absent)} missing in {shared}. Name another folder as --shared.")
        return 0
    environment = Environment()
    environment.make()
    found = [Race(ACCURACY) if row is ACCURACY else Measured(row) for row in (*ROWS, ACCURACY)]
    found = [each for each in found if any(word.lower() in each.row.title.lower() for word in options.only)]
    about = {"machine": page.machine_facts(options.device), "versions": page.versions(environment.versions)}
    print(f"{about['machine']}\n{about['versions']}", flush=True)
    if page.load() > 0.3:
        print("Something else is at work on this machine: wait for it, or nothing that follows can be trusted.")
    with tempfile.TemporaryDirectory(prefix="thaw-peers-") as folder:
        task = _task(options, shared, Path(folder))
        about |= {"train": str(len(task.train)), "valid": str(len(task.valid)), "command": _command()}
        for number in range(options.rounds):
            _round(found, task, environment, number)
            about["rounds"] = f"{number + 1} round{'s' * (number > 0)}"
            options.page.write_text(page.page(found, about), encoding="utf-8")
    _print(found, options.page)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help="how often each side does each work (default 3, quick 1)")
    parser.add_argument("--gpu", dest="device", action="store_const", const="cuda", default="cpu", help="on the GPU")
    parser.add_argument("--quick", action="store_true", help="few images, few steps: numbers that mean nothing")
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="rows whose titles hold a word")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="folder of photos and weights")
    parser.add_argument("--page", type=Path, help="what to write (default docs/performance.md; of a part, a draft)")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    part = options.quick or options.only != [""]
    draft = Path(tempfile.gettempdir()) / "performance.md"
    options.page = options.page or (draft if part else ROOT / "docs" / "performance.md")
    return options


def _task(options: argparse.Namespace, shared: Path, folder: Path) -> Task:
    """What all tasks have in common: images, split as Thaw splits them, and weights."""
    photos = shared / PHOTOS
    if options.quick:
        photos = _few(photos, folder / "photos")
    samples, parts = chosen(Data(source=Folder(path=str(photos))))

    def side(indices: list[int]) -> Labelled:
        return tuple((str(samples.paths[index]), int(samples.labels[index])) for index in indices)  # type: ignore[arg-type]

    return Task(
        work="",
        learns="",
        train=side(parts.train.tolist()),
        valid=side(parts.valid.tolist()),
        classes=len(samples.classes),
        photos=str(photos),
        weights=str(shared / WEIGHTS),
        device=options.device,
        scratch="",
        epochs=5 if options.device == "cuda" else 1,
        rates=5 if options.quick else 100,
    )


def _few(photos: Path, folder: Path) -> Path:
    """A few images of each class."""
    for each in sorted(photos.iterdir()):
        if each.is_dir():
            (folder / each.name).mkdir(parents=True)
            for image in sorted(each.iterdir())[:FEW]:
                shutil.copy(image, folder / each.name)
    return folder


def _round(found: list[Measured], task: Task, environment: Environment, number: int) -> None:
    """Each side does each work once; in the first round the peers once more, with freed memory kept."""
    for each in found:
        names = list(each.row.entries)
        for name in reversed(names) if number % 2 else names:  # so that a slow drift favours neither
            entry = each.row.entries[name]
            if why := environment.missing.get(entry.needs):
                each.missing[name] = why
                continue
            for answer, kept in _answers(each, entry, task, environment, again=not number and entry.module != "thaw"):
                if kept:
                    each.kept[name] = answer
                else:
                    each.rounds[name].append(answer)
                told = answer.problem or _told(answer)
                print(f"{each.row.title:28}{name:32}{'kept ' * kept:6}{told}", flush=True)


def _answers(
    each: Measured, entry: Entry, task: Task, environment: Environment, again: bool
) -> Iterator[tuple[Answer, bool]]:
    python = environment.python if entry.needs else sys.executable
    own = replace(task, **{**each.row.task, **entry.task})
    if task.rates < 100:  # --quick
        own = replace(own, epochs=min(own.epochs, 2))
    yield done(python, entry.module, own, {}), False
    if again:
        yield done(python, entry.module, own, KEEP_FREED), True


def _told(answer: Answer) -> str:
    if answer.value is not None:
        return f"{answer.value:.2f}"
    return "  ".join(f"{accuracy:.1%} at {seconds:.0f} s" for seconds, accuracy in answer.curve)


def _print(found: list[Measured], file: Path) -> None:
    for each in found:
        print(f"\n{each.row.title}, {each.row.unit}")
        for name in each.row.entries:
            print(f"  {name:32}{each.cells(name)[0]:28}{each.cells(name)[1]:34}{each.cells(name)[2]}".rstrip())
        for name, why in each.troubles().items():
            print(f"  {name}: {why}")
    print("\nGoals")
    for title, goal, reached in page.goals(found):
        print(f"  {title:28}{goal:24}{reached}")
    print(f"\nWritten: {file}")


def _command() -> str:
    return shlex.join(("python", "-m", "benchmarks.peers", *sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
