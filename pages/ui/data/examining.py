"""Looking at every image behind the page. What it reads lands in the cache that training reads from."""

from __future__ import annotations

from functools import partial

from finetune_core.data import doctor
from finetune_core.parts.sources.samples import Samples
from finetune_core.recipe import Data
from finetune_core.records import Count
from pages.ui.kit import behind, dataset
from pages.ui.kit.behind import Behind

_latest: dict[str, Behind[doctor.Examined]] = {}  # the examination of the data that are chosen now


def begin(samples: Samples, data: Data) -> Behind[doctor.Examined]:
    """The examination of these images and of those that are left out by hand, begun now if it was not before."""
    key = f"{dataset.key(data.source)}{data.side}:{data.channels}"
    return behind.begin(_latest, key, partial(_look, samples, data), "Looking at every image")


def _look(samples: Samples, data: Data, count: Count) -> doctor.Examined:
    return doctor.examine(samples, data.side, data.channels, count)
