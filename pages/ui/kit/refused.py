"""What people typed into fields and cannot be kept: it stands there until it is mended, and holds back all starts.

It also goes when a value of the draft that it was typed over becomes another, or another recipe becomes the draft.
Asking changes nothing; `forget` and `tidy` do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pages.ui.kit import state

_ENTRIES = "thaw:refused"


@dataclass(frozen=True)
class Refused:
    """What a person typed and why it cannot be kept.

    `on` are the values of the draft that it was typed over, by dotted path. `path` is that of the value that the field
    shows, where it is one of the draft's; `kept` how that reads.
    """

    label: str
    text: str
    why: str
    on: Mapping[str, Any]
    path: str = ""
    kept: str = ""
    taken: int = field(default_factory=state.taken)

    def stands(self) -> bool:
        """Whether all is as it was when this was typed."""
        same = all(state.found_at(path) == value for path, value in self.on.items())
        return same and self.taken == state.taken()


def refuse(key: str, entry: Refused) -> None:
    """Let what cannot be kept stand in the field of this key."""
    state.keep(_ENTRIES, {**_entries(), key: entry})


def at(key: str) -> Refused | None:
    """What stands in the field of this key and cannot be kept."""
    entry = _entries().get(key)
    return entry if entry and entry.stands() else None


def of_draft() -> list[Refused]:
    """What stands in fields of the draft and cannot be kept, on whatever page."""
    return [entry for entry in _entries().values() if entry.on and entry.stands()]


def forget(key: str) -> None:
    """Let the field of this key show what is kept."""
    state.keep(_ENTRIES, {other: entry for other, entry in _entries().items() if other != key})


def forget_under(path: str) -> None:
    """The same for every field of the draft's values under this path."""
    kept = {key: entry for key, entry in _entries().items() if not any(each.startswith(path) for each in entry.on)}
    state.keep(_ENTRIES, kept)


def settle(path: str, value: Any) -> None:
    """Give a value of the draft by a click, also the one that it has; what was typed for it goes."""
    state.edit_value(path, value)
    state.keep(_ENTRIES, {key: entry for key, entry in _entries().items() if entry.path != path})


def tidy() -> None:
    """Let go of what no longer stands, so that it does not come back with an earlier value."""
    state.keep(_ENTRIES, {key: entry for key, entry in _entries().items() if entry.stands()})


def _entries() -> dict[str, Refused]:
    return state.value(_ENTRIES, {})
