"""Sets of images at Hugging Face, by name: each is there as parquet files, whoever uploaded it in whatever form.

Downloaded once, and then a folder as any other: a side of the split, a class, its images.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from finetune_core import downloads
from finetune_core.downloads import NotPublishedError
from finetune_core.errors import UserError
from finetune_core.parts.sources.files import FORMATS
from finetune_core.parts.sources.split_names import TRAIN, part_of
from finetune_core.places import cache_dir
from finetune_core.records import Count
from finetune_core.wording import few, shown

if TYPE_CHECKING:
    from pyarrow import Schema
    from pyarrow.parquet import ParquetFile

ROWS = 64  # read at a time: images of that many are in memory
LONGEST = 100  # letters of a class's folder
PAGE = "Look at its page at huggingface.co, or choose another."
HINT = "choose a folder of your own, or Blooms."


def folder(name: str, image: str, label: str) -> Path:
    """Where a set lies once it is here, laid out by these columns."""
    mark = hashlib.sha256(repr((name, image, label)).encode()).hexdigest()[:8]
    return cache_dir() / "sets" / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('.-')[:80]}-{mark}"


def fetched(name: str, image: str, label: str, count: Count) -> Path:
    """The folder of a set, downloaded and laid out if need be; `count` hears (done, all).

    `image` and `label` are columns, empty ones are found by what they hold. UserErrors without a network, for a name
    that is none, a set without images or classes, or a full disk.
    """
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name):
        raise UserError(f"{shown(name)[:80]} is no name of a set.", "Names look like uoft-cs/cifar10.", PAGE)

    def make(kept: Path, place: Path) -> None:
        tree, sides = place / downloads.TREE, _files(name, kept, count)
        for side, files in sides.items():
            _lay_out(files, tree / side if len(sides) > 1 else tree, (image.strip(), label.strip()), count)

    said = f"the images of {name}"
    return downloads.laid_out(folder(name, image, label), said, None, lambda: count(0, 1), make)


def _files(name: str, kept: Path, count: Count) -> dict[str, list[Path]]:
    """The set's parquet files by side, downloaded."""
    host = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    what = f"the set {name},"
    try:
        (kept / "list.json").unlink(missing_ok=True)
        listed = downloads.fetch(f"{host}/api/datasets/{name}/parquet", kept / "list.json", count, what=what, hint=HINT)
        every = json.loads(listed.read_text("utf-8"))
        config = every.get("default") or next(iter(every.values()))
        sides: dict[str, list[Path]] = {}
        for split, addresses in config.items():
            for number, url in enumerate(addresses):
                mark = hashlib.sha256(str(url).encode()).hexdigest()[:16]
                file = downloads.fetch(str(url), kept / f"{mark}-{number}.parquet", count, what=what, hint=HINT)
                sides.setdefault(part_of(split) or TRAIN, []).append(file)
    except NotPublishedError as error:
        why = "There is no such set, or only those who were let in may have it."
        raise UserError(f"{name} cannot be had from Hugging Face.", why, PAGE) from error
    except (ValueError, AttributeError, StopIteration, TypeError) as error:
        raise UserError(f"Hugging Face does not say what is in {name}.", f"{error}.", PAGE) from error
    return sides


def _lay_out(files: list[Path], tree: Path, columns: tuple[str, str], count: Count) -> None:
    """Write each image below its class."""
    import pyarrow
    from pyarrow.parquet import ParquetFile

    done = 0
    for path in files:
        try:
            with ParquetFile(path) as file:
                done = _written(file, tree, columns, done, count)
        except pyarrow.ArrowInvalid as error:
            path.unlink(missing_ok=True)
            raise UserError(
                "A file of the set is damaged.", f"{error}.", "Try again: it is downloaded anew."
            ) from error


def _written(file: ParquetFile, tree: Path, columns: tuple[str, str], done: int, count: Count) -> int:
    image, label, names = _columns(file.schema_arrow, columns)
    before, rows = done, file.metadata.num_rows
    for batch in file.iter_batches(ROWS, columns=[image, label]):
        for picture, value in zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True):
            if value is None or not (data := (picture or {}).get("bytes")):
                continue
            place = tree / _named(names, value)
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{done:07d}{_ending(data)}").write_bytes(data)
            done += 1
        count(done - before, max(rows, done - before))
    return done


def _columns(schema: Schema, wanted: tuple[str, str]) -> tuple[str, str, list[str]]:
    """The columns with images and labels, and the classes' names where labels are numbers."""
    said: Mapping[str, Any] = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = said.get("info", {}).get("features", {})
    images = [
        name for name in schema.names if features.get(name, {}).get("_type") == "Image" or _holds_images(schema, name)
    ]
    labels = [name for name in schema.names if features.get(name, {}).get("_type") == "ClassLabel"]
    others = [name for name in schema.names if name in ("label", "labels", "class", "category")]
    image, label = wanted[0] or next(iter(images), ""), wanted[1] or next(iter(labels or others), "")
    for what, name in (("images", image), ("classes", label)):
        if name not in schema.names:
            raise UserError(
                f"The set has no column with {what}{f' called {shown(name)}' if name else ''}.",
                f"Its columns: {few(map(shown, schema.names))}.",
                "Name one of these.",
            )
    return image, label, list(features.get(label, {}).get("names") or [])


def _holds_images(schema: Schema, name: str) -> bool:
    kind = schema.field(name).type
    return getattr(kind, "num_fields", 0) > 0 and any(
        kind.field(place).name == "bytes" for place in range(kind.num_fields)
    )


def _named(names: list[str], value: Any) -> str:
    """The folder of a class: by its name, without what no folder's name can hold."""
    said = names[value] if isinstance(value, int) and 0 <= value < len(names) else str(value)
    return re.sub(r"[/\\\x00-\x1f]+", "-", said).strip(". ")[:LONGEST] or "unnamed"


def _ending(data: bytes) -> str:
    """By what the bytes are; those that are no image keep an ending that lets them be named as unreadable."""
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return FORMATS.get(picture.format or "", (".jpg",))[0]
    except (OSError, ValueError, SyntaxError):
        return ".jpg"
