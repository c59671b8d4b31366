"""Many pictures at once: a table of guesses, the unsure first, to take away or to label further."""

from __future__ import annotations

from base64 import b64encode
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from finetune_core.export.checked import weights_of
from finetune_core.parts.tasks import Targets
from finetune_core.places import expanded
from finetune_core.records import Count
from finetune_core.runs.store import Run
from finetune_core.wording import count as counted
from finetune_core.wording import shown
from pages.ui.kit import behind, dataset, path, shell, state, warm
from pages.ui.kit.behind import Behind

PAGE = 50  # rows, each with a picture
SIDE = 64  # px
Found = tuple[list[Any], Targets, str]  # what was seen, of what, and the same as CSV
_place: dict[str, Behind[Found]] = {}  # what is looked at, or was last, by whatever tab


def many(run: Run) -> None:
    """A folder or an archive goes in, a table comes out."""
    key = f"many:{run.id}"
    where = st.text_input("A folder or a zip file of pictures", key=key, placeholder="~/Pictures/new").strip()
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


def _look(run: Run, where: str, count: Count) -> Found:
    from finetune_core.understand import many, predict

    predictor = predict.load(run)
    found = many.look(predictor, many.pictures([where]), count)
    return sorted(found, key=lambda each: each.sure), predictor.targets, many.table(found, predictor.targets)


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
            st.switch_page(path.LABEL.script)
    if unread:
        st.caption(f":orange[:material/broken_image: {counted(unread, 'picture')} cannot be read.]")
    pages = -(-len(found) // PAGE)
    page = st.pagination(pages, key=f"many-page:{run.id}") if pages > 1 else 1
    some = found[(page - 1) * PAGE : page * PAGE]
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


def _picture(file: Path) -> str | None:
    picture = dataset.thumbnail(file, SIDE)
    return f"data:image/jpeg;base64,{b64encode(picture).decode()}" if picture else None
