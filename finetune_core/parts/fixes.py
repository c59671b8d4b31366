r"""Fixes: what a person has mended in their data, kept in the recipe. Their files stay as they are.

Images are named by their paths below the data's root, with /; bytes that are no UTF-8 as \xff.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from finetune_core.errors import UserError
from finetune_core.parts.base import Part, knob
from finetune_core.wording import count, few, shown

Side = Literal["train", "valid", "test"]
SIDES: dict[str, str] = {"train": "training", "valid": "validation", "test": "test"}


@dataclass
class Mended:
    """What fixes have come to so far: each image's class by name, those left out, and those kept on a side."""

    classes: list[str]
    gone: set[int] = field(default_factory=set)
    sides: dict[int, Side] = field(default_factory=dict)


class Fix(Part):
    """One thing that was mended in the data."""

    images: tuple[str, ...] = knob((), "Images", "Their paths below the data's root, with / between folders.")

    def mend(self, data: Mended, which: Sequence[int]) -> None:
        """Do it to images of these places."""
        raise NotImplementedError

    def line(self) -> str:
        """What it does, for people."""
        raise NotImplementedError

    def check(self, exclusive: bool) -> None:
        """A UserError where it does not fit data whose images have one class each, or other labels."""

    def _named(self) -> str:
        if len(self.images) == 1:
            return shown(self.images[0])
        return f"{count(len(self.images), 'image')}, such as {few(map(shown, self.images), 1)}"


class LeaveOut(Fix):
    """These images take no part: nothing is learned from them and nothing measured on them."""

    kind: ClassVar[str] = "leave_out"
    title: ClassVar[str] = "Leave out"

    def mend(self, data: Mended, which: Sequence[int]) -> None:
        """Have them gone; a class that has no other image goes with them."""
        data.gone.update(which)

    def line(self) -> str:
        """How many are left out."""
        return f"Left out: {self._named()}"


class Move(Fix):
    """These images are kept on one side of the split, so that copies are not measured on after being learned from."""

    kind: ClassVar[str] = "move"
    title: ClassVar[str] = "Keep on one side"
    side: Side = knob("train", "Side", "Where they belong.", words=SIDES)

    def mend(self, data: Mended, which: Sequence[int]) -> None:
        """Keep them there."""
        data.sides.update(dict.fromkeys(which, self.side))

    def line(self) -> str:
        """Where they are kept."""
        return f"Kept among the {SIDES[self.side]} images: {self._named()}"


class _OfClasses(Fix):
    """A fix of classes."""

    def named(self) -> str:
        """The class that comes of it."""
        raise NotImplementedError

    def check(self, exclusive: bool) -> None:
        """Only where each image has one class, and by a name."""
        if not self.named().strip():
            raise UserError(f"{self.title} has no class.", "A fix in the recipe does not say which.", "Name it.")
        if not exclusive:
            raise UserError(
                f"{self.title} does not fit the data.", "Its images have tags or numbers, not one class each."
            )


class Relabel(_OfClasses):
    """These images are of another class than their place says."""

    kind: ClassVar[str] = "relabel"
    title: ClassVar[str] = "Relabel"
    label: str = knob("", "Class", "The class that they show.")

    def named(self) -> str:
        """Theirs."""
        return self.label

    def mend(self, data: Mended, which: Sequence[int]) -> None:
        """Give them that class, which may be new."""
        for index in which:
            data.classes[index] = self.label

    def line(self) -> str:
        """What they are now."""
        return f"Relabelled as {shown(self.label)}: {self._named()}"


class Merge(_OfClasses):
    """Several classes are one."""

    kind: ClassVar[str] = "merge"
    title: ClassVar[str] = "Merge"
    classes: tuple[str, ...] = knob((), "Classes", "Those that are one.")
    into: str = knob("", "Name", "What they are called together.")

    def named(self) -> str:
        """What all are called."""
        return self.into

    def mend(self, data: Mended, which: Sequence[int]) -> None:
        """Call all of them alike."""
        data.classes[:] = [self.into if name in self.classes else name for name in data.classes]

    def line(self) -> str:
        """Which are one."""
        return f"One class, {shown(self.into)}: {few(map(shown, self.classes))}"
