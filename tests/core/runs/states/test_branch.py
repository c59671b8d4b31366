"""Branches and proof: a run goes on from any checkpoint of another, exactly, and says how it came to be."""

import json
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from finetune_core.cli import main
from finetune_core.errors import UserError
from finetune_core.places import ROOT
from finetune_core.recipe import Recipe
from finetune_core.recipe.holding import held, weights
from finetune_core.runs import store
from finetune_core.runs.states import branch, checkpoint, facts, mending
from finetune_core.runs.states.lineage import Lineage, lineage
from finetune_core.runs.states.verify import verify
from finetune_core.runs.work.worker import work
from finetune_core.training.loop import Trainer
from finetune_core.training.session import prepare


@pytest.fixture
def done(tiny: Recipe) -> store.Run:
    run = store.create(tiny.with_value("phases.0.epochs", 3).with_value("training.checkpoints", 3))
    assert work(run) == 0
    return run


def losses(run: store.Run) -> list[float]:
    return [row["loss"] for row in run.records()[0] if row["kind"] == "step"]


def test_a_branch_without_changes_is_the_same_run(done: store.Run) -> None:
    assert [facts.step(path) for path in done.states] == [9, 6, 3]
    made = branch.branch(done, done.recipe.with_value("name", "Again"), 3)
    assert made.status.state == "stopped"
    assert len(losses(made)) == 3
    assert work(made) == 0
    assert losses(made) == losses(done)
    mine, theirs = load_file(made.last), load_file(done.last)
    assert all(torch.equal(value, theirs[name]) for name, value in mine.items())
    assert lineage(made) == Lineage(done.id, 3, (("name", "", "Again"),))


def test_a_branch_has_the_scores_of_its_past_alone(done: store.Run) -> None:
    done.report(valid_score=[0.2, 0.9, 0.4], best_score=0.9)
    made = branch.branch(done, done.recipe, 3)
    assert (made.status.valid_score, made.status.best_score) == ([0.2], 0.2)
    assert branch.branch(done, done.recipe).status.best_score == 0.9


def test_what_is_changed_holds_from_there_on(done: store.Run) -> None:
    made = branch.branch(done, done.recipe.with_value("phases.0.learning_rate", 1e-5), 6)
    assert work(made) == 0
    assert losses(made)[:6] == losses(done)[:6]
    assert losses(made)[7:] != losses(done)[7:]
    assert lineage(made).words().endswith("at step 6: phases.0.learning_rate 0.001 → 1e-5")


@pytest.mark.parametrize("before", [{}, {"bn": 2.0}, {"conv1": 3.0, "bn": 2.0}])
@pytest.mark.parametrize("after", [{}, {"bn": 3.0}, {"type:BatchNorm2d": 3.0}])
def test_rates_by_name_may_change_and_the_optimizer_remembers_each_weight(
    tiny: Recipe, before: dict[str, float], after: dict[str, float]
) -> None:
    """As if the optimizer of the first had gone on at other rates: its memory goes with each weight by its name."""
    run = store.create(tiny.with_value("phases.0.by_name", before))
    assert work(run) == 0
    state = checkpoint.read(run.states[-1]).trainer
    saved = state["optimizer"]
    known = {name: saved["state"][place] for place, name in enumerate(saved["names"])}
    made = branch.branch(run, run.recipe.with_value("phases.0.by_name", after), facts.step(run.states[-1]))
    trainer = Trainer(prepare(made.recipe))
    trainer.restore(state)
    stepper, module = trainer.stepper, trainer.session.network.module
    stepper.enter(made.recipe.phases[0])
    stepper.set_rates(dict.fromkeys(trainer.session.names, 1.0))
    faster = held(weights(module), [*after])
    rates = {id(weight): group["lr"] for group in stepper.optimizer.param_groups for weight in group["params"]}
    for name, weight in module.named_parameters():
        assert torch.equal(stepper.optimizer.state[weight]["exp_avg"], known[name]["exp_avg"]), name
        assert rates[id(weight)] == (3.0 if name in faster else 1.0)
    assert work(made) == 0


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("training.batch_size", 4, "cannot go on with another training.batch_size"),
        ("training.optimizer", {"kind": "sgd"}, "cannot go on with another training.optimizer"),
        ("phases.0.epochs", 1, "has begun 2 epochs"),
    ],
)
def test_what_would_be_another_past_is_refused(done: store.Run, path: str, value: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        branch.branch(done, done.recipe.with_value(path, value), 6)


def test_a_recipe_that_was_edited_under_the_run_is_no_way_around_that(done: store.Run) -> None:
    text = done.recipe_file.read_text()
    done.recipe_file.write_text(text.replace("batch_size: 6", "batch_size: 4"))
    runs = set(done.path.parent.iterdir())
    with pytest.raises(UserError, match=r"another training\.batch_size"):
        branch.branch(done, done.recipe)
    assert set(done.path.parent.iterdir()) == runs


def test_a_run_that_saved_nothing_has_no_branch(tiny: Recipe) -> None:
    run = store.create(tiny)
    with pytest.raises(UserError, match="no checkpoint"):
        branch.branch(run, tiny)
    assert branch.go_on(run, tiny).recipe == tiny


def test_the_last_stretch_is_proven(done: store.Run, capsys: pytest.CaptureFixture) -> None:
    verdict = verify(done)
    assert (verdict.first, verdict.last) == (6, 9)
    assert verdict.same
    with done.records_file.open("a") as file:  # a record that does not belong to this run
        file.write(json.dumps({"kind": "step", "step": 8, "loss": 1000.0}) + "\n")
    assert not verify(done).same
    assert main(["verify", str(done.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["losses"] > 100


def test_a_short_run_is_proven_from_its_start(tiny: Recipe) -> None:
    run = store.create(tiny.with_value("phases.0.epochs", 1))
    assert work(run) == 0
    verdict = verify(run)
    assert (verdict.first, verdict.last, verdict.same) == (0, 3, True)


def test_a_way_to_go_on_after_what_broke(done: store.Run) -> None:
    assert mending.way(done) is None
    done.report(state="failed", error={"what": "x", "kind": "memory"})
    smaller = mending.way(done)
    assert smaller
    assert smaller.recipe.training.accumulate == 2
    made = branch.go_on(done, smaller.recipe, 6)
    assert work(made) == 0
    done.report(state="diverged", error={"what": "x", "kind": "diverged"})
    gentler = mending.way(done)
    assert gentler
    assert gentler.recipe.phases[0].learning_rate == pytest.approx(1e-4)


def test_a_run_that_diverged_in_its_second_phase_goes_on_more_gently_in_that_phase(tiny: Recipe) -> None:
    phase = tiny.phases[0].model_dump() | {"epochs": 1}
    run = store.create(tiny.with_value("phases", [phase, phase]))
    work(run, watch=lambda record: run.ask("stop") if record.kind == "step" and record.step == 4 else None)
    assert facts.position(run.states[0])["phase"] == 1
    run.report(state="diverged", error={"what": "x", "kind": "diverged"})
    way = mending.way(run)
    assert way
    made = branch.go_on(run, way.recipe, way.step)
    assert [phase.learning_rate for phase in made.recipe.phases] == [1e-3, pytest.approx(1e-4)]
    assert work(made) == 0


def test_a_run_that_diverged_before_anything_sound_was_saved_begins_anew_with_the_weights_it_began_with(
    done: store.Run,
) -> None:
    for path in done.states:
        done.remove(path)
    done.report(state="diverged", error={"what": "x", "kind": "diverged"})
    way = mending.way(done)
    assert way
    made = branch.go_on(done, way.recipe, way.step)
    assert made.recipe.model == done.recipe.model, "not with the best of a run that went wrong from its start"
    assert branch.go_on(done, done.recipe).recipe.model.backbone.weights.path == str(done.best)


def test_from_the_command_line(done: store.Run, capsys: pytest.CaptureFixture) -> None:
    assert main(["branch", str(done.path), "--at", "3", "--set", "phases.0.learning_rate=1e-4"]) == 0
    assert "Branched from" in capsys.readouterr().out
    assert main(["branch", str(done.path), "--at", "4"]) == 2
    assert "There are: 3, 6, 9" in capsys.readouterr().err


def test_a_branch_that_is_killed_leaves_nothing_in_the_list(done: store.Run) -> None:
    code = (
        "import os, signal, sys\n"
        "from finetune_core.runs import store\n"
        "from finetune_core.runs.states import branch\n"
        "store.Run.copy = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "run = store.open_run(sys.argv[1])\n"
        "branch.branch(run, run.recipe)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(done.path)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [run.id for run in store.every_run()] == [done.id]
    made = branch.branch(done, done.recipe)
    assert {path.name for path in done.path.parent.iterdir()} == {done.id, made.id}, "what it left is tidied away"


def test_a_draft_of_another_machine_is_left_alone(done: store.Run) -> None:
    theirs = done.path.parent / ".draft-another-99999999-1"
    theirs.mkdir()
    branch.branch(done, done.recipe)
    assert theirs.exists()


@pytest.mark.parametrize("odd", [{}, {"run": "x"}, {"run": "x", "step": "y"}, {"run": "x", "step": 1, "changed": [5]}])
def test_an_odd_lineage_is_told(done: store.Run, odd: dict) -> None:
    done.write_json(done.lineage_file, odd)
    done.report(state="stopped")
    with pytest.raises(UserError, match="is damaged"):
        lineage(done)
    assert work(done) == 2
    assert "lineage.json is damaged" in done.status.message
