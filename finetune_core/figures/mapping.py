"""All images of a run as a map: alike ones lie together, each in its class's colour."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from finetune_core.figures.colours import GREY, LINES
from finetune_core.figures.style import canvas

NAMED = 20  # classes that have a line in the legend
FORMS = ("circle", "diamond", "square", "triangle-up")  # where there are more classes than colours


def mapped(places: np.ndarray, labels: tuple[str, ...], strange: np.ndarray) -> go.Figure:
    """A point for each image by its place (N, 2), in the colour of its label; strange ones have a ring."""
    figure = canvas("How it sees your images", "", height=560)
    names = np.array(labels)
    kinds = sorted({*labels}, key=lambda name: (-labels.count(name), name))
    for number, name in enumerate(kinds):
        mine = names == name
        colour, form = LINES[number % len(LINES)], FORMS[number // len(LINES) % len(FORMS)]
        edge = {"color": [GREY if each else colour for each in strange[mine]], "width": 2}
        figure.add_trace(
            go.Scatter(
                x=places[mine, 0],
                y=places[mine, 1],
                name=name,
                mode="markers",
                marker={
                    "color": colour,
                    "symbol": form,
                    "size": np.where(strange[mine], 11, 6),
                    "opacity": np.where(strange[mine], 1.0, 0.75),
                    "line": edge,
                },
                showlegend=number < NAMED,
                hovertemplate="%{fullData.name}<extra></extra>",
            )
        )
    for axis in (figure.update_xaxes, figure.update_yaxes):
        axis(showticklabels=False, showgrid=False, title="")
    figure.update_layout(hovermode="closest")
    return figure
