"""How a run's model sees its images: as features, those that go into its head. Which are alike, and how they lie.

The features of all images are worked out once for the weights that the run has, and are kept for this machine.
"""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from finetune_core import places
from finetune_core.data.cache import Decoded, decoded
from finetune_core.data.chosen import of_run
from finetune_core.data.image import Picture
from finetune_core.data.loader import Batches
from finetune_core.data.pipeline import eval_pipeline
from finetune_core.errors import UserError
from finetune_core.finder import embedded
from finetune_core.finder.embed import BATCH, features
from finetune_core.finder.embedded import Embedding
from finetune_core.parts.sources.samples import Samples
from finetune_core.places import stamp
from finetune_core.records import Count
from finetune_core.runs.store import Run
from finetune_core.understand import predict
from finetune_core.understand.predict import Predictor

AXES = 50  # principal axes that a map is made from, as van der Maaten and Hinton 2008 do
MOST = 4000  # images on a map, of more so many from all over them
FEWEST = 4  # images that make a map
NEIGHBOURS = 10  # of which one at least shares an image's label, or it is strange; and of which a label is asked
PIECE = 1000  # images that are asked at once


@dataclass(frozen=True)
class Like:
    """An image, what it is labelled as, and how alike it is: the cosine of the features, 1 at most."""

    path: Path
    label: str
    likeness: float


@dataclass(frozen=True)
class Look:
    """Images with their labels in words, whether they are for validation, and their features (N, D) float32."""

    paths: tuple[Path, ...]
    labels: tuple[str, ...]
    valid: np.ndarray
    features: np.ndarray

    @cached_property
    def usual(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation of each feature."""
        return self.features.mean(0), self.features.std(0) + embedded.TINY

    @cached_property
    def even(self) -> np.ndarray:
        """In standard units and of length 1, so that products are cosines."""
        return self.evened(self.features)

    def evened(self, found: np.ndarray) -> np.ndarray:
        """The same of other features."""
        mean, spread = self.usual
        standard = (found - mean) / spread
        evened: np.ndarray = standard / (np.linalg.norm(standard, axis=1, keepdims=True) + embedded.TINY)
        return evened

    def some(self, most: int) -> Look:
        """At most so many, evenly spread."""
        chosen = np.unique(np.linspace(0, len(self.paths) - 1, min(most, len(self.paths))).round().astype(int))
        return Look(
            tuple(self.paths[place] for place in chosen),
            tuple(self.labels[place] for place in chosen),
            self.valid[chosen],
            self.features[chosen],
        )


@dataclass(frozen=True)
class Map:
    """Images in two dimensions, (N, 2): alike ones lie together. `strange` ones lie among those of other labels."""

    seen: Look
    places: np.ndarray
    strange: np.ndarray


def look(run: Run, count: Count | None = None) -> Look:
    """All images that the run learned from or was measured on, as its best weights see them.

    UserErrors where it has no model yet, or its images are gone.
    """
    return _look(run, stamp(run.best), predict.load(run), count)


def nearest(run: Run, picture: Picture, most: int = 6, count: Count | None = None) -> list[Like]:
    """The training images that are most like a picture, the nearest first, but never the very same file."""
    weights = stamp(run.best)  # before they are loaded: a better epoch may come meanwhile
    predictor = predict.load(run)
    seen = _look(run, weights, predictor, count)
    asked = features(predictor.network, predictor.shown(picture)[None].to(predictor.device, torch.float32))
    likeness = seen.even @ seen.evened(asked.numpy())[0]
    others = [place for place in np.argsort(-likeness) if not seen.valid[place] and seen.paths[place] != picture]
    return [Like(seen.paths[place], seen.labels[place], float(likeness[place])) for place in others[:most]]


def mapped(seen: Look) -> Map:
    """The images as a map by t-SNE (van der Maaten and Hinton 2008), the same each time. A UserError for very few."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    some = seen.some(MOST)
    if (images := len(some.paths)) < FEWEST:
        raise UserError("There are too few images for a map.", f"There are {images}.", "Look at them one by one.")
    if not some.features.std(0).any():
        why = "All images are the same to this network: it has learned nothing, or too fast."
        raise UserError("There is no map.", why, "Train again with a lower rate.")
    axes = PCA(min(AXES, images, some.even.shape[1]), random_state=0).fit_transform(some.even)
    flat = TSNE(perplexity=min(30.0, (images - 1) / 3), init="pca", random_state=0, n_jobs=-1).fit_transform(axes)
    return Map(some, flat.astype(np.float32), _strange(some))


def by_neighbours(seen: Look, most: int = NEIGHBOURS) -> float:
    """The share of the validation images whose label most of their nearest training images have (kNN by cosine).

    So many neighbours count, of a draw the label that comes first. A UserError where a side has no image.
    """
    known, labels = np.unique(seen.labels, return_inverse=True)
    learned, asked = seen.even[~seen.valid], seen.even[seen.valid]
    if not (len(learned) and len(asked)):
        raise UserError("There are no neighbours.", "One side of the split has no image.", "Look at another run.")
    theirs, right, most = labels[~seen.valid], 0, min(most, len(learned))
    for start in range(0, len(asked), PIECE):
        near = np.argpartition(-(asked[start : start + PIECE] @ learned.T), most - 1, axis=1)[:, :most]
        votes = np.stack([(theirs[near] == label).sum(1) for label in range(len(known))])
        right += int((votes.argmax(0) == labels[seen.valid][start : start + PIECE]).sum())
    return right / len(asked)


def packed(seen: Look) -> bytes:
    """Features as NumPy's .npz: images, labels, valid and features."""
    file = io.BytesIO()
    images = np.array([str(path) for path in seen.paths])
    np.savez_compressed(file, images=images, labels=np.array(seen.labels), valid=seen.valid, features=seen.features)
    return file.getvalue()


def table(seen: Look) -> str:
    """The same as CSV: an image in each row."""
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    writer.writerow(["image", "label", "valid", *(f"feature {number}" for number in range(seen.features.shape[1]))])
    for path, label, valid, row in zip(seen.paths, seen.labels, seen.valid, seen.features, strict=True):
        writer.writerow([path, label, int(valid), *(f"{each:.6g}" for each in row)])
    return rows.getvalue()


def _look(run: Run, weights: object, predictor: Predictor, count: Count | None) -> Look:
    data = predictor.data
    samples, parts, _ = of_run(data, run.begun)
    every = np.concatenate([parts.train, parts.valid])
    images = decoded(samples, data.side, "skip", count, data.channels)
    found = _known(_place(run, (weights, images.name, every.tobytes())), predictor, samples, images, every, count)
    index = {samples.name(int(number)): int(number) for number in every}
    there = [(place, index[name]) for place, name in enumerate(found.names) if name in index]
    numbers = [number for _, number in there]
    return Look(
        tuple(samples.paths[number] for number in numbers),
        tuple(samples.label_words(number) for number in numbers),
        np.isin(numbers, parts.valid),
        found.features[[place for place, _ in there]],
    )


def _strange(seen: Look) -> np.ndarray:
    """Images of whose neighbours none has their label, though others have it."""
    _, numbers, counts = np.unique(seen.labels, return_inverse=True, return_counts=True)
    near = seen.even @ seen.even.T
    np.fill_diagonal(near, -np.inf)
    most = min(NEIGHBOURS, len(numbers) - 1)
    neighbours = np.argpartition(-near, most - 1, axis=1)[:, :most]
    strange: np.ndarray = ~(numbers[neighbours] == numbers[:, None]).any(1) & (counts[numbers] > 1)
    return strange


def _place(run: Run, about: object) -> tuple[Path, str]:
    """Where features are kept, and how the names of those of this run begin."""
    digests = [hashlib.sha256(repr(each).encode()).hexdigest() for each in (str(run.path.resolve()), about)]
    beginning = f"run-{digests[0][:16]}-"
    return places.cache_dir() / "embedded" / f"{beginning}{digests[1][:16]}.npz", beginning


def _known(
    place: tuple[Path, str],
    predictor: Predictor,
    samples: Samples,
    images: Decoded,
    every: np.ndarray,
    count: Count | None,
) -> Embedding:
    """What was kept for these weights and images, or is worked out now; what was kept for earlier ones goes."""
    file, beginning = place
    if found := embedded.known(file):
        return found
    left = np.setdiff1d(every, [index for index, _ in images.bad])
    labels, rows = np.zeros(len(samples), np.int64), []
    batches = Batches(images, labels, left, eval_pipeline(predictor.data), BATCH, 0, shuffle=False, augment=False)
    for inputs, _ in batches.epoch(0):
        rows.append(features(predictor.network, inputs.to(predictor.device, torch.float32)))
        if count:
            count(sum(map(len, rows)), len(left))
    names = tuple(samples.name(int(index)) for index in left)
    made = Embedding(names, embedded.rounded(torch.cat(rows).numpy()))
    for earlier in file.parent.glob(f"{beginning}*"):
        earlier.unlink(missing_ok=True)
    embedded.keep(file, made)
    return made
