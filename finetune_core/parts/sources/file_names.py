"""Images whose class stands in the file's own name (seed 003)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice, zip_longest
from pathlib import Path
from typing import NamedTuple

from finetune_core.errors import UnsaidError, UserError
from finetune_core.parts.sources.files import below, left_out
from finetune_core.parts.sources.folders import existing_folder
from finetune_core.parts.sources.samples import Samples, Trial, natural, ordered
from finetune_core.patterns import Pattern
from finetune_core.wording import count, few, shown

HINT = r"Write one like ^(.+)_\d+$: what comes before the last _ and its number is the class."
NO_CLASS = "no class"


class Labelled(NamedTuple):
    """What a pattern finds in names, "" where it does not fit; `whole`: it was tried on names with their ending."""

    labels: tuple[str, ...]
    whole: bool


def list_names(folder: str | Path, pattern: str, chosen: bool = True) -> Samples:
    r"""All images below a folder; the class of each is what the pattern's group finds in the file's name.

    `pattern` is a regular expression with one group, such as `^(.+)_\d+` for `great_pyrenees_17.jpg`; files that it
    does not fit are left out, with a note. Raises UserErrors; of a pattern that nobody has `chosen` yet, UnsaidErrors.
    """
    root = existing_folder(folder)
    found = below(root)
    labels, whole = labelled(found.images, pattern)
    fitting = [(path, label) for path, label in zip(found.images, labels, strict=True) if label]
    refusal = UserError if chosen else UnsaidError
    if not fitting:
        raise _none_fits(root, found.images, pattern, refusal)
    classes = sorted({label for _, label in fitting}, key=natural)
    if len(classes) == 1:
        raise refusal(f"There is only one class: {shown(classes[0])}.", "Telling apart needs at least two.", HINT)
    number = {name: index for index, name in enumerate(classes)}
    left = [path.name for path, label in zip(found.images, labels, strict=True) if not label]
    notes = [f"The pattern does not fit {count(len(left), 'image')} and leaves out: {few(left)}."] if left else []
    notes += ["The pattern fits the names with their ending only, and is tried on those."] if whole else []
    paths = tuple(path for path, _ in fitting)
    numbers = tuple(number[label] for _, label in fitting)
    named = tuple(map(shown, classes))
    said = left_out(found.others)
    return ordered(
        Samples(paths, numbers, named, None, root, (*notes, *said.look, *said.remarks), remarks=said.remarks)
    )


def labelled(paths: Sequence[Path], pattern: str) -> Labelled:
    r"""What a pattern finds in each file's name without its ending; with it, where it fits no name without.

    Many write `^(.+)_\d+.jpg$`, as the whole name looks. UserErrors for a pattern that cannot be used.
    """
    compiled = Pattern(pattern, HINT)
    if compiled.groups != 1:
        why = f"It has {compiled.groups} groups."
        raise UserError(f"The pattern {pattern} needs one group.", why, r"Put the class in brackets: ^(.+)_\d+$")
    bare = tuple(_class(compiled, path.stem) for path in paths)
    if any(bare):
        return Labelled(bare, False)
    whole = tuple(_class(compiled, path.name) for path in paths)
    return Labelled(whole, True) if any(whole) else Labelled(bare, False)


def tried(folder: str | Path, pattern: str, most: int) -> Trial:
    """What a pattern makes of the names in a folder: up to `most` that it does not fit, and as many that it does."""
    images = below(existing_folder(folder)).images
    labels = labelled(images, pattern).labels
    named = [(shown(path.name), shown(label)) for path, label in zip(images, labels, strict=True)]
    misses = [(name, NO_CLASS) for name, label in named if not label]
    first: dict[str, list[tuple[str, str]]] = {}
    for name, label in named:
        if label:
            first.setdefault(label, []).append((name, label))
    turns = (row for turn in zip_longest(*first.values()) for row in turn if row)
    line = (
        f"{len(named) - len(misses):,} of {count(len(named), 'name')} fit, with "
        f"{count(len(first), 'class', 'classes')}{f': {few(first, 4)}' if first else ''}."
    )
    return Trial(("File", "Class"), (*misses[:most], *islice(turns, most)), line)


def _class(pattern: Pattern, name: str) -> str:
    match = pattern.search(name)
    return (match and match[1]) or ""


def _none_fits(root: Path, images: Sequence[Path], pattern: str, refusal: type[UserError]) -> UserError:
    what = f"No class was found in the names of the files in {shown(root)}."
    if not images:
        return UserError(
            what, " ".join(("There are no images.", *left_out(below(root).others).look)), "Choose another folder."
        )
    why = f"The pattern {pattern} fits none of {len(images)} images, such as {shown(images[0].name)}."
    return refusal(what, why, HINT)
