"""Frozen work done once: the numbers of working it out each time, whatever happens to what was kept."""

import copy
import errno
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from finetune_core.data import rows
from finetune_core.data.loader import Views
from finetune_core.finder import range_test
from finetune_core.finder.sweep import Sweep
from finetune_core.recipe import Recipe, plan
from finetune_core.recipe.changes import parsed
from finetune_core.records import Epoch, Event, Step
from finetune_core.runs import launch, preflight, store
from finetune_core.runs.work.worker import work
from finetune_core.training import reuse, session
from finetune_core.training.loop import Trainer
from finetune_core.training.reuse import Learned, Plain
from finetune_core.training.stepper import Stepper

FAMILIES = {
    "resnet": "test_resnet",
    "mobilenet": "mobilenetv2_035",
    "efficientnet": "test_efficientnet",
    "convnext": "test_convnext",
    "vit": "test_vit",
    "densenet": "densenet121",
}
CUTS = {"head": -1, "last stage": -2, "middle": -4}


def frozen(recipe: Recipe, views: int = 2, thaw: tuple[str, ...] = ("head",), epochs: int = 3) -> Recipe:
    phase = {"epochs": epochs, "thaw": list(thaw), "learning_rate": 3e-3, "views": views}
    return recipe.with_value("phases", [phase])


TURN = plan.HEAD_TURN


@pytest.fixture(autouse=True)
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few epochs see all views."""
    monkeypatch.setattr(plan, "HEAD_TURN", 1)


def of(recipe: Recipe, architecture: str) -> Recipe:
    return recipe.with_value("model.backbone.architecture", architecture)


def losses(recipe: Recipe) -> tuple[list[float], list[float], list[str]]:
    """Of each step, on the validation images, and what was said of reuse."""
    records = list(Trainer(session.prepare(recipe)).run())
    steps = [each.loss for each in records if isinstance(each, Step)]
    said = [each.text for each in records if isinstance(each, Event) and each.name == "reuse"]
    return steps, [each.valid_loss for each in records if isinstance(each, Epoch)], said


@contextmanager
def anew() -> Iterator[None]:
    """Everything is worked out each time, on the same views."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reuse, "feed", lambda made, division, views, mixes: reuse.plain(made, views))
        yield


def watched(patch: pytest.MonkeyPatch) -> list[int]:
    """How many images the frozen beginning looks at from now on, each time."""
    looked, answer = list[int](), reuse.Frozen.answer
    seen = lambda each, made, images: looked.append(len(images)) or answer(each, made, images)  # noqa: E731
    patch.setattr(reuse.Frozen, "answer", seen)
    return looked


def stores() -> list[Path]:
    return sorted(folder for folder, _, _ in rows.kept())


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_losses_are_those_of_working_it_out_each_time(tiny: Recipe, family: str, cut: str) -> None:
    """Plain descent and maps of more than one place: Adam, and BatchNorm over few numbers, make much of rounding."""
    recipe = (
        of(tiny, FAMILIES[family]).with_value("training.optimizer", {"kind": "sgd"}).with_value("data.image_size", 64)
    )
    names = session.prepare(recipe).names
    recipe = frozen(recipe, thaw=names[max(1, len(names) + CUTS[cut]) :]).with_value("phases.0.learning_rate", 1e-4)
    steps, valid, said = losses(recipe)
    assert any("worked out once and kept" in text for text in said)
    with anew():
        true_steps, true_valid, _ = losses(recipe)
    assert steps == pytest.approx(true_steps, rel=1e-5)
    assert valid == pytest.approx(true_valid, rel=1e-5)


def test_images_that_are_measured_on_give_the_same_bits_and_are_looked_at_once(
    tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, looked = frozen(tiny, views=0), watched(monkeypatch)
    steps, valid, said = losses(recipe)
    assert sum(looked) == len(session.prepare(recipe).valid)
    assert not said
    with anew():
        assert (steps, valid) == losses(recipe)[:2]


def test_views_come_again_and_without_them_every_epoch_is_fresh(tiny: Recipe) -> None:
    made = session.prepare(tiny)
    image = made.train.indices[0]

    def drawn(epoch: int, *views: int) -> torch.Tensor:
        batches = made.train.epoch(epoch, views=Views(*views))
        return next(
            images[list(indices).index(image)]
            for (images, _), (indices, _) in zip(batches, made.train.shares(epoch), strict=True)
            if image in indices
        )

    assert torch.equal(drawn(0, 2), drawn(2, 2))
    assert not torch.equal(drawn(0, 2), drawn(1, 2))
    assert not torch.equal(drawn(0, 0), drawn(2, 0))
    assert [Views(2, 3, first=5).of(epoch) for epoch in range(5, 14)] == [0, 0, 0, 1, 1, 1, 0, 0, 0]
    assert torch.equal(drawn(0, 2, 3), drawn(2, 2, 3))
    assert torch.equal(drawn(3, 2, 3), drawn(1, 2))


def test_a_view_that_stays_for_some_epochs_is_looked_at_in_the_first_of_them(
    tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "HEAD_TURN", TURN)
    stage = {"epochs": 3, "thaw": ["layer4", "head"], "learning_rate": 1e-3, "views": 2}
    phases = [frozen(tiny, epochs=6).phases[0].model_dump(), stage]
    recipe, looked = tiny.with_value("phases", phases), watched(monkeypatch)
    steps, at = list[float](), [0]
    for record in Trainer(session.prepare(recipe)).run():
        if isinstance(record, Step):
            steps.append(record.loss)
        if isinstance(record, Epoch):
            at.append(sum(looked))
    fresh = [now > before for before, now in pairwise(at)]
    assert fresh == [*(True, False, False, False), *(True, False), *(True, True, False)], (
        "a head sees each for four epochs, more layers for one; a phase begins with the first"
    )
    with anew():
        assert losses(recipe)[0] == pytest.approx(steps, rel=1e-5)


def test_a_second_recipe_with_the_same_frozen_part_looks_at_no_image(
    tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses(frozen(tiny))
    before = stores()
    looked = watched(monkeypatch)
    other = frozen(tiny).with_value("training.batch_size", 4).with_value("phases.0.learning_rate", 1e-2)
    steps, _, _ = losses(other.with_value("model.head", {"kind": "mlp", "hidden": 8}))
    assert np.isfinite(steps).all()
    assert set(before) <= set(stores())
    assert sum(looked) == len(session.prepare(other).valid), "those to measure on, in batches of another size"


def test_other_weights_images_or_views_share_nothing(tiny: Recipe) -> None:
    def learned(recipe: Recipe) -> str:
        stepper = Stepper(session.prepare(recipe))
        stepper.enter(recipe.phases[0])
        assert isinstance(stepper.feed.train, Learned)
        return stepper.feed.train.key

    recipe = frozen(tiny)
    keys = {
        learned(recipe),
        learned(recipe.with_value("training.seed", 1)),  # random weights, too
        learned(recipe.with_value("data.image_size", 64)),
        learned(recipe.with_value("data.split_seed", 1)),
        learned(recipe.with_value("augment", [])),
    }
    assert len(keys) == 5
    assert learned(recipe) in keys


def test_two_phases_each_have_their_own_cut(tiny: Recipe) -> None:
    names = session.prepare(tiny).names
    first = {"epochs": 2, "thaw": ["head"], "learning_rate": 3e-3, "views": 2}
    second = {"epochs": 2, "thaw": list(names[-2:]), "learning_rate": 1e-3, "views": 2}
    recipe = tiny.with_value("phases", [first, second])
    steps, valid, said = losses(recipe)
    assert len(said) == 2
    with anew():
        true_steps, true_valid, _ = losses(recipe)
    assert steps == pytest.approx(true_steps, rel=1e-5)
    assert valid == pytest.approx(true_valid, rel=1e-5)


@pytest.mark.parametrize("turn", [1, 2])
@pytest.mark.parametrize("gone", [False, True], ids=["rows there", "rows gone"])
def test_going_on_in_the_middle_is_exact_whether_the_rows_are_there_or_not(
    tiny: Recipe, gone: bool, turn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "HEAD_TURN", turn)
    recipe = frozen(tiny, epochs=4)
    whole = losses(recipe)[0]
    trainer, seen = Trainer(session.prepare(recipe)), []
    for record in trainer.run():
        if isinstance(record, Step):
            seen.append(record.loss)
            if len(seen) == len(whole) // 2 + 1:
                break
    state = copy.deepcopy(trainer.state())
    if gone:
        for folder in stores():
            (folder / "rows.bin").unlink()
            (folder / "about.json").unlink()
    other = Trainer(session.prepare(recipe))
    other.restore(state)
    seen += [record.loss for record in other.run() if isinstance(record, Step)]
    assert seen == whole


@pytest.mark.parametrize("harm", ["flipped", "shortened", "sums", "emptied", "garbage"])
def test_damaged_rows_are_worked_out_again(tiny: Recipe, harm: str) -> None:
    whole = losses(frozen(tiny))
    for folder in stores():
        file = folder / ("sums.bin" if harm == "sums" else "rows.bin")
        content = bytearray(file.read_bytes())
        if harm == "flipped":
            content[len(content) // 2] ^= 255
        elif harm == "shortened":
            content = content[: len(content) // 3]
        elif harm == "emptied":
            content = bytearray()
        else:
            content = bytearray(os.urandom(len(content)))
        file.write_bytes(content)
    assert losses(frozen(tiny)) == whole


def test_a_file_that_shrinks_while_it_is_read_does_no_harm(tiny: Recipe) -> None:
    recipe = frozen(tiny, epochs=4)
    whole, steps = losses(recipe)[0], []
    for record in Trainer(session.prepare(recipe)).run():
        if isinstance(record, Step):
            steps.append(record.loss)
            if len(steps) == len(whole) // 2:
                for folder in stores():
                    os.truncate(folder / "rows.bin", 10)
    assert steps == pytest.approx(whole, rel=1e-5)


def test_a_full_disk_is_told_and_changes_nothing(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = losses(frozen(tiny))
    for folder in stores():
        (folder / "about.json").unlink()

    def full(*given: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(rows._File, "write", full)
    steps, valid, said = losses(frozen(tiny))
    assert (steps, valid) == (pytest.approx(whole[0], rel=1e-5), pytest.approx(whole[1], rel=1e-5))
    assert sum("no space left on device" in text for text in said) == 1


def test_a_limit_smaller_than_needed_is_told_and_changes_nothing(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = losses(frozen(tiny))
    for folder in stores():
        (folder / "about.json").unlink()
    monkeypatch.setattr(rows, "LIMIT", 100)
    steps, valid, said = losses(frozen(tiny))
    assert (steps, valid) == (pytest.approx(whole[0], rel=1e-5), whole[1])
    assert "there is no room" in said[0]
    assert "work each time anew" in said[0]


def test_what_was_not_used_for_longest_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "LIMIT", 3 * 40_960)
    for number, name in enumerate("abc"):
        made = rows.Rows(name, 10, 4096)
        made.put(np.arange(10), np.full((10, 4096), number, np.uint8))
        os.utime(made.folder / "about.json", (number, number))
    rows.Rows("a", 10, 4096)  # is used again
    rows.Rows("d", 10, 4096)
    assert {folder.name for folder in stores()} >= {"a", "d"}
    assert "b" not in {folder.name for folder in stores()}


def test_many_open_one_store_at_the_same_time() -> None:
    def opened(number: int) -> bool:
        rows.Rows(f"race-{number // 8}", 4, 100).put(np.array([number % 4]), np.zeros((1, 100), np.uint8))
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(opened, range(400)))
    assert len(stores()) == 50


def test_two_at_once_read_only_what_is_whole() -> None:
    one, other = rows.Rows("same", 4, 100), rows.Rows("same", 4, 100)
    values = np.arange(400, dtype=np.uint8).reshape(4, 100)
    one.put(np.array([0, 1]), values[:2])
    assert np.array_equal(other.get(np.array([1, 0])), values[[1, 0]])
    assert other.get(np.array([1, 2])) is None
    assert list(other.missing()) == [2, 3]
    other._rows.write(np.frombuffer(b"torn", np.uint8), 200)  # the other is half through with a row
    assert list(other.missing()) == [2, 3]


@pytest.mark.parametrize(
    "values",
    [
        {"mix": {"kind": "mixup"}},
        {"sampling": {"kind": "balanced"}},
        {"accumulate": 2},
        {"ema": 0.5},
        {"precision": "bf16"},
    ],
)
def test_other_choices_keep_working(tiny: Recipe, values: dict) -> None:
    recipe = frozen(tiny)
    for name, value in values.items():
        recipe = recipe.with_value(f"training.{name}", value)
    steps, valid, said = losses(recipe)
    with anew():
        true_steps, true_valid, _ = losses(recipe)
    assert steps == pytest.approx(true_steps, rel=2e-2 if "precision" in values else 1e-5)
    assert valid == pytest.approx(true_valid, rel=2e-2 if "precision" in values else 1e-5)
    assert ("images are mixed" in said[0]) == ("mix" in values)


def test_where_nothing_frozen_comes_first_nothing_is_kept(tiny: Recipe) -> None:
    names = session.prepare(tiny).names
    _, _, said = losses(frozen(tiny, thaw=(names[0], "head")))
    assert "what is frozen does not come first" in said[0]
    _, _, said = losses(frozen(tiny, thaw=("*",)))
    assert "nothing is frozen" in said[0]
    adapting = frozen(tiny).with_value("phases.0.norm_statistics", "update")
    stepper = Stepper(session.prepare(adapting))
    stepper.enter(adapting.phases[0])
    assert isinstance(stepper.feed.train, Plain) or "bn" not in stepper.feed.train.cut.last


def test_what_thaws_in_the_midst_of_an_epoch_learns_from_then_on(tiny: Recipe) -> None:
    recipe = frozen(of(tiny, "test_vit"), epochs=4)

    def changed() -> list[float]:
        trainer, found = Trainer(session.prepare(recipe)), []
        for record in trainer.run():
            if isinstance(record, Step):
                found.append(record.loss)
                if len(found) == 4:
                    assert len(found) % trainer.session.train.steps
                    trainer.change(parsed("thaw *"))
            if isinstance(record, Event) and record.name.startswith("truth"):
                assert record.name == "truth", record.text
        return found

    ours = changed()
    with anew():
        assert ours == pytest.approx(changed(), rel=1e-4)
    assert ours[5:] != losses(recipe)[0][5:]


def test_the_finder_gives_the_curve_of_working_it_out_each_time(tiny: Recipe) -> None:
    made = session.prepare(frozen(tiny))
    ours = [each.loss for each in range_test.range_test(made, sweep=Sweep(steps=12))]
    with anew():
        true = [each.loss for each in range_test.range_test(made, sweep=Sweep(steps=12))]
    assert ours == pytest.approx(true, rel=1e-5)


def test_views_that_are_kept_for_nothing_are_told_before(tiny: Recipe) -> None:
    def told(recipe: Recipe) -> list[str]:
        return [finding.text for finding in preflight.findings(recipe) if finding.title == "Views"]

    assert not told(frozen(tiny))
    (text,) = told(frozen(tiny, thaw=("*",)))
    assert "stem learns" in text
    assert not told(frozen(tiny, views=0, thaw=("*",)))


def test_a_dropout_that_is_awake_before_a_held_layer_ends_the_cut(tiny: Recipe) -> None:
    """Else one mask of it would be kept for all epochs."""
    recipe = frozen(tiny).with_value("model.head", {"kind": "mlp", "hidden": 8, "layers": 2, "dropout": 0.5})
    recipe = recipe.with_value("phases.0.hold", [r"fc\.0\.", r"fc\.3\."])
    stepper = Stepper(session.prepare(recipe))
    stepper.enter(recipe.phases[0])
    assert stepper.feed.train.cut.last == "fc.1"


def test_a_store_that_is_half_deleted_is_made_again(tiny: Recipe) -> None:
    whole = losses(frozen(tiny))
    for folder in stores():
        (folder / "rows.bin").unlink()
    assert losses(frozen(tiny)) == whole


def test_all_views_must_have_room_before_one_is_kept(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    losses(frozen(tiny, views=1))
    size = sum((folder / "rows.bin").stat().st_size for folder in stores())
    rows.clear()
    monkeypatch.setattr(rows, "LIMIT", 2 * size)
    assert "worked out once" in losses(frozen(tiny, views=1))[2][0]
    rows.clear()
    assert "there is no room" in losses(frozen(tiny, views=9))[2][0]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_does_not_depend_on_the_images_beside_it(
    tiny: Recipe, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    """What lets rows be worked out in the order in which one epoch wants them, for all others."""
    monkeypatch.setattr(reuse, "BLOCK", 8)
    recipe = frozen(of(tiny, FAMILIES[family]).with_value("data.image_size", 64))
    found = []
    for seed in (0, 1):
        stepper = Stepper(session.prepare(recipe))
        stepper.enter(recipe.phases[0])
        side = stepper.feed.train
        assert isinstance(side, Learned)
        side.of.order = partial(_shuffled, side.of.indices, seed)  # type: ignore[method-assign]
        list(side.batches(0))
        found.append((side.stores[0].folder / "rows.bin").read_bytes())
        rows.clear()
    assert found[0] == found[1]


def _shuffled(indices: np.ndarray, seed: int, epoch: int) -> list[np.ndarray]:
    return np.array_split(np.random.default_rng(seed).permutation(indices), 3)


def test_room_that_was_missing_once_is_used_when_it_is_there_again(
    tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, tries = rows.Rows.put, list[int]()

    def refused_once(self: rows.Rows, *given: np.ndarray) -> None:
        tries.append(len(tries))
        if len(tries) == 1:
            raise rows.NoRoomError("0.1 GB of disk are free.")
        put(self, *given)

    monkeypatch.setattr(rows.Rows, "put", refused_once)
    stepper = Stepper(session.prepare(frozen(tiny, views=1)))
    stepper.enter(frozen(tiny, views=1).phases[0])
    side = stepper.feed.train
    list(side.batches(0))
    assert "0.1 GB" in side.full
    list(side.batches(1))
    assert not len(side.stores[0].missing())


def test_the_first_batch_waits_for_no_more_than_a_block(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reuse, "BLOCK", 8)
    looked = watched(monkeypatch)
    stepper = Stepper(session.prepare(frozen(tiny)))
    stepper.enter(frozen(tiny).phases[0])
    side = stepper.feed.train
    batches = side.batches(0)
    next(batches)
    assert looked == [8]
    worked = side.worked
    assert worked > 0
    list(batches)
    assert looked == [8, 8, 8], "18 images, the last block filled up"
    list(side.batches(0))
    assert len(looked) == 3
    assert worked < side.worked


def test_a_stop_while_views_are_looked_at_goes_on_as_if_there_had_been_none(
    tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "HEAD_TURN", TURN)  # as the worker has it
    run = store.create(frozen(tiny, epochs=4))
    assert work(run, watch=lambda record: isinstance(record, Step) and run.ask("stop")) == 0
    assert run.status.state == "stopped"
    assert run.status.step < session.prepare(run.recipe).train.steps
    launch.resume(run)
    while run.status.active:
        time.sleep(0.2)
    ours = [row["loss"] for row in run.records()[0] if row["kind"] == "step"]
    assert ours == losses(frozen(tiny, epochs=4))[0]


def test_averages_that_still_move_where_weights_stand_still_are_measured_anew(tiny: Recipe) -> None:
    first = {"epochs": 1, "thaw": ["*"], "learning_rate": 3e-2}
    second = {"epochs": 2, "thaw": ["head"], "learning_rate": 3e-3}
    recipe = tiny.with_value("phases", [first, second]).with_value("training.ema", 0.8)
    _, valid, _ = losses(recipe)
    with anew():
        assert valid == losses(recipe)[1]
