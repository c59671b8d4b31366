"""The board: the same images after every epoch, spread over the names, with what the network itself says of them."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from finetune_core.parts.sources.samples import Samples
from finetune_core.parts.tasks import Targets, single_label
from finetune_core.recipe import Recipe
from finetune_core.records import Epoch, parse
from finetune_core.training import board, session
from finetune_core.training.board import Board
from finetune_core.training.loop import Trainer


def rows(*outputs: list[float]) -> np.ndarray:
    return np.array(outputs, np.float32)


def samples(labels: list, classes: int, **options: str) -> Samples:
    paths = tuple(Path(f"/data/{number}.png") for number in range(len(labels)))
    return Samples(paths, tuple(labels), tuple(f"name {number}" for number in range(classes)), **options)


def test_a_board_takes_an_image_of_each_class_in_turn() -> None:
    labels = [number // 10 for number in range(50)]
    valid = np.arange(0, 50, 2)
    chosen = board.board(samples(labels, 5), valid, seed=3)
    assert len(chosen.places) == board.IMAGES
    counts = np.bincount(chosen.labels, minlength=5)
    assert counts.min() >= 2
    assert list(chosen.places) == sorted(chosen.places)
    assert chosen.files[0] == f"/data/{valid[chosen.places[0]]}.png"
    assert chosen.truths[0] == f"name {labels[valid[chosen.places[0]]]}"


def test_the_seed_alone_chooses_the_board() -> None:
    many = samples([number % 40 for number in range(400)], 40)
    one, same, other = (board.board(many, np.arange(400), seed) for seed in (0, 0, 1))
    assert one == same != other
    assert len(set(one.labels)) == board.IMAGES, "of many classes each is there once"


def test_a_board_of_few_images_shows_them_all() -> None:
    tags = [(1.0, 0.0), (0.0, 0.0), (1.0, 1.0)]
    chosen = board.board(samples(tags, 2, task="multi_label"), np.arange(3), 0)
    assert chosen.truths == ("name 0", "no tag", "name 0, name 1")
    numbers = [(float(number),) for number in range(40)]
    assert len(board.board(samples(numbers, 1, task="regression"), np.arange(40), 0).places) == board.IMAGES


def test_what_is_right_depends_on_the_task() -> None:
    one = Board((0, 1), ("a", "b"), ("0", "1"), (0, 1))
    first, second = one.guesses(single_label([1, 1, 1], "xyz"), rows([3, 0, 0], [3, 0, 0]))
    assert (first.right, second.right) == (True, False)
    assert first.answers[0][0] == "x"
    assert first.answers[0][1] == pytest.approx(np.exp(3) / (np.exp(3) + 2), rel=1e-5)
    tags = Targets("multi_label", ("x", "y"), (1, 1), 2)
    some = Board((0, 1), ("a", "b"), ("x", "x"), ((1.0, 0.0), (1.0, 0.0)))
    assert [guess.right for guess in some.guesses(tags, rows([2, -2], [2, 2]))] == [True, False]
    numbers = Targets("regression", ("age",), (), 2, (40.0,), (10.0,))
    (guess,) = Board((0,), ("a",), ("age 50",), ((50.0,),)).guesses(numbers, rows([0.5]))
    assert (guess.answers, guess.right) == ([("age", 45.0)], None)


@pytest.mark.parametrize("task", ["single_label", "multi_label", "regression"])
def test_guesses_are_those_of_the_network_that_is_measured(tiny: Recipe, sources: dict, task: str) -> None:
    loss = {"single_label": "cross_entropy", "multi_label": "bce", "regression": "smooth_l1"}[task]
    recipe = tiny.with_value("data.source", sources[task]).with_value("training.loss", {"kind": loss})
    made = session.prepare(recipe.with_value("training.batch_size", 2))  # several validation batches
    epochs = [record for record in Trainer(made).run() if isinstance(record, Epoch)]
    made.network.module.eval()
    with torch.inference_mode():
        outputs = torch.cat([made.network.module(made.normalised(images)) for images, _ in made.valid.epoch(0)])
    expected = made.board.guesses(made.targets, outputs.numpy())
    last = epochs[-1].board
    assert [(guess.file, guess.truth, guess.right) for guess in last] == [
        (guess.file, guess.truth, guess.right) for guess in expected
    ]
    for guess, wanted in zip(last, expected, strict=True):
        assert dict(guess.answers) == pytest.approx(dict(wanted.answers), rel=1e-4)
    assert [guess.file for guess in epochs[0].board] == [guess.file for guess in last]
    assert all(Path(guess.file).is_file() for guess in last)
    assert json.loads(epochs[-1].line())["board"] == json.loads(json.dumps([asdict(guess) for guess in last]))


def test_what_is_no_number_becomes_null_on_the_board_too() -> None:
    (guess,) = Board((0,), ("a",), ("x",), (0,)).guesses(single_label([1, 1], "xy"), rows([np.nan, 0]))
    row = {"epoch": 0, "phase": 0, "step": 1, "train_loss": 1.0, "train_score": 0.0, "valid_loss": 1.0}
    epoch = Epoch(**row, valid_score=0.0, scores={}, by_name={}, best=False, seconds=1.0, board=[guess])
    assert json.loads(epoch.line())["board"][0]["answers"][0][1] is None
    old = json.loads(epoch.line())
    del old["board"]
    assert parse(old).board == []
