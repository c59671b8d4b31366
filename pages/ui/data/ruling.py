"""The rule by which a source reads labels: its knobs, and beside them what it makes of the very files or rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd
import streamlit as st

from finetune_core.errors import UserError
from finetune_core.parts import Knob, Source
from finetune_core.parts.sources import table_files
from finetune_core.parts.sources.samples import Trial
from pages.ui.kit import dataset, fields, shell, state

ROWS = 5  # of a preview
_COLUMNS = "thaw:columns:"  # and table and task: the columns that were named for them
LOOKED_FOR = "Found by looking"


def panel(source: Source) -> None:
    """Everything but the path."""
    trial = _tried(source)
    columns = trial.columns if trial and source.picks else ()
    others = [knob.name for knob in source.knobs() if knob.name != "path"]
    if columns:
        _shown(trial)
        for name in source.picks:
            _pick(source.knob(name), columns, several=source.picks[name])
        others = [name for name in others if name not in source.picks]
    if "task" in others:
        others.remove("task")
        fields.apart("field:data.source.task", source.knob("task"), source.task_kind, _learn)
    fields.knobs("data.source", others, explain=False)
    if not columns:
        _shown(trial)


def _learn(task: str) -> None:
    """Another kind of label. Where the columns that were named hold none, it has yet to be said which do.

    Nothing happens where another tab has chosen another kind of source.
    """
    if state.found_at("data.source.task") is None:
        return
    data = state.draft().data
    said = data.source.model_dump(mode="json")
    here = f"{_COLUMNS}{said['path']}:"
    state.keep(here + said["task"], said["labels"])  # for whoever comes back
    said["task"] = task
    try:
        dataset.chosen(data.replace(source=said))
    except UserError:
        said["labels"] = state.value(here + task, "")
    state.edit_value("data.source", said)


def _tried(source: Source) -> Trial | None:
    try:
        return dataset.trial(source, ROWS)
    except UserError:  # told beside the pictures
        return None


def _shown(trial: Trial | None) -> None:
    if trial:
        frame = pd.DataFrame(trial.rows, columns=list(trial.columns))
        st.dataframe(frame, hide_index=True, width="stretch", key="trial", placeholder="")
        st.caption(shell.plain(trial.line))


def _pick(knob: Knob, columns: Sequence[str], several: bool) -> None:
    """Columns chosen from those that are there; one that is not is shown, too, since the recipe names it."""
    path = f"data.source.{knob.name}"
    named = table_files.parted(state.value_at(path)) if several else (state.value_at(path).strip(),)
    options = list(dict.fromkeys((*columns, *filter(None, named))))
    help = knob.help or None
    if several:
        take = state.callback(state.seed(f"pick:{path}", list(named)), partial(_several, path))
        st.multiselect(knob.title, options, list(named), placeholder=LOOKED_FOR, help=help, **take)
    else:
        options = ["", *options]
        take = state.callback(state.seed(f"pick:{path}", named[0]), state.edit_value, path)
        st.selectbox(knob.title, options, options.index(named[0]), format_func=_or_looked_for, help=help, **take)


def _or_looked_for(name: str) -> str:
    return name or LOOKED_FOR


def _several(path: str, names: Sequence[str]) -> None:
    state.edit_value(path, table_files.joined(names))
