"""Layer groups changed by hand: taken apart into their pieces, or joined with their neighbours. Pure, without torch.

A network's groups are given as their pieces, `{"layer4": ("layer4.0", "layer4.1"), …}`, stem first and without the
head, which is new and always a group of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

from finetune_core.errors import UserError

Pieces = Mapping[str, Collection[str]]


def regrouped(pieces: Pieces, split: Sequence[str], merge: Sequence[Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The groups after some were split and then some were merged, as their pieces, stem first.

    A UserError for names that are not there, a group in one piece, and groups that are no neighbours.
    """
    return _merged(_split(pieces, split), merge)


def splittable(pieces: Pieces) -> tuple[str, ...]:
    """The groups that consist of several pieces."""
    return tuple(name for name, parts in pieces.items() if len(parts) > 1)


def joined(names: Sequence[str]) -> str:
    """What a group of these is called: `stem+layer1`, and `stem..layer2` where there are more than two."""
    return "+".join(names) if len(names) < 3 else f"{names[0]}..{names[-1]}"


def joins(merge: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The groups that are joined with the one after them."""
    return tuple(name for members in merge for name in members[:-1])


def merges(names: Sequence[str], joined_with_next: Collection[str]) -> tuple[tuple[str, ...], ...]:
    """The same the other way round: which of the names become one group."""
    result: list[list[str]] = []
    for before, name in pairwise(["", *names]):
        if before in joined_with_next:
            result[-1].append(name)
        else:
            result.append([name])
    return tuple(tuple(members) for members in result if len(members) > 1)


def _split(pieces: Pieces, split: Sequence[str]) -> dict[str, tuple[str, ...]]:
    able = splittable(pieces)
    if wrong := [name for name in split if name not in able]:
        what = "is in one piece" if wrong[0] in pieces else "is not there"
        raise UserError(
            f"The layer group {wrong[0]} cannot be split: it {what}.",
            f"Those of several pieces are {', '.join(able) or 'none'}.",
            "Mend or remove it under model.split.",
        )
    result: dict[str, tuple[str, ...]] = {}
    for name, parts in pieces.items():
        result |= {part: (part,) for part in parts} if name in split else {name: tuple(parts)}
    return result


def _merged(groups: dict[str, tuple[str, ...]], merge: Sequence[Sequence[str]]) -> dict[str, tuple[str, ...]]:
    names, taken = list(groups), [name for members in merge for name in members]
    for members in merge:
        _check(names, members)
    if twice := [name for name in taken if taken.count(name) > 1]:
        raise UserError(f"The layer group {twice[0]} is merged twice.", hint="Name it once under model.merge.")
    firsts = {_ordered(names, members)[0]: _ordered(names, members) for members in merge}
    result: dict[str, tuple[str, ...]] = {}
    for name in names:
        if name in firsts:
            members = firsts[name]
            result[joined(members)] = tuple(part for member in members for part in groups[member])
        elif name not in taken:
            result[name] = groups[name]
    return result


def neighbours(names: Sequence[str], members: Sequence[str]) -> bool:
    """Whether these are at least two of the names, in any order, with none between them."""
    places = sorted(names.index(name) for name in members if name in names)
    return 1 < len(members) == len(places) and places == list(range(places[0], places[0] + len(places)))


def _check(names: Sequence[str], members: Sequence[str]) -> None:
    if neighbours(names, members):
        return
    unknown = [name for name in members if name not in names]
    why = f"There is no {unknown[0]} before the head" if unknown else "It takes neighbours, at least two"
    raise UserError(
        f"The layer groups {', '.join(members)} cannot be merged.",
        f"{why}: {', '.join(names)}.",
        "Mend or remove it under model.merge.",
    )


def _ordered(names: Sequence[str], members: Sequence[str]) -> list[str]:
    return sorted(members, key=names.index)
