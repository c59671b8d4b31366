"""What a page remembers: the only module that touches session state, the URL's run, and the draft recipe.

The draft is the truth and lives in a file, so that a refresh, a second tab and the command line see the same one.
Widgets are drawn from it (`seed`) and write to it in their callbacks, before the page is drawn again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner_utils.script_run_context import RunLocation, ThreadState, get_script_run_ctx
from streamlit.runtime.state import SessionState, SessionStateProxy

from finetune_core import recipe as recipes
from finetune_core.errors import UserError
from finetune_core.parts import Transform
from finetune_core.places import replace_file, runs_dir, stamp
from finetune_core.recipe import Recipe, stack

ECHO = 1.5  # seconds in which what a widget held before may still be on its way here
_SEEDED, _BEFORE = "thaw:seeded:", "thaw:before:"
_DRAFT, _STAMP, _NOTICE, _NAMES = "thaw:draft", "thaw:draft-stamp", "thaw:notice", "thaw:names"
_TAKEN, _DRAWN, _CHANGED = "thaw:taken", "thaw:drawn", "thaw:changed"
_editing = threading.RLock()  # each tab has a thread of its own


def draft_file() -> Path:
    """Where the draft recipe is kept."""
    return runs_dir() / "draft.yaml"


def saved_draft() -> Path:
    """Where the draft recipe is kept, written there now if nothing has been changed yet."""
    if not draft_file().is_file():
        edit(draft())
    return draft_file()


def draft() -> Recipe:
    """The recipe being edited; read anew only when its file has changed, for instance by another tab."""
    now = stamp(draft_file())
    if value(_DRAFT) is None or value(_STAMP) != now:
        keep(_DRAFT, _read() if now else Recipe())
        keep(_STAMP, stamp(draft_file()))
    return value(_DRAFT)


def look() -> bool:
    """A page is about to draw the draft. Whether it has changed since the last one did, other than by this tab."""
    changed, now = elsewhere(), stamp(draft_file())
    keep(_DRAWN, now)
    keep(_CHANGED, changed)
    return changed


def elsewhere() -> bool:
    """Whether the draft is another than the one that this tab has drawn, so that a click on it meant another."""
    now = stamp(draft_file())
    drawn = value(_DRAWN, now)
    if drawn is None and now and _read() == Recipe():
        return False  # what was drawn before there was a file has been saved as it was
    return bool(drawn != now)


def meant() -> bool:
    """Whether a click that starts something was made on the draft as it is; asked once for each click."""
    known = not value(_CHANGED, False) and not elsewhere()
    keep(_CHANGED, False)
    return known


def edit(recipe: Recipe) -> None:
    """Make this the draft, here and on disk."""
    file, same = draft_file(), not elsewhere()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, recipe.save)
    except OSError as error:
        note(UserError("The draft could not be saved.", f"{error.strerror}: {file.parent}.", "Free some space there."))
    now = stamp(file)
    keep(_DRAFT, recipe)
    keep(_STAMP, now)
    if same and _DRAWN in _session():  # else what another tab has changed has yet to be seen here
        keep(_DRAWN, now)


def edit_value(path: str, value: Any) -> None:
    """Change one value of the draft by its dotted path; a value that does not fit becomes a notice, not a crash.

    Nothing happens where the draft no longer has such a value: a widget may still call when its part has just gone.
    """
    try:
        change_value(path, value)
    except UserError as error:
        note(error)


def change_value(path: str, value: Any) -> None:
    """The same, but a value that does not fit is a UserError. What another tab has changed elsewhere stays so."""
    with _editing:
        if _has(path):
            edit(draft().with_value(_placed(path), value))


def change(made: Callable[[Recipe], Recipe]) -> None:
    """Make of the draft what `made` makes of it; no other tab changes it meanwhile."""
    with _editing:
        edit(made(draft()))


def take(recipe: Recipe) -> None:
    """Make another recipe the draft; what stood in fields of the one before goes."""
    keep(_TAKEN, taken() + 1)
    edit(recipe)


def taken() -> int:
    """How often another recipe has become the draft of this session."""
    return value(_TAKEN, 0)


def start_over(recipe: Recipe) -> None:
    """Make this the draft and set the one before aside, so that `bring_back` can undo it."""
    before = draft()
    if before != recipe and before != Recipe() and draft_file().is_file():
        draft_file().replace(_aside())
    take(recipe)


def set_aside() -> bool:
    """Whether an earlier draft waits to be brought back."""
    return _aside().is_file()


def bring_back() -> None:
    """Make the earlier draft the draft again."""
    try:
        take(recipes.load(_aside()))
        _aside().unlink()
    except UserError as error:
        note(error)


def value_at(path: str) -> Any:
    """The draft's value at a dotted path such as `phases.0.schedule`."""
    node: Any = draft()
    for step in filter(None, _placed(path).split(".")):
        node = node[int(step)] if step.isdigit() else node[step] if isinstance(node, dict) else getattr(node, step)
    return node


def found_at(path: str) -> Any:
    """The same; None where the draft has no such value."""
    return value_at(path) if _has(path) else None


def _has(path: str) -> bool:
    try:
        value_at(path)
    except (AttributeError, IndexError, KeyError):
        return False
    return True


def names() -> tuple[str, ...]:
    """A name for each transform of the draft, which it keeps wherever it is moved: `augment.#7.active` is a path.

    Widgets go by it, so that none writes into the transform that has come to stand where its own stood. Where another
    tab has changed several, it cannot be told which is which, and all are named anew.
    """
    augment = draft().augment
    before, given, count = value(_NAMES, ((), (), 0))
    if not stack.recognised(before, augment):
        given, count = tuple(f"#{count + place}" for place in range(len(augment))), count + len(augment)
    keep(_NAMES, (augment, given, count))
    return given


def place_of(name: str) -> int | None:
    """Where in the draft's stack the transform of this name stands; None where it has gone."""
    given = names()
    return given.index(name) if name in given else None


def add_transform(transform: Transform) -> None:
    """Put it at the end of the draft's stack."""
    given, recipe = names(), draft()
    _, _, count = value(_NAMES)
    edit(recipe.replace(augment=stack.added(recipe.augment, transform)))
    keep(_NAMES, (draft().augment, stack.added(given, f"#{count}"), count + 1))


def arrange(rearranged: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> None:
    """Move or remove transforms of the draft; their names go along."""
    given, recipe = names(), draft()
    edit(recipe.replace(augment=rearranged(recipe.augment)))
    keep(_NAMES, (draft().augment, rearranged(given), value(_NAMES)[2]))


def _placed(path: str) -> str:
    """The path with the place of a named transform instead of its name; a KeyError where it has gone."""
    places = {name: str(place) for place, name in enumerate(names())} if "#" in path else {}
    return ".".join(places[step] if step.startswith("#") else step for step in path.split("."))


def seed(key: str, now: Any) -> str:
    """Put the draft's value under a widget's key before the widget is drawn; returns the key.

    The widget must also be given the value as its default: a browser that has forgotten a widget's state (after a
    dialog, say) would else report its blank default as if a person had chosen it, and the draft would follow.
    """
    if key not in _session() or value(key) != now:
        keep(_BEFORE + key, (value(key), time.monotonic()))
        keep(key, now)
    keep(_SEEDED + key, now)
    return key


def callback(key: str, take: Callable[..., None], *args: Any) -> dict[str, Any]:
    """What makes a seeded widget hand a person's new value to `take(*args, value)`.

    Streamlit also calls back for widgets that it lost sight of, when a dialog closes or a page is left in a hurry; they
    report what they were seeded with, or nothing, and that is passed over: it would undo what has changed since.
    """
    return {"key": key, "on_change": _hand_over, "args": (key, take, *args)}


def _hand_over(key: str, take: Callable[..., None], *args: Any) -> None:
    if (chosen := told(key)) is not None:
        take(*args, chosen)


def told(key: str) -> Any:
    """What a person has put into a seeded widget and has not been taken yet; None where that is nothing."""
    chosen = value(key)
    return None if chosen == value(_SEEDED + key) else chosen


def is_echo(key: str) -> bool:
    """Whether a widget says what it held until a moment ago: a new value may still be on its way to it.

    Every message from the browser says what stands in all widgets. Only for widgets of many values: of two, the one
    before is also what a person chooses next.
    """
    before, since = value(_BEFORE + key, (None, 0.0))
    return value(key) == before and time.monotonic() - since < ECHO


def value(key: str, default: Any = None) -> Any:
    """What is kept under a key of this session: a widget's value, or what `keep` put there."""
    try:
        return _session()[key]
    except KeyError:
        return default


def keep(key: str, value: Any) -> None:
    """Keep something for this session (a tab, until it is closed or refreshed)."""
    _session()[key] = value


def note(error: UserError) -> None:
    """Show this error at the top of the next page that is drawn."""
    keep(_NOTICE, error)


def noted() -> bool:
    """Whether an error waits to be shown."""
    return value(_NOTICE) is not None


def take_note() -> UserError | None:
    """The error to show now, once."""
    error = value(_NOTICE)
    keep(_NOTICE, None)
    return error


def run_id() -> str | None:
    """The run named in the page's address (`?run=…`), so that a refresh finds it again."""
    return st.query_params.get("run")


def sweep_id() -> str | None:
    """The sweep named in the page's address (`?sweep=…`)."""
    return st.query_params.get("sweep")


def background() -> tuple[int, int, int]:
    """The page's colour (red, green, blue), for pictures that must melt into it."""
    return (16, 22, 31) if st.context.theme.type == "dark" else (255, 255, 255)


def _session() -> SessionState | SessionStateProxy:
    """What this session keeps; inside a callback without the points at which a click that follows would cut it off.

    Streamlit gives way to the next message of the browser wherever session state is touched, also half-way through a
    callback, and never calls that one again: what a person had just chosen or typed would be lost. Where callbacks run,
    Streamlit holds the lock on the state that is taken here.
    """
    context = get_script_run_ctx()
    if context and ThreadState.get().run_location is RunLocation.CALLBACK:
        return context.session_state._state
    return st.session_state


def _aside() -> Path:
    return draft_file().with_name("draft-before.yaml")


def _read() -> Recipe:
    try:
        return recipes.load(draft_file())
    except UserError as error:
        aside = draft_file().with_name("draft-unreadable.yaml")
        draft_file().replace(aside)
        hint = f"A fresh draft was started; the old one is kept as {aside.name}."
        note(UserError(error.what, error.why, hint))
        return Recipe()
