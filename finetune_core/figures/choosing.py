"""The catalogue as a picture: a point for each backbone, by two of the figures that are known of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from finetune_core.figures.colours import EMBER, ICE
from finetune_core.figures.style import canvas, decades

NAMED = 12  # points that bear their name, where no more of them are drawn


@dataclass(frozen=True)
class Spot:
    """A backbone's point: its name as it is shown, what a click on it means, and where it lies."""

    name: str
    means: str
    x: float
    y: float


def choices(spots: Sequence[Spot], across: str, up: str, chosen: str = "", *, even: bool = False) -> go.Figure:
    """A point for each, the chosen one in ember; logarithmic, but for an `even` axis up."""
    figure = canvas(f"{up} over {across[:1].lower()}{across[1:]}", across, height=300)
    named = len(spots) <= NAMED
    mine = [spot.means == chosen for spot in spots]
    figure.add_trace(
        go.Scatter(
            x=[spot.x for spot in spots],
            y=[spot.y for spot in spots],
            name=f"{len(spots):,} backbones",
            mode="markers+text" if named else "markers",
            text=[spot.name for spot in spots] if named else None,
            textposition="top center",
            customdata=[spot.means for spot in spots],
            hovertext=[spot.name for spot in spots],
            marker={
                "size": [14 if each else 8 for each in mine],
                "color": [EMBER if each else ICE for each in mine],
                "opacity": [1.0 if each else 0.6 for each in mine],
            },
            cliponaxis=False,
            hovertemplate="%{hovertext}<br>%{x:.3g} · %{y:.3g}<extra></extra>",
        )
    )
    figure.update_xaxes(**decades([spot.x for spot in spots]))
    figure.update_yaxes(**({"type": "linear"} if even else decades([spot.y for spot in spots])))
    figure.update_layout(hovermode="closest", showlegend=False)
    return figure
