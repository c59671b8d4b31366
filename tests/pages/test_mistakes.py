"""Where a run is wrong, mended from its pictures, and trained again with that."""

from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.work.worker import work
from tests.pages.test_running import button, page, texts, wait_until


def test_from_a_mistake_to_a_run_that_does_without_it(tiny: Recipe) -> None:
    run = store.create(tiny.with_value("phases.0.epochs", 1))
    assert work(run) == 0
    app = page("run", run=run.id, tab="Mistakes")
    assert not app.exception
    assert "are taken for another class" in texts(app)
    table = app.dataframe[0].value
    assert int(table.to_numpy().sum()) == len(run.begun.valid)
    app.button_group(key=f"mistakes:{run.id}").set_value("hardest").run()
    assert not app.exception
    next(each for each in app.button if each.label == "Leave out").click().run()
    assert "Left out" in texts(app)
    wrong = next(each for each in app.button if each.label.startswith("Relabel as "))
    wrong.click().run()
    assert "Relabelled as" in texts(app)
    app = page("run", run=run.id, tab="Mistakes")
    assert "Relabelled as" in texts(app), "a reload keeps it"
    button(app, "Take back").click().run()
    assert "Left out" not in texts(app)
    assert "Relabelled as" in texts(app)
    button(app, "Train again with these").click().run()
    button(app, "Train").click().run()
    assert not app.exception
    made = next(each for each in store.list_runs() if each.id != run.id)
    assert [fix.kind for fix in made.recipe.data.fixes] == ["relabel"]
    assert made.recipe.replace(data=run.recipe.data) == run.recipe


def test_tags_have_no_confusions_and_say_so(tiny: Recipe) -> None:
    run = store.create(tiny)
    app = page("run", run=run.id, tab="Mistakes")
    assert not app.exception
    assert "Nothing to show" in texts(app)


def test_heat_maps_come_over_the_pictures(tiny: Recipe) -> None:
    run = store.create(tiny.with_value("phases.0.epochs", 1))
    assert work(run) == 0
    app = page("run", run=run.id, tab="Mistakes")
    app.button_group(key=f"mistakes:{run.id}").set_value("hardest").run()
    before = [each.proto.SerializeToString() for each in app.get("image")]
    app.toggle(key="heats").set_value(True).run()
    wait_until(lambda: not app.run().get("progress"))
    assert not app.exception
    after = [each.proto.SerializeToString() for each in app.get("image")]
    assert len(after) == len(before)
    assert after != before


def test_the_map_asks_for_a_click(tiny: Recipe) -> None:
    run = store.create(tiny.with_value("phases.0.epochs", 1))
    assert work(run) == 0
    app = page("run", run=run.id, tab="Mistakes")
    app.button_group(key=f"mistakes:{run.id}").set_value("map").run()
    wait_until(lambda: not app.run().get("progress"))
    assert not app.exception
    assert "Click a point" in texts(app)
