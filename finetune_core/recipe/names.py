"""The names of layer groups: which of them a pattern means, and which train."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

from finetune_core.errors import UserError

HEAD = "head"


def matching(names: Sequence[str], patterns: Sequence[str]) -> tuple[str, ...]:
    """Those `names`, in order, that fit any pattern (`*` and `?` stand for letters); UserError if one fits none."""
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UserError(
                f"There is no layer group called {pattern}.",
                f"This network has {', '.join(names)}.",
                "Mend the name, or use * for any letters, such as layer*.",
            )
    return tuple(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))


def freeze_to(n: int, names: Sequence[str]) -> tuple[str, ...]:
    """The groups that train after `freeze_to(n)` (seed 002, fastai): -1 the last only, 0 all, 2 all but the first two.

    A UserError where that is none, or more groups than there are.
    """
    if not -len(names) <= n < len(names):
        why = f"This network has {len(names)} layer groups ({', '.join(names)})."
        hint = f"Take a number from {-len(names)} to {len(names) - 1}: -1 trains the last group only, 0 all."
        raise UserError(f"freeze_to {n} does not fit.", why, hint)
    return tuple(names[n:])


def thaw_patterns(names: Sequence[str], chosen: Collection[str]) -> tuple[str, ...]:
    """A phase's `thaw` for these groups: `*` where they are all, which also fits another backbone."""
    return tuple(name for name in names if name in chosen) if set(names) - set(chosen) else ("*",)


def thawed(patterns: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """As `matching`, but what no group is called by is passed over: for pages, whose checks tell of it."""
    try:
        return matching(names, patterns)
    except UserError:
        return tuple(name for name in names if name in patterns)
