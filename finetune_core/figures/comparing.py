"""Charts that set things side by side: runs over each other, a guess among the classes."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from finetune_core.figures.colours import EMBER, GREY, ICE, LINES
from finetune_core.figures.series import Record, column, of_kind
from finetune_core.figures.style import canvas, line, waiting
from finetune_core.parts.tasks import Score

ROW = 24  # px per bar
ENTRY = 32  # px per run in a legend, with a name of two lines


def compared(runs: Mapping[str, Sequence[Record]], score: Score) -> go.Figure:
    """Training (solid) and validation (dashed) score by epoch of some runs, a colour each; see `LINES` for how many."""
    figure = _overlaid(score.title, runs, ("train_score", "valid_score"), "%{y:.1%}" if score.share else "%{y:.4g}")
    figure.update_yaxes(**({"tickformat": ".0%", "autorangeoptions": {"clipmax": 1.05}} if score.share else {}))
    return figure


def compared_losses(runs: Mapping[str, Sequence[Record]]) -> go.Figure:
    """The same of their losses."""
    return _overlaid("Loss", runs, ("train_loss", "valid_loss"), "%{y:.4f}")


def _overlaid(title: str, runs: Mapping[str, Sequence[Record]], columns: tuple[str, str], hover: str) -> go.Figure:
    """Two lines a run, which the legend shows and hides together."""
    figure = canvas(title, "epoch", height=300 + ENTRY * len(runs))
    for (name, records), colour in zip(runs.items(), LINES, strict=False):
        epochs = of_kind(records, "epoch")
        across = column(epochs, "epoch") + 1
        both = {"mode": "lines+markers", "marker": {"size": 6}, "legendgroup": name}
        line(figure, across, column(epochs, columns[0]), name, colour, hover, **both)
        dashed = {**both, "line": {"dash": "dash"}, "showlegend": False}
        line(figure, across, column(epochs, columns[1]), f"{name}, validation", colour, hover, **dashed)
    waiting(figure, "No epoch has ended yet")
    return figure


def by_name(values: Mapping[str, float | None], score: Score) -> go.Figure:
    """One bar per class, tag or number, worst on top; last, with a dash, those for which nothing was measured."""
    known = {name: value for name, value in values.items() if value is not None and not math.isnan(value)}
    names = sorted(values, key=lambda name: score.signed(known[name]) if name in known else math.inf)
    figure = canvas(f"{score.title}, worst first", "", height=110 + ROW * len(names))
    figure.add_bar(
        y=[name if name in known else f"{name} –" for name in names],
        x=[known.get(name) for name in names],
        orientation="h",
        marker={"color": ICE, "cornerradius": 3},
        text=[score.shown(known.get(name)) for name in names],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y}: %{text}<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(**({"range": [0, 1.2], "tickformat": ".0%"} if score.share else {"rangemode": "tozero"}))
    figure.update_yaxes(range=[len(names) - 0.5, -0.5], ticksuffix="  ", type="category", showgrid=False)
    figure.update_layout(hovermode="closest", bargap=0.3)
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
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.2%}<extra></extra>",
            name="probability",
            showlegend=False,
        )
    )
    figure.update_xaxes(range=[0, 1.12], tickformat=".0%")
    figure.update_yaxes(autorange="reversed", ticksuffix="  ")
    figure.update_layout(hovermode="closest", bargap=0.35)
    return figure
