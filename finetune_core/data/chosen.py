"""The data of a recipe: the images that its source lists, as they were mended by hand, each on a side of the split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from finetune_core.data.kept import Kept
from finetune_core.data.split import NOWHERE, Split, split
from finetune_core.errors import UserError
from finetune_core.parts.fixes import Fix, LeaveOut, Mended
from finetune_core.parts.sources.samples import Samples, natural
from finetune_core.recipe import Data
from finetune_core.records import Count
from finetune_core.wording import count as counted
from finetune_core.wording import few, shown


def chosen(data: Data, count: Count | None = None) -> tuple[Samples, Split]:
    """List the images and split them; `count` hears (done, total) where they must first be made. Raises UserErrors."""
    return arranged(data.source.samples(count), data)


def again(data: Data, begun: Kept, count: Count | None = None) -> tuple[Samples, Split, tuple[str, ...]]:
    """The same for a run that goes on: the images and the split that it began with, and notes on what has changed."""
    listed = data.source.samples(count)
    mended, _ = _mended(listed, data.fixes)
    samples = _labelled(listed, mended)
    begun.check(samples)
    if begun.valid:
        return begun.held(samples, mended.gone)
    return (*arranged(listed, data), ())  # it began before this was kept


def of_run(data: Data, begun: Kept | None) -> tuple[Samples, Split, tuple[str, ...]]:
    """The images of a run that is over, and notes on what has changed since. A UserError where they are gone."""
    if coming := data.source.coming():
        hint = "Choose the set on Data to get it again."
        raise UserError("Its images are not on this machine any more.", coming, hint)
    return again(data, begun) if begun else (*chosen(data), ())


def arranged(listed: Samples, data: Data) -> tuple[Samples, Split]:
    """The same of images that are listed already: fixes in their order, then the split, which moves no other image."""
    mended, notes = _mended(listed, data.fixes)
    samples = _labelled(listed, mended)
    parts = split(listed, data, mended.gone, mended.sides, samples)
    samples = replace(samples, notes=(*notes, *samples.notes), remarks=(*notes, *samples.remarks)) if notes else samples
    return _left(samples, parts, mended.gone) if mended.gone else (samples, parts)


def _mended(listed: Samples, fixes: Sequence[Fix]) -> tuple[Mended, tuple[str, ...]]:
    """What fixes come to, and a note on images that they name and that are not there."""
    if not fixes:
        return Mended([]), ()
    about = listed.about
    names = [listed.classes[label] for label in listed.labels] if about.exclusive else []  # type: ignore[index]
    mended, gone = Mended(names), []
    where = {listed.place(index): index for index in range(len(listed))}
    unknown = []
    for fix in fixes:
        fix.check(about.exclusive)
        unknown += [name for name in getattr(fix, "classes", ()) if name not in mended.classes]
        fix.mend(mended, [where[name] for name in fix.images if name in where])
        gone += [name for name in fix.images if name not in where]
    notes = []
    if gone:
        verb = counted(len(gone), "image that was mended is", "images that were mended are")
        notes.append(f"{verb} not there: {few(map(shown, gone), 2)}.")
    if unknown:
        notes.append(f"{counted(len(unknown), 'class', 'classes')} to be merged not there: {few(map(shown, unknown))}.")
    return mended, tuple(notes)


def _labelled(listed: Samples, mended: Mended) -> Samples:
    """With the classes that fixes give; those without an image left are none."""
    if not mended.classes:
        return listed
    left = {name for index, name in enumerate(mended.classes) if index not in mended.gone}
    known = [name for name in listed.classes if name in left]
    classes = known if left <= {*known} else sorted(left, key=natural)
    if len(classes) < 2:
        raise UserError(
            "Too few classes are left.",
            f"With all that was mended there is {f'only {shown(classes[0])}' if classes else 'none'}.",
            "Take one of the fixes back.",
        )
    number = {name: place for place, name in enumerate(classes)}
    labels = tuple(number.get(name, NOWHERE) for name in mended.classes)
    return replace(listed, classes=tuple(classes), labels=labels)


def _left(samples: Samples, parts: Split, gone: set[int]) -> tuple[Samples, Split]:
    """Without the images that are left out; what is decoded of all is decoded of those that are left."""
    places = [index for index in range(len(samples)) if index not in gone]
    new = np.full(len(samples), -1)
    new[places] = np.arange(len(places))
    return samples.part(places), Split(*(new[side] for side in parts.sides))


def with_fix(fixes: Sequence[Fix], fix: Fix) -> tuple[Fix, ...]:
    """Fixes and one more, in as few as say the same: what leaves more images out joins what left some out."""
    alike = [each for each in fixes if each.replace(images=()) == fix.replace(images=()) and fix.images]
    if not alike:
        return (*fixes, fix)
    joined = fix.replace(images=tuple(dict.fromkeys((*alike[-1].images, *fix.images))))
    later = fixes[[each is alike[-1] for each in fixes].index(True) + 1 :]
    if any(not each.images or {*each.images} & {*joined.images} for each in later):
        return (*fixes, fix)  # joined it would come after what was said of its images since
    return (*(each for each in fixes if each is not alike[-1]), joined)


def leaving_out(samples: Samples, images: Sequence[int]) -> LeaveOut:
    """The fix that leaves some images out."""
    return LeaveOut(images=tuple(samples.place(index) for index in images))
