"""The bars of an experiment: each value is in sight, whatever is measured, and each mean is told beside the plot."""

from dataclasses import replace

import pytest

from finetune_core import figures
from finetune_core.finder.versus import Result
from finetune_core.parts.tasks import ONE_CLASS, Score
from finetune_core.recipe.arms import OTHERS

ACCURACY, GAP, LOSS = ONE_CLASS.score, OTHERS["gap"], OTHERS["loss"]


@pytest.mark.parametrize(
    ("score", "values", "ends"),
    [
        (ACCURACY, (0.2, 0.9), (0, 1)),
        (replace(ACCURACY, key="last"), (0.2, 0.9), (0, 1)),
        (GAP, (0.01, -0.02), (-0.02, 0.01)),
        (LOSS, (0.3, 2.5), (0, 2.5)),
        (OTHERS["bump"], (-0.5, -0.1), (-0.5, 0)),
    ],
)
def test_every_value_is_in_sight(score: Score, values: tuple[float, ...], ends: tuple[float, float]) -> None:
    found = [Result(str(value), {0: value, 1: value}) for value in values]
    low, high = figures.arms(found, score, ["none"]).layout.xaxis.range
    room = (ends[1] - ends[0]) / 10
    assert ends[0] - room < low <= ends[0]
    assert ends[1] < high < ends[1] + room


def test_what_failed_has_a_row_without_a_bar() -> None:
    found = [Result("good", {0: 0.5, 1: 0.7}), Result("bad", {}, ("no number.",) * 2)]
    figure = figures.arms(found, ACCURACY, ["good"])
    assert list(figure.data[0].y) == ["good", "bad"]
    assert list(figure.data[1].text) == ["60.0 ± 14.1 %", "nothing"]
    assert list(figure.data[2].y) == ["good", "good"]
