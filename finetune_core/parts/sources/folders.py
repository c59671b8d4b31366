"""Folders of images: one sub-folder per class, or folders for training and validation above them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from finetune_core.errors import Mend, UnsaidError, UserError
from finetune_core.parts.sources.files import ENDINGS, LOOP, Found, below, inside, left_out
from finetune_core.parts.sources.samples import Samples, natural
from finetune_core.parts.sources.split_names import MEASURED, TRAIN, part_of
from finetune_core.places import expanded
from finetune_core.wording import count, few, shown

Classes = Literal["auto", "outer", "inner"]


def list_folder(folder: str | Path, classes: Classes = "auto") -> Samples:
    """The images under `folder/<class>/…`, or under `folder/<train>/<class>/…` and `folder/<val>/<class>/…`.

    Which folders are for training, validation and a test is told by their names (`split_names`). Where all folders hold
    folders of the same names, `classes` says whether the "outer" or the "inner" ones are the classes; "auto" asks.
    Classes are in natural order, the images of a class in the order of their paths; `notes` count what is left out.
    Raises UserErrors for a folder that cannot be learned from.
    """
    root = existing_folder(folder)
    return _listed(root, layout(root, classes))


def existing_folder(folder: str | Path) -> Path:
    """A folder that can be read, as an absolute path; else a UserError that says why not."""
    if not str(folder).strip():
        raise UnsaidError(
            "No folder is chosen yet.",
            "The path is empty.",
            "Give the path of a folder that holds one sub-folder of images per class.",
        )
    try:
        root = expanded(folder).absolute()
        if root.is_dir():
            next(os.scandir(root), None)
            return root
        is_there = root.exists()
    except (OSError, ValueError, RuntimeError) as error:  # no permission, a NUL byte, no such user after ~
        why = f"{str(getattr(error, 'strerror', None) or error).rstrip('.')}."
        raise UserError(
            f"The folder {shown(folder)} cannot be read.", why, "Check the path and its permissions."
        ) from error
    if is_there:
        raise UserError(
            f"{shown(root)} is a file.", "A folder is needed.", "Give the folder that holds the class folders."
        )
    raise UserError(
        f"There is no folder {shown(root)}.",
        "It does not exist on the machine that Thaw runs on.",
        "Check the spelling; a path that starts with / or ~ is safest.",
    )


@dataclass(frozen=True)
class Layout:
    """Where the class folders lie: in each of the `tops`, which are the root or lie below it.

    `parts` says "train", "valid" or "test" of each where their names tell; the folders `beside` them are left out.
    """

    tops: tuple[Path, ...]
    parts: tuple[str, ...] = ()
    beside: tuple[Path, ...] = ()


def layout(root: Path, classes: Classes = "auto") -> Layout:
    """How a folder is laid out. UserErrors where it cannot be told."""
    folders = _folders(root)
    if classes == "inner":
        return Layout(folders)
    if classes == "auto":
        if found := _own_split(root, folders):
            return found
        _ask(root, folders)
    return Layout((root,))


def _folders(folder: Path) -> tuple[Path, ...]:
    """The folders in a folder, in natural order of the names that people see."""
    return tuple(sorted(inside(folder)[0], key=lambda path: natural(shown(path.name))))


def _own_split(root: Path, folders: Sequence[Path]) -> Layout | None:
    """The folders to learn from and to measure on, where there is one of either by name."""
    named: dict[str, list[Path]] = {}
    for folder in folders:
        named.setdefault(part_of(folder.name), []).append(_unpacked(folder))
    train, measured = named.get(TRAIN, []), [folder for part in MEASURED for folder in named.get(part, [])]
    if len(train) == 1 and not measured and _alone(train[0], folders):
        return Layout(tuple(train), (), tuple(folder for folder in folders if not train[0].is_relative_to(folder)))
    if len(train) != 1 or not measured:
        return None
    if not _has_classes(train[0]):
        raise _no_classes_inside(train[0])
    tops = (*train, *[folder for folder in measured if _has_classes(folder)][:1])
    known = _class_names(train[0])
    tops += tuple(each for each in named.get("test", []) if each not in tops and set() < _class_names(each) <= known)[
        :1
    ]
    beside = tuple(folder for folder in folders if not any(top.is_relative_to(folder) for top in tops))
    return Layout(tops, ("train", "valid", "test")[: len(tops)] if len(tops) > 1 else (), beside)


def _alone(train: Path, folders: Sequence[Path]) -> bool:
    """Whether a folder to learn from is the only one that holds class folders, and images in these alone."""
    inner, loose = inside(train)
    others = [folder for folder in folders if not train.is_relative_to(folder)]
    many = sum(bool(below(path).images) for path in inner) > 1
    return bool(others) and many and not loose.images and not any(map(_has_classes, others))


def _unpacked(folder: Path) -> Path:
    """The folder of the same name within, where there is nothing else: archives are unpacked into such."""
    folders, loose = inside(folder)
    again = len(folders) == 1 and not loose.images and folders[0].name.lower() == folder.name.lower()
    return folders[0] if again else folder


def _has_classes(folder: Path) -> bool:
    return any(below(path).images for path in inside(folder)[0])


def _class_names(folder: Path) -> set[str]:
    return {path.name for path in inside(folder)[0] if below(path).images}


def _ask(root: Path, folders: Sequence[Path]) -> None:
    """A question where all folders hold folders of the same names, and no images of their own."""
    shelves = [inside(folder) for folder in folders]
    names = [{path.name for path in inner} for inner, _ in shelves]
    common = names[0].intersection(*names[1:]) if len(names) > 1 else set()
    if len(common) < 2 or any(loose.images for _, loose in shelves):
        return
    both: list[str] = sorted(common, key=natural)
    outer, inner = few(path.name for path in folders), few(both)
    raise UserError(
        f"What are the classes in {shown(root)}: {outer}, or {inner}?",
        "All its folders hold folders of the same names.",
        'Say which (data.source.classes is "outer" or "inner"). If they are for training and validation, call them '
        "train and val.",
        [Mend(outer, "data.source.classes", "outer"), Mend(inner, "data.source.classes", "inner")],
    )


@dataclass(frozen=True)
class _Place:
    """A class folder: the part that it belongs to, and what lies in it."""

    path: Path
    part: str
    found: Found

    @property
    def name(self) -> str:
        """The class, as people see it."""
        return shown(self.path.name)


def _listed(root: Path, how: Layout) -> Samples:
    places, twice = _places(how)
    full = [place for place in places if place.found.images]
    names = sorted({place.name for place in full}, key=natural)
    beside = [inside(folder)[1] for folder in dict.fromkeys((root, *how.tops))]
    loose = [path for found in beside for path in found.images]
    _check(root, how, full, loose)
    rows = [
        (path, label, place.part)
        for label, name in enumerate(names)
        for place in full
        if place.name == name
        for path in place.found.images
    ]
    others = [each for found in (*beside, *(place.found for place in places)) for each in found.others]
    left = left_out([*others, *twice])
    empty = _empty(place.name for place in places if not place.found.images)
    notes = (*_beside(how, loose), *empty, *left.look, *left.remarks)
    paths, labels, parts = zip(*rows, strict=True)
    return Samples(paths, labels, tuple(names), parts if how.parts else None, root, notes, remarks=left.remarks)


def _places(how: Layout) -> tuple[list[_Place], list[tuple[Path, str]]]:
    """All class folders, and links to such as are among them already."""
    places, twice, real = [], [], set()
    for number, top in enumerate(how.tops):
        for path in sorted(_folders(top), key=os.path.islink):
            where = os.path.realpath(path)
            if path.is_symlink() and where in real and len(how.tops) == 1:
                twice.append((path, LOOP))
            else:
                places.append(_Place(path, how.parts[number] if how.parts else "", below(path)))
            real.add(where)
    return places, twice


def _check(root: Path, how: Layout, full: Sequence[_Place], loose: Sequence[Path]) -> None:
    """Whether there is something to tell apart, on both sides of a split."""
    names = list(dict.fromkeys(place.name for place in full))
    if not names:
        raise _flat(root, len(loose)) if loose else _no_images(root)
    if how.parts:
        learned, measured = ([place.name for place in full if place.part == part] for part in ("train", "valid"))
        if set(learned) != set(measured):
            raise _unequal(how.tops[:2], learned, measured)
    if len(names) == 1:
        raise _one_class(how.tops[0], names[0])


def _beside(how: Layout, loose: Sequence[Path]) -> Iterator[str]:
    if loose:
        yield f"Left out beside the class folders: {count(len(loose), 'image')}, such as {shown(loose[0].name)}."
    if how.beside:
        tops = " and ".join(shown(top.name) for top in how.tops)
        yield f"The folders beside {tops} were left out: {few(path.name for path in how.beside)}."


def _empty(names: Iterable[str]) -> Iterator[str]:
    if empty := sorted(set(names), key=natural):
        yield f"Folders without images were left out: {few(empty)}."


def _no_images(root: Path) -> UserError:
    return UserError(
        f"There are no images in {shown(root)}.",
        " ".join(
            (f"Thaw looks for {', '.join(ENDINGS)} in sub-folders, one per class.", *left_out(below(root).others).look)
        ),
        "Choose the folder that holds the class folders.",
    )


def _flat(root: Path, number: int) -> UserError:
    return UserError(
        f"The images in {shown(root)} have no classes.",
        f"All {count(number, 'image')} lie directly in the folder; a sub-folder's name is what tells the class.",
        "Label them (Label pictures, on Data), make one sub-folder per class and move them there, or take the classes "
        "from a table or from the files' names.",
    )


def _no_classes_inside(train: Path) -> UserError:
    return UserError(
        f"The images in {shown(train)} have no classes.",
        "Its name says that it is to be learned from, but there are no class folders with images in it.",
        "Make one sub-folder per class in it, or take the classes from a table or from the files' names. If it is a "
        'class itself, set data.source.classes to "outer".',
        [Mend(f"{shown(train.name)} is a class", "data.source.classes", "outer")],
    )


def _one_class(top: Path, name: str) -> UserError:
    inner = [path for path in _folders(top / name) if below(path).images] if (top / name).is_dir() else []
    hint = f"Choose {shown(top / name)} if its sub-folders are the classes." if len(inner) > 1 else ""
    return UserError(
        f"There is only one class: {name}.",
        f"{shown(top)} holds images in one sub-folder only, and telling apart needs at least two.",
        hint or "Add a folder of images for a second class.",
    )


def _unequal(tops: Sequence[Path], classes: Sequence[str], measured: Sequence[str]) -> UserError:
    train, valid = (shown(top.name) for top in tops)
    only = [
        f"only {folder} has {few(names)}"
        for folder, names in (
            (train, [name for name in classes if name not in measured]),
            (valid, [name for name in measured if name not in classes]),
        )
        if names
    ]
    return UserError(
        f"The folders {train} and {valid} hold different classes.",
        f"{' and '.join(only)}.".replace("only", "Only", 1),
        "Give both the same class folders, or choose one of them and let Thaw split it.",
    )
