"""How good answers are: trust in confidence, a tag at every threshold, numbers guessed against those that are true."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from finetune_core.figures.colours import EMBER, GREY, ICE
from finetune_core.figures.style import canvas, line

HEIGHT = 320
POINTS = 4000  # that are drawn of numbers, the farthest off among them
BARS = 40


def reliability(bins: Sequence[tuple[float, float, int]]) -> go.Figure:
    """How many are right (bars) of images that the model is about as sure of; on the line sureness would be exact.

    A bin is (how sure on the mean, the share that is right, how many images).
    """
    figure = canvas("When it is sure, is it right?", "how sure", height=300)
    sure, right, images = ([each[place] for each in bins] for place in range(3))
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"color": GREY, "dash": "dot"}, hoverinfo="skip")
    hover = "%{x:.0%} sure, %{y:.0%} right, %{customdata} images<extra></extra>"
    width = [0.05] * len(bins)
    figure.add_bar(x=sure, y=right, width=width, customdata=images, marker={"color": ICE}, hovertemplate=hover)
    figure.update_layout(showlegend=False, hovermode="closest")
    figure.update_xaxes(range=[0, 1.02], tickformat=".0%")
    figure.update_yaxes(range=[0, 1.05], tickformat=".0%")
    return figure


def precision_recall(recall: np.ndarray, precision: np.ndarray, here: tuple[float, float]) -> go.Figure:
    """Precision over recall at every threshold, and where the one that holds stands (recall, precision)."""
    return _thresholds(
        "Precision over recall", ("found of its images", recall), ("right of those found", precision), here
    )


def roc(alarms: np.ndarray, recall: np.ndarray, here: tuple[float, float]) -> go.Figure:
    """Recall over false alarms (ROC) at every threshold, and where the one that holds stands (alarms, recall)."""
    across, up = np.append(0.0, alarms), np.append(0.0, recall)
    figure = _thresholds("ROC", ("found of the others", across), ("found of its images", up), here)
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"color": GREY, "dash": "dot"}, hoverinfo="skip")
    return figure


def against(truth: np.ndarray, guess: np.ndarray, name: str) -> go.Figure:
    """A point for each image: the guess over the truth; on the line it would be exact. The farthest off are warm."""
    figure = canvas("Guess over truth", name, height=HEIGHT)
    missed = abs(guess - truth)
    shown = np.argsort(-missed, kind="stable")[:POINTS]
    warm = missed[shown] > np.quantile(missed, 0.9) if len(missed) else missed
    ends = [float(min(truth.min(), guess.min())), float(max(truth.max(), guess.max()))] if len(truth) else [0.0, 1.0]
    figure.add_scatter(x=ends, y=ends, mode="lines", line={"color": GREY, "dash": "dot"}, hoverinfo="skip")
    figure.add_scatter(
        x=truth[shown],
        y=guess[shown],
        mode="markers",
        marker={"size": 7, "opacity": 0.7, "color": np.where(warm, EMBER, ICE).tolist()},
        hovertemplate="is %{x:.4g}, guessed %{y:.4g}<extra></extra>",
    )
    figure.update_layout(showlegend=False, hovermode="closest")
    return figure


def misses(missed: np.ndarray) -> go.Figure:
    """How many guesses are how far too high or too low."""
    figure = canvas("How far off", "guess less truth", height=HEIGHT)
    figure.add_histogram(x=missed, nbinsx=BARS, marker={"color": ICE}, hovertemplate="%{x}: %{y} images<extra></extra>")
    figure.add_vline(x=0, line={"color": GREY, "dash": "dot"})
    figure.update_layout(showlegend=False, hovermode="closest", bargap=0.05)
    return figure


def _thresholds(
    title: str, across: tuple[str, np.ndarray], up: tuple[str, np.ndarray], here: tuple[float, float]
) -> go.Figure:
    figure = canvas(title, across[0], height=HEIGHT)
    hover = f"{up[0]} %{{y:.0%}}, {across[0]} %{{x:.0%}}<extra></extra>"
    line(figure, across[1], up[1], title, ICE, hover, mode="lines+markers", marker={"size": 5}, line={"shape": "hv"})
    figure.add_scatter(
        x=[here[0]],
        y=[here[1]],
        mode="markers",
        marker={"color": EMBER, "size": 14, "symbol": "diamond"},
        hovertemplate="this threshold<extra></extra>",
    )
    figure.update_layout(showlegend=False, hovermode="closest")
    figure.update_xaxes(range=[-0.02, 1.02], tickformat=".0%")
    figure.update_yaxes(range=[0, 1.05], tickformat=".0%", title={"text": up[0]})
    return figure
