"""Charts that set things side by side: runs over each other, a guess among the classes."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from finetune_core.figures.colours import EMBER, GREY, ICE
from finetune_core.figures.series import Record, column, of_kind
from finetune_core.figures.style import canvas, line

PAIR = (ICE, EMBER)


def compared(runs: Mapping[str, Sequence[Record]]) -> go.Figure:
    """Training (solid) and validation (dashed) accuracy by epoch of two runs, one colour each."""
    figure = canvas("Accuracy", "epoch", height=360)
    for (name, records), colour in zip(runs.items(), PAIR, strict=False):
        epochs = of_kind(records, "epoch")
        across = column(epochs, "epoch") + 1
        markers = {"mode": "lines+markers", "marker": {"size": 6}}
        line(figure, across, column(epochs, "train_accuracy"), f"{name}, train", colour, "%{y:.1%}", **markers)
        dashed = {**markers, "line": {"dash": "dash"}}
        line(figure, across, column(epochs, "valid_accuracy"), f"{name}, validation", colour, "%{y:.1%}", **dashed)
    figure.update_yaxes(tickformat=".0%")
    return figure


def guesses(likely: Sequence[tuple[str, float]]) -> go.Figure:
    """The likeliest classes as bars, likeliest on top; `likely` holds names and probabilities in [0, 1]."""
    figure = canvas("What the model sees", "probability", height=90 + 44 * len(likely))
    names, shares = [name for name, _ in likely], np.array([share for _, share in likely])
    colours = [EMBER, *[GREY] * (len(likely) - 1)]
    figure.add_trace(
        go.Bar(
            x=shares,
            y=names,
            orientation="h",
            marker={"color": colours[: len(likely)], "cornerradius": 4},
            text=[f"{share:.1%}" for share in shares],
            textposition="outside",
            hovertemplate="%{y}: %{x:.2%}<extra></extra>",
            name="probability",
            showlegend=False,
        )
    )
    figure.update_xaxes(range=[0, 1.12], tickformat=".0%")
    figure.update_yaxes(autorange="reversed", ticksuffix="  ")
    figure.update_layout(hovermode="closest", bargap=0.35)
    return figure
