"""What a run's model sees in many pictures at once: files, whole folders, archives; as rows and as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from finetune_core import places
from finetune_core.data.image import UnreadableError
from finetune_core.errors import UserError
from finetune_core.parts.sources import archives, files
from finetune_core.parts.tasks import Targets
from finetune_core.records import Count
from finetune_core.runs.states.predictions import Predictions
from finetune_core.understand.predict import Predictor
from finetune_core.wording import shown

BATCH = 32
FORMULA = ("=", "+", "-", "@")  # how cells begin that spreadsheets work out
READERS = 2  # pictures that are decoded at a time


@dataclass(frozen=True)
class Seen:
    """A picture and all that was answered, the likeliest first (numbers in their order); or `why` nothing was."""

    path: Path
    answers: tuple[tuple[str, float], ...] = ()
    why: str = ""

    @property
    def sure(self) -> float:
        """Of the likeliest; 0 where nothing was answered."""
        return self.answers[0][1] if self.answers else 0.0

    def guess(self, targets: Targets) -> str:
        """In a few words: the class alone, or all that counts as seen."""
        about = targets.about
        return self.answers[0][0] if about.exclusive else about.summed_up(targets, self.answers)

    def plain(self, most: int) -> dict[str, Any]:
        """As plain data, with so many answers."""
        if self.why:
            return {"image": str(self.path), "error": self.why}
        answers = [{"name": name, "value": value} for name, value in self.answers[:most]]
        return {"image": str(self.path), "answers": answers}


def pictures(named: Sequence[str | Path]) -> list[Path]:
    """The files that are meant: those named, and all images below folders and in archives. UserErrors."""
    found: list[Path] = []
    for each in named:
        path = places.expanded(each)
        if not places.is_there(str(path)):
            raise UserError(
                f"{shown(path)[:200]} cannot be read.", "There is no such file or folder.", "Check the path."
            )
        below = path if path.is_dir() else None
        if path.is_file() and files.kind(path) != "image" and archives.is_one(path):
            below, _ = archives.unpacked(path)
        images = files.below(below).images if below else (path,)
        if not images:
            raise UserError(f"There are no pictures in {shown(path)}.", hint="Name a folder that holds some.")
        found += images
    return found


def read(predictor: Predictor, paths: Sequence[Path], count: Count | None = None) -> Iterator[list[Tensor | str]]:
    """Batches of what the network is shown of each, (C, size, size) uint8, or why it cannot be read; in their order."""

    def one(path: Path) -> Tensor | str:
        try:
            return predictor.shown(path)
        except UnreadableError as error:
            return error.why

    with ThreadPoolExecutor(READERS) as readers:
        for start in range(0, len(paths), BATCH):
            yield list(readers.map(one, paths[start : start + BATCH]))
            if count:
                count(min(start + BATCH, len(paths)), len(paths))


def look(predictor: Predictor, paths: Sequence[Path], count: Count | None = None) -> list[Seen]:
    """Answers to all of them, in their order; a UserError where none can be read."""
    found: list[Seen] = []
    for batch in read(predictor, paths, count):
        found += _answered(predictor, paths[len(found) : len(found) + len(batch)], batch)
    if found and all(each.why for each in found):
        first = found[0]
        raise UserError(f"{shown(first.path.name)} cannot be read.", first.why, "Name pictures that can be opened.")
    return found


def of_answers(targets: Targets, answers: Predictions) -> list[Seen]:
    """The same of answers that were given: outputs of the network."""
    about, most = targets.about, len(targets.names)
    values = about.meaning(targets, torch.from_numpy(answers.outputs))
    seen = (tuple(about.answers(targets, each, most)) for each in values)
    return [Seen(Path(image), each) for image, each in zip(answers.images, seen, strict=True)]


def table(found: Sequence[Seen], targets: Targets, truth: Sequence[str] = ()) -> str:
    """As CSV: path, what is likeliest, how sure that is, a column for each name; a reason where there is no answer.

    With what each is in `truth`, if that is known.
    """
    about, text = targets.about, io.StringIO()
    rows = csv.writer(text)
    known, guessed = ("truth",) * bool(truth), ("guess", "sure") if about.counted else ()
    rows.writerow(("image", *known, *guessed, *map(_cell, targets.names), "error"))
    for number, each in enumerate(found):
        values = dict(each.answers)
        said = (_cell(each.guess(targets)), f"{each.sure:.4f}") if each.answers else ("", "")
        numbers = [f"{values[name]:.6g}" if each.answers else "" for name in targets.names]
        is_said = [_cell(truth[number])] if truth else []
        rows.writerow((_cell(shown(each.path)), *is_said, *(said if guessed else ()), *numbers, each.why))
    return text.getvalue()


def _cell(text: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in FORMULA else text


def _answered(predictor: Predictor, paths: Sequence[Path], batch: Sequence[Tensor | str]) -> list[Seen]:
    targets, whole = predictor.targets, [each for each in batch if not isinstance(each, str)]
    values = iter(predictor.answered(torch.stack(whole)) if whole else ())
    return [
        Seen(path, why=each)
        if isinstance(each, str)
        else Seen(path, tuple(targets.about.answers(targets, next(values), len(targets.names))))
        for path, each in zip(paths, batch, strict=True)
    ]
