"""Two runs picture by picture: by counting, and against scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from finetune_core.errors import UserError
from finetune_core.parts.tasks import Targets, single_label, targets_from
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.states import predictions
from finetune_core.runs.states.predictions import Predictions
from finetune_core.understand.agreement import Agreement, agreement, of_kept

IMAGES, NAMES = 120, ("a", "b", "c")


def predicted(wanted: np.ndarray, *outputs: np.ndarray) -> list[Predictions]:
    images = tuple(f"{place}.png" for place in range(len(wanted)))
    return [Predictions(images, wanted, each.astype(np.float32), 1) for each in outputs]


def classes() -> tuple[list[Targets], list[Predictions]]:
    rng = np.random.default_rng(0)
    wanted = rng.integers(0, 3, IMAGES)
    outputs = [rng.normal(0, 1, (IMAGES, 3)) + np.eye(3)[wanted] * 1.5 for _ in range(2)]
    return [single_label([40] * 3, NAMES)] * 2, predicted(wanted, *outputs)


def test_groups_take_each_picture_once() -> None:
    targets, kept = classes()
    found, right = of_kept(targets, kept), [each.outputs.argmax(1) == each.wanted for each in kept]
    sizes = {key: len(places) for key, places in found.groups.items()}
    wanted = {
        "first": (right[0] & ~right[1]).sum(),
        "second": (right[1] & ~right[0]).sum(),
        "neither": (~right[0] & ~right[1]).sum(),
        "both": (right[0] & right[1]).sum(),
    }
    assert sizes == wanted
    assert sorted(np.concatenate([*found.groups.values()])) == list(range(IMAGES))
    place = found.groups["first"][0]
    assert found.words[place][0] == found.truth[place] != found.words[place][1]
    assert all((np.diff(found.apart[places]) <= 0).all() for places in found.groups.values())


def test_kappa_is_scikit_learns() -> None:
    targets, kept = classes()
    found = of_kept(targets, kept)
    one, other = (each.outputs.argmax(1) for each in kept)
    assert found.kappa == pytest.approx(cohen_kappa_score(one, other))
    assert found.share == pytest.approx((one == other).mean())
    assert np.isnan(of_kept(targets, predicted(kept[0].wanted, *[np.eye(3)[[0] * IMAGES]] * 2)).kappa)


def test_tags_whose_names_hold_commas_are_told_apart() -> None:
    names, wanted = ("red, green", "red", "green"), np.zeros((2, 3), np.float32)
    targets = [Targets("multi_label", names, (1, 1, 1), 2)] * 2
    found = of_kept(targets, predicted(wanted, np.array([[2, -2, -2]] * 2), np.array([[-2, 2, 2]] * 2)))
    assert found.words[0][0] == found.words[0][1]
    assert found.share == 0


def test_of_tags_all_must_be_right() -> None:
    wanted = np.array([[1, 0], [1, 1], [0, 0]], np.float32)
    targets = [Targets("multi_label", ("x", "y"), (2, 1), 3)] * 2
    one, other = np.array([[2, -2], [2, -2], [-2, -2]]), np.array([[2, -2], [2, 2], [2, -2]])
    found = of_kept(targets, predicted(wanted, one, other))
    assert found.words == (("x", "x"), ("x", "x, y"), ("no tag", "x"))
    assert {key: places.tolist() for key, places in found.groups.items()} == {
        "first": [2],
        "second": [1],
        "neither": [],
        "both": [0],
    }


def test_numbers_of_runs_with_other_units_are_near_or_far() -> None:
    truth = np.array([[10.0], [20.0], [30.0]])
    targets = [targets_from("regression", ("n",), rows) for rows in ([[0.0], [20.0]], [[10.0], [50.0]])]
    kept = [
        Predictions(tuple("abc"), own.encoded(truth.tolist()), own.encoded((truth + off).tolist()), 1)
        for own, off in zip(targets, ([[0.0], [0.0], [0.0]], [[0.0], [5.0], [-1.0]]), strict=True)
    ]
    found = of_kept(targets, kept)
    assert found.right is None
    assert found.groups["apart"].tolist() == [1, 2, 0]
    assert found.apart == pytest.approx([0, 0.5, 0.1], abs=1e-5)
    assert found.words[1] == ("n 20", "n 25")


def test_runs_of_other_classes_are_refused() -> None:
    made = []
    for names in (NAMES, ("a", "b", "d")):
        run = store.create(Recipe())
        targets, kept = classes()
        run.save_targets(replace(targets[0], names=names))
        predictions.save(run, kept[0])
        made.append(run)
    with pytest.raises(UserError, match="learn different things"):
        agreement(*made)
    assert isinstance(agreement(made[0], twin(made[0])), Agreement)


def twin(run: store.Run) -> store.Run:
    made = store.create(run.recipe)
    assert run.targets is not None
    made.save_targets(run.targets)
    predictions.save(made, classes()[1][1])
    return made
