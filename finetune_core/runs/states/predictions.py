"""What a run's best epoch answered to each validation image, kept so that runs can be compared image by image.

It costs no second look at the images: these are the answers of the pass that has measured the epoch.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from finetune_core.errors import UserError
from finetune_core.runs.folder import Folder, damaged, read_json
from finetune_core.runs.states import facts

WIDE = 25_000_000  # numbers; more of them are kept in half precision, at two bytes each


@dataclass(frozen=True)
class Predictions:
    """The images by their paths below the data's root, what was wanted of them, and what the network answered.

    `wanted` is as `Targets.encoded` gives it, `outputs` (images, names) float32; `epoch` counts from 1.
    """

    images: tuple[str, ...]
    wanted: np.ndarray
    outputs: np.ndarray
    epoch: int

    def taking(self, places: Sequence[int]) -> Predictions:
        """Some of the images, in this order."""
        images = tuple(self.images[place] for place in places)
        chosen = np.asarray(places, np.int64)
        return Predictions(images, self.wanted[chosen], self.outputs[chosen], self.epoch)


def save(folder: Folder, made: Predictions) -> None:
    """Write them as one whole file."""
    outputs = made.outputs if made.outputs.size <= WIDE else made.outputs.astype(np.float16)
    names = np.frombuffer("\0".join(made.images).encode("utf-8", "surrogateescape"), np.uint8)

    def write(draft: Path) -> None:
        with draft.open("wb") as file:  # to a path numpy would add a suffix
            np.savez(file, images=names, wanted=made.wanted, outputs=outputs, epoch=made.epoch)

    folder.replace(folder.predictions_file, write)


def load(folder: Folder) -> Predictions | None:
    """Those of a run; None where it kept none. A UserError where the file is damaged."""
    file = folder.predictions_file
    try:
        with np.load(file, allow_pickle=False) as saved:
            images = saved["images"].tobytes().decode("utf-8", "surrogateescape").split("\0")
            wanted, outputs = saved["wanted"], saved["outputs"].astype(np.float32)
            found = Predictions(tuple(images), wanted, outputs, int(saved["epoch"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise damaged(file, error) from error
    if found.outputs.ndim != 2 or not len(found.images) == len(found.wanted) == len(found.outputs):
        raise damaged(file, "It does not hold as many answers as images")
    return found


def of_best(folder: Folder, epoch: int) -> bool:
    """Whether the answers of this epoch are those of the weights kept as the best; yes where that cannot be known."""
    best = facts.read(folder.best).get("step")
    steps = (read_json(folder.status_file) or {}).get("epoch_steps")
    return best is None or not steps or best == str(epoch * steps)


def needed(folder: Folder) -> Predictions:
    """The same, but a UserError where it kept none."""
    if found := load(folder):
        return found
    raise UserError(
        f"The run {folder.path.name} kept no answers to compare.",
        "It was trained before they were kept, or its first epoch has not ended.",
        "Wait for its first epoch, or train the recipe again.",
    )
