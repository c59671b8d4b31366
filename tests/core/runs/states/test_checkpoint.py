"""Checkpoints: whole or not there, told when damaged, never paired wrongly; a resumed run is the same run."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from finetune_core import places
from finetune_core.errors import UserError
from finetune_core.parts.backbones import reading
from finetune_core.parts.jobs import Wish
from finetune_core.recipe import Recipe
from finetune_core.records import Record
from finetune_core.runs import store
from finetune_core.runs.folder import Folder
from finetune_core.runs.states import checkpoint, facts
from finetune_core.runs.states.packing import packed, unpacked
from finetune_core.runs.work import worker
from finetune_core.runs.work.worker import work
from finetune_core.understand import predict

STEPS = 9  # three epochs of three steps


@pytest.fixture
def recipe(tiny: Recipe) -> Recipe:
    return tiny.with_value("phases.0.epochs", 3)


@pytest.fixture
def whole(recipe: Recipe) -> store.Run:
    """The run as it is without any mishap."""
    run = store.create(recipe)
    assert work(run) == 0
    return run


def stopped_at(recipe: Recipe, step: int) -> store.Run:
    run = store.create(recipe)
    work(run, watch=lambda record: run.ask("stop") if record.kind == "step" and record.step == step - 1 else None)
    assert run.status.state == "stopped"
    return run


def same(one: store.Run, other: store.Run) -> None:
    """Records and weights are equal to the last bit, and no step is there twice."""
    for kind, names in {"step": ("step", "loss", "grad_norm"), "epoch": ("step", "valid_loss", "best")}.items():
        rows = [
            [[row[name] for name in names] for row in run.records()[0] if row["kind"] == kind] for run in (one, other)
        ]
        assert rows[0] == rows[1]
    for name in ("last", "best"):
        mine, theirs = load_file(getattr(one, name)), load_file(getattr(other, name))
        assert all(torch.equal(value, theirs[key]) for key, value in mine.items()), name


class Died(BaseException):
    """As a kill: nothing of ours catches it."""


def die_after(patch: pytest.MonkeyPatch, begins: str, count: int) -> None:
    """Die right after the file whose name begins so was written for the `count`-th time."""
    seen: list[Path] = []

    def dying(self: Folder, path: Path, write: Callable, lasting: bool = False) -> None:
        places.replace_file(path, write, lasting)
        seen.extend([path] if path.name.startswith(begins) else [])
        if len(seen) == count:
            raise Died

    patch.setattr(Folder, "replace", dying)


@pytest.mark.parametrize("patience", [0, 1])
def test_an_end_that_was_recorded_and_not_saved_comes_once(
    recipe: Recipe, patience: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state after the last step of an epoch, a kill after the record of the epoch's end, or of the phase's."""
    recipe = recipe.with_value("phases.0.patience", patience)
    recipe = recipe.with_value("phases", [recipe.phases[0].model_dump()] * 2)
    ending = "phase_end" if patience else "epoch"
    unhurt, killed = store.create(recipe), store.create(recipe)
    assert work(unhurt) == 0

    def dies(record: Record) -> None:
        if ending in (record.kind, getattr(record, "name", "")):
            raise Died

    with monkeypatch.context() as patch:
        patch.setattr(worker._Desk, "hear", lambda desk: setattr(desk, "heard", Wish.SAVE) or Wish.SAVE)
        with pytest.raises(Died):
            work(killed, watch=dies)
    assert work(killed) == 0
    same(killed, unhurt)
    ends = [[row["step"] for row in run.records()[0] if row.get("name") == "phase_end"] for run in (killed, unhurt)]
    assert ends[0] == ends[1]


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("file", ["step-", "best", "last"])
def test_a_kill_between_the_files_of_a_checkpoint_changes_nothing(
    recipe: Recipe, file: str, ema: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe.with_value("training.ema", ema)
    unhurt, killed = store.create(recipe), store.create(recipe)
    assert work(unhurt) == 0
    with monkeypatch.context() as patch:
        die_after(patch, file, 2)
        with pytest.raises(Died):
            work(killed)
    assert work(killed) == 0
    same(killed, unhurt)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for place in range(len(data) // 2, len(data) // 2 + 400):
        data[place] ^= 0x40
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped": flip,
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-1000]),
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"\x00\x01garbage" * 500),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_falls_back_to_the_one_before(recipe: Recipe, whole: store.Run, damage: str) -> None:
    run = stopped_at(recipe, 7)
    newest, before = run.states[:2]
    assert (newest.name, before.name) == ("step-00000007.safetensors", "step-00000006.safetensors")
    DAMAGES[damage](newest)
    assert work(run) == 0
    same(run, whole)
    told = [row["text"] for row in run.records()[0] if row.get("name") == "checkpoint"]
    assert told == ([] if damage == "gone" else [checkpoint.OLDER.format(newer=7, older=6)])


def test_what_is_saved_after_a_damaged_state_is_kept_and_not_that(recipe: Recipe) -> None:
    run = stopped_at(recipe.with_value("training.checkpoints", 1).with_value("phases.0.epochs", 1), 2)
    newest = run.states[0]
    damaged = newest.with_name(newest.name.replace("2", "9"))
    damaged.write_bytes(b"no weights")
    assert work(run) == 0
    assert [facts.step(path) for path in run.states] == [3]


def test_where_all_are_damaged_the_run_is_refused_and_nothing_is_touched(recipe: Recipe) -> None:
    run = stopped_at(recipe, 7)
    for path in run.states:
        flip(path)
    before = {path: path.read_bytes() for path in [*run.checkpoints.iterdir(), run.records_file]}
    assert work(run) == 2
    assert run.status.state == "failed"
    assert run.status.error["what"] == "No checkpoint of this run can be read."
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("name", ["best", "last"])
def test_flipped_weights_are_not_predicted_with(whole: store.Run, name: str) -> None:
    flip(getattr(whole, name))
    with pytest.raises(UserError, match="cannot be read"):
        reading.sealed(getattr(whole, name))
    if name == "best":
        with pytest.raises(UserError, match="cannot be read"):
            predict.load(whole)


def test_a_recipe_that_was_edited_under_the_run_is_refused(recipe: Recipe, whole: store.Run) -> None:
    run = stopped_at(recipe, 5)
    lines = run.records_file.read_bytes()
    recipe.with_value("training.batch_size", 12).save(run.recipe_file)
    assert work(run) == 2
    assert "training.batch_size was 6 and is 12" in run.status.error["what"]
    assert run.records_file.read_bytes() == lines
    recipe.with_value("name", "Another name").save(run.recipe_file)
    assert work(run) == 0
    same(run, whole)


def test_the_best_weights_follow_the_state_that_is_gone_back_to(recipe: Recipe, whole: store.Run) -> None:
    """The newer best was of an epoch that has to be trained again."""
    best = [row["step"] for row in whole.records()[0] if row["kind"] == "epoch" and row["best"]]
    assert best[-2:] == [6, 9]
    last_state, before = whole.states
    assert facts.read(whole.best)["step"] == "9"
    flip(last_state)
    whole.report(state="stopped")
    assert work(whole, watch=lambda record: whole.ask("stop")) == 0
    assert facts.read(whole.best)["step"] == "6"
    assert before.exists()


def test_states_are_saved_by_time_too_and_the_newest_are_kept(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finetune_core.runs.work.worker.SPARED", 0.0)
    recipe = recipe.with_value("training.save_minutes", 0.01).with_value("training.checkpoints", 4)
    run = store.create(recipe)
    clock = itertools.count(0, 10)
    monkeypatch.setattr("finetune_core.runs.work.worker.time.monotonic", lambda: float(next(clock)))
    assert work(run) == 0
    assert [path.name for path in run.states] == [f"step-{step:08}.safetensors" for step in (9, 8, 7, 6)]


def test_names_are_those_of_the_weights(whole: store.Run, recipe: Recipe) -> None:
    """Whatever lies in the file beside them by now."""
    picture = next(Path(recipe.data.source.path).glob("class_1/*.png"))
    before = predict.load(whole)([picture])
    whole.write_json(whole.targets_file, {"task": "single_label", "names": ["c", "b", "a"]})
    assert predict.load(whole)([picture]) == before


def test_any_state_is_a_start_for_weights(whole: store.Run) -> None:
    kept = reading.read(reading.Opened(whole.states[0], "safetensors"))
    last = load_file(whole.last)
    assert kept.keys() == last.keys()
    assert all(torch.equal(kept[name], last[name]) for name in last)


def test_nothing_is_left_half_written(recipe: Recipe) -> None:
    run = stopped_at(recipe, 2)
    drafts = [".best.safetensors.999999.1.draft", ".tmpx0Ab3Z"]  # ours, and the one that the library begins with
    left = [*(run.checkpoints / name for name in drafts), run.path / ".status.json.999999.1.draft"]
    for path in left:
        path.write_bytes(b"half")
    assert work(run) == 0
    assert not [path for path in left if path.exists()]
    modes = {path.stat().st_mode & 0o777 for path in [*run.checkpoints.iterdir(), run.recipe_file]}
    assert len(modes) == 1, "weights are as readable as the rest"


def test_a_disk_that_the_library_finds_full_is_told_as_that(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """safetensors has an error and words of its own for it."""

    def full(*_: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    run = store.create(recipe)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", full)
        assert work(run) == 2
    assert run.status.error["kind"] == "disk"
    assert run.status.error["what"] == "The disk has no room for the checkpoint."


def test_a_state_is_packed_whole() -> None:
    state = {
        1: torch.ones(2, 3),
        "betas": (0.9, 0.999),
        "nested": [{"inf": float("inf"), "none": None, "flag": True}, torch.tensor(7)],
        "half": torch.ones(2, dtype=torch.bfloat16),
    }
    back = unpacked(*packed(state))
    assert back.keys() == state.keys()
    assert back["betas"] == state["betas"]
    assert back["nested"][0] == state["nested"][0]
    for mine, theirs in ((back[1], state[1]), (back["half"], state["half"]), (back["nested"][1], state["nested"][1])):
        assert torch.equal(mine, theirs)
        assert mine.dtype == theirs.dtype
