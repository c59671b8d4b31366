"""Charts that keep their zoom while their data changes.

Streamlit 1.67 makes a new chart whenever the data of `st.plotly_chart` changes (zoom, hover and legend choices are
lost), and told to keep the old one it does not draw the new data. So live figures go through a small component of our
own: the plotly.js that comes with plotly's Python package, and `Plotly.react`. Nothing is fetched from another host.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from itertools import count
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from finetune_core import figures
from finetune_core.wording import tidy
from pages.ui.kit import state

NAME = 40  # letters of a name on an axis: it fits on a phone
LINE = NAME + len(" (9)")  # letters in a line, unless a figure's `meta` says how many `letters` its axes have room for
LEGEND = 120  # letters of a name in a legend
_HTML = '<div class="chart" role="figure"></div>'


@dataclass(frozen=True)
class Drawn:
    """A figure as the browser gets it, and in a sentence for screen readers."""

    figure: str  # JSON
    height: int  # px, kept while it is on its way
    alt: str


def drawn(figure: go.Figure) -> Drawn:
    """Make a figure ready for the browser."""
    harmless(figure).update_layout(template="none")  # the theme's fonts and colours are set in the browser
    alt = figures.alt(figure).replace("<br>", " ")
    return Drawn(figure.to_json(), figure.layout.height, alt)


def chart(figure: go.Figure | Drawn, key: str, *, picked: Callable[[], None] | None = None) -> None:
    """Draw a figure that is told to screen readers too; `picked` is called when a person clicks at one of its points.

    The page must call `load` once. What the browser has already drawn is not sent again.
    """
    made = figure if isinstance(figure, Drawn) else drawn(figure)
    data = {"figure": made.figure, "alt": made.alt, "clickable": picked is not None}
    _chart()(data=data, key=key, height=made.height, on_picked_change=picked or _nothing)


def harmless(figure: go.Figure) -> go.Figure:
    """The figure with all words in its lines and bars as words: Plotly takes <a> and <br> for markup, and any length.

    Names that come to look alike by being cut get a number, or their bars would be one. A trace's `meta` may say how
    many letters of its words beside points and bars are told at `most`.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    letters = (figure.layout.meta or {}).get("letters", LINE)
    for trace in figure.data:
        most = (trace.meta or {}).get("most", NAME)
        for part, longest in {"name": LEGEND, "text": most, "hovertext": LEGEND, "x": most, "y": most}.items():
            value = trace[part] if part in trace else None  # noqa: SIM401 - a trace knows no `get`
            room = letters if part in "xy" else LINE
            word = partial(_literal, names=names, taken=taken, most=longest, letters=room)
            if isinstance(value, str):
                trace[part] = word(value)
            elif value is not None and any(isinstance(each, str) for each in value):
                trace[part] = [word(each) if isinstance(each, str) else each for each in value]
    return figure


def _literal(text: str, names: dict[str, str], taken: set[str], most: int, letters: int) -> str:
    if text not in names:
        words = tidy(text, most)
        made = (words if number == 1 else f"{words} ({number})" for number in count(1))
        names[text] = next(each for each in (_escaped(one, letters) for one in made) if each not in taken)
        taken.add(names[text])
    return names[text]


def _escaped(text: str, letters: int) -> str:
    """As words, in lines of so many letters."""
    lines = textwrap.wrap(text, letters)
    return "<br>".join(line.replace("&", "&amp;").replace("<", "&lt;") for line in lines)


def clicked(key: str) -> tuple[float, float] | None:
    """The point (x, y) that was clicked, inside the `picked` callback of the chart with this key."""
    point = (state.value(key) or {}).get("picked")
    return (float(point["x"]), float(point["y"])) if point else None


def meant(key: str) -> str:
    """What the clicked point means, inside the same callback: its `customdata`; empty where it has none."""
    return str(((state.value(key) or {}).get("picked") or {}).get("means", ""))


def load() -> None:
    """Bring plotly.js (5 MB) to the browser: at the end of Home and of every page with charts, outside of fragments."""
    _loader()(key="plotly-js", height=1)


@cache
def _loader() -> Callable[..., Any]:
    source = files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")
    return st.components.v2.component("thaw_plotly", js=f"{source}\nexport default function () {{}}\n")


@cache
def _chart() -> Callable[..., Any]:
    script = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
    return st.components.v2.component("thaw_chart", html=_HTML, js=script, isolate_styles=False)


def _nothing() -> None:
    """The component's result needs a callback, even where nobody listens."""
