"""A look at a data set's health before anything is trained on it. No torch.

`examine` reads every file once, `findings` says what that means for a recipe: each with its images, why it matters, and
fixes that are kept in the recipe. A person's files are never touched.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import TypeAdapter, ValidationError

from finetune_core.data import alike, cache, chosen
from finetune_core.data.image import UnreadableError, read_size
from finetune_core.data.split import TEST, VALID
from finetune_core.errors import Mend, UserError
from finetune_core.findings import Finding
from finetune_core.parts.fixes import Fix, LeaveOut, Move, Relabel
from finetune_core.parts.sampling import Balanced, Once
from finetune_core.places import write_whole, writing
from finetune_core.records import Count
from finetune_core.wording import count as counted
from finetune_core.wording import few

if TYPE_CHECKING:
    from finetune_core.data.split import Split
    from finetune_core.parts.sources.samples import Samples
    from finetune_core.recipe import Recipe

Twins = tuple[str, str]
"""Two images of which one is a part of the other, or of its mirror image."""

VERSION = 2  # of what is kept: raise it when `examine` looks otherwise
WORKERS = 8
UNEVEN = 5.0  # the largest class may be this many times the smallest before it is worth a word
FEW = 10  # images in a class
BRIEF = 36  # letters of a name
MANY_SMALL = 0.25  # of the images: where so many are small, another size is worth a thought


@dataclass(frozen=True)
class Examined:
    """What reading the files shows: sides[i] = (width, height) in px, (0, 0) where the file cannot be read; and why.

    `copies` are images that show the same picture, `bursts` shots of the same thing.
    """

    sides: tuple[tuple[int, int], ...]
    reasons: dict[int, str]
    copies: alike.Groups = ()
    bursts: alike.Groups = ()

    def of(self, samples: Samples) -> Examined:
        """The same of the images that are not left out by hand."""
        if samples.whole is None:
            return self
        new = {old: place for place, old in enumerate(samples.places)}

        def left(groups: alike.Groups) -> alike.Groups:
            some = (tuple(new[index] for index in group if index in new) for group in groups)
            return tuple(group for group in some if len(group) > 1)

        reasons = {new[index]: why for index, why in self.reasons.items() if index in new}
        sides = tuple(self.sides[place] for place in samples.places)
        return Examined(sides, reasons, left(self.copies), left(self.bursts))

    def joined(self, pairs: Iterable[tuple[int, int]]) -> Examined:
        """With pairs that show the same picture, too."""
        groups = {index: {*group} for group in self.copies for index in group}
        for one, other in pairs:
            both = groups.get(one, {one}) | groups.get(other, {other})
            groups.update(dict.fromkeys(both, both))
        copies = sorted({tuple(sorted(group)) for group in groups.values()})
        return replace(self, copies=tuple(copies))


_KEPT = TypeAdapter(tuple[int, Examined])


def examine(samples: Samples, side: int, channels: int = 3, count: Count | None = None) -> Examined:
    """Read every image as training does, into the very cache that training reads from: what is said here is true.

    `side` is the short side in px at which images are kept. UserErrors for a disk without room.
    """
    samples = samples.whole or samples
    images = cache.filled(samples, side, count, channels)
    if found := _kept(images):
        return found
    reasons = dict(images.bad)
    with ThreadPoolExecutor(WORKERS) as pool:
        sizes = tuple(pool.map(_size, samples.paths))
    seen = alike.looks(images, count or (lambda done, total: None))
    found = Examined(
        tuple((0, 0) if index in reasons else size for index, size in enumerate(sizes)),
        reasons,
        alike.copies(seen, tuple(reasons), count),
        alike.bursts(samples, seen, tuple(reasons)),
    )
    with writing("what was found in the images"):
        write_whole(images.folder / "examined.json", json.dumps([VERSION, asdict(found)]))
    return found


def known(samples: Samples, side: int, channels: int = 3) -> Examined | None:
    """What reading has shown, where it has been done."""
    images = cache.known(samples.whole or samples, side, channels)
    return None if images is None else _kept(images)


def _kept(images: cache.Decoded) -> Examined | None:
    try:
        version, found = _KEPT.validate_json((images.folder / "examined.json").read_bytes())
    except (OSError, ValidationError):  # a cache: what is damaged is made anew
        return None
    return found if version == VERSION and len(found.sides) == len(images) else None


def _size(path: Path) -> tuple[int, int]:
    try:
        return read_size(path)
    except UnreadableError:
        return (0, 0)


@dataclass(frozen=True)
class Doubt:
    """An image whose label a head that has not seen it does not believe: its place and label, what it says.

    `surer` is how much surer it is of that, in [0, 1].
    """

    place: str
    label: str
    said: str
    surer: float


def findings(
    recipe: Recipe,
    samples: Samples,
    parts: Split,
    examined: Examined,
    doubts: Sequence[Doubt] = (),
    twins: Sequence[Twins] = (),
) -> list[Finding]:
    """What deserves a word, the gravest first; that all is well where nothing does.

    `doubts` and `twins` are what a backbone has seen, by paths below the data's root.
    """
    where = {samples.place(index): index for index in range(len(samples))} if twins else {}
    pairs = [(where[one], where[other]) for one, other in twins if one in where and other in where]
    look = _Look(recipe, samples, parts, examined.of(samples).joined(pairs))
    found = [*look.disputed(), *look.leaks(), *look.bursts(), *look.unreadable(), *look.unmeasured(), *look.copies()]
    found += [*look.doubted(doubts), *look.uneven(), *look.few(), *look.small()]
    even = "the classes are even, " if samples.about.exclusive else ""
    sound = f"Every file can be read, no picture is there twice, {even}the images are large enough."
    return sorted(found, key=lambda each: each.level != "ask") or [Finding("ok", "Sound", sound)]


@dataclass(frozen=True)
class _Look:
    """One look at the images of a recipe, `examined` being of the same images as `samples`."""

    recipe: Recipe
    samples: Samples
    parts: Split
    examined: Examined

    def disputed(self) -> Iterator[Finding]:
        """One picture under two labels."""
        groups = [group for group in self.examined.copies if len({self.samples.labels[each] for each in group}) > 1]
        if not groups:
            return
        odd = [each for group in groups for each in self._odd(group)]
        labels = [few(sorted({self.samples.label_words(each) for each in group})) for group in groups]
        shown = few(
            (f"{self.samples.name(group[0])} ({words})" for group, words in zip(groups, labels, strict=True)), 2
        )
        verb = counted(len(groups), "picture stands", "pictures stand")
        yield Finding(
            "ask",
            f"{verb} under two labels",
            f"{shown}. Whatever the model says of such a picture is counted wrong once. Look which label is right.",
            mend=self._mend("Leave the odd ones out", self._leave_out(odd)),
            images=tuple(each for group in groups for each in group),
        )

    def doubted(self, doubts: Sequence[Doubt]) -> Iterator[Finding]:
        """Labels that the model does not believe, the surest first."""
        where = {self.samples.place(index): index for index in range(len(self.samples))} if doubts else {}
        left = [
            (where[each.place], each)
            for each in doubts
            if each.place in where and self.samples.label_words(where[each.place]) == each.label
        ]
        if not left:
            return
        labels = dict.fromkeys(each.said for _, each in left)
        fixes = [
            Relabel(images=tuple(each.place for _, each in left if each.said == said), label=said) for said in labels
        ]
        verb = counted(len(left), "label is doubted", "labels are doubted")
        such = few((f"{self._brief(index)} ({each.label}, or {each.said}?)" for index, each in left), 3)
        yield Finding(
            "warn",
            verb,
            f"{such}. A head on these features, fitted on the other images, is sure of another class. Wrong labels are "
            "learned, and measured, too. It may be wrong: look at the pictures.",
            mend=self._mend("Leave them out", self._leave_out([index for index, _ in left])),
            others=(self._mend("Relabel them so", *fixes),),
            images=tuple(index for index, _ in left),
        )

    def _odd(self, group: Sequence[int]) -> list[int]:
        """Those whose label is not that of most; all, where none has the most."""
        labels = [self.samples.labels[each] for each in group]
        numbers = sorted((labels.count(label) for label in {*labels}), reverse=True)
        if numbers[0] == numbers[1]:
            return list(group)
        usual = max({*labels}, key=labels.count)
        return [each for each, label in zip(group, labels, strict=True) if label != usual]

    def leaks(self) -> Iterator[Finding]:
        """Copies of what is learned from among the images to measure on."""
        groups = [group for group in self._copies() if len(self._sides(group)) > 1]
        if not groups:
            return
        verb = counted(len(groups), "picture is", "pictures are")
        out = self._mend("Leave the copies out", self._leave_out(self._copied(groups)))
        yield Finding(
            "ask",
            f"{verb} learned from and measured on",
            f"{self._such_as(groups)}. A model that has seen a picture in training knows it: its score says too much.",
            mend=out if self.recipe.data.group else self._mend("Keep copies on one side", *self._together(groups)),
            others=() if self.recipe.data.group else (out,),
            images=tuple(each for group in groups for each in group),
        )

    def copies(self) -> Iterator[Finding]:
        """Copies on the same side."""
        groups = [group for group in self._copies() if len(self._sides(group)) == 1]
        if not groups:
            return
        verb = counted(len(groups), "picture is", "pictures are")
        yield Finding(
            "warn",
            f"{verb} there more than once",
            f"{self._such_as(groups)}. Copies count double.",
            mend=self._mend("Leave the copies out", self._leave_out(self._copied(groups))),
            images=tuple(each for group in groups for each in group),
        )

    def _copies(self) -> list[tuple[int, ...]]:
        """Copies that agree on their label."""
        return [group for group in self.examined.copies if len({self.samples.labels[each] for each in group}) == 1]

    def _copied(self, groups: Sequence[Sequence[int]]) -> list[int]:
        """All but the largest of each group, the one for a test before others."""

        def worth(index: int) -> tuple[bool, int]:
            width, height = self.examined.sides[index]
            return bool(self._where[index] == TEST), width * height

        return [each for group in groups for each in group if each != max(group, key=worth)]

    def _sides(self, group: Sequence[int]) -> set[int]:
        return {*self._where[list(group)].tolist()}

    @cached_property
    def _where(self) -> np.ndarray:
        """The side of each image, by its number in `ORDER`."""
        where = np.zeros(len(self.samples), np.int64)
        for number, side in enumerate(self.parts.sides):
            where[side] = number
        return where

    def _together(self, groups: Sequence[Sequence[int]]) -> list[Fix]:
        """Have each group on one side: in training, or with those for a test, where one of them is."""
        out, kept = [], []
        for group in groups:
            if TEST in self._sides(group):
                out += [each for each in group if self._where[each] != TEST]
            else:
                kept += [each for each in group if self._where[each] == VALID]
        fixes: list[Fix] = [self._leave_out(out)] if out else []
        return [*fixes, Move(images=self._places(kept), side="train")] if kept else fixes

    def bursts(self) -> Iterator[Finding]:
        """Shots of one burst on both sides."""
        groups = [group for group in self.examined.bursts if len(self._sides(group)) > 1]
        if not groups or self.recipe.data.group or self.samples.fixed:
            return
        verb = counted(len(groups), "burst is", "bursts are")
        yield Finding(
            "ask",
            f"{verb} split between training and validation",
            f"{self._such_as(groups)}: shots of one thing, by their names and looks. What is measured is partly what "
            "was learned by heart.",
            mend=self._grouped(),
            images=tuple(each for group in groups[:4] for each in group),
        )

    def _grouped(self) -> Mend | None:
        """Keep what is called alike together, if every class is measured then."""
        data = self.recipe.data.replace(group=alike.SHOT)
        try:
            samples, parts = chosen.arranged(self.samples.whole or self.samples, data)
        except UserError:
            return None
        shown = {samples.labels[index] for index in parts.valid.tolist()}
        whole = not samples.about.exclusive or len(shown) == len(samples.classes)
        return Mend("Keep bursts together", "data.group", alike.SHOT) if whole else None

    def unreadable(self) -> Iterator[Finding]:
        """Files that cannot be read."""
        bad = tuple(self.examined.reasons)
        if not bad:
            return
        reasons = (f"{self.samples.name(index)} ({self.examined.reasons[index].rstrip('.')})" for index in bad)
        text = f"{few(reasons, 3)}. A run stops there, unless such files are mended or left out."
        if self.recipe.data.unreadable == "skip":
            text = f"{few(reasons, 3)}. Such files are left out."
        mend = self._mend("Leave them out", self._leave_out(bad))
        yield Finding("warn", f"{counted(len(bad), 'file')} cannot be read", text, mend=mend, images=bad)

    def small(self) -> Iterator[Finding]:
        """Images smaller than the model's input."""
        size = self.recipe.data.image_size
        small = tuple(index for index, each in enumerate(self.examined.sides) if 0 < min(each) < size)
        if not small:
            return
        text = f"Their shorter side is below {size} px, so the model sees them enlarged and soft."
        title = f"{counted(len(small), 'image')} smaller than the model's input"
        usual = int(np.median([min(each) for each in self.examined.sides if min(each)])) // 32 * 32
        fits = len(small) > MANY_SMALL * len(self.samples) and 32 <= usual < size
        mend = Mend(f"Use {usual} px", "data.image_size", usual) if fits else None
        yield Finding("warn", title, text, mend=mend, images=small)

    def uneven(self) -> Iterator[Finding]:
        """Classes of very different sizes; tags are rare by nature, and numbers have no classes."""
        counts = self.samples.counts() if self.samples.about.exclusive else {}
        if not counts or not min(counts.values()) or max(counts.values()) / min(counts.values()) < UNEVEN:
            return
        large, small = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
        text = (
            f"{large} has {counts[large]} images, {small} only {counts[small]}: a model may neglect the rare classes."
        )
        loss = self.recipe.training.loss
        weighs, often = getattr(loss, "balance", "none") not in ("none", False), self.recipe.training.sampling != Once()
        text += " The loss weighs them more." * weighs + " They are seen more often." * often
        more = Mend("Weigh rare classes more", "training.loss.balance", "inverse")
        again = Mend("See them more often", "training.sampling", {"kind": Balanced.kind})
        ways = [] if weighs or often else [more, again] if hasattr(loss, "balance") else [again]
        yield Finding("warn", "The classes are uneven", text, mend=next(iter(ways), None), others=tuple(ways[1:]))

    def few(self) -> Iterator[Finding]:
        """Classes and tags with few images."""
        if not self.samples.about.counted:
            return
        rare = [name for name, number in self.samples.counts().items() if number < FEW]
        if not rare:
            return
        text = f"{few(rare)}: fewer than {FEW} images each, so the validation result of these will jump about."
        yield Finding("warn", f"{self.samples.about.there(len(rare))} with few images", text)

    def unmeasured(self) -> Iterator[Finding]:
        """Classes that the validation images do not show."""
        if not self.samples.about.exclusive:
            return
        measured = {self.samples.labels[index] for index in self.parts.valid.tolist()}
        lost = [name for label, name in enumerate(self.samples.classes) if label not in measured]
        if lost:
            text = f"{few(lost)}: how well the model tells them is not measured at all."
            yield Finding("ask", f"{self.samples.about.there(len(lost))} without validation images", text)

    def _such_as(self, groups: Sequence[Sequence[int]]) -> str:
        names = (" = ".join(self._brief(each) for each in group[:2]) for group in groups)
        return f"Such as {few(names, 2)}" if len(groups) > 2 else few(names, 2)

    def _brief(self, index: int) -> str:
        """An image's name, of a long one the ends."""
        name = self.samples.name(index)
        return name if len(name) <= BRIEF else f"{name[: BRIEF // 2]}…{name[-BRIEF // 2 :]}"

    def _places(self, images: Sequence[int]) -> tuple[str, ...]:
        return tuple(self.samples.place(index) for index in images)

    def _leave_out(self, images: Sequence[int]) -> LeaveOut:
        return LeaveOut(images=self._places(images))

    def _mend(self, title: str, *fixes: Fix) -> Mend:
        """Add fixes to those of the recipe."""
        all_of_them = self.recipe.data.fixes
        for fix in fixes:
            all_of_them = chosen.with_fix(all_of_them, fix)
        return Mend(title, "data.fixes", [fix.model_dump(mode="json") for fix in all_of_them])


def full(
    recipe: Recipe, count: Count | None = None, doubts: Sequence[Doubt] = (), twins: Sequence[Twins] = ()
) -> list[Finding]:
    """Everything that is to be said of a recipe's data, every file being read. Raises UserErrors."""
    samples, parts = chosen.chosen(recipe.data, count)
    data = recipe.data
    return findings(recipe, samples, parts, examine(samples, data.side, data.channels, count), doubts, twins)
