"""What an experiment has shown: a bar for each arm's mean, a dot for each of its tries."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import plotly.graph_objects as go

from finetune_core.figures.colours import EMBER, GREY, ICE
from finetune_core.figures.style import canvas
from finetune_core.finder.versus import Result, ranked
from finetune_core.parts.tasks import Score

ROW, LEAST = 52, 220  # px of an arm, and of the whole


def arms(found: Sequence[Result], score: Score, best: Collection[str]) -> go.Figure:
    """The best arm on top, in ember with those that cannot be told from it; those that failed have no bar."""
    order = ranked(found, score)
    figure = canvas(score.title, "", height=max(LEAST, 100 + ROW * len(order)))
    names = [each.name for each in order]
    figure.add_bar(
        x=[each.mean for each in order],
        y=names,
        orientation="h",
        marker={"color": [EMBER if each.name in best else ICE for each in order], "cornerradius": 4, "opacity": 0.85},
        text=[each.said(score) for each in order],
        textposition="inside",
        insidetextanchor="start",
        insidetextfont={"size": 15, "color": "#FFFFFF"},
        hovertemplate="%{y}: %{text}<extra></extra>",
    )
    dots = [(value, each.name) for each in order for value in each.values.values()]
    figure.add_scatter(
        x=[value for value, _ in dots],
        y=[name for _, name in dots],
        mode="markers",
        marker={"size": 9, "color": GREY, "line": {"width": 1, "color": "#FFFFFF"}},
        hovertemplate="a try: %{x}<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(tickformat=".0%" if score.share else None, rangemode="tozero")
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False, ticksuffix="  ")
    figure.update_layout(showlegend=False, hovermode="closest", bargap=0.35)
    return figure
