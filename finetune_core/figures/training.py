"""The charts of a training run: loss, score, rates over their plan, gradient norms; and the plan before the run."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from finetune_core.figures.colours import EMBER, ICE, faded, group_colours
from finetune_core.figures.series import Record, by_group, column, of_kind, smoothed
from finetune_core.figures.style import canvas, line, phases, pinned, span, waiting
from finetune_core.parts.tasks import Score

STEP = "optimizer step"
RATE = "%{text}"  # a rate as it is written everywhere
RATIO = 4.0  # peak rates further apart than this are shown on a logarithmic axis
WIDE = 30.0  # norms further apart than this need one tick per decade only
DECADES = 3.0  # how far below the lowest peak such an axis reaches


def loss(records: Sequence[Record], steps: int | None = None, starts: Sequence[int] = ()) -> go.Figure:
    """Training loss by step (raw faint, smoothed solid) and validation loss by epoch (dashed).

    `steps` is the length of the whole run, `starts` the first step of every phase.
    """
    figure = canvas("Loss", STEP)
    rows, epochs = of_kind(records, "step"), of_kind(records, "epoch")
    x, raw = column(rows, "step"), column(rows, "loss")
    line(figure, x, raw, "train, each step", faded(ICE, 0.3), "%{y:.3f}", line={"width": 1}, showlegend=False)
    line(figure, x, smoothed(raw), "train", ICE, "%{y:.3f}")
    _validation(figure, epochs, "valid_loss", "%{y:.3f}")
    figure.update_yaxes(rangemode="tozero")
    _frame(figure, steps, starts, "after the first step")
    return figure


def scored(records: Sequence[Record], score: Score, steps: int | None = None, starts: Sequence[int] = ()) -> go.Figure:
    """The score that decides, by epoch in training (solid) and validation (dashed), with the best epoch pinned."""
    figure = canvas(score.title, STEP)
    epochs = of_kind(records, "epoch")
    x = column(epochs, "step")
    markers = {"mode": "lines+markers", "marker": {"size": 6}}
    hover = "%{y:.1%}" if score.share else "%{y:.4g}"
    line(figure, x, column(epochs, "train_score"), "train", ICE, hover, **markers)
    _validation(figure, epochs, "valid_score", hover)
    _pin_best(figure, epochs, score)
    figure.update_yaxes(**({"tickformat": ".0%", "range": [0, 1.05]} if score.share else {"rangemode": "tozero"}))
    _frame(figure, steps, starts, "after the first epoch")
    return figure


def planned_rates(
    plan: Sequence[Record], colours: Mapping[str, str] | None = None, starts: Sequence[int] = ()
) -> go.Figure:
    """The rate that every thawed group will have at every step; `plan` holds `{"step", "lr": {group: rate}}`."""
    figure = canvas("Planned learning rate", STEP)
    planned = by_group(plan, "lr")
    painted = colours or group_colours(list(planned))
    steps = column(plan, "step")
    thawed = _thawed(planned)
    for name, values in thawed.items():
        line(figure, steps, values, name, painted[name], RATE, values, line={"width": 2.5})
    _rate_axis(figure, thawed)
    _frame(figure, len(plan), starts, "nothing is thawed")
    return figure


def rates(
    records: Sequence[Record],
    plan: Sequence[Record] = (),
    colours: Mapping[str, str] | None = None,
    starts: Sequence[int] = (),
) -> go.Figure:
    """The rate that every thawed group had at every step, over its faint plan."""
    figure = canvas("Learning rate", STEP)
    rows = of_kind(records, "step")
    planned, logged = _thawed(by_group(plan, "lr")), _thawed(by_group(rows, "lr"))
    painted = colours or group_colours(list(by_group([*plan[:1], *rows[:1]], "lr")))
    for name, values in planned.items():
        faint = faded(painted[name], 0.35)
        line(
            figure,
            column(plan, "step"),
            values,
            f"{name}, planned",
            faint,
            None,
            showlegend=False,
        )
    for name, values in logged.items():
        line(figure, column(rows, "step"), values, name, painted[name], RATE, values, line={"width": 2.5})
    _rate_axis(figure, planned or logged)
    _frame(figure, len(plan) or None, starts, "after the first step")
    return figure


def gradient_norms(
    records: Sequence[Record],
    steps: int | None = None,
    colours: Mapping[str, str] | None = None,
    starts: Sequence[int] = (),
) -> go.Figure:
    """The length of every thawed group's gradient at each step, on a logarithmic axis."""
    figure = canvas("Gradient norm", STEP)
    rows = of_kind(records, "step")
    x, columns = column(rows, "step"), by_group(rows, "group_grad_norm")
    painted = colours or group_colours(list(by_group(rows[:1], "lr")))
    thawed = _thawed(columns)
    for name in [name for name in painted if name in thawed]:  # stem to head, whichever thawed first
        line(figure, x, thawed[name], name, painted[name], "%{y:.3g}", line={"width": 1.5})
    seen = np.concatenate([[1.0], *thawed.values()])
    near = np.nanmax(seen) < WIDE * np.nanmin(seen)
    figure.update_yaxes(type="log", exponentformat="power", dtick="D2" if near else 1)
    _frame(figure, steps, starts, "after the first step")
    return figure


def _frame(figure: go.Figure, steps: int | None, starts: Sequence[int], until: str) -> None:
    """What all charts over the steps of a run share; `until` says what an empty one waits for."""
    span(figure, steps)
    phases(figure, starts)
    waiting(figure, until)


def _validation(figure: go.Figure, epochs: Sequence[Record], name: str, hover: str) -> None:
    options = {"mode": "lines+markers", "marker": {"size": 6}, "line": {"dash": "dash"}}
    line(figure, column(epochs, "step"), column(epochs, name), "validation", EMBER, hover, **options)


def _pin_best(figure: go.Figure, epochs: Sequence[Record], score: Score) -> None:
    values = column(epochs, "valid_score")
    if np.isfinite(values).any():
        best = int(np.nanargmin(values) if score.lower_is_better else np.nanargmax(values))
        pinned(figure, float(epochs[best]["step"]), values[best], score.shown(float(values[best])), EMBER)


def _thawed(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Groups whose value is above zero at some step; zero elsewhere (frozen) becomes a gap."""
    positive = {name: np.where(values > 0, values, np.nan) for name, values in columns.items()}
    return {name: values for name, values in positive.items() if np.isfinite(values).any()}


def _rate_axis(figure: go.Figure, thawed: Mapping[str, np.ndarray]) -> None:
    """Linear shows a schedule's shape best; logarithmic where groups' peaks lie far apart."""
    peaks = [float(np.nanmax(values)) for values in thawed.values()]
    figure.update_yaxes(exponentformat="power", rangemode="tozero")
    if peaks and max(peaks) > RATIO * min(peaks):
        low, high = np.log10(min(peaks)) - DECADES / 2, np.log10(max(peaks)) + 0.2
        figure.update_yaxes(type="log", range=[low, high], dtick=1)
