"""Where a run goes is chosen on Train: beside this machine several of them, or a cluster."""

from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.waiting.engines import of
from tests.pages.conftest import saved
from tests.pages.test_running import button, page, texts


def test_a_run_for_several_machines_is_made_and_waits_for_them() -> None:
    saved(Recipe())
    app = page("train")
    where = next(each for each in app.get("button_group") if each.label == "Where it runs")
    where.set_value("nodes").run()
    machines = next(each for each in app.text_input if each.label == "Machines")
    machines.set_value("3").run()
    next(each for each in app.text_input if each.label == "Meeting point").set_value("host7:29500").run()
    assert not app.exception
    button(app, "Launch").click().run()
    (run,) = store.list_runs()
    assert run.status.state == "queued"
    assert not run.alive()
    assert of(run).model_dump() == {"kind": "nodes", "nodes": 3, "gpus": 1, "endpoint": "host7:29500"}
    assert "--rdzv-endpoint host7:29500" in app.code[0].value, "to copy"


def test_a_meeting_point_is_asked_for_before_the_launch() -> None:
    saved(Recipe())
    app = page("train")
    next(each for each in app.get("button_group") if each.label == "Where it runs").set_value("nodes").run()
    assert "no meeting point yet" in texts(app)
    button(app, "Launch").click().run()
    assert not app.exception
    assert not store.list_runs()


def test_a_number_of_machines_that_cannot_be_holds_the_launch() -> None:
    saved(Recipe())
    app = page("train")
    next(each for each in app.get("button_group") if each.label == "Where it runs").set_value("nodes").run()
    next(each for each in app.text_input if each.label == "Machines").set_value("1").run()
    assert button(app, "Launch").disabled
    assert "2 to 1000; kept at 2" in texts(app).replace("\\", "")


def test_what_is_missing_for_a_cluster_is_said_before_the_launch() -> None:
    saved(Recipe())
    app = page("train")
    next(each for each in app.get("button_group") if each.label == "Where it runs").set_value("slurm").run()
    assert "submitit is not installed." in texts(app) or "There is no Slurm here." in texts(app)
    button(app, "Launch").click().run()
    assert not app.exception
    assert not store.list_runs()
