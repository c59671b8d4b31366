"""How all charts look: transparent, calm, the same in light and dark."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from finetune_core.figures.colours import EMBER, FAINT, GREY, GRID, ICE, SHADE, faded
from finetune_core.figures.series import Record, kept
from finetune_core.parts.numbers import written
from finetune_core.wording import tidy

HEIGHT = 300
EVENTS = "events"
APART = 60  # events closer to each other than this part of the axis share a mark
WORD = 0.11  # of a narrow chart's width: the room that a phase's number takes
TOLD, MORE = 160, 40  # letters of an event that are told, and of how many more there are
WIDE = 30.0  # values further apart than this need one tick per decade only
STRIPE = 16  # px, of one line among several upon each other
RED, GREEN = "#D6455D", "#3E9B6E"
MARKS = {  # events that are marked, with their colours
    "paused": GREY,
    "resumed": GREEN,
    "stopped": GREY,
    "change": ICE,
    "alarm": EMBER,
    "overflow": EMBER,
    "phase_end": GREY,
    "truth_failed": RED,
}


def canvas(title: str, x: str, height: int = HEIGHT) -> go.Figure:
    """An empty chart with its title, axis names and the house's manners; zoom survives new data (`uirevision`)."""
    axis = {"gridcolor": GRID, "zeroline": False, "linecolor": FAINT, "automargin": True}
    layout = {
        "title": {
            "text": title,
            "x": 0,
            "xanchor": "left",
            "y": 0.98,
            "yanchor": "top",
            "font": {"size": 15, "weight": 600},
        },
        "height": height,
        "margin": {"l": 52, "r": 8, "t": 40, "b": 8},  # a fixed left edge: charts line up, and new labels move nothing
        "paper_bgcolor": "rgba(0, 0, 0, 0)",
        "plot_bgcolor": "rgba(0, 0, 0, 0)",
        "hovermode": "x unified",
        "uirevision": title,
        "showlegend": True,
        # Below everything and measured from the figure's edge: many groups on a narrow page then push the plot, and
        # never run into the title.
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "yref": "container", "y": 0.0, "yanchor": "bottom"},
        "xaxis": {**axis, "title": {"text": x}, "showgrid": False},
        "yaxis": axis,
    }
    return go.Figure(layout=layout)


def line(
    figure: go.Figure, x: Any, y: Any, name: str, colour: str, hover: str | None, text: Any = None, **more: Any
) -> None:
    """Add one line of at most 1000 points; `hover` formats its y, such as `%{y:.3f}` (None: it says nothing).

    `text` are numbers that it shows as `%{text}`, written as everywhere; `more` goes to the trace.
    """
    across, up = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    chosen = kept(up)
    style = {"color": colour, "width": 2, **more.pop("line", {})}
    said: dict[str, Any] = {"hovertemplate": hover} if hover else {"hoverinfo": "skip"}
    if text is not None:
        said["text"] = [written(value, 3) for value in np.asarray(text, dtype=float)[chosen]]
    alike = sum(each.name == name for each in figure.data)
    # By its id a line that was hidden is known again when others have come before it; no two may have the same.
    options = {
        "mode": "lines",
        "name": name,
        "uid": f"{name} {alike}" if alike else name,
        "line": style,
        **said,
        **more,
    }
    # Half the room of what numpy computes with, and more digits than a chart has pixels.
    figure.add_trace(go.Scatter(x=_compact(across[chosen]), y=up[chosen].astype(np.float32), **options))


def stripe(place: int, lines: int) -> str:
    """The dash of one of so many lines upon each other, drawn one over the other: each shows for as long as the others.

    The lowest is whole, and each above it leaves gaps for those below.
    """
    return f"{(lines - place) * STRIPE}px,{place * STRIPE}px" if place else "solid"


def _compact(x: np.ndarray) -> np.ndarray:
    """Steps as whole numbers, whose every digit counts; anything else as it is."""
    whole = len(x) and np.isfinite(x).all() and (x == x.astype(np.int32)).all()
    return x.astype(np.int32) if whole else x


def span(figure: go.Figure, steps: int | None) -> None:
    """Hold the whole run's steps on the x axis from the start, so that a growing line does not move its own scale."""
    if steps:
        figure.update_xaxes(range=[0, steps * 1.03])  # room for the last point's marker


def decades(values: Iterable[float], near: str | None = None) -> dict[str, Any]:
    """A logarithmic axis for such values: a tick for each decade where they span more than one and a half, else `near`.

    That is one of Plotly's steps; None lets it choose.
    """
    known = [value for value in values if value > 0]
    wide = known and max(known) > WIDE * min(known)
    return {"type": "log", "dtick": 1 if wide else near}


def waiting(figure: go.Figure, text: str) -> None:
    """Where there is nothing to draw yet, say what the chart waits for instead of showing made-up axes."""
    if any(trace.x is not None and len(trace.x) for trace in figure.data if trace.name != EVENTS):
        return
    figure.update_xaxes(showticklabels=False)
    figure.update_yaxes(showticklabels=False, showgrid=False)
    figure.update_layout(showlegend=False)
    where = {"x": 0.5, "y": 0.5, "xref": "paper", "yref": "paper"}
    figure.add_annotation(text=text, showarrow=False, font={"color": GREY, "size": 13}, **where)


def phases(figure: go.Figure, starts: Sequence[int], steps: int | None = None) -> None:
    """A band for every other phase, and the numbers that have room; `starts` are the first steps of all phases."""
    if len(starts) < 2:
        return
    ends = [*starts[1:], steps or starts[-1]]
    upright = {"xref": "x", "yref": "paper"}
    shade = {**upright, "type": "rect", "y0": 0, "y1": 1, "layer": "below", "line": {"width": 0}, "fillcolor": SHADE}
    note = {**upright, "y": 1, "showarrow": False, "xanchor": "left", "yanchor": "bottom", "yshift": 4}
    bands = [{**shade, "x0": start, "x1": max(start, end)} for start, end in zip(starts, ends, strict=True)]
    words = [
        {**note, "x": starts[place], "text": f"phase {place + 1}", "font": {"size": 11, "color": GREY}}
        for place in _with_room(starts, ends)
    ]
    figure.update_layout(shapes=bands[1::2], annotations=words)


def _with_room(starts: Sequence[int], ends: Sequence[int]) -> list[int]:
    """The places of those whose numbers do not run into each other: of two that would, the longer."""
    chosen: list[int] = []
    for place in sorted(range(len(starts)), key=lambda place: starts[place] - ends[place]):
        if all(abs(starts[place] - starts[other]) >= ends[-1] * WORD for other in chosen):
            chosen.append(place)
    return sorted(chosen)


def marks(figure: go.Figure, events: Sequence[Record], steps: int | None = None) -> None:
    """A dotted line and a small mark for each event that stands in `MARKS`; its words come when it is pointed at.

    Events that lie too close to be told apart share one.
    """
    shown = [event for event in events if event["name"] in MARKS]
    if not shown:
        return
    places = _together(shown, max(1, (steps or int(shown[-1]["step"])) // APART))
    colours = [MARKS[group[0]["name"]] for group in places]
    at = [group[0]["step"] for group in places]
    upright = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "layer": "below", "opacity": 0.6}
    drawn = [
        {**upright, "x0": x, "x1": x, "line": {"color": colour, "width": 1, "dash": "dot"}}
        for x, colour in zip(at, colours, strict=True)
    ]
    figure.update_layout(shapes=[*figure.layout.shapes, *drawn])
    figure.add_trace(
        go.Scatter(
            x=at,
            y=[1.0] * len(at),
            yaxis="y2",
            mode="markers",
            marker={"color": colours, "size": 9, "symbol": "triangle-down"},
            text=[_told(group) for group in places],
            hovertemplate="Step %{x:,}<br>%{text}<extra></extra>",
            meta={"most": TOLD + MORE},
            name=EVENTS,
            uid=EVENTS,
            showlegend=False,
            cliponaxis=False,
        )
    )
    figure.update_layout(yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True})


def _together(events: Sequence[Record], apart: int) -> list[list[Record]]:
    """Events in groups: the same name, and less than `apart` steps after the group's first."""
    groups: list[list[Record]] = []
    newest: dict[str, list[Record]] = {}
    for event in events:
        group = newest.get(event["name"])
        if group is None or event["step"] - group[0]["step"] >= apart:
            newest[event["name"]] = group = []
            groups.append(group)
        group.append(event)
    return groups


def _told(events: Sequence[Record]) -> str:
    """The first event in words, which may be people's, and how many more there are."""
    words = tidy(str(events[0].get("text", "")), TOLD)
    return f"{words} And {len(events) - 1:,} more like it." if len(events) > 1 else words


def healthy(figure: go.Figure, band: tuple[float, float], text: str) -> None:
    """Shade the numbers between two on a logarithmic axis, and say what they are."""
    low, high = band
    figure.add_shape(
        type="rect", xref="paper", x0=0, x1=1, y0=low, y1=high, fillcolor=faded(ICE, 0.1), line_width=0, layer="below"
    )
    where = {"xref": "paper", "x": 0.01, "xanchor": "left", "y": np.log10(high), "yanchor": "top"}
    figure.add_annotation(text=text, showarrow=False, font={"size": 11, "color": GREY}, **where)


def pinned(figure: go.Figure, x: float, y: float, text: str, colour: str) -> None:
    """Pin one point with a word beside it."""
    marker = {"color": colour, "size": 11, "symbol": "star"}
    figure.add_trace(
        go.Scatter(
            x=[x],
            y=[y],
            mode="markers+text",
            text=[text],
            textposition="top left",
            marker=marker,
            name="best",
            uid="best",
            showlegend=False,
            hoverinfo="skip",
            cliponaxis=False,
        )
    )


def alt(figure: go.Figure) -> str:
    """The chart in one sentence for those who cannot see it: its lines with their first and last values."""
    title = figure.layout.title.text or "Chart"
    across = figure.layout.xaxis.title.text or "x"
    said = [_words(trace) for trace in figure.data if trace.showlegend is not False or trace.type == "bar"]
    lines = "; ".join(filter(None, said))
    return f"{title} over {across}: {lines}." if lines else f"{title} over {across}: nothing to show yet."


def _words(trace: Any) -> str:
    """A line by its ends, a bar chart by its bars; lying bars have their values along x."""
    lying = trace.type == "bar" and trace.orientation == "h"
    along = trace.x if lying else trace.y
    if along is None:
        return ""
    if trace.type == "bar":
        return _bars(trace.name, trace.y if lying else trace.x, along)
    values = np.array([np.nan if value is None else value for value in along], dtype=float)
    values = values[np.isfinite(values)]
    if not len(values):
        return ""
    if len(values) == 1:
        return f"{trace.name} at {written(values[0], 3)}"
    return f"{trace.name} from {written(values[0], 3)} to {written(values[-1], 3)}"


def _bars(name: str | None, names: Any, values: Any) -> str:
    """The first bars by name and value."""
    known = [(at, value) for at, value in zip(names, values, strict=True) if value is not None and np.isfinite(value)]
    some = ", ".join(f"{written(at, 3) if isinstance(at, float) else at} {written(value, 3)}" for at, value in known)
    return f"{name}: {some}" if name and known else some
