"""Which files are images: the one place that decides it, and that says and counts what is left out.

`kind`, `files_below` and `images_below` also stand, word for word, in every exported script: both list the same images.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import features

from finetune_core.errors import UnsaidError, UserError
from finetune_core.places import expanded
from finetune_core.wording import count, few, shown

# By Pillow's name for the format. The ending lets a file in; what it then is, the reader finds in the file itself.
FORMATS: Mapping[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "HEIF": (".heic", ".heif", ".hif"),  # by a library of its own: see `data.image`
    **({"AVIF": (".avif",)} if features.check("avif") else {}),
}
ENDINGS = tuple(sorted(ending for endings in FORMATS.values() for ending in endings))

# Pictures that Thaw cannot read, as cameras, phones and drawing programs write them.
FOREIGN = {
    ".heic", ".heif", ".hif", ".avif", ".jxl", ".jp2", ".j2k", ".jpf", ".jpx", ".jxr", ".svg", ".psd", ".xcf", ".ico",
    ".icns", ".tga", ".eps", ".exr", ".hdr", ".dcm", ".raw", ".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw",
    ".srf", ".sr2", ".orf", ".raf", ".rw2", ".pef", ".srw", ".x3f", ".3fr", ".iiq", ".mpo", ".insp",
} - {*ENDINGS}  # fmt: skip

# What systems and network drives put into folders of photos, in lower case; names that begin with a dot go without.
SYSTEM = (
    "__macosx", "__pycache__", "@eadir", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot",
    "$recycle.bin", "recycler", "recycled", "system volume information", "found.000", "lost+found",
    "network trash folder", "temporary items", "desktop.ini", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "icon\r",
)  # fmt: skip

# `kind` and `files_below` say these in letters, for their own source is what scripts show.
IMAGE, FOLDER, HIDDEN, NO_FILE, LOOP, BARE = "image", "folder", "hidden", "no file", "loop", "no ending"


def kind(path: Path) -> str:
    """What something in a folder is taken for; a file that is no image for its ending."""
    name = path.name.lower()
    if name.startswith(".") or name in SYSTEM:
        return "hidden"
    if os.path.isdir(path):
        return "folder"
    if not name.endswith(ENDINGS):
        return path.suffix.lower() or "no ending"
    return "image" if os.path.isfile(path) else "no file"  # but a broken link, or a pipe


def files_below(folder: Path) -> Iterator[tuple[Path, str]]:
    """All files below a folder and what they are taken for; no folder is entered twice, whatever links there are."""
    entered = {(place.stat().st_dev, place.stat().st_ino) for place in folder.resolve().parents}
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        facts = place.stat()
        if (facts.st_dev, facts.st_ino) in entered:  # a link that leads round in circles
            yield place, "loop"
            continue
        entered.add((facts.st_dev, facts.st_ino))
        for path in sorted(place / name for name in os.listdir(place)):
            if (what := kind(path)) == "folder":
                waiting.insert(0 if path.is_symlink() else len(waiting), path)  # links come last
            else:
                yield path, what


def images_below(folder: Path) -> list[Path]:
    """The images below a folder, in the order of their paths."""
    return sorted((path for path, what in files_below(folder) if what == "image"), key=Path.as_posix)


def existing_file(path: str | Path, what: str, hint: str) -> Path:
    """A file that is there, as an absolute path; else a UserError that says why not."""
    if not str(path).strip():
        raise UnsaidError(f"No {what} is chosen yet.", "The path is empty.", hint)
    file = expanded(path).absolute()
    try:
        if file.is_file():
            return file
        why = "It is a folder." if file.is_dir() else "It does not exist on the machine that Thaw runs on."
    except (OSError, ValueError) as error:  # a NUL byte, a name that is too long, no permission
        why = f"{str(getattr(error, 'strerror', None) or error).rstrip('.').capitalize()}."
    raise UserError(f"There is no {what} {shown(file)}.", why, hint)


@dataclass(frozen=True)
class Found:
    """What lies below a folder: its images in the order of their paths; and what is left out, with what it is."""

    images: tuple[Path, ...] = ()
    others: tuple[tuple[Path, str], ...] = ()


def below(folder: Path) -> Found:
    """Everything below a folder. A UserError where one cannot be read."""
    return _sorted_out(folder, files_below(folder))


def inside(folder: Path) -> tuple[tuple[Path, ...], Found]:
    """The folders in a folder, and the files that lie beside them; none is entered. A UserError as in `below`."""
    with _reading(folder):
        there = [(path, kind(path)) for path in sorted(folder / name for name in os.listdir(folder))]
    folders = tuple(path for path, what in there if what == FOLDER)
    return folders, _sorted_out(folder, (each for each in there if each[1] != FOLDER))


def _sorted_out(folder: Path, files: Iterable[tuple[Path, str]]) -> Found:
    with _reading(folder):
        there = [*files]
    images = sorted((path for path, what in there if what == IMAGE), key=Path.as_posix)
    return Found(tuple(images), tuple((path, what) for path, what in there if what != IMAGE))


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        place = shown(error.filename or folder)
        hint = "Check its permissions, or move it away."
        raise UserError(f"The folder {place} cannot be read.", f"{error.strerror}.", hint) from error


@dataclass(frozen=True)
class Notes:
    """Sentences about what was left out: what deserves a look, and what is rightly passed over."""

    look: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def left_out(others: Iterable[tuple[Path, str]]) -> Notes:
    """Name and count what is no image: pictures that cannot be read, what may be a mistake, and the rest."""
    examples: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for path, what in others:
        counts[what] += 1
        examples.setdefault(what, shown(path.name))
    most_first = sorted(counts, key=lambda what: (-counts[what], what))

    def said(kinds: Iterable[str]) -> str:
        return few(_counted(what, counts[what], examples[what]) for what in kinds)

    foreign = [what for what in most_first if what in FOREIGN]
    doubtful = [what for what in most_first if what in (BARE, NO_FILE, LOOP)]
    rest = [what for what in most_first if what not in (*foreign, *doubtful)]
    look = [f"Left out: {said(foreign)}. Thaw cannot read such pictures: save them as JPEG or PNG."] if foreign else []
    look += [f"Left out: {said(doubtful)}."] if doubtful else []
    return Notes(tuple(look), (f"Passed over, being no images: {said(rest)}.",) if rest else ())


def _counted(what: str, number: int, example: str) -> str:
    if what not in WORDS:
        return f"{number} {what}"
    return f"{count(number, *WORDS[what])} ({example})"


WORDS = {
    HIDDEN: ("hidden or system file or folder", "hidden or system files and folders"),
    LOOP: ("link to a folder that is there already", "links to folders that are there already"),
    BARE: ("file without an ending", "files without an ending"),
    NO_FILE: ("link that leads nowhere, or pipe", "links that lead nowhere, or pipes"),
}
