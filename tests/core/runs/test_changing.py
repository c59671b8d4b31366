"""Changes from outside: the command `set`, what it would make of a run, and a real worker that makes them."""

import json
import time

import psutil
import pytest

from finetune_core.cli import main
from finetune_core.errors import UserError
from finetune_core.recipe import Recipe, plan
from finetune_core.recipe.changes import kept, parsed
from finetune_core.runs import changing, launch, store
from finetune_core.runs.store import Run
from finetune_core.runs.telling import history
from finetune_core.runs.telling.history import History

NAMES = ("stem", "layer1", "layer2", "layer3", "layer4", "head")


def wait(condition) -> None:
    end = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)


@pytest.fixture
def recipe(tiny: Recipe) -> Recipe:
    phase = tiny.phases[0].replace(thaw=("layer4", "head"), epochs=400)
    return tiny.replace(phases=(phase,))


def events(run: Run) -> list[dict]:
    return [row for row in run.records()[0] if row.get("name") in ("change", "change_refused")]


@pytest.fixture
def idle(recipe: Recipe) -> Run:
    """A run that seems to be at work, of this process."""
    run = store.create(recipe)
    run.claim(psutil.Process())
    run.report(state="running", epoch_steps=3)
    return run


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rate", "x0.5"], "Asked for. Rate halved: 0.001 to 0.0005 (all groups)."),
        (["epochs", "+2"], "Asked for. Epochs changed: 400 to 402."),
        (["epochs", "-2"], "Asked for. Epochs changed: 400 to 398."),
        (["thaw", "layer3"], "Asked for. Thawed: layer3 at 0.0001."),
    ],
)
def test_the_command_asks_and_says_what_will_come(idle: Run, words: list[str], told: str, capsys) -> None:
    assert main(["set", idle.id, *words]) == 0
    assert capsys.readouterr().out.startswith(told.rstrip("."))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rate", "quick"], "A number"),
        (["rate", "0"], "1e-9 to 100."),
        (["rate", "1e9"], "1e-9 to 100."),
        (["rate", "head", "1e9"], "1e-9 to 100."),
        (["rate", "x0"], "1e-9 to 1000000000."),
        (["epochs", "1e9"], "1 to 1000."),
        (["epochs", "0"], "1 to 1000."),
        (["epochs", "+1e9"], "-1000 to 1000."),
        (["thaw", "layer9"], "This network has stem"),
        (["freeze", "*"], "Nothing would train"),
        (["colour", "3"], "Known are rate"),
    ],
)
def test_what_does_not_fit_is_refused_before_anyone_is_asked(idle: Run, words: list[str], told: str, capsys) -> None:
    assert main(["set", idle.id, *words]) == 2
    assert told in capsys.readouterr().err
    assert not idle.wanted_changes()


def test_a_wish_counts_also_where_those_before_it_are_gone(idle: Run) -> None:
    first, second = parsed("rate x0.5"), parsed("epochs +2")
    idle.ask_change(first.model_dump(mode="json"))
    [(wish, _)] = idle.wanted_changes()
    idle.keep_change({"wish": wish, **changing.expected(idle, first, History()).saved()})
    assert not idle.wanted_changes()
    idle.control_file.unlink()
    idle.ask_change(second.model_dump(mode="json"))
    assert [asked for _, asked in idle.wanted_changes()] == [second.model_dump(mode="json")]


def test_wishes_of_an_earlier_version_are_numbered_by_their_place(idle: Run) -> None:
    change = parsed("epochs +2").model_dump(mode="json")
    idle.control_file.write_text(f"{json.dumps({'set': change})}\n" * 2)
    idle.keep_change({"wish": 0, "step": 0, "refused": "No."})
    assert idle.wanted_changes() == [(1, change)]


@pytest.mark.parametrize(
    "line",
    [
        '{"wish": 0, "step": "x", "values": 5}',
        '{"wish": [], "step": 1, "values": {"epochs": 1}}',
        '{"wish": 0, "step": 1, "phase": 0, "values": {"epochs": "many"}}',
    ],
)
def test_damaged_changes_are_told_by_their_file(idle: Run, line: str, capsys) -> None:
    idle.changes_file.write_text(line + "\n")
    assert main(["set", idle.id, "epochs", "+2"]) == 2
    assert f"{idle.changes_file} is damaged." in capsys.readouterr().err


def test_a_run_that_is_not_at_work_takes_no_change(recipe: Recipe, capsys) -> None:
    run = store.create(recipe)
    run.report(state="finished")
    assert main(["set", run.id, "rate", "x0.5"]) == 2
    assert "not running" in capsys.readouterr().err
    with pytest.raises(UserError):
        changing.ask(run, parsed("epochs +1"), History())


def test_a_worker_makes_changes_goes_on_and_ends_as_it_was_told(recipe: Recipe) -> None:
    run = store.create(recipe)
    launch.start(run)
    wait(lambda: run.status.step > 2)
    for words in (["rate", "x0.5"], ["thaw", "layer3"], ["freeze", "layer4"]):
        assert main(["set", run.id, *words]) == 0
    wait(lambda: len(events(run)) >= 3 or not run.status.active)
    assert len(events(run)) == 3, (run.status, run.control_file.read_text(), run.changes(), run.log_tail())
    launch.change(run, parsed("thaw layer9").model_dump(mode="json"))  # past all checks, as from an older page
    wait(lambda: len(events(run)) == 4)
    launch.stop(run, wait=True)
    assert [row["name"] for row in events(run)] == ["change"] * 3 + ["change_refused"]
    launch.resume(run)
    before = run.status.step
    wait(lambda: run.status.step > before + 3)
    assert len(events(run)) == 4, "none twice"
    now = changing.standing(run.recipe_at().phases, history.read(run.records_file), run.status)[1]
    assert main(["set", run.id, "epochs", str(-(-now.step // 3) + 2)]) == 0
    wait(lambda: not run.status.active)
    assert run.status.state == "finished"
    steps = [{"step": row["step"], "lr": row["lr"]} for row in run.records()[0] if row["kind"] == "step"]
    assert [row["step"] for row in steps] == list(range(len(steps)))
    assert plan.plan(recipe, NAMES, 3, changes=kept(run.changes())) == steps
    assert steps[-1]["lr"]["layer3"] > 0 == steps[-1]["lr"]["layer4"]
