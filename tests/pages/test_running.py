"""The pages from the learning rate to the finished run, without a browser and without training anything."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from streamlit.proto.WidgetStates_pb2 import WidgetStates
from streamlit.runtime.scriptrunner import RerunData, get_script_run_ctx
from streamlit.testing.v1 import AppTest

from finetune_core import machine, places
from finetune_core.parts import Progress
from finetune_core.parts.tasks import single_label
from finetune_core.recipe import Phase, Recipe, load, plan
from finetune_core.recipe.changes import Made
from finetune_core.records import Epoch, Event, Find, Lap, Place, Step, Suggestions
from finetune_core.runs import launch, store
from finetune_core.runs.jobs import Race, RangeTest
from finetune_core.runs.telling import history
from finetune_core.runs.work.worker import work
from pages.ui.kit import live
from pages.ui.run import acting
from tests.pages.conftest import pieces, saved

APP = Path(__file__).resolve().parents[2] / "app.py"
NAMES = ("stem", "layer1", "layer2", "layer3", "layer4", "head")


def page(name: str, **query: str) -> AppTest:
    app = AppTest.from_file(str(APP), default_timeout=60)
    for key, value in query.items():
        app.query_params[key] = value
    return app.switch_page(f"pages/views/{name}.py").run()


def texts(app: AppTest) -> str:
    return "\n".join(
        str(element.value)
        for element in [*app.title, *app.subheader, *app.markdown, *app.caption, *app.text, *app.code]
    )


def button(app: AppTest, label: str):
    return next(button for button in app.button if button.label == label)


def trained(recipe: Recipe, state: str = "finished", epochs: int | None = None, **status) -> store.Run:
    """A run folder as a worker would leave it, 10 steps an epoch."""
    run = store.create(recipe)
    accuracies = []
    for row in plan.plan(recipe, NAMES, 10)[: None if epochs is None else epochs * 10]:
        step, norms = row["step"], {name: 1.0 for name, rate in row["lr"].items() if rate > 0}
        run.append(Step(step, step // 10, 0, 2.5 / (step + 1), row["lr"], 1.0, norms, 180.0, 900.0, step * 0.1))
        if step % 10 == 9:
            accuracies.append(0.5 + 0.08 * len(accuracies))
            scores = {"accuracy": accuracies[-1], "macro_f1": 0.5}
            named = {f"class {number}": number / 12 for number in range(12)}
            losses = {"train_loss": 1.0, "train_score": 0.5, "valid_loss": 1.1, "valid_score": accuracies[-1]}
            epoch = {"epoch": step // 10, "phase": 0, "step": step + 1, **losses}
            norms = 0.25, 1.75
            run.append(Epoch(**epoch, scores=scores, by_name=named, best=True, seconds=step * 0.1, norm_losses=norms))
    done = len(accuracies)
    common = {"step": done * 10, "steps": recipe.epochs * 10, "epoch": done, "epochs": recipe.epochs}
    run.save_targets(single_label([100] * 12))
    reached = {"valid_score": accuracies, "best_score": max(accuracies, default=None), "epoch_steps": 10}
    run.report(state=state, **reached, **common, **status)
    return run


def wait_until(so: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < end
        time.sleep(0.05)


def searched(recipe: Recipe) -> store.Run:
    run = store.create(recipe, RangeTest())
    for step in range(30):
        rate = 1e-7 * 10 ** (step * 8 / 29)
        run.append(Find(step, rate, 2.5 - step / 30, 2.5 - step / 30))
    run.append(Suggestions(steepest=1e-3, minimum_tenth=2e-2, valley=None))
    run.report(state="finished", message="Finished", step=30, steps=100)
    return run


@pytest.fixture
def no_worker(monkeypatch: pytest.MonkeyPatch) -> list[store.Run]:
    """Workers are not started but counted; this process stands in for them, so that runs look alive."""
    started: list[store.Run] = []

    def start(run: store.Run) -> None:
        started.append(run)
        run.claim(psutil.Process(os.getpid()))

    monkeypatch.setattr(launch, "start", start)
    return started


# Learning rate


def test_a_search_and_a_race_that_cannot_be_read_are_passed_over():
    searched(Recipe())
    later = searched(Recipe())
    race = store.create(Recipe(), Race(rates={"steepest": 1e-3, "minimum_tenth": 2e-2}, steps=3))
    race.report(state="finished")
    for run in (later, race):
        run.records_file.unlink(missing_ok=True)
        run.records_file.mkdir()
    app = page("rate")
    assert not app.exception
    assert button(app, "Find again"), "the one before is told"
    assert not button(app, "Race the suggestions").disabled


def test_find_starts_a_search_in_a_worker(no_worker):
    app = page("rate")
    button(app, "Find the rate").click().run()
    assert not app.exception
    (run,) = no_worker
    assert (run.job, run.recipe) == (RangeTest(), Recipe())
    assert button(app, "Stop")


def test_a_suggestion_becomes_the_rate():
    searched(Recipe())
    app = page("rate")
    assert not app.exception
    button(app, "Steepest: 0.001").click().run()
    assert load(places.runs_dir() / "draft.yaml").phases[0].learning_rate == 1e-3
    assert button(app, "Valley").disabled


def test_how_sure_the_finder_is_stands_above_the_curve():
    run = searched(Recipe())
    run.append(Suggestions(1e-3, 2e-2, None, slide=5e-4, confidence="medium", why="The tries lie apart."))
    app = page("rate")
    assert "medium confidence" in texts(app)
    button(app, "Slide: 0.0005").click().run()
    assert load(places.runs_dir() / "draft.yaml").phases[0].learning_rate == 5e-4


def test_the_search_is_the_one_chosen_behind_more(no_worker):
    saved(Recipe(phases=(Phase(thaw=("layer4", "head")),)))
    app = page("rate")
    app.segmented_control(key="find-tries").set_value(3).run()
    app.segmented_control(key="find-down").set_value(True).run()
    app.selectbox(key="find-group").set_value("layer4").run()
    button(app, "Find the rate").click().run()
    (run,) = no_worker
    assert run.job == RangeTest(phase=1, tries=3, down=True, group="layer4", high=0.1)


def test_the_rate_of_one_group_leaves_the_others_alone():
    phase = Phase(thaw=("layer4", "head"), learning_rate=1e-2)
    run = store.create(saved(Recipe(phases=(phase,))), RangeTest(group="layer4"))
    for step in range(30):
        run.append(Find(step, 1e-7 * 10 ** (step * 8 / 29), 2.5 - step / 30, 2.5 - step / 30))
    run.append(Suggestions(1e-3, None, None))
    run.report(state="finished")
    app = page("rate")
    button(app, "Steepest: 0.001").click().run()
    (taken,) = load(places.runs_dir() / "draft.yaml").phases
    assert (taken.learning_rate, taken.multipliers["layer4"]) == (1e-2, pytest.approx(0.1))
    assert button(app, "Find again"), "the search still fits"


def raced(recipe: Recipe) -> store.Run:
    run = store.create(recipe, Race(rates={"steepest": 1e-3, "minimum_tenth": 2e-2}, steps=3))
    for name, rate, loss in (("steepest", 1e-3, 0.9), ("minimum_tenth", 2e-2, 0.4)):
        for step in range(3):
            run.append(Lap(name, rate, step, 2.5 - step, 2.5 - step))
        run.append(Place(name, rate, 3, loss, loss, 1 - loss / 2))
    run.report(state="finished")
    return run


def test_suggestions_race_and_the_winner_is_taken(no_worker):
    searched(Recipe())
    app = page("rate")
    button(app, "Race the suggestions").click().run()
    assert not app.exception
    (race,) = no_worker
    assert race.job_as(Race).rates == {"steepest": 1e-3, "minimum_tenth": 2e-2}
    assert button(app, "Stop the race")
    race.report(state="finished")
    raced(Recipe())
    app = page("rate")
    assert not app.exception
    table = app.dataframe[0].value
    assert list(table["validation loss"]) == ["0.900", "0.400"]
    button(app, "Apply the winner: 0.02").click().run()
    assert load(places.runs_dir() / "draft.yaml").phases[0].learning_rate == 2e-2


def test_without_suggestions_there_is_no_race():
    assert button(page("rate"), "Race the suggestions").disabled


def test_the_number_field_sets_the_rate():
    app = page("rate")
    app.text_input(key="field:phases.0.learning_rate").set_value("0.02").run()
    assert load(places.runs_dir() / "draft.yaml").phases[0].learning_rate == 0.02


def test_a_curve_of_other_groups_says_so():
    searched(Recipe(phases=(Phase(thaw=("*",)),)))
    app = page("rate")
    assert "another setting" in texts(app)
    assert button(app, "Find the rate")


def test_a_failed_search_shows_its_error():
    error = {"what": "There is no folder x.", "why": "It does not exist.", "hint": "Check the spelling."}
    store.create(Recipe(), RangeTest()).report(state="failed", error=error)
    app = page("rate")
    assert not app.exception
    assert "There is no folder x" in texts(app)


def test_the_shaded_range_holds_nine_in_ten_steps():
    from pages.ui.rate import finder

    phase = Phase(learning_rate=0.01)
    low, high = finder.swept(phase)
    rates = [0.01 * phase.schedule.multiplier(Progress(step, 1000, 100)) for step in range(1000)]
    assert sum(low <= rate <= high for rate in rates) == pytest.approx(900, abs=10)


# Train


def test_launch_starts_a_worker_and_leads_to_the_run(no_worker):
    untrained = saved(Recipe().with_value("model.backbone.weights", {"kind": "random"}))
    app = page("train")
    assert not app.exception
    button(app, "Launch").click().run()
    assert not app.exception
    (run,) = no_worker
    assert run.recipe == untrained
    assert run.id in texts(app)
    assert button(app, "Stop")


def test_a_second_click_on_launch_leads_to_the_run_as_well(no_worker, monkeypatch):
    """It comes in while the run begins, and draws Train anew: now with the queue, since the device is at work."""
    app = page("train")
    launch_button = button(app, "Launch")
    click, begin = launch_button.click()._widget_state, launch.start

    def start(run: store.Run) -> None:
        begin(run)
        ctx = get_script_run_ctx()
        clicked = WidgetStates(widgets=[click])
        ctx.script_requests.request_rerun(RerunData(widget_states=clicked, page_script_hash=ctx.page_script_hash))

    monkeypatch.setattr(launch, "start", start)
    app.run()
    assert not app.exception
    assert [run.id for run in store.every_run()] == [run.id for run in no_worker]
    assert no_worker[0].id in texts(app)
    assert button(app, "Stop")


def test_train_says_what_will_happen():
    app = page("train")
    said = texts(app)
    assert "150 steps: 5 epochs of 30 steps with 32 images each." in said


def typed(command: str, runs: Path) -> store.Run:
    """The run of a command that was pasted into a terminal in the project's folder, which knows nothing of `runs`."""
    before = {run.id for run in store.every_run()}
    told = {name: value for name, value in os.environ.items() if name not in (places.RUNS, places.WORKSPACE)}
    done = subprocess.run(command, shell=True, cwd=places.ROOT, env=told, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    [made] = [run for run in store.every_run() if run.id not in before]
    assert made.path.parent == runs
    assert made.status.state == "finished"
    return made


def test_shown_commands_work_as_shown(tiny: Recipe, tmp_path: Path):
    saved(tiny)
    app = page("train")
    first = typed(app.code[0].value, places.runs_dir())
    assert first.recipe == tiny
    first.keep_change(Made(step=1, phase=0, values={"learning_rate": 0.004}).saved())
    app = page("run", run=first.id, tab="Code")
    assert not app.exception
    again = typed(app.code[0].value, places.runs_dir())
    assert again.recipe == first.recipe_at() != tiny
    assert "lr" in app.code[1].value
    compile(app.code[1].value, "train.py", "exec")


def test_a_draft_that_was_never_changed_is_saved_for_the_command():
    app = page("train")
    [file] = [Path(word) for word in app.code[0].value.split() if word.endswith("draft.yaml")]
    assert load(places.ROOT / file) == Recipe()


def test_the_command_asks_for_another_place_and_for_trackers():
    assert "--on" not in page("train").code[0].value
    app = page("train")
    app.session_state["thaw:engine"] = {"kind": "nodes", "gpus": 3, "endpoint": "node1:29500"}
    app.session_state["thaw:trackers"] = ["wandb"]
    app.run()
    assert not app.exception
    words = "--on nodes --set-on gpus=3 --set-on endpoint=node1:29500 --trackers wandb"
    assert words in app.code[0].value


def test_train_says_what_the_precision_does_on_this_machine(monkeypatch):
    monkeypatch.setattr(machine, "facts", lambda: machine.Machine(cores=4, memory_gb=8, free_disk_gb=50))
    saved(Recipe().with_value("training.precision", "bf16"))
    app = page("train")
    assert "4 CPU cores" in texts(app)
    assert "1.4 to 2.9 times as long" in texts(app)
    button(app, "Use fp32").click().run()
    assert load(places.runs_dir() / "draft.yaml").training.precision == "fp32"
    assert "fp32 is exact, and the fastest here" in texts(app)


def test_a_broken_recipe_cannot_be_launched():
    saved(Recipe().with_value("data.source", {"kind": "folder", "path": "/nowhere"}))
    app = page("train")
    assert not app.exception
    assert button(app, "Launch").disabled
    assert "nowhere" in texts(app)


# A run


def test_a_finished_run_says_what_was_reached():
    run = trained(Recipe())
    app = page("run", run=run.id)
    assert not app.exception
    assert "Reached **82.0%** validation accuracy (guessing would give 8%) in epoch 5 of 5" in texts(app)
    assert [tile.value for tile in app.metric][:2] == ["82.0%", "5 of 5"]


def test_a_running_run_can_be_stopped(no_worker):
    run = trained(Recipe(), state="running", epochs=2)
    run.claim(psutil.Process(os.getpid()))
    app = page("run", run=run.id)
    assert not app.exception
    button(app, "Stop").click().run()
    assert run.wish() == "stop"
    assert button(app, "Stopping").disabled


@pytest.mark.parametrize(("reached", "found"), [("paused", "Resume"), ("finished", "Try an image")])
def test_what_is_reached_while_the_page_is_drawn_changes_its_buttons(no_worker, monkeypatch, reached: str, found: str):
    run = trained(Recipe(), state="running", epochs=2)
    run.claim(psutil.Process(os.getpid()))
    run.ask("pause")
    actions = acting.actions

    def late(slot, drawn, job) -> None:
        actions(slot, drawn, job)
        run.report(state=reached)

    monkeypatch.setattr(acting, "actions", late)
    app = page("run", run=run.id)
    assert not app.exception
    assert button(app, found)


@pytest.mark.parametrize("state", ["stopped", "failed", "running"])  # running without a process: lost
def test_an_ended_run_can_be_resumed(state, no_worker):
    run = trained(Recipe(), state=state, epochs=2)
    app = page("run", run=run.id)
    assert "After 20 of 50 steps." in texts(app)
    button(app, "Resume").click().run()
    assert not app.exception
    assert [started.id for started in no_worker] == [run.id]


def test_resuming_waits_for_a_worker_that_is_leaving(no_worker):
    run = trained(Recipe(), state="stopped", epochs=2)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(2)"]) as leaving:
        run.claim(psutil.Process(leaving.pid))
        app = page("run", run=run.id)
        button(app, "Resume").click().run()
    assert not app.exception
    assert [started.id for started in no_worker] == [run.id]


def test_a_failed_run_says_why_and_shows_its_log():
    error = {"what": "The memory ran out.", "why": "2 GB were asked for.", "hint": "Halve the batch size."}
    run = trained(Recipe(), state="failed", epochs=1, error=error)
    run.log.write_text("Traceback <b>of</b> the bug")
    app = page("run", run=run.id, tab="Log")
    assert "Halve the batch size" in texts(app)
    assert "Traceback <b>of</b> the bug" in texts(app)


def test_a_run_before_its_first_step_holds_its_place(no_worker):
    run = store.create(Recipe())
    run.claim(psutil.Process(os.getpid()))
    run.report(state="preparing", message="Decoding the images, once: 300 of 1200")
    app = page("run", run=run.id)
    assert not app.exception
    assert {tile.value for tile in app.metric} == {"–"}


def test_without_any_run_the_page_leads_on() -> None:
    app = page("run")
    assert not app.exception
    assert "No run yet" in texts(app)
    button(app, "To Train").click().run()
    assert app.title[0].value == "Train"


def test_a_run_that_failed_before_its_first_step_promises_nothing(no_worker):
    run = store.create(Recipe())
    error = {"what": "The images do not fit into memory.", "why": "", "hint": "Take a smaller batch."}
    run.report(state="failed", error=error)
    app = page("run", run=run.id)
    assert not app.metric
    assert [each.label for each in app.button if each.key == "primary"] == []
    assert "after the first" not in str([each.proto for each in app.get("bidi_component")])
    button(app, "Start again").click().run()
    assert [started.id for started in no_worker] == [run.id]


def keys_of(app: AppTest) -> set[str]:
    """The last two words of the keys of all containers."""
    found, left = set(), [app.main, app.sidebar]
    while left:
        block = left.pop()
        left += [each for each in block.children.values() if hasattr(each, "children")]
        found.add("-".join(str(getattr(block.proto, "id", "")).split("-")[-2:]))
    return found


def test_the_path_shows_where_one_is_while_one_looks_at_a_run(no_worker):
    run = trained(Recipe(), epochs=1)
    inside = {"run": "here-runs", "label": "here-data", "sweep": "here-train"}
    for name, here in inside.items():
        assert keys_of(page(name, **({"run": run.id} if name == "run" else {}))) & set(inside.values()) == {here}
    assert not keys_of(page("runs")) & set(inside.values())


def test_a_checkpoint_at_the_end_of_an_epoch_is_called_by_it(tiny: Recipe) -> None:
    run = store.create(tiny.with_value("phases.0.epochs", 1))
    assert work(run) == 0
    app = page("run", run=run.id, tab="Checkpoints")
    score = run.recipe.task.score.shown(live.told(run).history.epochs[0]["valid_score"])
    assert f"**Epoch 1, {score}**" in texts(app)


@pytest.mark.parametrize("name", ["nothing", "../runs", "/etc"])
def test_an_unknown_run_is_told_in_words(name):
    app = page("run", run=name)
    assert not app.exception
    assert "run" in texts(app)


def test_sessions_share_one_history_and_read_only_what_is_new(no_worker):
    run = trained(Recipe(), state="running", epochs=1)
    run.claim(psutil.Process(os.getpid()))
    page("run", run=run.id)
    shared = live._shared(str(run.records_file))
    before = shared.reading
    run.append(Step(10, 1, 0, 0.25, {"head": 1e-3}, 1.0, {"head": 1.0}, 180.0, 900.0, 1.0))
    other = page("run", run=run.id)
    assert shared.reading.cursor > before.cursor
    assert shared.reading.history.epochs[0] is before.history.epochs[0]
    assert shared.reading.history.steps == 11
    assert not other.exception


def test_a_line_that_is_no_record_is_counted_and_the_rest_is_shown(no_worker):
    run = trained(Recipe())
    lines = run.records_file.read_bytes().splitlines(keepends=True)
    run.records_file.write_bytes(b"".join([*lines[:5], lines[5][:50], b"\xff\x00{\n", *lines[6:]]))
    app = page("run", run=run.id)
    assert not app.exception
    assert "1 record cannot be read and is left out." in texts(app)
    assert "Reached" in texts(app)


def test_records_that_cannot_be_read_are_told_on_the_page(no_worker):
    run = trained(Recipe())
    run.records_file.unlink()
    run.records_file.mkdir()
    app = page("run", run=run.id)
    assert not app.exception
    assert "is damaged" in texts(app)


def test_a_long_run_is_sketched_at_once_and_read_in_the_course_of_some_looks(no_worker, monkeypatch):
    run = trained(Recipe().with_value("phases.0.epochs", 40))
    monkeypatch.setattr(history, "CHUNK", 1 << 14)
    monkeypatch.setattr(live, "REST", 5.0)
    monkeypatch.setattr(live, "READING", 0.0)
    app = page("run", run=run.id)
    assert "Until then this is a sketch." in texts(app)
    assert "in epoch 40 of 40" in texts(app)
    monkeypatch.setattr(live, "REST", 0.0)
    wait_until(lambda: live.told(run).whole)
    app.run()
    assert not app.exception
    assert "sketch" not in texts(app)
    assert live.told(run).history.steps == 400


def test_a_run_whose_length_sways_from_step_to_step_is_not_drawn_whole_each_time(no_worker, monkeypatch):
    """It would close what is open, as a dialog in which somebody types; but a length that has changed is followed."""
    monkeypatch.setattr(live, "EVERY", 4.0)
    monkeypatch.setattr(live, "SELDOM", 16.0)
    run, whole = trained(Recipe(), state="running", epochs=2), []
    run.claim(psutil.Process(os.getpid()))
    actions = acting.actions
    monkeypatch.setattr(acting, "actions", lambda *args: [whole.append(args), actions(*args)])
    run.report(started=time.time(), seconds_left=4.0 * live.GLANCES * 0.9)
    app = page("run", run=run.id)
    whole.clear()
    for part in (1.1, 0.9, 1.15, 0.95, 1.05):
        run.report(seconds_left=4.0 * live.GLANCES * part)
        pieces(app)
    assert not whole
    run.report(seconds_left=4.0 * live.GLANCES * 1.5)
    pieces(app)
    assert len(whole) == 1


def test_many_notes_are_cut_short(no_worker):
    run = trained(Recipe())
    for step in range(500):
        run.append(Event("overflow", step, f"Too large, {step}."))
    app = page("run", run=run.id)
    assert "The newest 30 of 500 notes" in texts(app)
    assert "Too large, 499." in texts(app)
    assert "Too large, 469." not in texts(app)


def test_other_charts_are_drawn_when_they_are_asked_for(no_worker):
    run = trained(Recipe())
    app = page("run", run=run.id)
    assert any(each.label == "More charts" for each in app.expander)


def test_the_plan_of_a_long_run_is_worked_out_at_some_steps(no_worker):
    """It was worked out at each: ten seconds for a million, at each look."""
    recipe = Recipe().with_value("phases.0.epochs", 1000)
    whole, some = plan.plan(recipe, NAMES, 10), plan.plan(recipe, NAMES, 10, every=25)
    assert some == [row for row in whole if row["step"] % 25 == 0 or row["step"] == 9_999]


# Runs


def test_no_runs_yet_leads_on():
    app = page("runs")
    assert not app.exception
    assert "No runs yet" in texts(app)
    assert button(app, "Try it now")


def test_runs_are_listed_newest_first():
    trained(Recipe(name="first"))
    trained(Recipe(name="second"), state="stopped", epochs=1)
    app = page("runs")
    assert not app.exception
    table = app.dataframe[0].value
    assert list(table["name"]) == ["second", "first"]
    assert list(table["state"]) == ["■ Stopped", "✓ Finished"]
    assert table["best"].tolist() == pytest.approx([50, 82])


def test_scores_say_how_far_training_and_measuring_are_apart() -> None:
    run = trained(Recipe(), epochs=2)
    said = texts(page("run", run=run.id, tab="Scores"))
    assert "0.25 as it trains, 1.75 as it is used" in said
