"""Many pictures at once: a table of guesses, the unsure first, to take away or to label further."""

from __future__ import annotations

import math
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from finetune_core import places
from finetune_core.data.collecting import Brought, add
from finetune_core.errors import UserError
from finetune_core.export.checked import weights_of
from finetune_core.parts.sources import ARCHIVES, files
from finetune_core.parts.tasks import Targets
from finetune_core.places import expanded
from finetune_core.records import Count
from finetune_core.runs.store import Run
from finetune_core.wording import count as counted
from finetune_core.wording import shown
from pages.ui.kit import behind, browsing, dataset, path, shell, state, warm
from pages.ui.kit.behind import Behind

PAGE = 50  # rows, each with a picture
SIDE = 64  # px
KEPT = "-shown"  # what the folder of pictures that were dropped here is called, beside the one that people collect in
Found = tuple[list[Any], Targets, str]  # what was seen, of what, and the same as CSV
_place: dict[str, Behind[Found]] = {}  # what is looked at, or was last, by whatever tab


def many(run: Run) -> None:
    """A folder, an archive or files go in, a table comes out."""
    key = f"many:{run.id}"
    left, right = st.columns(2, gap="medium")
    with right:
        _uploader(key)  # first, since it fills the field beside it
    with left:
        where = browsing.named(
            key, "A folder or a zip file of pictures", endings=ARCHIVES, placeholder="~/Pictures/new"
        )
    if not where:
        st.caption(
            "Each picture gets a row: what the model takes it for, and how sure it is. The least sure come first."
        )
        return
    named = f"{run.path}:{where}:{weights_of(run)}"
    work = _place.get(named)
    if work is None:
        if shell.start(st.container(), "Look at them", icon=":material/table_view:", key="many-go", kind="secondary"):
            warm.wait()
            behind.begin(_place, named, partial(_look, run, where), "Looking")
            st.rerun()
        return
    behind.watch(work, partial(_table, run, where))


def _uploader(key: str) -> None:
    """Files of a browser: kept in a folder of their own, so that they can be labelled afterwards."""
    turn = f"{key}:turn"
    endings = [ending[1:] for ending in (*files.ENDINGS, *ARCHIVES) if ending.count(".") == 1]
    mine = f"{key}:files:{state.value(turn, 0)}"
    collected, moment = places.pictures_dir(), time.strftime("%Y%m%d-%H%M%S")
    folder = str(collected.with_name(collected.name + KEPT))
    help = f"They are copied to {folder} and stay there, to be labelled or removed."
    brought = st.file_uploader("Or drop them here", type=endings, accept_multiple_files=True, key=mine, help=help)
    if not brought:
        return
    try:
        added = add(folder, moment, [Brought(each.name, each) for each in brought])
    except UserError as error:
        shell.error_card(error)
        return
    state.keep(turn, state.value(turn, 0) + 1)
    if added.new:
        state.keep(key, str(Path(folder) / moment))
    if added.notes or not added.new:
        what = "Not all of them were taken." if added.new else "None of them is a picture."
        state.note(UserError(what, " ".join(added.notes)))
    st.rerun()


def _look(run: Run, where: str, count: Count) -> Found:
    from finetune_core.understand import many, predict

    predictor = predict.load(run)
    found = many.look(predictor, many.pictures([where]), count)
    return found, predictor.targets, many.table(found, predictor.targets)


def _table(run: Run, where: str, made: Found) -> None:
    found, targets, text = made
    task, unread = run.recipe.task, sum(bool(each.why) for each in found)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{counted(len(found), 'picture')}**", width="content")
        st.download_button(
            "Table (CSV)",
            text,
            "guesses.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
            key="many-csv",
        )
        if st.button("Look again", icon=":material/refresh:", key="many-again", type="tertiary"):
            _place.clear()
            st.rerun()
        folder = expanded(where)
        if folder.is_dir() and task.exclusive and st.button("Label them", icon=":material/sell:", key="many-label"):
            state.keep("pictures", str(folder))
            shell.go(path.LABEL)
    if unread:
        st.caption(f":orange[:material/broken_image: {counted(unread, 'picture')} cannot be read.]")
    some = shell.paged(_chosen(found, targets), PAGE, f"many-page:{run.id}")
    rows = [
        {
            "Picture": _picture(each.path),
            "Guess": each.guess(targets) if each.answers else each.why,
            **({"Sure": each.sure} if task.counted else {}),
            "File": shown(each.path.name),
        }
        for each in some
    ]
    columns = {
        "Picture": st.column_config.ImageColumn("", width="small"),
        "Sure": st.column_config.ProgressColumn("Sure", min_value=0.0, max_value=1.0, format="percent"),
    }
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=columns, row_height=56, key=f"many-rows:{run.id}")


def _chosen(found: Sequence[Any], targets: Targets) -> Sequence[Any]:
    """Those with the guess that is asked for, in the order that is asked for."""
    guesses = Counter(each.guess(targets) for each in found if each.answers) if targets.about.counted else Counter()
    orders = _orders(targets)
    with st.container(horizontal=True):
        if len(guesses) > 1:
            names = [name for name, _ in guesses.most_common()]
            words = lambda name: f"{name} ({guesses[name]:,})"  # noqa: E731
            name = st.selectbox("Guess", names, None, words, key="many-guess", placeholder="All guesses")
            if name is not None:
                found = [each for each in found if each.answers and each.guess(targets) == name]
        order = st.selectbox("Order", list(orders), key="many-order")
    return sorted(found, key=orders[order])


def _orders(targets: Targets) -> dict[str, Callable[[Any], Any]]:
    """By what each order is called; what cannot be read comes first where it says most, else last."""
    by_name = {"By file name": lambda each: each.path.name}
    if targets.about.counted:
        return {"Least sure first": lambda each: each.sure, "Surest first": lambda each: -each.sure, **by_name}
    largest = {f"{name}, largest first": partial(_falling, name) for name in targets.names}
    return {**largest, **by_name}


def _falling(name: str, each: Any) -> float:
    return -dict(each.answers).get(name, -math.inf)


def _picture(file: Path) -> str | None:
    picture = dataset.thumbnail(file, SIDE)
    return f"data:image/jpeg;base64,{b64encode(picture).decode()}" if picture else None
