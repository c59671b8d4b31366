"""Tags and numbers from the table to the guess: the whole way, and every score against its formula."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from finetune_core.errors import UserError
from finetune_core.parts.tasks import TASKS, Targets, targets_from
from finetune_core.recipe import Recipe
from finetune_core.records import Record, Step
from finetune_core.runs import store
from finetune_core.runs.work.worker import work
from finetune_core.training import session
from finetune_core.training.metrics import Meter
from finetune_core.understand import predict

RED, GREEN = 0, 1
FAR = 1_700_000_000_000  # milliseconds since 1970: float32 knows every 131072nd of such numbers


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """40 images: how red they are is a number, and red or green beyond the middle are tags."""
    random = np.random.default_rng(0)
    lines = ["file,brightness,scaled,tags"]
    for number in range(40):
        red, green = random.integers(0, 256, 2)
        pixels = np.zeros((40, 40, 3), np.uint8)
        pixels[..., RED], pixels[..., GREEN] = red, green
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        tags = [name for name, value in (("red", red), ("green", green)) if value > 127]
        lines.append(f"{number}.png,{red},{red * 1000 + FAR},{' '.join(tags)}")
    file = tmp_path / "labels.csv"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def recipe(tiny: Recipe, table: Path, task: str, labels: str, loss: str) -> Recipe:
    source = {"kind": "table", "path": str(table), "task": task, "labels": labels}
    made = tiny.with_value("data.source", source).with_value("training.loss", {"kind": loss})
    return made.with_value("phases.0.learning_rate", 0.01).with_value("phases.0.epochs", 12).with_value("augment", [])


def test_numbers_are_learned_in_their_own_units(tiny: Recipe, table: Path) -> None:
    run = store.create(recipe(tiny, table, "regression", "brightness, scaled", "smooth_l1"))
    assert work(run) == 0
    epochs = [row for row in run.records()[0] if row["kind"] == "epoch"]
    best = min(epochs, key=lambda row: row["valid_score"])
    assert run.status.best_score == best["valid_score"], "the smallest mean error is the best"
    assert best["best"]
    assert best["scores"]["r2"] > 0.5
    spread = np.std(np.random.default_rng(0).integers(0, 256, (40, 2))[:, 0])
    assert best["by_name"]["brightness"] < spread
    assert best["by_name"]["scaled"] == pytest.approx(1000 * best["by_name"]["brightness"], rel=0.5)
    [answer] = predict.load(run)([table.parent / "0.png"])
    said = dict(answer)
    assert (said["scaled"] - FAR) / 1000 == pytest.approx(said["brightness"], abs=0.5 * spread)
    assert (said["scaled"] - FAR) % 131072, "not rounded to float32"
    assert 0 <= said["brightness"] <= 256


def test_tags_are_learned_each_for_itself(tiny: Recipe, table: Path) -> None:
    run = store.create(recipe(tiny, table, "multi_label", "tags", "bce"))
    assert work(run) == 0
    epochs = [row for row in run.records()[0] if row["kind"] == "epoch"]
    assert max(row["valid_score"] for row in epochs) > 0.9
    assert set(epochs[-1]["scores"]) == {score.key for score in TASKS["multi_label"].scores}
    assert set(epochs[-1]["by_name"]) == {"green", "red"}
    [answer] = predict.load(run)([table.parent / "0.png"])
    assert sum(share for _, share in answer) != pytest.approx(1), "tags do not share one probability"


def test_a_loss_that_does_not_fit_stops_before_any_compute(tiny: Recipe, table: Path) -> None:
    with pytest.raises(UserError, match="Cross-entropy does not fit the data"):
        session.prepare(recipe(tiny, table, "multi_label", "tags", "cross_entropy"))


def test_a_stop_in_the_middle_keeps_the_scores(tiny: Recipe, table: Path) -> None:
    made = recipe(tiny, table, "multi_label", "tags", "bce").with_value("phases.0.epochs", 2)
    whole, parted = store.create(made), store.create(made)
    assert work(whole) == 0

    def stop(record: Record) -> None:
        if isinstance(record, Step) and record.step == 2:
            parted.ask("stop")

    assert work(parted, stop) == 0
    assert parted.status.state == "stopped"
    assert work(parted) == 0
    scores = [
        [(r["train_score"], r["valid_score"]) for r in run.records()[0] if r["kind"] == "epoch"]
        for run in (whole, parted)
    ]
    assert scores[0] == scores[1]


def test_a_run_whose_validation_images_have_no_tag_keeps_its_best_epoch_by_loss(tiny: Recipe, table: Path) -> None:
    """No score can be told, so the loss alone says which epoch is the best; nothing stops."""
    rows = [line.split(",") for line in table.read_text(encoding="utf-8").splitlines()]
    sides = ["part", *["valid" if number % 4 == 0 else "train" for number in range(40)]]
    kept = [[*row[:3], "" if side == "valid" else row[3], side] for row, side in zip(rows, sides, strict=True)]
    table.write_text("\n".join(map(",".join, kept)), encoding="utf-8")
    made = recipe(tiny, table, "multi_label", "tags", "bce").with_value("data.source.split", "part")
    run = store.create(made.with_value("phases.0.epochs", 3))
    assert work(run) == 0
    epochs = [row for row in run.records()[0] if row["kind"] == "epoch"]
    assert [row["valid_score"] for row in epochs] == [None] * 3
    assert run.status.best_score is None
    best = [row for row in epochs if row["best"]][-1]
    assert best["valid_loss"] == min(row["valid_loss"] for row in epochs)
    assert run.best.exists()


class TestScores:
    def meter(self, targets: Targets, outputs: torch.Tensor, wanted: torch.Tensor) -> Meter:
        meter = Meter(targets, torch.device("cpu"), everything=True)
        for some, labels in zip(outputs.split(7), wanted.split(7), strict=True):
            meter.update(some, labels)
        return meter

    def test_of_classes(self) -> None:
        generator = torch.Generator().manual_seed(0)
        outputs, wanted = torch.randn(40, 6, generator=generator), torch.randint(6, (40,), generator=generator)
        meter = self.meter(targets_from("single_label", list("abcdef"), wanted.tolist()), outputs, wanted)
        told = outputs.argmax(1)
        recalls = [float((told[wanted == c] == c).float().mean()) for c in range(6)]
        f1 = [
            2 * int(((told == c) & (wanted == c)).sum()) / max(1, int((told == c).sum() + (wanted == c).sum()))
            for c in range(6)
        ]
        top5 = float((outputs.topk(5).indices == wanted[:, None]).any(1).float().mean())
        assert meter.scores() == pytest.approx(
            {
                "accuracy": float((told == wanted).float().mean()),
                "top5": top5,
                "balanced_accuracy": np.mean(recalls),
                "macro_f1": np.mean(f1),
            }
        )
        assert [*meter.by_name().values()] == pytest.approx(recalls)

    def test_of_tags(self) -> None:
        generator = torch.Generator().manual_seed(1)
        outputs = torch.randn(50, 3, generator=generator)
        wanted = (outputs + torch.randn(50, 3, generator=generator) > 0.5).float()
        meter = self.meter(targets_from("multi_label", list("abc"), wanted.tolist()), outputs, wanted)
        precisions = []
        for tag in range(3):
            hits = wanted[:, tag][outputs[:, tag].argsort(descending=True)]
            precisions.append(float(((hits.cumsum(0) / torch.arange(1, 51)) * hits).sum() / hits.sum()))
        told = outputs > 0
        hit, all_told, all_wanted = ((told * wanted).sum(0), told.sum(0), wanted.sum(0))
        assert meter.scores() == pytest.approx(
            {
                "map": np.mean(precisions),
                "macro_f1": float((2 * hit / (all_told + all_wanted)).mean()),
                "micro_f1": float(2 * hit.sum() / (all_told.sum() + all_wanted.sum())),
            },
            rel=1e-5,
        )
        assert [*meter.by_name().values()] == pytest.approx(precisions, rel=1e-5)

    def test_mean_over_the_classes_that_occur(self) -> None:
        """Of four classes two occur; one image is taken for one of the others, which then counts for its own class."""
        wanted, told = torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([0, 0, 0, 1, 1, 2])
        meter = self.meter(targets_from("single_label", list("abcd"), [0, 1, 2, 3]), torch.eye(4)[told], wanted)
        scores = meter.scores()
        assert scores["balanced_accuracy"] == pytest.approx((1 + 2 / 3) / 2)
        assert scores["macro_f1"] == pytest.approx((1 + 2 * 2 / (2 + 3)) / 2)
        by_name = meter.by_name()
        assert (by_name["a"], by_name["b"]) == pytest.approx((1, 2 / 3))
        assert math.isnan(by_name["c"])
        assert math.isnan(by_name["d"])

    def test_mean_over_the_tags_that_occur(self) -> None:
        wanted = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 1, 0]])
        outputs = torch.where(wanted > 0, 4.0, -4.0)
        targets = targets_from("multi_label", list("abc"), [[1, 1, 1]])
        meter = self.meter(targets, outputs, wanted.float())
        assert meter.scores() == {"map": 1.0, "macro_f1": 1.0, "micro_f1": 1.0}
        assert meter.by_name() == pytest.approx({"a": 1.0, "b": 1.0, "c": math.nan}, nan_ok=True)
        deciding = Meter(targets, torch.device("cpu"))  # as training has it
        deciding.update(outputs, wanted.float())
        assert deciding.scores() == {"map": 1.0}

    @pytest.mark.parametrize("count", [1, 2])
    def test_of_tags_of_which_none_occurs(self, count: int) -> None:
        targets, none = targets_from("multi_label", list("ab")[:count], [[1] * count]), torch.zeros(3, count)
        meter = self.meter(targets, none, none)
        score = TASKS["multi_label"].score
        assert math.isnan(meter.scores()["map"])
        assert score.shown(meter.scores()["map"]) == score.shown(None) == "–"
        assert score.best([math.nan, 0.5, None]) == 0.5
        assert score.best([math.nan]) is None

    def test_of_numbers_in_the_unit_of_the_data(self) -> None:
        labels = np.random.default_rng(2).normal([3.0, 500.0], [1.0, 40.0], (30, 2))
        targets = targets_from("regression", ["small", "large"], labels.tolist())
        wanted = torch.from_numpy(targets.encoded(labels.tolist()))
        assert wanted.mean(0).tolist() == pytest.approx([0, 0], abs=1e-5)
        assert wanted.std(0, correction=0).tolist() == pytest.approx([1, 1], rel=1e-5)
        assert targets.about.meaning(targets, wanted).numpy() == pytest.approx(labels, rel=1e-4)
        outputs = wanted + 0.5
        meter = self.meter(targets, outputs, wanted)
        misses = 0.5 * labels.std(0)
        assert meter.by_name() == pytest.approx({"small": misses[0], "large": misses[1]}, rel=1e-4)
        scores = meter.scores()
        assert scores["mae"] == pytest.approx(misses.mean(), rel=1e-4)
        assert scores["rmse"] == pytest.approx(math.sqrt((misses**2).mean()), rel=1e-4)
        assert scores["r2"] == pytest.approx(0.75, rel=1e-3)

    @pytest.mark.parametrize(
        ("base", "spread"),
        [(1.7e9, 1000.0), (2_460_000.5, 0.05), (1.7e18, 1e9), (-3e5, 1e-3), (0.0, 1e-5), (0.0, 1e15)],
    )
    def test_of_numbers_far_from_zero(self, base: float, spread: float) -> None:
        """Times, Julian dates, nanoseconds, tiny units: learned, measured and told as exactly as near zero."""
        labels = base + np.linspace(0, 1, 24)[:, None] * spread
        exact = labels.astype(np.longdouble)
        units = (exact - exact.mean()) / exact.std()
        targets = targets_from("regression", ["v"], labels.tolist())
        wanted = torch.from_numpy(targets.encoded(labels.tolist()))
        assert np.abs(wanted.numpy() - units).max() < 1e-6
        back = targets.about.meaning(targets, wanted).numpy()
        assert np.abs(back - labels).max() <= max(1e-6 * spread, np.spacing(abs(base)))
        outputs = wanted + torch.tensor([[0.5], [-0.25], [0.1]]).repeat(8, 1)
        scores = self.meter(targets, outputs, wanted).scores()
        misses = (outputs - wanted).double().numpy() * labels.std()
        assert scores["mae"] == pytest.approx(np.abs(misses).mean(), rel=1e-4)
        assert scores["rmse"] == pytest.approx(np.sqrt((misses**2).mean()), rel=1e-4)
        assert scores["r2"] == pytest.approx(1 - (misses**2).sum() / ((labels - labels.mean()) ** 2).sum(), rel=1e-4)

    @pytest.mark.parametrize("count", [1, 24])
    def test_without_variance_there_is_none_to_explain(self, count: int) -> None:
        targets = targets_from("regression", ["v"], [[0.0], [1.0]])
        wanted = torch.full((count, 1), 0.1)
        scores = self.meter(targets, wanted + 0.2, wanted).scores()
        assert math.isnan(scores["r2"])
        assert scores["mae"] == pytest.approx(0.1)

    @pytest.mark.parametrize("value", [4.0, 0.1, -1.7e9 - 0.1, 0.0])
    def test_numbers_that_never_change_are_told_from_those_that_hardly_do(self, value: float) -> None:
        same = targets_from("regression", ["v"], [[value]] * 24)
        assert same.std == (1.0,)
        assert same.mean == (value,)
        rounded = [[value], [float(np.nextafter(value, 1e9))]] * 12
        assert targets_from("regression", ["v"], rounded).std == (1.0,)

    def test_numbers_are_shown_with_the_digits_that_differ(self) -> None:
        about = TASKS["regression"]
        assert [about.shown(value) for value in (1.23456, 0.05, 1700000123, 2460000.523)] == [
            "1.235",
            "0.05",
            "1700000123",
            "2460000.523",
        ]

    def test_a_number_that_never_changes_is_no_division_by_zero(self) -> None:
        targets = targets_from("regression", ["same"], [[4.0], [4.0]])
        assert targets.encoded([[4.0], [5.0]]).tolist() == [[0.0], [1.0]]

    def test_what_cannot_be_measured_is_worse_than_anything(self) -> None:
        score = TASKS["multi_label"].score
        assert score.signed(math.nan) < score.signed(0.0)
        assert TASKS["regression"].score.signed(2.0) > TASKS["regression"].score.signed(3.0)


def test_priors_start_at_the_shares() -> None:
    tags = Targets("multi_label", ("a", "b"), (30, 10), 40)
    assert torch.tensor(tags.priors).sigmoid().tolist() == pytest.approx([0.75, 0.25])
    classes = targets_from("single_label", ["a", "b"], [0, 0, 0, 1])
    assert torch.tensor(classes.priors).softmax(0).tolist() == pytest.approx([0.75, 0.25])
