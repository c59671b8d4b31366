"""The stack of transforms as a person arranges it: the order in which it runs, and one added, moved or removed.

The edits take any tuple, so that what goes along with the transforms, as a page's names for them, is arranged alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

from finetune_core.parts import Transform
from finetune_core.parts.transforms import PRESETS

Item = TypeVar("Item")


def working(transforms: Sequence[Transform]) -> list[int]:
    """The places of those that are on, in the order in which they run: what frames the image comes first."""
    active = [place for place, transform in enumerate(transforms) if transform.active]
    return sorted(active, key=lambda place: not transforms[place].frames)


def running(transforms: Sequence[Transform]) -> list[Transform]:
    """Those that are on, in the order in which they run."""
    return [transforms[place] for place in working(transforms)]


def resting(transforms: Sequence[Transform]) -> list[int]:
    """The places of those that are off."""
    return [place for place, transform in enumerate(transforms) if not transform.active]


def neighbour(transforms: Sequence[Transform], place: int, step: int) -> int | None:
    """The place of the one that runs just before (`step` -1) or after (1) this one; None where it cannot pass it.

    It cannot at either end, nor where one of both frames the image, for that always comes first. What is off has none.
    """
    order = working(transforms)
    index = order.index(place) + step if place in order else -1
    if not 0 <= index < len(order):
        return None
    return order[index] if transforms[order[index]].frames == transforms[place].frames else None


def current_preset(transforms: Sequence[Transform]) -> str | None:
    """The preset that does the same to every image, if any: what is off, or how it was come by, plays no part."""
    now = running(transforms)
    return next((key for key, preset in PRESETS.items() if running(preset.transforms) == now), None)


def added(items: tuple[Item, ...], item: Item) -> tuple[Item, ...]:
    """One more at the end: it runs last."""
    return (*items, item)


def moved(items: tuple[Item, ...], place: int, to: int) -> tuple[Item, ...]:
    """The one at `place` taken out and put in at `to`; the others keep their order."""
    others = removed(items, place)
    return (*others[:to], items[place], *others[to:])


def removed(items: tuple[Item, ...], place: int) -> tuple[Item, ...]:
    """All but the one at `place`."""
    return (*items[:place], *items[place + 1 :])


def titles(transforms: Sequence[Transform]) -> list[str]:
    """What each is called; of two of a kind the later is numbered, in the order in which they run."""
    seen: Counter[str] = Counter()
    found = {}
    for place in (*working(transforms), *resting(transforms)):
        title = transforms[place].title
        seen[title] += 1
        found[place] = title if seen[title] == 1 else f"{title} {seen[title]}"
    return [found[place] for place in range(len(transforms))]


def recognised(before: Sequence[Transform], after: Sequence[Transform]) -> bool:
    """Whether each transform can be told to be the one that was in its place: at most one of them was edited."""
    if [transform.kind for transform in before] != [transform.kind for transform in after]:
        return False
    return sum(one != other for one, other in zip(before, after, strict=True)) <= 1
