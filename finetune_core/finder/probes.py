"""What probes of backbones have found: ranked, in words, and kept for this machine. Without torch.

Kept in the cache folder by images and backbone, so that a page can tell at once what was found before.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from finetune_core import places
from finetune_core.parts.backbones import Backbone
from finetune_core.parts.tasks import Score
from finetune_core.recipe import Recipe
from finetune_core.records import Probed, parse

VERSION = 4  # of how backbones are probed
ENOUGH = 300  # images, for a margin of some points in some seconds
OFF = "off"  # a file that is there where pages do not probe by themselves


def ranked(rows: Sequence[Mapping[str, Any]], recipe: Recipe) -> list[Mapping[str, Any]]:
    """The probes among a run's records, the best backbone first; those that could not be tried last."""
    found = [row for row in rows if row["kind"] == Probed.kind]
    score = recipe.task.score
    return sorted(found, key=lambda row: -score.signed(row["score"]) if row["score"] is not None else float("inf"))


def line(row: Mapping[str, Any], score: Score) -> str:
    """A probe in a line for terminals."""
    name = f"{row['architecture']:<32}"
    if row["score"] is None:
        return f"{name}not tried. {row['note']}"
    size = f"{row['ms']:>7.3g} ms   {row['megabytes']:>6.4g} MB   {row['parameters'] / 1e6:>5.3g} M parameters"
    return f"{name}{score.inside} {words(row['score'], row['margin'], score):<16}{size}"


def words(value: float, margin: float | None, score: Score) -> str:
    """A score with half the width of its interval, `81 % (± 3)`."""
    if margin is None or math.isnan(margin):
        return score.shown(value)
    return f"{score.shown(value)} (± {score.shown(margin).removesuffix('%').strip()})"


def keep(recipe: Recipe, backbone: Backbone, found: Probed) -> None:
    """Remember what was found, if anything was; where the disk is full it is asked again."""
    if found.note or not math.isfinite(found.score):
        return
    file = _file(recipe, backbone)
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        places.write_whole(file, found.line())
        places.write_whole(_file(recipe, backbone, mended=False), found.line())


def known(recipe: Recipe, backbone: Backbone) -> Probed | None:
    """What was found before for these images and this backbone."""
    return _read(_file(recipe, backbone))


def _read(file: Path) -> Probed | None:
    try:
        record = parse(json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, StopIteration):  # a cache
        return None
    return record if isinstance(record, Probed) else None


def known_before(recipe: Recipe, backbone: Backbone) -> Probed | None:
    """What was found last, whatever has been mended by hand since: good for its doubts."""
    return _read(_file(recipe, backbone, mended=False))


def on() -> bool:
    """Whether pages probe a backbone without being asked."""
    return not (_folder() / OFF).exists()


def switch(wanted: bool) -> None:
    """Let pages probe a backbone without being asked, or not; where that cannot be kept it stays as it was."""
    with suppress(OSError):
        _folder().mkdir(parents=True, exist_ok=True)
        if wanted:
            (_folder() / OFF).unlink(missing_ok=True)
        else:
            (_folder() / OFF).touch()


def runs_dir(asked: bool = False) -> Path:
    """Where the runs of probes lie that pages begin: not among a person's own, since only figures are left of them.

    Those that somebody has `asked` for lie apart from those that came by themselves.
    """
    return _folder() / ("asked" if asked else "runs")


def _folder() -> Path:
    return places.cache_dir() / "probes"


def _file(recipe: Recipe, backbone: Backbone, mended: bool = True) -> Path:
    data = recipe.data
    source, network = data.source.model_dump(mode="json"), backbone.model_dump(mode="json")
    about = (
        VERSION,
        source,
        data.fixes if mended else None,
        (data.image_size, data.measured_side, data.side),
        data.channels,
        network,
        stamps(source),
        stamps(network),
    )
    return _folder() / f"{hashlib.sha256(repr(about).encode()).hexdigest()[:32]}.json"


def stamps(tree: Any) -> list[tuple[int, int] | None]:
    """Change when a file or a folder that is named somewhere in plain data does, or what lies in one."""
    if isinstance(tree, Mapping):
        return [stamp for each in tree.values() for stamp in stamps(each)]
    if not isinstance(tree, str) or not places.is_there(tree):
        return []
    path = places.expanded(tree)
    inside = sorted(each for each in path.iterdir() if each.is_dir()) if path.is_dir() else []
    return [places.stamp(each) for each in (path, *inside)]
