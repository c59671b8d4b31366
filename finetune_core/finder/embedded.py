"""What a frozen backbone sees in pictures, kept for this machine; and the labels that follow from some. Without torch.

A linear head on frozen features is what a scout fits, too. Here it is fitted anew after every few labels, in
milliseconds, by a closed form: ridge regression on the classes, whose errors on pictures left out one by one are known
without fitting again.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from finetune_core import places
from finetune_core.finder import probes
from finetune_core.parts.tasks import softmax
from finetune_core.recipe import Recipe

VERSION = 1
CODED = ("utf-8", "surrogateescape")  # names of files need not be text
NAMED = ("names", "bad")
TINY = 1e-6  # beside a deviation
MOST_KEPT = 6e4  # of a feature: half precision knows no more than 65504
PULLS = 10.0 ** np.arange(-3, 5)  # towards zero, of which the best is taken
SHARPEST = 2.0 ** np.arange(0, 8)  # how far answers are told apart before they become shares
MODEST = 2  # labels of each class that might as well have said something else
FEWEST = 2  # labels of each class
MOST = 500  # of the newest labels, that are gone by: so many are fitted in less than a tenth of a second


@dataclass(frozen=True)
class Embedding:
    """Features of pictures, (N, D) float32, and their paths below the folder."""

    names: tuple[str, ...]
    features: np.ndarray
    bad: tuple[str, ...] = ()  # those that could not be read


@dataclass(frozen=True)
class Proposal:
    """The likeliest label of a picture, and how sure that is, 0 to 1."""

    label: str
    sure: float


def keep(file: Path, found: Embedding) -> None:
    """Remember them; where the disk is full they are worked out again."""
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        places.replace_file(file, lambda draft: _save(draft, found))


def _save(draft: Path, found: Embedding) -> None:
    names, bad = (np.frombuffer("\0".join(each).encode(*CODED), np.uint8) for each in (found.names, found.bad))
    features = rounded(found.features).astype(np.float16)
    with draft.open("wb") as file:
        np.savez(file, names=names, bad=bad, features=features)


def rounded(features: np.ndarray) -> np.ndarray:
    """Features as they will be read again, without what is no number."""
    kept: np.ndarray = np.nan_to_num(features).clip(-MOST_KEPT, MOST_KEPT).astype(np.float16).astype(np.float32)
    return kept


def known(file: Path) -> Embedding | None:
    """Those that were kept; None where there are none, or the file is damaged."""
    try:
        with np.load(file) as saved:
            names, bad = (tuple(filter(None, saved[each].tobytes().decode(*CODED).split("\0"))) for each in NAMED)
            features = saved["features"].astype(np.float32)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):  # not there, or damaged: a cache
        return None
    return Embedding(names, features, bad) if len(names) == len(features) > 0 else None


def standard(found: Embedding) -> Embedding:
    """In standard units: all of them say what is usual, the few labelled ones would not."""
    every = found.features
    return replace(found, features=(every - every.mean(0)) / (every.std(0) + TINY))


def proposals(found: Embedding, labels: Mapping[str, str]) -> dict[str, Proposal]:
    """A label for each picture that has none, where there are two classes with two labels each; else nothing.

    The features are in `standard` units.
    """
    row = {name: number for number, name in enumerate(found.names)}
    given = [(row[name], label) for name, label in labels.items() if name in row][-MOST:]
    counts = {label: sum(other == label for _, other in given) for _, label in given}
    classes = [label for label, count in counts.items() if count >= FEWEST]
    given = [(number, label) for number, label in given if label in classes]
    asked = [number for number, name in enumerate(found.names) if name not in labels]
    if len(classes) < 2 or not asked:
        return {}
    wanted = np.array([classes.index(label) for _, label in given])
    features = found.features
    shares = _shares(features[[number for number, _ in given]], wanted, features[asked], len(classes))
    best = shares.argmax(1)
    return {
        found.names[number]: Proposal(classes[best[place]], float(shares[place, best[place]]))
        for place, number in enumerate(asked)
    }


def unsure_first(found: Mapping[str, Proposal], names: Sequence[str]) -> list[str]:
    """Pictures in the order in which a label teaches most; those without a proposal come before."""
    return sorted(names, key=lambda name: found[name].sure if name in found else -1.0)


def _shares(known: np.ndarray, wanted: np.ndarray, asked: np.ndarray, classes: int) -> np.ndarray:
    """The share of each class (M, C) in pictures asked about, by standardised features (N, D) of known class."""
    targets = np.eye(classes)[wanted] - np.bincount(wanted, minlength=classes) / len(wanted)
    gram, across = known @ known.T / known.shape[1], asked @ known.T / known.shape[1]
    values, axes = np.linalg.eigh(gram)
    helds = [_left_out(values, axes, targets, pull) for pull in PULLS]
    best = int(np.argmin([np.square(held - targets).mean() for held in helds]))
    pull, held = PULLS[best], helds[best]
    chances = [softmax(sharp * held)[np.arange(len(wanted)), wanted] for sharp in SHARPEST]
    sharp = SHARPEST[int(np.argmax([np.log(each.clip(1e-9)).mean() for each in chances]))]
    shares = softmax(sharp * (across @ (axes / (values.clip(0) + pull)) @ (axes.T @ targets)))
    doubt = MODEST * classes / (len(wanted) + MODEST * classes)  # few labels cannot make anybody sure
    return (1 - doubt) * shares + doubt / classes


def _left_out(values: np.ndarray, axes: np.ndarray, targets: np.ndarray, pull: float) -> np.ndarray:
    """What each known picture would be answered if it were not known, (N, C), by the gram matrix's values and axes."""
    shrink = axes / (values.clip(0) + pull)
    inverse = np.einsum("ij,ij->i", shrink, axes)
    found: np.ndarray = targets - (shrink @ (axes.T @ targets)) / inverse[:, None]
    return found


def place(recipe: Recipe, folder: Path) -> Path:
    """Where those of this backbone and this folder are kept."""
    data = recipe.data
    weights = recipe.model.backbone.model_dump(mode="json")
    about = (
        VERSION,
        str(folder.absolute()),
        weights,
        probes.stamps(weights),
        data.image_size,
        data.measured_side,
        data.side,
        data.channels,
    )
    return places.cache_dir() / "embedded" / f"{hashlib.sha256(repr(about).encode()).hexdigest()[:32]}.npz"
