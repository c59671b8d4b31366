"""Folders of images: one sub-folder per class, or train and validation folders above them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from finetune_core.errors import UserError
from finetune_core.parts.sources.samples import Samples, natural
from finetune_core.places import shown

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
TRAIN, VALID = "train", ("val", "valid", "validation", "test")  # the first of these that is there is measured on


def list_folder(folder: str | Path) -> Samples:
    """The images under `folder/<class>/…`, or under `folder/train/<class>/…` and `folder/val/<class>/…`.

    Hidden files and folders are ignored, links are followed, classes are in natural order and the images of a class in
    the order of their paths. Raises UserErrors for a folder that cannot be learned from.
    """
    root = existing_folder(folder)
    split = _own_split(root)
    return _with_own_split(root, *split) if split else _by_class(root)


def existing_folder(folder: str | Path) -> Path:
    """A folder that can be read, as an absolute path; else a UserError that says why not."""
    if not str(folder).strip():
        raise UserError(
            "No folder is chosen.",
            "The path is empty.",
            "Give the path of a folder that holds one sub-folder of images per class.",
        )
    try:
        root = Path(folder).expanduser().absolute()
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


def _by_class(root: Path) -> Samples:
    found = {name: images_below(path) for name, path in _folders(root).items()}
    classes = [name for name in found if found[name]]
    loose = [path for path in _entries(root) if _is_image(path)]
    if not classes:
        raise _flat(root, len(loose)) if loose else _no_images(root)
    if len(classes) == 1:
        raise _one_class(root, classes[0])
    notes = _left_out([name for name in found if not found[name]])
    if loose:
        notes.append(f"Left out beside the class folders: {_images_word(len(loose))}, such as {shown(loose[0].name)}.")
    paths = [(path, label) for label, name in enumerate(classes) for path in found[name]]
    return _samples(root, classes, paths, notes)


def _with_own_split(root: Path, train: Path, valid: Path) -> Samples:
    found = {
        part: {name: images_below(path) for name, path in _folders(folder).items()}
        for part, folder in (("train", train), ("valid", valid))
    }
    classes = [name for name in found["train"] if found["train"][name]]
    measured = [name for name in found["valid"] if found["valid"][name]]
    if set(classes) != set(measured):
        raise _unequal(train.name, valid.name, classes, measured)
    if len(classes) == 1:
        raise _one_class(train, classes[0])
    empty = sorted({name for part in found.values() for name, images in part.items() if not images}, key=natural)
    notes = _left_out(empty)
    unused = [path.name for path in _folders(root).values() if path not in (train, valid)]
    if unused:
        notes.append(f"The folders beside {train.name} and {valid.name} were left out: {_few(unused)}.")
    rows = [
        (path, label, part)
        for label, name in enumerate(classes)
        for part in ("train", "valid")
        for path in found[part][name]
    ]
    samples = _samples(root, classes, [(path, label) for path, label, _ in rows], notes)
    return Samples(
        samples.paths, samples.labels, samples.classes, tuple(part for *_, part in rows), root, samples.notes
    )


def _samples(root: Path, classes: Sequence[str], rows: Sequence[tuple[Path, int]], notes: Sequence[str]) -> Samples:
    return Samples(
        paths=tuple(path for path, _ in rows),
        labels=tuple(label for _, label in rows),
        classes=tuple(classes),
        root=root,
        notes=tuple(notes),
    )


def _own_split(root: Path) -> tuple[Path, Path] | None:
    """The train and the validation folder, where the folder has both and there are class folders in them."""
    folders = {name.casefold(): path for name, path in _folders(root).items()}
    train = folders.get(TRAIN)
    valid = next((folders[name] for name in VALID if name in folders), None)
    if train is None or valid is None:
        return None
    has_classes = any(True for path in _folders(train).values() for _ in _walk(path, (path.resolve(),)))
    return (train, valid) if has_classes else None


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder, hidden things and what macOS leaves in archives aside, in the order of their names."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
    except OSError as error:
        raise UserError(
            f"The folder {shown(folder)} cannot be read.", f"{error.strerror}.", "Check its permissions."
        ) from error
    return [folder / name for name in sorted(names) if not name.startswith(".") and name != "__MACOSX"]


def _folders(folder: Path) -> dict[str, Path]:
    """Sub-folders by the name that people see, in natural order."""
    return {shown(path.name): path for path in sorted(_entries(folder), key=lambda p: natural(p.name)) if path.is_dir()}


def _is_image(path: Path) -> bool:
    # is_file also keeps out named pipes, which would block for ever, and links that lead nowhere.
    return path.suffix.lower() in EXTENSIONS and path.is_file()


def images_below(folder: Path) -> list[Path]:
    """Every image below a folder, in the order of their relative paths."""
    found = list(_walk(folder, (folder.resolve(),)))
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _walk(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    for path in _entries(folder):
        if _is_image(path):
            yield path
        elif path.is_dir():
            real = path.resolve()
            # A link to a folder that it lies in would lead round in circles.
            if not any(outer.is_relative_to(real) for outer in above):
                yield from _walk(path, (*above, real))


def _left_out(empty: Sequence[str]) -> list[str]:
    return [f"Folders without images were left out: {_few(empty)}."] if empty else []


def _few(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(shown, names[:most])) + more


def _images_word(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def _no_images(root: Path) -> UserError:
    kinds = ", ".join(sorted(EXTENSIONS))
    return UserError(
        f"There are no images in {shown(root)}.",
        f"Thaw looks for {kinds} in sub-folders, one per class.",
        "Choose the folder that holds the class folders.",
    )


def _flat(root: Path, count: int) -> UserError:
    return UserError(
        f"The images in {shown(root)} have no classes.",
        f"All {_images_word(count)} lie directly in the folder; a sub-folder's name is what tells the class.",
        "Make one sub-folder per class and move the images into them.",
    )


def _one_class(root: Path, name: str) -> UserError:
    inner = [path for path in _folders(root / name).values() if images_below(path)] if (root / name).is_dir() else []
    hint = f"Choose {shown(root / name)} if its sub-folders are the classes." if len(inner) > 1 else ""
    return UserError(
        f"There is only one class: {name}.",
        f"{shown(root)} holds images in one sub-folder only, and telling apart needs at least two.",
        hint or "Add a folder of images for a second class.",
    )


def _unequal(train: str, valid: str, classes: Sequence[str], measured: Sequence[str]) -> UserError:
    only = [
        f"only {folder} has {_few(names)}"
        for folder, names in (
            (train, [name for name in classes if name not in measured]),
            (valid, [name for name in measured if name not in classes]),
        )
        if names
    ]
    return UserError(
        f"The folders {shown(train)} and {shown(valid)} hold different classes.",
        f"{' and '.join(only)}.".replace("only", "Only", 1),
        "Give both the same class folders, or choose one of them and let Thaw split it.",
    )
