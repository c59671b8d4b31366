"""What an earlier Thaw wrote opens today: a recipe and run folders of version 1 lie in tests/fixtures as they were.

Never write these anew; a change of format adds a folder beside them (docs/decisions/0015).
"""

import shutil
from pathlib import Path

import pytest

from finetune_core.cli import main
from finetune_core.errors import UserError
from finetune_core.parts.mixing import MixUp
from finetune_core.places import runs_dir
from finetune_core.recipe import Recipe, load, parse
from finetune_core.runs import store
from finetune_core.runs.jobs import Race, RangeTest, Train
from finetune_core.runs.store import Run
from finetune_core.runs.work.worker import work
from finetune_core.understand import predict

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "version-1"


@pytest.fixture
def earlier(images: Path) -> dict[str, Run]:
    """The run folders by name, among the runs, about the test's own images."""
    found = {}
    for folder in sorted(path for path in FIXTURES.iterdir() if path.is_dir()):
        path = shutil.copytree(folder, runs_dir() / folder.name)
        recipe = path / "recipe.yaml"
        recipe.write_text(recipe.read_text().replace("IMAGES", str(images)))
        found[folder.name] = Run(path)
    return found


def test_the_default_recipe_of_version_1_is_that_of_today() -> None:
    assert load(FIXTURES / "default.yaml") == Recipe()


def test_every_run_can_be_listed_shown_and_exported(earlier: dict[str, Run], capsys: pytest.CaptureFixture) -> None:
    assert {run.id for run in store.list_runs()} == {"finished", "stopped"}
    assert main(["runs"]) == main(["show", "finished"]) == main(["export", "finished"]) == 0
    assert "v2.MixUp(alpha=0.3, num_classes=3)" in capsys.readouterr().out
    for run in earlier.values():
        assert run.recipe.training.mix == MixUp(alpha=0.3)
        assert run.records()[0]


def test_the_jobs_of_version_1_are_those_of_today(earlier: dict[str, Run]) -> None:
    assert earlier["stopped"].job == Train()
    assert earlier["find"].job == RangeTest(phase=2, steps=20, tries=2, low=1e-6, high=1.0)
    assert earlier["race"].job == Race(phase=1, steps=4, rates={"0.001": 1e-3, "0.01": 1e-2})
    assert [run.id for run in store.list_runs(job="race")] == ["race"]


def test_a_stopped_run_goes_on_to_where_it_would_have_come(earlier: dict[str, Run]) -> None:
    def epochs(run: Run) -> list[dict]:
        return [row for row in run.records()[0] if row["kind"] == "epoch"]

    stopped, finished = earlier["stopped"], earlier["finished"]
    assert work(stopped) == 0
    assert stopped.status.state == "finished"
    assert [row["step"] for row in stopped.records()[0] if row["kind"] == "step"] == list(range(9))
    for ours, theirs in zip(epochs(stopped), epochs(finished), strict=True):
        for name in ("train_loss", "valid_loss", "valid_score"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-3)


def test_its_model_still_answers(earlier: dict[str, Run], images: Path) -> None:
    [answer] = predict.load(earlier["finished"])([images / "class_0" / "0.png"])
    assert sum(share for _, share in answer) == pytest.approx(1)


def test_the_evenness_of_mixing_has_moved_into_the_mixing() -> None:
    made = parse({"version": 1, "training": {"mix": "cutmix", "mix_alpha": 1.0}}).training.mix
    assert made.model_dump() == {"kind": "cutmix", "alpha": 1.0}
    assert parse({"version": 1, "training": {"mix": "none", "mix_alpha": 1.0}}) == Recipe()
    assert parse({"training": {"mix": "mixup", "mix_alpha": 0.2}}).training.mix == MixUp(alpha=0.2)
    with pytest.raises(UserError, match=r"unknown field training\.mix_alpha"):
        Recipe().with_value("training.mix_alpha", 0.2)


def test_a_recipe_of_a_version_to_come_is_refused_in_words() -> None:
    with pytest.raises(UserError, match=r"of version 9\. This Thaw reads recipes up to version 2\. Update Thaw"):
        parse({"version": 9})
