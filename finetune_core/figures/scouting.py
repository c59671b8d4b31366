"""What a scout found: each backbone's score over the time that it takes for an image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from finetune_core.figures.colours import EMBER, GREY, ICE
from finetune_core.figures.style import canvas
from finetune_core.parts.tasks import Score
from finetune_core.records import Probed

ROOM = 1.3  # factor between the outermost points and the edges, twice as much for the names


def scouted(found: Sequence[Probed], score: Score, current: str = "") -> go.Figure:
    """A point for each backbone with its interval, the chosen one in ember: up is better, to the left is quicker."""
    figure = canvas(score.title, "ms for an image", height=320)
    figure.add_trace(
        go.Scatter(
            x=[each.ms for each in found],
            y=[each.score for each in found],
            text=[each.architecture for each in found],
            error_y={"type": "data", "array": [each.margin for each in found], "thickness": 1, "color": GREY},
            mode="markers+text",
            textposition="middle right",
            marker={"size": 11, "color": [EMBER if each.architecture == current else ICE for each in found]},
            cliponaxis=False,
            hovertemplate="%{text}<br>%{x:.3g} ms<extra></extra>",
        )
    )
    times = [each.ms for each in found]
    figure.update_xaxes(type="log", range=[math.log10(min(times) / ROOM), math.log10(max(times) * ROOM**2)])
    figure.update_yaxes(tickformat=".0%" if score.shown(0.5).endswith("%") else None)
    figure.update_layout(hovermode="closest", showlegend=False)
    return figure
