"""Archives of images: zip and tar files, of which the images are taken out once and kept for reuse.

Archives come from strangers. Nothing is written outside the folder that they are unpacked into, links are not followed,
and no more is written than the archive itself says, nor what would fill the disk.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Self

from finetune_core.errors import UserError
from finetune_core.parts.sources.files import ENDINGS, SYSTEM, Notes
from finetune_core.places import cache_dir, forget_folders, no_room, publish, writing
from finetune_core.records import Count
from finetune_core.wording import count as counted
from finetune_core.wording import shown

ENDS = 1 << 20  # bytes at either end of an archive that tell it from another
MOST = 1_000_000  # entries
LARGEST = 64 << 20  # bytes; what is larger and pressed to less than 1 of PRESSED is no picture
PRESSED = 100
PIECE = 1 << 20
HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
SPARE = 64 << 20  # bytes of disk that are left free
DRAFT = ".unpacking-"
NAMES = "Thaw reads .zip, .tar, .tar.gz, .tar.bz2 and .tar.xz."
BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)

# Why something is left out, of one and of several
OUTSIDE = ("leads outside the archive", "lead outside the archive")
LINK = ("is a link", "are links")
LOCKED = ("is locked by a password", "are locked by a password")
BOMB = ("unfolds to far more than a picture holds", "unfold to far more than a picture holds")
LONG = ("has too long a name", "have too long a name")
TWICE = ("stands there twice", "stand there twice")
BAD = ("is damaged", "are damaged")
OTHER = ("is no image", "are no images")
Why = tuple[str, str]


@dataclass(frozen=True)
class _Entry:
    """A file in an archive: what it is called, how many bytes it claims to have, and why it is left out, if it is."""

    name: str
    size: int
    wrong: Why | None = None


def is_one(path: Path) -> bool:
    """Whether a file is an archive, by what stands in it."""
    try:
        return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)
    except (OSError, EOFError, zlib.error, lzma.LZMAError):
        return False


def unpacked(path: Path, count: Count | None = None) -> tuple[Path, Notes]:
    """The folder that an archive's images lie in, taken out now if they were not before, and what is left out.

    `count` hears (done, total) and may raise to cancel. UserErrors for what is no archive, holds no image, or does
    not fit on the disk.
    """
    folder = cache_dir() / "unpacked" / _key(path)
    if not (folder / "notes.json").is_file():
        with writing("the unpacked images"):
            folder.parent.mkdir(parents=True, exist_ok=True)
            forget_folders(folder.parent, DRAFT)
            draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=folder.parent))
            try:
                made, before = draft / "made", draft / "before"
                notes = take_out(path, made / "images", count)
                (made / "notes.json").write_text(json.dumps(asdict(notes)), encoding="utf-8")
                # Asked in this order: what another process puts there while this one looks is whole
                if folder.exists() and not (folder / "notes.json").is_file():  # somebody has taken away a part of it
                    with suppress(FileNotFoundError):  # or another process has, too
                        folder.rename(before)
                    if (before / "notes.json").is_file():  # another process has mended it just now
                        publish(before, folder)
                publish(made, folder)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    said = json.loads((folder / "notes.json").read_text(encoding="utf-8"))
    return _top(folder / "images"), Notes(tuple(said["look"]), tuple(said["remarks"]))


def _key(path: Path) -> str:
    """Stands for an archive: its size, when it was written, and what stands at its ends."""
    try:
        with path.open("rb") as file:
            facts = os.fstat(file.fileno())
            digest = hashlib.sha256(f"{facts.st_size} {facts.st_mtime_ns}".encode())
            digest.update(file.read(ENDS))
            file.seek(max(0, facts.st_size - ENDS))
            digest.update(file.read(ENDS))
    except OSError as error:
        what = f"The archive {shown(path)} cannot be read."
        raise UserError(what, f"{error.strerror}.", "Check the path and its permissions.") from error
    return digest.hexdigest()[:32]


def take_out(path: Path, folder: Path, count: Count | None = None) -> Notes:
    """Write the images of an archive below a folder that is made for them; what is left out. UserErrors as above."""
    folder.mkdir(parents=True)
    left: dict[Why, list[str]] = {}
    taken, cut_off = 0, ""
    try:
        with closing(_entries(path, count or (lambda done, total: None))) as entries:
            for number, (entry, file) in enumerate(entries):
                if number >= MOST:
                    raise UserError(f"{shown(path.name)} holds more than {MOST:,} entries.", hint="Split it up.")
                wrong = entry.wrong or _wrong(entry.name) or (_write(folder, entry, file) if file else BAD)
                taken += not wrong
                if wrong:
                    left.setdefault(wrong, []).append(entry.name)
    except BROKEN as error:
        if isinstance(error, OSError) and error.errno:  # the disk, not the archive
            raise
        cut_off = f"{str(error).rstrip('.').capitalize() or 'It ends too early'}."
    if not taken:
        raise _nothing(path, left, cut_off)
    others = _sentences({OTHER: left.pop(OTHER)}) if OTHER in left else ()
    broken = [f"The archive is damaged. {cut_off} What could be taken out is used."] if cut_off else []
    return Notes((*broken, *_sentences(left)), tuple(others))


def _sentences(left: Mapping[Why, list[str]]) -> Iterator[str]:
    for (one, several), names in left.items():
        what = counted(len(names), "entry", "entries")
        verb = one if len(names) == 1 else several
        yield f"Left out of the archive: {what} that {verb}, such as {shown(names[0])[:80]}."


def _nothing(path: Path, left: Mapping[Why, list[str]], cut_off: str) -> UserError:
    if cut_off:
        return UserError(f"{shown(path.name)} is no archive that can be read.", cut_off, NAMES)
    why = " ".join(_sentences(left)) or "It is empty."
    return UserError(f"No images were found in {shown(path.name)}.", why, "Choose another archive.")


def _parts(name: str) -> tuple[str, ...]:
    return PurePosixPath(name.replace("\\", "/")).parts


def _wrong(name: str) -> Why | None:
    """Why a file of this name is not taken out; None where it is."""
    parts = _parts(name)
    if not parts or parts[0].startswith("/") or ".." in parts or ":" in parts[0] or "\0" in name:
        return OUTSIDE
    if any(part.startswith(".") or part.lower() in SYSTEM for part in parts) or not name.lower().endswith(ENDINGS):
        return OTHER
    encoded = [os.fsencode(part) for part in parts]
    return LONG if max(map(len, encoded)) > 200 or sum(map(len, encoded)) + len(encoded) > 1000 else None


def _write(folder: Path, entry: _Entry, file: IO[bytes]) -> Why | None:
    """Write one file, of at most as many bytes as it claims to have; why that cannot be, if so."""
    target, size = folder.joinpath(*_parts(entry.name)), entry.size
    if not target.resolve().is_relative_to(folder.resolve()):
        return OUTSIDE
    if target.exists():
        return TWICE
    done = 0
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if size > shutil.disk_usage(folder).free - SPARE:
            raise no_room("the unpacked images", size)
        with target.open("wb") as out:
            while piece := file.read(PIECE):
                done += len(piece)
                if done > size:
                    raise zipfile.BadZipFile("it holds more than it says")
                out.write(piece)
    except (FileExistsError, NotADirectoryError):  # below what is a file already
        return TWICE
    except (*BROKEN, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        target.unlink(missing_ok=True)
        return BAD
    return None


def _entries(path: Path, count: Count) -> Generator[tuple[_Entry, IO[bytes] | None]]:
    """Each file of an archive, opened where it may be taken out."""
    if zipfile.is_zipfile(path):
        yield from _zipped(path, count)
    else:
        yield from _tarred(path, count)


def _zipped(path: Path, count: Count) -> Iterator[tuple[_Entry, IO[bytes] | None]]:
    with zipfile.ZipFile(path) as archive:
        found = [each for each in archive.infolist() if not each.is_dir()]
        size, written = path.stat().st_size, 0
        for number, info in enumerate(found, start=1):
            wrong = None
            if stat.S_ISLNK(info.external_attr >> 16):
                wrong = LINK
            elif info.flag_bits & 1:
                wrong = LOCKED
            elif info.file_size > LARGEST and info.file_size > PRESSED * info.compress_size:
                wrong = BOMB
            entry = _Entry(info.filename, info.file_size, wrong)
            if wrong or _wrong(info.filename):
                yield entry, None
            else:
                written += info.file_size
                if written > LARGEST and written > PRESSED * size:
                    raise zipfile.BadZipFile(f"it {BOMB[0]}")
                yield from _opened(archive, info, entry)
            if number % 50 == 0 or number == len(found):
                count(number, len(found))


def _opened(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, entry: _Entry
) -> Iterator[tuple[_Entry, IO[bytes] | None]]:
    try:
        file = archive.open(info)
    except (
        *BROKEN,
        RuntimeError,
        NotImplementedError,
    ):  # a header that does not fit, a way of packing that is not known
        yield _Entry(entry.name, entry.size, BAD), None
        return
    with file:
        yield entry, file


class _Header(tarfile.TarInfo):
    """What stands before a file in a tar archive; long names are headers of their own, which are read as a whole."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str | None, errors: str) -> Self:
        """Refuse one that would fill the memory."""
        made = super().frombuf(buf, encoding, errors)  # type: ignore[arg-type]
        if made.size > PIECE and made.type in HEADERS:
            raise tarfile.ReadError("a name in it is far too long")
        return made


def _tarred(path: Path, count: Count) -> Iterator[tuple[_Entry, IO[bytes] | None]]:
    size, number = path.stat().st_size, 0
    with path.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:*", tarinfo=_Header) as archive:
        written = 0
        for info in archive:
            number += 1
            if info.isdir():
                continue
            written += info.size
            if written > LARGEST and written > PRESSED * max(raw.tell(), 1):
                raise tarfile.ReadError(f"it {BOMB[0]}")  # to come to the next entry this one would be unfolded
            wrong = LINK if info.issym() or info.islnk() else None if info.isfile() else OTHER
            file = None if wrong or _wrong(info.name) else archive.extractfile(info)
            yield _Entry(info.name, info.size, wrong), file
            if number % 50 == 0:
                count(min(raw.tell(), size), size)
    count(size, size)


def _top(folder: Path) -> Path:
    """The folder that holds more than one thing: archives mostly have one of their own name at their top."""
    while True:
        inside = [*folder.iterdir()]
        only = inside[0] if len(inside) == 1 and inside[0].is_dir() else None
        if only is None or not any(each.is_dir() for each in only.iterdir()):
            return folder
        folder = only
