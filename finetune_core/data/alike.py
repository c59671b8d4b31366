"""Which images show the same picture: copies, also smaller or more compressed ones, and shots of one burst. No torch.

Each decoded image is seen as 16 × 16 colours. Copies that were halved or saved as poor JPEGs differ by up to 6 of 255
in the mean (root of squares); the nearest two of 1,000 different product photos by 12, of 1,200 drawn flowers by 22.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import product

import numpy as np
from PIL import Image

from finetune_core.data.cache import Decoded
from finetune_core.parts.sources.samples import Samples
from finetune_core.records import Count

SIDE = 16
NEAR = 7.0  # of 255, that copies may differ by
LOCAL = 32.0  # of 255, that a single colour of copies may differ by: a defect on the same thing differs by more
CONTRAST = 0.2  # of an image's own contrast, that its copies may differ by: pale pictures are all a little alike
AXES = 8  # by which far pairs are told from near ones quickly
BURST = 0.5  # of the distance of any two images: shots of a burst are nearer than that in the mean
SCALES = (1.0, 0.95, 0.9, 0.85, 0.8)  # of a part's sides to those of the whole
STEPS = 5  # places along each side
QUICK = 64  # px, of the pictures that parts are cut from
SAME = 0.25  # of a picture's contrast, by which a part may differ from where it was cut out
SEVERAL = 3  # bursts, below which names that go on counting say nothing
MOST = 30  # shots of a burst

Groups = tuple[tuple[int, ...], ...]
"""Indices of images that belong together."""

# what a name says besides the number of the shot; as a pattern for `data.group`, too
SHOT = r"^(.*?)[ _.(-]*\d+\)?\.\w+$"


def looks(images: Decoded, count: Count) -> np.ndarray:
    """Each image as SIDE × SIDE colours, (N, SIDE, SIDE, channels) uint8; zeros where it cannot be read."""
    bad = {index for index, _ in images.bad}
    channels = next((images[index].shape[2] for index in range(len(images)) if index not in bad), 3)
    found = np.zeros((len(images), SIDE, SIDE, channels), np.uint8)
    for index in range(len(images)):
        if index not in bad:
            pixels = images[index]
            small = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
            small = small.resize((SIDE, SIDE), Image.Resampling.BOX)
            found[index] = np.asarray(small).reshape(SIDE, SIDE, channels)
        if index % 100 == 99 or index + 1 == len(images):
            count(index + 1, len(images))
    return found


def copies(looks: np.ndarray, bad: Sequence[int] = (), count: Count | None = None) -> Groups:
    """Images that show the same picture, by `looks`; those of `bad` do not count.

    Each group has a first image, which all others are near: what is near to what is near does not belong. Sorted along
    the widest axis, an image need only be held against first images that are not far before it.
    """
    left = np.setdiff1d(np.arange(len(looks)), np.fromiter(bad, np.int64, len(bad)))
    if len(left) < 2:
        return ()
    flat = looks.reshape(len(looks), -1)[left]
    projected = _projected(flat)
    order = np.argsort(projected[:, 0], kind="stable")
    reach, contrast = NEAR * flat.shape[1] ** 0.5, flat.std(1)
    firsts = np.empty(len(left), np.int64)  # in the order of the axis, and so sorted
    number, start = 0, 0
    groups: dict[int, list[int]] = {}
    for done, index in enumerate(order.tolist(), start=1):
        while start < number and projected[firsts[start], 0] < projected[index, 0] - reach:
            start += 1
        near = firsts[start:number]
        near = near[(np.abs(projected[near] - projected[index]) <= reach).all(1)]
        first = _nearest(flat, near, index, contrast)
        if first is None:
            firsts[number], number = index, number + 1
            groups[index] = [index]
        else:
            groups[first].append(index)
        if done % 1000 == 0 or done == len(left):
            (count or _nobody)(done, len(left))
    return tuple(sorted(tuple(sorted(left[group].tolist())) for group in groups.values() if len(group) > 1))


def _nearest(flat: np.ndarray, near: np.ndarray, index: int, contrast: np.ndarray) -> int | None:
    """Which of some images shows the same picture as another one, the most alike."""
    if not len(near):
        return None
    apart = flat[near].astype(np.float32) - flat[index].astype(np.float32)
    distance = np.sqrt(np.square(apart).mean(1))
    limit = np.minimum(NEAR, CONTRAST * np.minimum(contrast[near], contrast[index]))
    same = (distance <= limit) & (np.abs(apart).max(1) <= LOCAL)
    return int(near[same][distance[same].argmin()]) if same.any() else None


def _projected(flat: np.ndarray) -> np.ndarray:
    """Rows along the few axes that tell them apart best: far apart there is far apart."""
    middle = flat.mean(0, dtype=np.float32)
    sample = flat[:: -(-len(flat) // 2000)].astype(np.float32) - middle
    axes = np.linalg.svd(sample, full_matrices=False)[2][:AXES].T
    parts = [(flat[start : start + 4096].astype(np.float32) - middle) @ axes for start in range(0, len(flat), 4096)]
    return np.concatenate(parts)


def cut_out(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether one image is a part of the other, at least four fifths of its sides, or of its mirror image.

    Images (H, W, channels) uint8. Parts of different places and sizes are laid on the whole other image, brightness
    and contrast aside.
    """
    first, second = (_picture(each) for each in (one, other))
    return _within(first, second) or _within(second, first)


def _picture(image: np.ndarray) -> Image.Image:
    made = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).convert("RGB")
    return made.resize((QUICK, QUICK), Image.Resampling.BOX)  # both axes alike: parts keep their shares of the sides


def _within(whole: Image.Image, part: Image.Image) -> bool:
    wanted = np.asarray(part.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)
    looks = [_even(wanted), _even(wanted[:, ::-1])]
    for scale in SCALES:
        places = np.linspace(0, 1 - scale, 1 if scale == 1 else STEPS) * QUICK
        for left, top in product(places, places):
            box = (left, top, left + scale * QUICK, top + scale * QUICK)
            found = _even(np.asarray(whole.resize((SIDE, SIDE), Image.Resampling.BOX, box=box), np.float32))
            if any(np.square(found - each).mean() < SAME**2 for each in looks):
                return True
    return False


def _even(pixels: np.ndarray) -> np.ndarray:
    """Without its mean colour, in units of its contrast."""
    apart = pixels - pixels.mean((0, 1))
    found: np.ndarray = apart / (apart.std() + 1)
    return found


def bursts(samples: Samples, looks: np.ndarray, bad: Sequence[int] = ()) -> Groups:
    """Shots of one thing, told by names that go on counting (cat7_1, cat7_2) and by being alike."""
    named: dict[str, list[int]] = defaultdict(list)
    left_out = {*bad}
    for index in range(len(samples)):
        match = re.match(SHOT, samples.place(index))
        if match and index not in left_out:
            named[match[1]].append(index)
    beside = Counter(name.rpartition("/")[0] for name in named)  # in a folder with one such name it says nothing
    groups = [group for name, group in named.items() if beside[name.rpartition("/")[0]] > 1 and 2 <= len(group) <= MOST]
    if len(groups) < SEVERAL:
        return ()
    flat = looks.reshape(len(looks), -1)
    some = np.random.default_rng(0).integers(0, len(flat), (2, 500))
    usual = float(np.median(_distances(flat, some[0], some[1])))
    return tuple(tuple(group) for group in groups if _distances(flat, group[:-1], group[1:]).mean() < BURST * usual)


def _distances(flat: np.ndarray, ones: Sequence[int] | np.ndarray, others: Sequence[int] | np.ndarray) -> np.ndarray:
    apart = flat[ones].astype(np.float32) - flat[others].astype(np.float32)
    found: np.ndarray = np.sqrt(np.square(apart).mean(1))
    return found


def _nobody(done: int, total: int) -> None:
    """Is told."""
