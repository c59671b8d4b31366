"""Figures are judged by what they show, not by how plotly stores it."""

import itertools
import json
import math
from functools import partial
from xml.etree import ElementTree

import numpy as np
import pytest

from finetune_core import figures
from finetune_core.figures.colours import EMBER, faded
from finetune_core.parts.tasks import TASKS
from finetune_core.recipe.variants import Axis
from finetune_core.runs.telling.blocks import parse
from finetune_core.runs.telling.history import History
from finetune_core.runs.waiting.sweeps import Point

ACCURACY = TASKS["single_label"].score
GROUPS = ("stem", "layer1", "layer2", "head")


def records(steps=40, epoch_steps=10, thawed=("layer2", "head")):
    rows = []
    for step in range(steps):
        lr = {name: (1e-3 if name in thawed else 0.0) * (step + 1) / 40 for name in GROUPS}
        norms = dict.fromkeys(thawed, 1.0 / (step + 1))
        epoch = step // epoch_steps
        row = {"kind": "step", "step": step, "epoch": epoch, "phase": 0, "loss": 2.5 / (step + 1), "lr": lr}
        rows.append({**row, "grad_norm": 1.0, "group_grad_norm": norms})
        if (step + 1) % epoch_steps == 0:
            accuracy = [0.5, 0.8, 0.9, 0.85][epoch % 4]
            row = {
                "kind": "epoch",
                "epoch": epoch,
                "step": step + 1,
                "train_loss": 1.0,
                "train_score": accuracy - 0.1,
            }
            measured = {"phase": 0, "scores": {}, "by_name": {}, "seconds": 1.0}
            rows.append({**row, **measured, "valid_loss": 0.9, "valid_score": accuracy, "best": accuracy == 0.9})
    return rows


def told(rows):
    return History().plus(parse("".join(json.dumps(row) + "\n" for row in rows).encode()))


def plan(steps=40, thawed=("layer2", "head"), ratio=1.0):
    peak = {"layer2": 1e-3 / ratio, "head": 1e-3}
    return [
        {"step": n, "lr": {g: peak[g] * (n + 1) / steps if g in thawed else 0.0 for g in GROUPS}} for n in range(steps)
    ]


def sweep(count=60):
    lrs = np.logspace(-6, 1, count)
    losses = 2.5 - 1.5 / (1 + np.exp(-3 * (np.log10(lrs) + 3))) + np.exp(np.log10(lrs) * 3)
    return [
        {"kind": "find", "step": n, "lr": float(lr), "multiplier": 1.0, "loss": float(loss), "smooth": float(loss)}
        for n, (lr, loss) in enumerate(zip(lrs, losses, strict=True))
    ]


def traces(figure):
    return {trace.name: trace for trace in figure.data}


# Colours


def test_colours_run_from_ice_to_ember():
    colours = figures.group_colours(["stem", "layer1", "layer2", "layer3", "layer4", "head"])
    red = [int(colour[1:3], 16) for colour in colours.values()]
    blue = [int(colour[5:7], 16) for colour in colours.values()]
    assert list(colours) == ["stem", "layer1", "layer2", "layer3", "layer4", "head"]
    assert red == sorted(red)
    assert blue[0] > blue[-1]
    assert len(set(colours.values())) == 6


def test_ends_keep_their_colours_whatever_lies_between():
    few, many = figures.group_colours(["stem", "head"]), figures.group_colours([str(n) for n in range(14)])
    assert few["stem"] == many["0"]
    assert few["head"] == many["13"]
    assert figures.group_colours(["head"])["head"] == few["head"]
    assert figures.group_colours([]) == {}


@pytest.mark.parametrize("background", [1.0, 0.0056])
def test_every_colour_stands_out_in_light_and_dark(background):
    for colour in figures.group_colours([str(n) for n in range(24)]).values():
        low, high = sorted((luminance(colour), background))
        assert (high + 0.05) / (low + 0.05) >= 3, colour


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_faded_is_rgba():
    assert faded("#FF8000", 0.5) == "rgba(255, 128, 0, 0.5)"


# Downsampling


def test_kept_leaves_short_lines_alone():
    assert figures.kept(np.arange(1000.0)).tolist() == list(range(1000))
    assert figures.kept(np.array([])).tolist() == []


@pytest.mark.parametrize("count", [1001, 9_999, 50_000])
def test_kept_is_bounded_and_keeps_ends_and_extremes(count):
    values = np.random.default_rng(0).normal(size=count)
    values[count // 3], values[count // 2] = 99.0, -99.0
    chosen = figures.kept(values)
    assert len(chosen) <= 1000
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert {0, count - 1, count // 3, count // 2} <= set(chosen.tolist())


def test_kept_survives_nan():
    values = np.full(5000, np.nan)
    values[2345] = 1.0
    chosen = figures.kept(values)
    assert 2345 in chosen
    assert len(chosen) <= 1000


def test_the_smooth_line_lags_by_a_seventeenth_of_the_way():
    """For a straight line the weighted mean is known: sum(n ** 16) / sum(n ** 15) over the steps so far."""
    line = figures.smoothed(np.arange(1.0, 4001.0))
    for step in (1, 30, 500, 4000):
        passed = np.arange(1.0, step + 1)
        assert line[step - 1] == pytest.approx((passed**16).sum() / (passed**15).sum(), rel=1e-9)
    assert 4000 - line[-1] == pytest.approx(4000 / 17, rel=0.01)


def test_training_does_not_look_worse_than_it_is_in_a_short_run():
    """It was drawn at 1.5 where the losses had come down to 0.7 by step 30."""
    losses = 0.5 + 2.0 * np.exp(-np.arange(31) / 13)
    assert figures.smoothed(losses)[-1] == pytest.approx(losses[-1], rel=0.05)


def test_the_smooth_line_is_calm_in_a_long_run():
    noise = np.random.default_rng(0).normal(1.0, 0.3, 100_000)
    assert figures.smoothed(noise)[1000:].std() < 0.05


def test_smoothed_corrects_its_bias_and_passes_nan():
    result = figures.smoothed(np.array([2.0, 2.0, np.nan, 2.0]))
    assert result[[0, 1, 3]] == pytest.approx(2.0)
    assert math.isnan(result[2])


# Charts of a run


def test_loss_shows_train_solid_and_validation_dashed():
    drawn = traces(figures.loss(told(records()), figures.Axis(40)))
    assert drawn["train"].line.dash is None
    assert drawn["validation"].line.dash == "dash"
    assert list(drawn["validation"].x) == [10, 20, 30, 40]


def test_the_score_pins_the_best_epoch():
    drawn = traces(figures.scored(told(records()), ACCURACY))
    assert (drawn["best"].x[0], drawn["best"].y[0], drawn["best"].text[0]) == (30, 0.9, "90.0%")


def test_axes_hold_still_while_the_run_grows():
    early, late = figures.loss(told(records(5)), figures.Axis(40)), figures.loss(told(records(30)), figures.Axis(40))
    assert early.layout.xaxis.range == late.layout.xaxis.range
    assert late.layout.xaxis.range[1] == pytest.approx(40, rel=0.05)
    assert early.layout.uirevision == late.layout.uirevision


def test_rates_leave_out_frozen_groups_and_lie_over_the_plan():
    drawn = traces(figures.rates(told(records(20)), plan()))
    assert set(drawn) == {"layer2", "head", "layer2, planned", "head, planned"}
    logged, planned = drawn["head"], drawn["head, planned"]
    assert list(logged.y) == pytest.approx(list(planned.y)[:20])
    assert logged.line.color == figures.group_colours(GROUPS)["head"]


def test_groups_have_one_colour_in_every_chart():
    colours = figures.group_colours(GROUPS)
    for figure in (
        figures.rates(told(records()), plan()),
        figures.planned_rates(plan()),
        figures.gradient_norms(told(records())),
    ):
        assert traces(figure)["layer2"].line.color == colours["layer2"]


def striped(figure):
    return [trace.line.dash for trace in figure.data]


def test_rates_upon_each_other_are_all_to_be_seen():
    """Where the upper line has a gap the lower one shows: of three, each for a third of the way."""
    assert striped(figures.planned_rates(plan())) == ["solid", "16px,16px"]
    assert striped(figures.planned_rates(plan(ratio=2))) == ["solid", "solid"]
    rows = [{"step": n, "lr": dict.fromkeys(GROUPS, 1e-3 * (n + 1)) | {"stem": 1.0}} for n in range(40)]
    assert striped(figures.planned_rates(rows)) == ["solid", "solid", "32px,16px", "16px,32px"]
    assert striped(figures.rates(told(records(20)), plan())) == ["solid", "16px,16px"] * 2


def test_rates_that_part_in_a_later_phase_lay_upon_each_other_and_a_crossing_is_none():
    parting = [{"step": n, "lr": {"layer2": 1e-3, "head": 1e-3 if n < 20 else 1e-2}} for n in range(200)]
    assert striped(figures.planned_rates(parting)) == ["solid", "16px,16px"]
    crossing = [{"step": n, "lr": {"layer2": 1e-3 * (n + 1), "head": 1e-3 * (200 - n)}} for n in range(200)]
    assert striped(figures.planned_rates(crossing)) == ["solid", "solid"]
    alone = [{"step": n, "lr": {"layer2": 1e-3 * (n < 100), "head": 1e-3 * (n >= 100)}} for n in range(200)]
    assert striped(figures.planned_rates(alone)) == ["solid", "solid"]


def test_rates_far_apart_get_a_logarithmic_axis():
    assert figures.planned_rates(plan(ratio=1)).layout.yaxis.type is None
    assert figures.planned_rates(plan(ratio=10)).layout.yaxis.type == "log"


def test_rates_that_were_higher_than_planned_stay_on_a_logarithmic_axis():
    rows = [row for row in records() if row["kind"] == "step"]
    faster = [row | {"lr": {"head": 100 * row["lr"]["head"]}} for row in rows]
    axis = figures.rates(told(faster), plan(ratio=10)).layout.yaxis
    assert axis.type == "log"
    assert 10 ** axis.range[1] > max(row["lr"]["head"] for row in faster)
    assert figures.rates(told(rows[:1]), plan()).layout.yaxis.type is None, "it only warms up"


def test_gradient_norms_skip_zero_and_missing():
    rows = records(3)
    rows[1]["group_grad_norm"] = {"head": 0.0}
    head = traces(figures.gradient_norms(told(rows)))["head"]
    assert [value for value in head.y if np.isfinite(value)] == [1.0, pytest.approx(1 / 3)]


def test_phases_are_marked_when_there_are_several():
    assert len(figures.loss(told(records()), figures.Axis(40, [0])).layout.shapes) == 0
    drawn = figures.loss(told(records()), figures.Axis(40, [0, 10, 30])).layout
    assert [(shape.x0, shape.x1) for shape in drawn.shapes] == [(10, 30)]  # every other one
    assert [note.text for note in drawn.annotations] == ["phase 1", "phase 2", "phase 3"]


def test_the_numbers_of_short_phases_do_not_run_into_each_other():
    drawn = figures.loss(told(records()), figures.Axis(1003, [0, 1, 1001])).layout
    assert [note.text for note in drawn.annotations] == ["phase 2", "phase 3"], "the longer of two has the room"
    drawn = figures.loss(told(records()), figures.Axis(300, range(0, 300, 10))).layout
    places = [note.x for note in drawn.annotations]
    assert places == [0, 40, 80, 120, 160, 200, 240, 280]


def test_events_are_marked_and_told_on_every_chart():
    rows = [{"kind": "event", "name": "paused", "step": 7, "text": "Paused by <b>Ann</b>"}, *records()]
    axis = figures.Axis(40, (), told(rows).events)
    drawn = [figures.loss(told(rows), axis), figures.scored(told(rows), ACCURACY, axis)]
    for figure in (*drawn, figures.rates(told(rows), plan(), axis), figures.gradient_norms(told(rows), axis)):
        mark = traces(figure)["events"]
        assert list(mark.x) == [7]
        assert mark.text[0] == "Paused by <b>Ann</b>", "words, which `chart.harmless` keeps from being markup"
        assert [shape.x0 for shape in figure.layout.shapes] == [7]


def test_many_events_share_marks():
    rows = [{"kind": "event", "name": "overflow", "step": step, "text": "Too large."} for step in range(10_000)]
    mark = traces(figures.loss(told(rows), figures.Axis(10_000, (), rows)))["events"]
    assert len(mark.x) <= 61
    assert mark.text[0] == "Too large. And 165 more like it."


def test_an_empty_chart_says_what_it_waits_for_even_when_something_happened():
    rows = [{"kind": "event", "name": "paused", "step": 0, "text": "Paused."}]
    assert figures.loss(told(rows), figures.Axis(40, (), rows)).layout.annotations[0].text == "after the first step"


def test_whatever_is_measured_by_the_step_gets_a_chart():
    gauges = [{"kind": "gauges", "step": n, "update_ratio": {"head": 1e-3}, "cpu_use": 0.5} for n in range(5)]
    history = told([*records(), *gauges])
    found = figures.measured(history)
    assert list(found) == ["Update over weight", "In use"]
    ratio = traces(figures.by_step(history, found["Update over weight"]))["head"]
    assert ratio.line.color == figures.group_colours(GROUPS)["head"]
    use = figures.by_step(history, found["In use"])
    assert set(traces(use)) == {"processor"}
    assert not use.layout.shapes


def test_healthy_updates_are_marked_and_said():
    gauges = [{"kind": "gauges", "step": n, "update_ratio": {"head": 1e-3}} for n in range(5)]
    history = told([*records(), *gauges])
    figure = figures.by_step(history, figures.measured(history)["Update over weight"])
    (band,) = figure.layout.shapes
    assert band.y0 < 1e-3 < band.y1
    (words,) = figure.layout.annotations
    assert "0.001" in words.text
    assert words.y == pytest.approx(math.log10(band.y1)), "annotations on logarithmic axes are placed by the power"


def test_a_line_is_known_again_when_others_come_before_it():
    assert {trace.uid for trace in figures.rates(told(records())).data} == {"layer2", "head"}


def test_null_values_become_gaps():
    rows = records(4)
    rows[2]["loss"] = None
    assert math.isnan(traces(figures.loss(told(rows)))["train, each step"].y[2])


@pytest.mark.parametrize(
    "draw",
    [
        figures.loss,
        partial(figures.scored, score=ACCURACY),
        figures.rates,
        figures.gradient_norms,
        figures.planned_rates,
        figures.finder,
    ],
)
def test_nothing_to_show_is_still_a_chart(draw):
    figure = draw([] if draw in (figures.planned_rates, figures.finder) else told([]))
    assert figure.layout.paper_bgcolor == "rgba(0, 0, 0, 0)"
    assert "nothing to show yet" in figures.alt(figure)


def test_what_goes_to_the_browser_does_not_grow_with_the_run():
    def sent(steps):
        history, axis = told(records(steps, steps // 10)), figures.Axis(steps)
        drawn = figures.loss(history, axis), figures.rates(history, (), axis), figures.gradient_norms(history, axis)
        return sum(len(figure.to_json()) for figure in drawn)

    assert 0.5 < sent(20_000) / sent(1_000) < 2


def test_long_runs_stay_light():
    for figure in (figures.loss(told(records(20_000, 100))), figures.rates(told(records(20_000, 100)))):
        assert max(len(trace.x) for trace in figure.data) <= 1000


# The finder


def test_a_curve_knows_its_loss_between_points():
    curve = figures.curve(sweep(), "head")
    assert len(curve.lrs) == 60
    assert curve.loss_at(curve.lrs[10]) == pytest.approx(curve.smooth[10])
    assert curve.loss_at(1e-9) is None


def test_only_the_newest_curve_answers_to_the_mouse():
    figure = figures.finder([figures.curve(sweep(), "head"), figures.curve(sweep(30), "everything")], 1e-3)
    assert [trace.name for trace in figure.data if trace.hoverinfo != "skip"] == ["head"]
    assert figure.layout.hoverdistance == -1
    assert figure.layout.xaxis.type == "log"


def test_finder_shows_choice_suggestions_sweep_and_earlier_curves():
    curves = [figures.curve(sweep(), "head"), figures.curve(sweep(30), "everything")]
    suggestions = {"steepest": 1e-3, "minimum_tenth": 1e-2, "valley": None}
    figure = figures.finder(curves, 1e-3, suggestions, sweep=(4e-5, 1e-3), limits=(1e-6, 10))
    drawn = traces(figure)
    assert {"head", "everything", "steepest", "minimum ÷ 10", "chosen: 0.001"} <= set(drawn)
    assert "valley" not in drawn
    assert figure.layout.shapes[0].x1 == 1e-3
    assert figure.layout.xaxis.range == (-6.0, 1.0)


def test_several_tries_become_a_median_and_a_band():
    rows = [{**row, "trial": trial, "loss": row["loss"] + trial} for trial in range(3) for row in sweep()]
    curve = figures.curve([*rows, {"kind": "suggestions"}], "head")
    assert curve.smooth[0] == pytest.approx(3.5, abs=0.02)
    assert (curve.low[0], curve.high[0]) == (pytest.approx(2.5, abs=0.02), pytest.approx(4.5, abs=0.02))
    drawn = traces(figures.finder([curve]))
    assert drawn["tries"].fill == "toself"
    assert "raw" not in drawn


def test_the_finished_curve_does_not_lag_behind_its_losses():
    rows = sweep()
    lagging = [{**row, "smooth": 9.0} for row in rows]
    assert figures.curve(lagging, "head").smooth[0] == 9.0
    done = figures.curve([*lagging, {"kind": "suggestions"}], "head")
    assert done.smooth[30] == pytest.approx(rows[30]["loss"], abs=0.05)


def test_a_curve_that_went_down_is_read_the_same_way():
    rows = [{**row, "step": 59 - row["step"]} for row in sweep()]
    assert figures.curve(rows, "head").loss_at(1e-3) == pytest.approx(figures.curve(sweep(), "head").loss_at(1e-3))


def test_a_race_colours_contenders_from_the_lowest_rate_to_the_highest():
    rates = {"steepest": 1e-2, "valley": 1e-4}
    rows = [
        {"kind": "lap", "contender": name, "lr": rates[name], "step": step, "loss": 2.0, "smooth": 2.0}
        for name in rates
        for step in range(5)
    ]
    drawn = traces(figures.race(rows, rates, {"valley": "Valley 0.0001"}, 50))
    ice, ember = figures.group_colours(["a", "b"]).values()
    assert drawn["Valley 0.0001"].line.color == ice
    assert drawn["steepest"].line.color == ember


def test_the_blow_up_does_not_flatten_the_curve():
    curve = figures.curve(sweep(), "head")
    assert figures.finder([curve]).layout.yaxis.range[1] < max(curve.smooth)


# In words


def test_alt_tells_the_lines():
    assert figures.alt(figures.scored(told(records()), ACCURACY)) == (
        "Accuracy over optimizer step: train from 0.4 to 0.75; validation from 0.5 to 0.85."
    )


@pytest.mark.parametrize("values", [(0.5, 0.9, 0.7), (0.5, 0.5), (0.5,)])
def test_a_sparkline_rises_where_the_score_does(values):
    drawn = ElementTree.fromstring(figures.sparkline(values, "Accuracy <by> epoch"))
    assert drawn.get("aria-label") == "Accuracy <by> epoch"
    points = [tuple(map(float, pair.split(","))) for pair in drawn[1].get("points").split()]
    assert len(points) == len(values)
    assert points == sorted(points), "from left to right"
    assert np.argsort([-y for _, y in points], kind="stable").tolist() == np.argsort(values, kind="stable").tolist()
    _, _, width, height = map(float, drawn.get("viewBox").split())
    assert all(0 <= x <= width and 0 <= y <= height for x, y in points)


def test_bar_charts_are_told_by_their_bars() -> None:
    """They said "nothing to show yet" while they showed."""
    score = TASKS["single_label"].by_name
    told = figures.alt(figures.by_name({"owl": 0.5, "duck": 0.25}, score))
    assert "owl 0.5" in told
    assert "duck 0.25" in told
    assert "cat 0.9" in figures.alt(figures.guesses([("cat", 0.9), ("dog", 0.1)]))
    assert "nothing to show yet" in figures.alt(figures.guesses([]))


def test_a_name_without_a_value_stands_last_with_a_dash() -> None:
    figure = figures.by_name({"owl": None, "duck": 0.25, "swan": 0.0}, TASKS["single_label"].by_name)
    assert list(figure.data[0].y) == ["swan", "duck", "owl –"]
    assert list(figure.data[0].text) == ["0.0%", "25.0%", "–"]
    assert "owl" not in figures.alt(figure)


# Sweeps


def swept_at(*axes, scores):
    every = list(itertools.product(*(axis.values for axis in axes)))
    words = list(itertools.product(*(axis.words for axis in axes)))
    points = [Point(v, w, tuple(s), 0) for v, w, s in zip(every, words, scores, strict=True)]
    return figures.swept(axes, points, ACCURACY)


RATE = Axis("lr", "Learning rate", (1e-3, 1e-2, 1e-4), ("0.001", "0.01", "1e-4"), number=True, log=True)
HEAD = Axis("head", "Head", ("linear", "mlp"), ("Linear", "MLP"))


def test_a_sweep_over_a_number_is_a_curve_in_order_with_its_best_pinned():
    figure = swept_at(RATE, scores=[(0.8, 0.9), (0.5, 0.5), ()])
    curve = traces(figure)["accuracy"]
    assert list(curve.x) == [1e-3, 1e-2]
    assert list(curve.y) == pytest.approx([0.85, 0.5])
    assert list(curve.error_y.array) == pytest.approx([0.05, 0])
    assert figure.layout.xaxis.type == "log"
    best = traces(figure)["best"]
    assert (list(best.x), best.text[0]) == ([1e-3], "85.0%")
    assert len(traces(figure)["single seeds"].x) == 4


def test_a_sweep_over_choices_is_bars_and_over_two_knobs_a_grid():
    bars = swept_at(HEAD, scores=[(0.5,), (0.7,)])
    assert list(bars.data[0].y) == ["Linear", "MLP"]
    assert bars.data[0].marker.color[1] == EMBER
    grid = swept_at(HEAD, RATE, scores=[(0.1,), (0.2,), (), (0.4,), (0.6,), (0.5,)])
    assert [list(row) for row in grid.data[0].z] == [[0.1, 0.2, None], [0.4, 0.6, 0.5]]
    assert grid.data[0].text[1][1] == "60.0% ★"


@pytest.mark.parametrize("axes", [(RATE,), (HEAD,), (HEAD, RATE)])
def test_a_sweep_without_a_score_says_what_it_waits_for(axes):
    scores = [()] * math.prod(len(axis.values) for axis in axes)
    figure = swept_at(*axes, scores=scores)
    assert figure.layout.annotations[0].text == "after the first run"


def test_all_runs_of_a_sweep_have_the_colour_of_their_value():
    figure = figures.trials({"0.001": [records(), records()], "0.01": [records(10)]}, ACCURACY)
    assert [trace.name for trace in figure.data] == ["0.001", "0.001", "0.01"]
    assert [trace.showlegend for trace in figure.data] == [True, False, True]
    assert figure.data[0].line.color == figure.data[1].line.color != figure.data[2].line.color
