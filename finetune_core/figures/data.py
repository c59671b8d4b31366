"""What is in a data set, drawn."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from finetune_core.figures.colours import ICE, faded
from finetune_core.figures.style import canvas

ROW = 24  # px per class
BINS = 24  # bars of a histogram
PALE = faded(ICE, 0.35)


def class_balance(
    classes: Sequence[str], train: Sequence[int], valid: Sequence[int], title: str = "Images per class"
) -> go.Figure:
    """One bar per class or tag, images kept for validation (pale) after those trained on (full)."""
    figure = canvas(title, "", height=110 + ROW * len(classes))
    parts = (("training", train, ICE), ("validation", valid, PALE))
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


def spread(name: str, train: Sequence[float], valid: Sequence[float]) -> go.Figure:
    """How the values of one number are spread, images kept for validation (pale) on top of those trained on (full)."""
    figure = canvas(name, "", height=230)
    everything = np.concatenate([np.asarray(train, float), np.asarray(valid, float)])
    edges = np.histogram_bin_edges(everything, bins=BINS)
    middles, width = (edges[:-1] + edges[1:]) / 2, edges[1] - edges[0]
    for part, values, colour in (("training", train, ICE), ("validation", valid, PALE)):
        counts, _ = np.histogram(np.asarray(values, float), bins=edges)
        hover = "%{y} for " + part + " near %{x:.4g}<extra></extra>"
        figure.add_bar(x=middles, y=counts, width=width, name=part, marker={"color": colour}, hovertemplate=hover)
    figure.update_layout(barmode="stack", bargap=0.05, hovermode="closest", legend_traceorder="normal")
    return figure
