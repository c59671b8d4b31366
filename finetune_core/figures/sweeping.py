"""What a sweep answers: the score over one knob or two, and all its runs on one chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from finetune_core.figures.colours import EMBER, FAINT, GREY, ICE, group_colours
from finetune_core.figures.series import Record, column, of_kind
from finetune_core.figures.style import canvas, line, pinned, waiting
from finetune_core.parts.tasks import Score
from finetune_core.recipe.variants import Axis
from finetune_core.runs.waiting.sweeps import Point, best

SOON = "after the first run"
MIDDLE = "#E9E4DF"  # between ice and ember, on either page


def swept(axes: Sequence[Axis], points: Sequence[Point], score: Score) -> go.Figure:
    """The score over the values: a curve for a number, bars for choices, a grid for two knobs; the best is marked."""
    if len(axes) == 2:
        return _grid(axes, points, score)
    return _curve(axes[0], points, score) if axes[0].number else _bars(axes[0], points, score)


def trials(runs: Mapping[str, Sequence[Sequence[Record]]], score: Score) -> go.Figure:
    """Validation score by epoch of every run, a colour for each value (from ice to ember) and a line for each seed."""
    figure, colours = canvas(f"{score.title} while they learn", "epoch", height=340), group_colours(list(runs))
    for name, seeds in runs.items():
        for number, records in enumerate(seeds):
            epochs = of_kind(records, "epoch")
            known: dict[str, Any] = {"mode": "lines+markers", "marker": {"size": 5}, "showlegend": number == 0}
            across, up = column(epochs, "epoch") + 1, column(epochs, "valid_score")
            line(figure, across, up, name, colours[name], _hover(score), legendgroup=name, **known)
    figure.update_yaxes(tickformat=_ticks(score))
    waiting(figure, "after the first epoch")
    return figure


def _curve(axis: Axis, points: Sequence[Point], score: Score) -> go.Figure:
    figure = canvas(score.title, axis.title.lower(), height=360)
    known = sorted((point for point in points if point.scores), key=lambda point: point.values)
    across, up = [point.values[0] for point in known], [point.mean or 0.0 for point in known]
    seeds = [(point.values[0], each) for point in known for each in point.scores if len(point.scores) > 1]
    if seeds:
        figure.add_trace(_dots([value for value, _ in seeds], [each for _, each in seeds], "single seeds"))
    line(figure, across, up, score.title.lower(), ICE, _hover(score), mode="lines+markers", error_y=_bars_of(known))
    if top := best(points, score):
        pinned(figure, top.values[0], top.mean or 0.0, score.shown(top.mean), EMBER)
    figure.update_xaxes(
        type="log" if axis.log else "linear", tickvals=list(axis.values), ticktext=list(axis.words), tickangle=0
    )
    figure.update_yaxes(tickformat=_ticks(score))
    figure.update_layout(hovermode="closest", showlegend=bool(seeds))
    waiting(figure, SOON)
    return figure


def _bars(axis: Axis, points: Sequence[Point], score: Score) -> go.Figure:
    figure, top = canvas(score.title, "", height=130 + 40 * len(points)), best(points, score)
    figure.add_bar(
        y=[point.words[0] for point in points],
        x=[point.mean for point in points],
        orientation="h",
        marker={"color": [EMBER if point is top else ICE for point in points], "cornerradius": 4},
        error_x=_bars_of(points),
        text=[score.shown(point.mean) for point in points],
        textposition="inside",
        insidetextanchor="start",
        hovertemplate="%{y}: %{text}<extra></extra>",
        showlegend=False,
    )
    figure.update_yaxes(autorange="reversed", ticksuffix="  ", type="category", showgrid=False)
    figure.update_xaxes(tickformat=_ticks(score), **({"range": [0, 1.02]} if score.share else {"rangemode": "tozero"}))
    figure.update_layout(hovermode="closest", bargap=0.3)
    if top is None:
        figure.data = ()
        waiting(figure, SOON)
    return figure


def _grid(axes: Sequence[Axis], points: Sequence[Point], score: Score) -> go.Figure:
    down, across = axes
    figure, top = canvas(score.title, across.title.lower(), height=150 + 46 * len(down.values)), best(points, score)
    known = {point.values: point for point in points}
    rows = [[known[one, other] for other in across.values] for one in down.values]
    worst, finest = (EMBER, ICE) if score.lower_is_better else (ICE, EMBER)
    figure.add_heatmap(
        z=[[point.mean for point in row] for row in rows],
        x=list(across.words),
        y=list(down.words),
        text=[[score.shown(point.mean) + (" ★" if point is top else "") for point in row] for row in rows],
        texttemplate="%{text}",
        textfont={"color": "#1E2530"},
        colorscale=[[0.0, worst], [0.5, MIDDLE], [1.0, finest]],  # ember is the best
        showscale=False,
        xgap=3,
        ygap=3,
        hoverongaps=False,
        hovertemplate=f"{down.title} %{{y}}, {across.title.lower()} %{{x}}: %{{text}}<extra></extra>",
    )
    figure.update_xaxes(type="category")
    figure.update_yaxes(type="category", autorange="reversed", title={"text": down.title.lower()}, showgrid=False)
    figure.update_layout(hovermode="closest", margin={"l": 90})
    if top is None:
        figure.data = ()
        waiting(figure, SOON)
    return figure


def _dots(across: Sequence[Any], up: Sequence[float], name: str) -> go.Scatter:
    marker = {"color": GREY, "size": 6, "opacity": 0.7}
    return go.Scatter(x=across, y=up, mode="markers", name=name, marker=marker, hoverinfo="skip")


def _bars_of(points: Sequence[Point]) -> dict[str, Any]:
    """From each mean to the lowest and the highest of its seeds."""
    several = any(len(point.scores) > 1 for point in points)
    above = [max(point.scores, default=0.0) - (point.mean or 0.0) for point in points]
    below = [(point.mean or 0.0) - min(point.scores, default=0.0) for point in points]
    return {"array": above, "arrayminus": below, "symmetric": False, "visible": several, "color": FAINT, "thickness": 2}


def _hover(score: Score) -> str:
    return "%{y:.1%}" if score.share else "%{y:.4g}"


def _ticks(score: Score) -> str | None:
    return ".0%" if score.share else None
