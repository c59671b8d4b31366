"""What people say of a run: a name, a star, tags, a text. Nothing of it changes what the run has done."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from pydantic import TypeAdapter

from finetune_core import places
from finetune_core.runs.folder import Folder, read_json, shaped

LONGEST_NAME, LONGEST_TAG, LONGEST_TEXT = 120, 40, 20_000  # letters
MOST_TAGS = 30


@dataclass(frozen=True)
class Notes:
    """Kept in a small file of the run folder; every run has them, if only empty ones."""

    name: str = ""
    star: bool = False
    tags: tuple[str, ...] = ()
    text: str = ""

    def cleaned(self) -> Notes:
        """In one line where lines make no sense, each tag once and in order, nothing longer than a page can show."""
        return Notes(
            _line(self.name)[:LONGEST_NAME], self.star, tidy(self.tags)[:MOST_TAGS], self.text.strip()[:LONGEST_TEXT]
        )


_SHAPE = TypeAdapter(Notes)


def tidy(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags as they are kept: without what only spaces them, each once, in alphabetical order."""
    return tuple(sorted({tag for tag in (_line(tag)[:LONGEST_TAG].strip() for tag in tags) if tag}))


def read(run: Folder) -> Notes:
    """What is said of a run. A UserError where the file is damaged."""
    return shaped(run.notes_file, _SHAPE, read_json(run.notes_file) or {})


def write(run: Folder, notes: Notes) -> None:
    """Keep it. A UserError where the disk refuses."""
    with places.writing("the notes on a run", place=places.Place(run.path, "THAW_RUNS")):
        run.write_json(run.notes_file, asdict(notes.cleaned()))


def _line(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
