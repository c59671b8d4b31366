"""The chart of the learning-rate finder: loss over the rate, to be read, clicked and compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from finetune_core.figures.colours import BAND, EMBER, FAINT, GREY, ICE, faded, group_colours
from finetune_core.figures.series import Record, column, of_kind
from finetune_core.figures.style import canvas, line, span, waiting
from finetune_core.finder.suggest import band, middle, smoothed, together
from finetune_core.parts.numbers import written

SYMBOLS = {"steepest": "triangle-down", "minimum_tenth": "circle", "valley": "square"}


@dataclass(frozen=True)
class Curve:
    """One sweep in the order tried: rates, raw losses and smooth ones, all of one length.

    `low` and `high` are the band that several tries span, empty for a single one.
    """

    name: str
    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    smooth: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    def loss_at(self, rate: float) -> float | None:
        """The smoothed loss at a rate, interpolated over its logarithm; None outside the sweep."""
        known = np.isfinite(self.smooth)
        if not known.any() or not min(self.lrs) <= rate <= max(self.lrs):
            return None
        rates, losses = np.array(self.lrs)[known], np.array(self.smooth)[known]
        rising = np.argsort(rates)
        return float(np.interp(np.log(rate), np.log(rates[rising]), losses[rising]))


def curve(records: Sequence[Record], name: str) -> Curve:
    """The sweep that a finder's records tell: of several tries the median.

    While the test runs its smooth losses are those of the past; once it has suggested something they are the ones that
    the suggestions were read from.
    """
    rows = of_kind(records, "find")
    lrs, losses = together(rows)
    done = bool(of_kind(records, "suggestions"))
    lines = smoothed(lrs, losses) if done else together(rows, "smooth")[1]
    if not np.isfinite(lines).any():  # too few losses to smooth
        lines = losses
    low, high = band(lines) if len(lines) > 1 else ((), ())
    return Curve(name, *map(tuple, (lrs, middle(losses), middle(lines), low, high)))


def finder(
    curves: Sequence[Curve],
    chosen: float | None = None,
    suggestions: Mapping[str, float | None] | None = None,
    sweep: tuple[float, float] | None = None,
    limits: tuple[float, float] | None = None,
) -> go.Figure:
    """Smoothed loss over the rate, the newest curve first in `curves` and earlier ones faint.

    Only the newest curve answers to the mouse, anywhere above or below it, so that a click means a rate. `sweep` is the
    range of rates that the schedule will go through, `limits` the ends of the x axis.
    """
    newest = curves[0] if curves else Curve("", (), (), ())
    down = len(newest.lrs) > 1 and newest.lrs[-1] < newest.lrs[0]
    figure = canvas(f"Loss while the rate {'falls' if down else 'rises'}", "learning rate", height=440)
    told = "rate %{text}<br>loss %{y:.3f}<extra></extra>"
    line(figure, newest.lrs, newest.smooth, newest.name or "loss", ICE, told, newest.lrs, line={"width": 3})
    for old in curves[1:]:
        line(figure, old.lrs, old.smooth, old.name, FAINT, None, line={"width": 1.5})
    if newest.low:
        _band(figure, newest)
    else:
        line(figure, newest.lrs, newest.losses, "raw", faded(ICE, 0.3), None, line={"width": 1}, showlegend=False)
    for key, rate in (suggestions or {}).items():
        _suggested(figure, newest, key, rate)
    _chosen(figure, newest, chosen, sweep)
    figure.update_layout(hovermode="x", hoverdistance=-1)
    _axes(figure, curves, limits)
    return figure


def race(records: Sequence[Record], rates: Mapping[str, float], names: Mapping[str, str], steps: int) -> go.Figure:
    """The smoothed loss of each contender, coloured from the lowest rate (ice) to the highest (ember).

    `rates` and `names` are those of the contenders, by key.
    """
    figure = canvas("Loss of the contenders", "step", height=260)
    colours = group_colours(sorted(rates, key=lambda contender: rates[contender]))
    for contender in rates:
        own = [row for row in of_kind(records, "lap") if row["contender"] == contender]
        told = names.get(contender, contender)
        line(figure, column(own, "step"), column(own, "smooth"), told, colours[contender], "%{y:.3f}")
    span(figure, steps)
    waiting(figure, "The first steps will appear here.")
    return figure


def _band(figure: go.Figure, newest: Curve) -> None:
    """How far the tries lie apart."""
    across, up = (*newest.lrs, *newest.lrs[::-1]), (*newest.high, *newest.low[::-1])
    known = np.isfinite(up)
    figure.add_trace(
        go.Scatter(
            x=np.array(across)[known],
            y=np.array(up)[known],
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=faded(ICE, 0.18),
            name="tries",
            hoverinfo="skip",
        )
    )


def _suggested(figure: go.Figure, newest: Curve, key: str, rate: float | None) -> None:
    loss = newest.loss_at(rate) if rate else None
    if loss is None:
        return
    ring = {"width": 2, "color": GREY}  # around the one that is chosen, if that is it
    marker = {"symbol": f"{SYMBOLS.get(key, 'circle')}-open", "size": 16, "line": ring, "color": GREY}
    name = key.replace("_", " ").replace("minimum tenth", "minimum ÷ 10")
    figure.add_trace(go.Scatter(x=[rate], y=[loss], mode="markers", marker=marker, name=name, hoverinfo="skip"))


def _chosen(figure: go.Figure, newest: Curve, chosen: float | None, sweep: tuple[float, float] | None) -> None:
    if sweep and sweep[0] < sweep[1]:
        figure.add_vrect(x0=sweep[0], x1=sweep[1], fillcolor=BAND, line_width=0, layer="below")
    if not chosen:
        return
    figure.add_vline(x=chosen, line={"color": EMBER, "width": 1.5, "dash": "dot"})
    loss = newest.loss_at(chosen)
    if loss is not None:
        marker = {"symbol": "diamond", "size": 13, "color": EMBER}
        name = f"chosen: {written(chosen, 3)}"
        figure.add_trace(go.Scatter(x=[chosen], y=[loss], mode="markers", marker=marker, name=name, hoverinfo="skip"))


def _axes(figure: go.Figure, curves: Sequence[Curve], limits: tuple[float, float] | None) -> None:
    figure.update_xaxes(type="log", exponentformat="power", dtick=1)
    if limits:
        figure.update_xaxes(range=[float(np.log10(limits[0])), float(np.log10(limits[1]))])
    figure.update_yaxes(showticklabels=bool(curves and any(each.lrs for each in curves)))
    smooth = np.array([value for each in curves for value in each.smooth if np.isfinite(value)])
    if len(smooth):
        # The blow-up at the end would press everything of interest against the floor.
        start = max(each.smooth[0] for each in curves if each.smooth)
        low, high = float(smooth.min()), min(float(smooth.max()), start * 1.25)
        margin = 0.08 * max(high - low, 0.1)
        figure.update_yaxes(range=[low - margin, high + margin])
