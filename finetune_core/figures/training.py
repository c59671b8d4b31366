"""The charts of a training run over one time axis, and the plan before the run.

All are drawn from a `History`, whose lines are bounded, and framed by the run's `Axis`: its length, phases and events.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import plotly.graph_objects as go

from finetune_core.figures.colours import EMBER, GREY, ICE, faded, group_colours
from finetune_core.figures.series import Record, by_group, column, upon_each_other
from finetune_core.figures.style import canvas, decades, healthy, line, marks, phases, pinned, span, stripe, waiting
from finetune_core.parts.tasks import Score
from finetune_core.runs.telling.history import History
from finetune_core.runs.telling.lines import Line

Name = TypeVar("Name")

STEP = "optimizer step"
RATE = "%{text}"  # a rate as it is written everywhere
LIVE_RATE = "%{y:.3~g}"  # the same, almost, without a word for each point at each look
RATIO = 4.0  # peak rates further apart than this are shown on a logarithmic axis
DECADES = 3.0  # how far below the lowest peak such an axis reaches


@dataclass(frozen=True)
class Axis:
    """What all charts of a run share: its length in steps, the first step of every phase, what happened on the way.

    Of one that has `ended` nothing more is waited for.
    """

    steps: int | None = None
    starts: Sequence[int] = ()
    events: Sequence[Record] = ()
    ended: bool = False


@dataclass(frozen=True)
class Measure:
    """A chart of numbers that may be measured by the step: its title, hover format, and fields by what they are called.

    A field by layer group is drawn as a line for each group, in its colour. Where it is known which numbers are
    healthy, `band` holds the lowest and highest of them, and `said` says so on the chart.
    """

    title: str
    hover: str
    fields: Mapping[str, str]
    logarithmic: bool = False
    band: tuple[float, float] | None = None
    said: str = ""

    def lines(self, history: History) -> dict[tuple[str, str], Line]:
        """Those that there are, by field and group."""
        return {(name, group): line for name in self.fields for group, line in history.of(name).items()}


GRADIENTS = Measure("Gradient norm", "%{y:.3g}", {"group_grad_norm": "norm"}, logarithmic=True)
MORE = (
    Measure(
        "Update over weight",
        "%{y:.2~g}",
        {"update_ratio": "ratio"},
        logarithmic=True,
        band=(3e-4, 3e-3),  # about 1e-3 by the rule of thumb of Stanford's CS231n; a new head, still small, lies above
        said="healthy: about 0.001; a new head moves faster",
    ),
    Measure("Distance from the start", "%{y:.3~g}", {"distance": "distance"}),
    Measure("Images per second", "%{y:,.0f}", {"images_per_s": "images per second"}),
    Measure("Memory in MB", "%{y:,.0f}", {"memory_mb": "memory"}),
    Measure("In use", "%{y:.0%}", {"gpu_use": "GPU", "cpu_use": "processor", "waiting": "waiting for images"}),
)
COLOURS = (EMBER, ICE, GREY)  # of lines that are of no layer group


def measured(history: History) -> dict[str, Measure]:
    """The charts beside the main four for which a run has numbers, by their titles."""
    return {measure.title: measure for measure in MORE if measure.lines(history)}


def loss(history: History, axis: Axis = Axis()) -> go.Figure:
    """Training loss by step (raw faint, smoothed solid) and validation loss by epoch (dashed), the best one pinned."""
    figure = canvas("Loss", STEP)
    raw = history.lines.get(("loss", ""), Line())
    line(figure, raw.x, raw.y, "train, each step", faded(ICE, 0.3), "%{y:.3f}", line={"width": 1}, showlegend=False)
    line(figure, history.smooth.x, history.smooth.y, "train", ICE, "%{y:.3f}")
    _validation(figure, history.epochs, "valid_loss", "%{y:.3f}")
    if history.best:
        at, value = column([history.best], "step")[0], column([history.best], "valid_loss")[0]
        pinned(figure, at, value, "", EMBER)
    figure.update_yaxes(rangemode="tozero")
    _frame(figure, axis, "after the first step")
    return figure


def scored(history: History, score: Score, axis: Axis = Axis()) -> go.Figure:
    """The score that decides, by epoch in training (solid) and validation (dashed), with the best epoch pinned."""
    figure = canvas(score.title, STEP)
    x = column(history.epochs, "step")
    markers = {"mode": "lines+markers", "marker": {"size": 6}}
    hover = "%{y:.1%}" if score.share else "%{y:.4g}"
    line(figure, x, column(history.epochs, "train_score"), "train", ICE, hover, **markers)
    _validation(figure, history.epochs, "valid_score", hover)
    _pin_best(figure, history.epochs, score)
    figure.update_yaxes(**({"tickformat": ".0%", "range": [0, 1.05]} if score.share else {"rangemode": "tozero"}))
    _frame(figure, axis, "after the first epoch")
    return figure


def planned_rates(
    plan: Sequence[Record], colours: Mapping[str, str] | None = None, starts: Sequence[int] = ()
) -> go.Figure:
    """The rate that every thawed group will have at every step; `plan` holds `{"step", "lr": {group: rate}}`."""
    figure = canvas("Planned learning rate", STEP)
    planned = _planned(plan)
    painted = colours or group_colours(list(planned))
    thawed = _thawed(planned)
    for name, dash in _dashes(thawed).items():
        each = thawed[name]
        line(figure, each.x, each.y, name, painted[name], RATE, each.y, line={"width": 2.5, "dash": dash})
    _rate_axis(figure, thawed.items())
    _frame(figure, Axis(_length(plan), starts), "nothing is thawed")
    return figure


def rates(history: History, plan: Sequence[Record] = (), axis: Axis = Axis()) -> go.Figure:
    """The rate that every thawed group had at every step, over its faint plan; `plan` may leave steps out."""
    figure = canvas("Learning rate", STEP)
    planned, logged = _planned(plan), history.of("lr")
    painted = group_colours(list(planned | logged))
    planned, logged = _thawed(planned), _thawed(logged)
    for name, dash in _dashes(planned).items():
        each, colour = planned[name], faded(painted[name], 0.35)
        line(figure, each.x, each.y, f"{name}, planned", colour, None, line={"dash": dash}, showlegend=False)
    for name, dash in _dashes(logged).items():
        each = logged[name]
        line(figure, each.x, each.y, name, painted[name], LIVE_RATE, line={"width": 2.5, "dash": dash})
    _rate_axis(figure, [*planned.items(), *logged.items()])
    _frame(figure, axis, "after the first step")
    return figure


def by_step(history: History, measure: Measure, axis: Axis = Axis()) -> go.Figure:
    """What was measured by the step: a line for each field, or for each of its layer groups, stem to head."""
    figure = canvas(measure.title, STEP)
    found = measure.lines(history)
    drawn = _thawed(found) if measure.logarithmic else found
    painted = group_colours(list(history.of("lr")))
    plain = dict(zip(measure.fields, COLOURS, strict=False))
    places = {group: place for place, group in enumerate(painted)}
    for name, group in sorted(drawn, key=lambda key: places.get(key[1], 0)):
        each, colour = drawn[name, group], painted.get(group, plain.get(name, GREY))
        line(figure, each.x, each.y, group or measure.fields[name], colour, measure.hover, line={"width": 1.5})
    if measure.logarithmic:
        _logarithmic(figure, list(drawn.values()))
    else:
        figure.update_yaxes(rangemode="tozero", tickformat=".0%" if "%}" in measure.hover else None)
    _frame(figure, axis, "after the first step")
    if measure.band and drawn:
        healthy(figure, measure.band, measure.said)
    return figure


def gradient_norms(history: History, axis: Axis = Axis()) -> go.Figure:
    """The length of every thawed group's gradient at each step, on a logarithmic axis."""
    return by_step(history, GRADIENTS, axis)


def _frame(figure: go.Figure, axis: Axis, until: str) -> None:
    """What all charts over the steps of a run share; `until` says what an empty one waits for."""
    span(figure, axis.steps)
    phases(figure, axis.starts, axis.steps)
    marks(figure, axis.events, axis.steps)
    waiting(figure, "nothing was measured" if axis.ended else until)


def _validation(figure: go.Figure, epochs: Sequence[Record], name: str, hover: str) -> None:
    options = {"mode": "lines+markers", "marker": {"size": 6}, "line": {"dash": "dash"}}
    line(figure, column(epochs, "step"), column(epochs, name), "validation", EMBER, hover, **options)


def _pin_best(figure: go.Figure, epochs: Sequence[Record], score: Score) -> None:
    values = column(epochs, "valid_score")
    if np.isfinite(values).any():
        best = int(np.nanargmin(values) if score.lower_is_better else np.nanargmax(values))
        pinned(figure, float(epochs[best]["step"]), values[best], score.shown(float(values[best])), EMBER)


def _planned(plan: Sequence[Record]) -> dict[str, Line]:
    steps = column(plan, "step")
    return {name: Line().plus(steps, values) for name, values in by_group(plan, "lr").items()}


def _length(plan: Sequence[Record]) -> int | None:
    return plan[-1]["step"] + 1 if plan else None


def _thawed(lines: Mapping[Name, Line]) -> dict[Name, Line]:
    """Groups whose value is above zero at some step; zero elsewhere (frozen) becomes a gap."""
    positive = {name: Line(each.x, np.where(each.y > 0, each.y, np.nan)) for name, each in lines.items()}
    return {name: each for name, each in positive.items() if np.isfinite(each.y).any()}


def _dashes(lines: Mapping[str, Line]) -> dict[str, str]:
    """How each is dashed, so that those which lie upon each other can all be seen."""
    return {name: stripe(*place) for name, place in upon_each_other(lines).items()}


def _rate_axis(figure: go.Figure, thawed: Iterable[tuple[str, Line]]) -> None:
    """Linear shows a schedule's shape best; logarithmic where the peaks of groups, by name, lie far apart."""
    peak: dict[str, float] = {}
    for name, each in thawed:  # of a group the highest, since its logged rates may only be warming up to the planned
        peak[name] = max(peak.get(name, 0.0), float(np.nanmax(each.y)))
    peaks = peak.values()
    figure.update_yaxes(exponentformat="power", rangemode="tozero")
    if peaks and max(peaks) > RATIO * min(peaks):
        low, high = np.log10(min(peaks)) - DECADES / 2, np.log10(max(peaks)) + 0.2
        figure.update_yaxes(type="log", range=[low, high], dtick=1)


def _logarithmic(figure: go.Figure, lines: Sequence[Line]) -> None:
    seen = (value for each in lines for value in each.y)
    figure.update_yaxes(exponentformat="power", **decades(seen, near="D2"))
