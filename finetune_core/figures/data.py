"""What is in a data set, drawn."""

from collections.abc import Sequence

import plotly.graph_objects as go

from finetune_core.figures.colours import ICE, faded
from finetune_core.figures.style import canvas

ROW = 24  # px per class


def class_balance(classes: Sequence[str], train: Sequence[int], valid: Sequence[int]) -> go.Figure:
    """One bar per class, images kept for validation (pale) after those trained on (full)."""
    figure = canvas("Images per class", "", height=110 + ROW * len(classes))
    parts = (("training", train, ICE), ("validation", valid, faded(ICE, 0.35)))
    for name, counts, colour in parts:
        figure.add_bar(
            y=list(classes),
            x=list(counts),
            name=name,
            orientation="h",
            marker={"color": colour, "cornerradius": 3},
            hovertemplate="%{x} for " + name + "<extra>%{y}</extra>",
        )
    figure.update_layout(barmode="stack", bargap=0.3, hovermode="closest", legend_traceorder="normal")
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category")
    return figure
