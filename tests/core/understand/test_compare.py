"""Runs against each other on the same validation images."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, softmax

from finetune_core import cli
from finetune_core.data.kept import Kept
from finetune_core.errors import UserError
from finetune_core.parts.tasks import single_label, targets_from
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.states import predictions
from finetune_core.runs.states.predictions import Predictions
from finetune_core.runs.store import Run
from finetune_core.runs.work.worker import work
from finetune_core.understand.compare import TOGETHER, apart, compare, judge, measured_alike, verdict

CLASSES = 4


def answered(right: np.ndarray, images: range | None = None, names: tuple[str, ...] = (), **changes: object) -> Run:
    """A run folder whose best epoch was right on these images."""
    run = store.create(Recipe(**changes))
    run.save_targets(single_label([10] * CLASSES, names or tuple("abcd")))
    predictions.save(run, _made(right, images))
    run.report(state="finished")
    return run


def _made(right: np.ndarray, images: range | None = None) -> Predictions:
    numbers = list(images or range(len(right)))
    wanted = np.array(numbers) % CLASSES
    outputs = np.zeros((len(right), CLASSES), np.float32)
    outputs[np.arange(len(right)), (wanted + ~right) % CLASSES] = 1.0
    return Predictions(tuple(f"cat/{number}.jpg" for number in numbers), wanted, outputs, 3)


def first(count: int, of: int = 200) -> np.ndarray:
    return np.arange(of) < count


def test_a_few_images_more_are_not_distinguishable() -> None:
    one, other = answered(first(160)), answered(first(163))
    [pair] = (found := compare([one, other])).pairs
    assert (pair.better, pair.only_better, pair.only_other) == (other.id, 3, 0)
    assert not pair.distinguishable
    words = verdict(pair, found, {one.id: "small", other.id: "large"})
    assert "“large” and “small” are not distinguishable: accuracy 81.5% against 80.0%" in words
    assert "25 times in 100" in words


def test_a_run_that_has_not_said_its_images_lies_with_those_of_its_recipe() -> None:
    """One that waits, or is from before images were kept, beside others that have said theirs."""
    fold = Recipe().with_value("data.split_seed", 1).data
    runs = [answered(first(9), data=data) for data in (Recipe().data, Recipe().data, fold, fold)]
    for run, image in ((runs[0], "1.jpg"), (runs[2], "2.jpg")):
        run.save_begun(Kept(tuple("abcd"), ("0.jpg",), (image,)))
    assert measured_alike(runs) == [runs[:2], runs[2:]]
    assert measured_alike(runs[::-1]) == [runs[:1:-1], runs[1::-1]]
    assert apart(runs[:2], {run.id: run.id for run in runs}) == ""


def test_many_images_more_are() -> None:
    one, other = answered(first(160)), answered(first(185))
    [pair] = (found := compare([one, other])).pairs
    assert pair.distinguishable
    assert pair.differences["accuracy"].interval.low > 0
    words = verdict(pair, found, {one.id: "small", other.id: "large"})
    assert words.startswith("“large” is better than “small”: accuracy 92.5% against 80.0%")
    assert found.runs[one.id]["accuracy"].low < 0.8 < found.runs[one.id]["accuracy"].high


def test_who_looks_often_is_told_apart_less_easily() -> None:
    runs = [answered(first(count)) for count in (150, 157, *[150] * 6)]
    assert compare(runs[:2]).pairs[0].distinguishable, "7 to 0"
    found = compare(runs)
    assert not any(pair.distinguishable for pair in found.pairs), "but not as one of seven"
    words = verdict(found.pairs[0], found, {run.id: run.id for run in runs})
    assert "16 times in 1,000. That is not rare enough where several runs are compared." in words


def test_other_images_are_said_and_the_common_ones_compared() -> None:
    one, other = answered(first(100, 120), range(120)), answered(first(60, 120), range(60, 180))
    found = compare([one, other])
    assert found.images == 60
    assert "on the 60 of up to 120" in found.notes[0]
    assert found.runs[other.id]["accuracy"].value == 1.0
    assert found.runs[one.id]["accuracy"].value == pytest.approx(40 / 60)


def test_the_order_of_the_images_does_not_matter() -> None:
    one, other = answered(first(60, 100)), answered(first(80, 100))
    before = compare([one, other])
    kept = predictions.needed(other)
    predictions.save(other, kept.taking(list(reversed(range(100)))))
    assert compare([one, other]) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": range(190, 390)}, "10 images of up to 200 are common"),
        ({"images": range(200, 400)}, "0 images"),
        ({"names": tuple("abce")}, "learn different things"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_words(change: dict, said: str) -> None:
    with pytest.raises(UserError) as raised:
        compare([answered(first(100)), answered(first(100), **change)])
    assert said in str(raised.value)


def test_another_label_on_the_same_name_is_another_image() -> None:
    one, other = answered(first(100)), answered(first(100))
    kept = predictions.needed(other)
    predictions.save(other, Predictions(kept.images, np.roll(kept.wanted, 1), kept.outputs, 1))
    with pytest.raises(UserError, match="labels"):
        compare([one, other])


def test_a_run_without_answers_says_so() -> None:
    with pytest.raises(UserError, match="kept no answers"):
        compare([answered(first(100)), store.create(Recipe())])
    with pytest.raises(UserError, match="nothing to compare"):
        compare([answered(first(100))])


@pytest.mark.parametrize("damage", [b"", b"garbage", b"PK\x03\x04 half a zip file"])
def test_damaged_answers_are_told_with_their_file(damage: bytes) -> None:
    one, other = answered(first(100)), answered(first(100))
    other.predictions_file.write_bytes(damage)
    with pytest.raises(UserError, match="npz is damaged"):
        compare([one, other])


def test_numbers_are_compared_in_their_unit() -> None:
    """Each run learned in standard units of its own training images."""
    random = np.random.default_rng(0)
    labels = random.normal(1000, 50, (120, 1))
    both = {run: targets_from("regression", ["grams"], labels[: 60 + 60 * n]) for n, run in enumerate(("one", "two"))}
    missed = {"one": random.normal(0, 20, labels.shape), "two": random.normal(0, 5, labels.shape)}
    kept = {
        run: Predictions(
            tuple(map(str, range(120))),
            targets.encoded(labels),
            targets.encoded(labels) + (missed[run] / np.asarray(targets.std)).astype(np.float32),
            1,
        )
        for run, targets in both.items()
    }
    found = judge(both, kept)
    assert found.runs["one"]["mae"].value == pytest.approx(np.abs(missed["one"]).mean(), rel=1e-4)
    [pair] = found.pairs
    assert pair.better == "two"
    assert pair.distinguishable
    assert "Were they equally good" in verdict(pair, found, {"one": "one", "two": "two"})


def test_few_images_are_said_to_be_few() -> None:
    assert any(
        "large differences only" in note for note in compare([answered(first(5, 9)), answered(first(6, 9))]).notes
    )


@pytest.mark.parametrize("task", ["single_label", "multi_label", "regression"])
def test_a_run_keeps_what_its_best_epoch_answered(tiny: Recipe, sources: dict, task: str) -> None:
    from finetune_core.understand.resampled import weighted

    loss = {"single_label": "cross_entropy", "multi_label": "bce", "regression": "mse"}[task]
    recipe = tiny.with_value("data.source", sources[task]).with_value("training.loss", {"kind": loss})
    run = store.create(recipe)
    assert work(run) == 0, run.status.error
    kept, targets = predictions.needed(run), run.targets
    best = [row for row in run.epochs() if row["best"]][-1]
    assert kept.epoch == best["epoch"] + 1
    assert targets is not None
    scores = weighted(targets, kept.outputs, kept.wanted)(np.ones(len(kept.images)))
    assert scores == pytest.approx(best["scores"], abs=2e-6), "the file is what was measured"
    assert run.begun is not None
    assert kept.images == run.begun.valid


def test_the_command_line_says_the_same(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    one = answered(first(160), name="small")
    other = answered(first(185), name="large")
    assert cli.main(["compare", one.id, other.id]) == 0
    out = capsys.readouterr().out
    assert "“large” is better than “small”" in out
    assert "The recipes are the same." in out
    assert cli.main(["compare", one.id, str(other.path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["pairs"][0]["only_better"] == 25
    assert cli.main(["compare", one.id]) == 2


def test_answers_that_are_not_those_of_the_best_weights_are_told(tiny: Recipe) -> None:
    """A kill may come between writing the two."""
    runs = [store.create(tiny), store.create(tiny.with_value("training.seed", 1))]
    for run in runs:
        assert work(run) == 0
    assert not [note for note in compare(runs).notes if "best weights" in note]
    kept = predictions.needed(runs[0])
    other = 1 if kept.epoch == 2 else 2
    predictions.save(runs[0], replace(kept, epoch=other))
    [note] = [note for note in compare(runs).notes if "best weights" in note]
    assert note.startswith(f"{runs[0].id} is judged by the answers of its epoch {other}")


def test_all_together_are_the_mean_of_their_probabilities() -> None:
    draw = np.random.default_rng(3)
    wanted = draw.integers(CLASSES, size=300)
    outputs = [3 * np.eye(CLASSES)[wanted] + draw.normal(0, 3, (300, CLASSES)) for _ in range(3)]
    images = tuple(f"{number}.jpg" for number in range(300))
    targets = single_label([75] * CLASSES, tuple("abcd"))
    kept = {name: Predictions(images, wanted, each, 1) for name, each in zip("xyz", outputs, strict=True)}
    found = judge(dict.fromkeys(kept, targets), kept)
    mean = np.mean([softmax(each, axis=1) for each in outputs], axis=0)
    assert found.together["accuracy"].value == pytest.approx(float((mean.argmax(1) == wanted).mean()), abs=1e-12)
    assert found.together["accuracy"].value > max(each["accuracy"].value for each in found.runs.values())
    assert found.gained.better == TOGETHER
    assert verdict(found.gained, found, {"x": "one", "y": "two", "z": "three"}).startswith(
        "The mean of all 3 is better"
    )
    log = targets.about.averaged([targets] * 3, outputs)
    assert np.exp(log) == pytest.approx(mean, abs=1e-12)


def test_together_may_be_worse_and_that_is_said() -> None:
    good, bad = answered(first(195)), answered(~first(180))
    bad_outputs = predictions.needed(bad)
    predictions.save(bad, replace(bad_outputs, outputs=bad_outputs.outputs * 20))  # wrong, and sure of it
    found = compare([good, bad])
    assert found.gained.better == good.id
    assert "is better than the mean of all 2" in verdict(found.gained, found, {good.id: "good", bad.id: "bad"})


def test_tags_and_numbers_are_averaged_as_they_are_meant() -> None:
    draw = np.random.default_rng(5)
    outputs = [draw.normal(0, 4, (50, 3)) for _ in range(2)]
    tags = targets_from("multi_label", "abc", [(1, 0, 1), (0, 1, 0)])
    assert expit(tags.about.averaged([tags, tags], outputs)) == pytest.approx(sum(map(expit, outputs)) / 2)
    far = [np.full((1, 3), 400.0), np.full((1, 3), 300.0)]
    assert np.isfinite(tags.about.averaged([tags, tags], far)).all(), "as sure as can be is a number, too"
    one, two = (targets_from("regression", "ab", rows) for rows in ([(1, 2), (3, 9)], [(100, 5), (300, 7)]))
    plain = [
        each * np.asarray(t.std) + np.asarray(t.mean)
        for each, t in zip([o[:, :2] for o in outputs], (one, two), strict=True)
    ]
    made = one.about.averaged([one, two], [o[:, :2] for o in outputs])
    assert made * np.asarray(one.std) + np.asarray(one.mean) == pytest.approx(sum(plain) / 2)
