"""The Runs page: hundreds of runs at rest, looked for, compared, noted, thrown away, taken away and brought in."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from finetune_core import places
from finetune_core.data.kept import Kept
from finetune_core.recipe import Phase, Recipe
from finetune_core.recipe.changes import Made
from finetune_core.runs import store
from finetune_core.runs.shelf import exchange, notes, summaries, trash
from finetune_core.runs.shelf.notes import Notes
from finetune_core.runs.states import predictions
from finetune_core.runs.states.predictions import Predictions
from finetune_core.runs.store import Run
from pages.ui.kit import state
from pages.ui.shelf import listing
from tests.pages.conftest import draft
from tests.pages.test_running import button, page, texts, trained

HOSTILE = "![x](http://evil.example/a.png) <img src=x onerror=alert(1)> $x$ :red[y]"


def ticking(app: AppTest, *ids: str) -> AppTest:
    """The page with these runs ticked in its table."""
    shown = app.dataframe[0].value["id"].tolist()
    runs = {one.id: one for one in summaries.summaries()}
    key = listing.key_of([runs[name] for name in shown])
    rows = [shown.index(name) for name in ids]
    app.session_state[key] = {"selection": {"rows": rows, "columns": [], "cells": []}}
    return app.run()


def answered(run: Run, right: int) -> Run:
    wanted = np.zeros(200, np.int64)
    outputs = np.zeros((200, 12), np.float32)
    outputs[np.arange(200), (np.arange(200) >= right).astype(int)] = 1
    predictions.save(run, Predictions(tuple(map(str, range(200))), wanted, outputs, 1))
    return run


def test_one_unreadable_run_takes_nothing_down():
    good, bad = trained(Recipe(name="good")), trained(Recipe(name="bad"))
    bad.status_file.write_bytes(b"\xff\xfe")
    for name in ("home", "runs", "run", "train"):
        app = page(name, run=good.id)
        assert not app.exception, name
    app = page("runs")
    table = app.dataframe[0].value.set_index("id")
    assert table.loc[bad.id, "state"] == "✕ Unreadable"
    assert table.loc[good.id, "state"] == "✓ Finished"
    assert "status.json is damaged" in texts(app)
    app = ticking(app, bad.id)
    button(app, "To the trash").click().run()
    assert [one.id for one in summaries.summaries()] == [good.id]


@pytest.mark.parametrize("name", ["x" * 5000, HOSTILE, "nul\0byte", ".trash", ".."])
def test_any_name_in_the_address_gives_a_plain_card(name: str):
    trained(Recipe())
    app = page("run", run=name)
    assert not app.exception
    assert "run" in texts(app)
    assert "![x](" not in texts(app)


def test_what_a_person_looks_for_is_shown_and_ticks_stay_with_their_runs():
    two, *_ = (trained(Recipe(name=name)) for name in ("a paper", "b paper", "c"))
    notes.write(two, Notes(tags=("paper",), star=True))
    app = ticking(page("runs"), two.id)
    assert "**a paper**" in texts(app)
    app.text_input(key="runs-find").set_value("paper").run()
    assert app.dataframe[0].value["name"].tolist() == ["b paper", "a paper"]
    assert "2 of 3 runs" in texts(app)
    assert "**a paper**" in texts(app), "it stands in another row now"
    app.text_input(key="runs-find").set_value("").run()
    app.multiselect(key="runs-Tags").set_value(["paper"]).run()
    assert app.dataframe[0].value["id"].tolist() == [two.id]
    app.multiselect(key="runs-Tags").set_value([]).run()
    app.text_input(key="runs-find").set_value("nothing like it").run()
    assert "None of the 3 runs" in texts(app)


def test_notes_are_written_on_the_page_and_drawn_plainly():
    run = trained(Recipe(name=HOSTILE))
    app = ticking(page("runs"), run.id)
    assert "![x](" not in texts(app)
    key = next(each.key for each in app.text_area if each.key.startswith("text:"))
    app.text_area(key=key).set_value(HOSTILE).run()
    assert not app.exception
    assert notes.read(run).text == HOSTILE
    for name in ("home", "runs"):
        app = page(name, run=run.id)
        assert not app.exception
        assert "![x](" not in texts(app)


@pytest.mark.parametrize("name", ["run", "runs"])
def test_a_run_is_renamed_by_its_pencil_and_called_so_everywhere(name: str):
    run = trained(Recipe())
    made = "Blooms · resnet10t · last two stages"
    assert page("runs").dataframe[0].value["name"].tolist() == [made]

    def rename(to: str) -> AppTest:
        app = ticking(page("runs"), run.id) if name == "runs" else page("run", run=run.id)
        app.button(key="rename").click().run()
        field = app.text_input(key=f"name:{run.id}")
        assert field.proto.placeholder == made
        field.set_value(to)
        return button(app, "Rename").click().run()

    app = rename("The first that\n worked")
    assert not app.exception
    assert notes.read(run).name == "The first that worked"
    assert page("run", run=run.id).title[0].value == "The first that worked"
    table = page("runs").dataframe[0].value
    assert (table["name"].tolist(), table["made"].tolist()) == (["The first that worked"], [made])
    rename("x" * 5000)
    assert notes.read(run).name == "x" * notes.LONGEST_NAME
    assert "![x](" not in texts(rename(HOSTILE))
    assert page("runs").dataframe[0].value["name"].tolist() == [HOSTILE], "a cell holds plain text"
    rename("  ")
    assert page("run", run=run.id).title[0].value == made


def test_a_dialog_stays_open_while_its_page_is_drawn_anew_and_no_longer():
    """Streamlit closes one that a run of the page does not draw, as when a run begins or ends while somebody types."""
    run = trained(Recipe())
    app = page("run", run=run.id)
    app.button(key="rename").click().run()
    app.run().run()
    assert app.text_input(key=f"name:{run.id}")
    app.switch_page("pages/views/runs.py").run()
    assert not [each for each in app.text_input if each.key == f"name:{run.id}"]
    app.switch_page("pages/views/run.py").run()
    assert not [each for each in app.text_input if each.key == f"name:{run.id}"]


def test_the_pencil_of_a_row_asks_for_its_run():
    one, two = trained(Recipe()), trained(Recipe())
    state.keep(listing.RENAMED, {"row": 1})
    listing._rename([two.id, one.id])
    assert state.value(listing._TO_RENAME) == one.id
    state.keep(listing._TO_RENAME, None)


def test_the_course_of_a_run_on_home_says_what_it_is_of():
    trained(Recipe(), epochs=3)
    drawn = [each.proto.body for each in page("home").get("html") if "polyline" in each.proto.body]
    assert len(drawn) == 1
    assert 'aria-label="Accuracy by epoch"' in drawn[0]


def test_runs_on_other_images_are_not_laid_over_each_other_without_a_word():
    photos = Recipe(name="mine").with_value("data.source", {"kind": "folder", "path": "/nowhere/photos"})
    runs = [trained(recipe) for recipe in (Recipe(name="theirs"), Recipe(name="again"), photos)]
    app = ticking(page("runs"), runs[0].id, runs[1].id)
    assert "measured on different" not in texts(app)
    app = ticking(page("runs"), *(run.id for run in runs))
    assert not app.exception
    assert "measured on different data\\: “theirs”, “again” on Blooms; “mine” on photos" in texts(app)
    runs[0].save_begun(Kept(("a", "b"), ("1.png",), ("2.png", "3.png")))
    runs[1].save_begun(Kept(("a", "b"), ("2.png",), ("1.png", "3.png")))
    app = ticking(page("runs"), runs[0].id, runs[1].id)
    assert "different validation images\\: “theirs” on 2 images of Blooms; “again” on 2 images of Blooms" in texts(app)


def test_a_run_that_was_changed_is_described_and_offered_as_it_ended():
    run = trained(Recipe(name="longer").with_value("phases.0.epochs", 2))
    assert "on the way" not in texts(page("run", run=run.id, tab="Recipe"))
    run.keep_change(Made(step=12, phase=0, values={"epochs": 6, "thaw": ["*"]}).saved())
    app = page("run", run=run.id, tab="Recipe")
    assert not app.exception
    assert "Blooms · resnet10t · everything · 6 epochs" in texts(app).replace("\\", "")
    assert "epochs: 6" in texts(app)
    assert "changes on the way" in texts(app)
    button(app, "Use this recipe").click().run()
    assert draft() == run.recipe_at()
    assert "such a run" in texts(page("run", run=run.id, tab="Code"))


def test_any_number_of_runs_is_laid_over_each_other():
    runs = [trained(Recipe(name=f"run {number}").with_value("training.seed", number)) for number in range(4)]
    app = ticking(page("runs"), *(run.id for run in runs))
    assert not app.exception
    table = app.table[0].value
    assert list(table.index) == ["Best accuracy", "Trained", "Seed"]
    assert list(table.columns) == ["run 0", "run 1", "run 2", "run 3"]
    assert "kept no answers" in texts(app), "these are from before answers were kept"
    trained(Recipe(name="numbers").with_value("data.source", {"kind": "blooms"}))
    many = [trained(Recipe(name=f"more {number}")) for number in range(8)]
    app = ticking(page("runs"), *(run.id for run in [*runs, *many]))
    assert "The first 10 of 12 are drawn." in texts(app)


def test_runs_whose_names_look_the_same_stand_side_by_side():
    names = ("a  b", "a b", "x" * 500, "x" * 501)
    runs = [trained(Recipe(name=name).with_value("training.seed", seed)) for seed, name in enumerate(names)]
    app = ticking(page("runs"), *(run.id for run in runs))
    assert not app.exception
    assert len({*app.table[0].value.columns}) == len(runs)


def test_what_differs_is_said_in_words():
    one = Recipe(name="one").with_value("phases.0.thaw", ["*"]).with_value("training.optimizer", {"kind": "sgd"})
    other = Recipe(name="other", phases=(Phase(epochs=5, multipliers={"layer4": 0.5}), Phase(epochs=3)))
    runs = [trained(recipe) for recipe in (one, other)]
    app = ticking(page("runs"), *(run.id for run in runs))
    assert not app.exception
    table = app.table[0].value
    table.index = [words.replace("\\", "") for words in table.index]
    assert table.loc["Phase 1: Thawed groups"].to_dict() == {"one": "everything", "other": "head only"}
    assert table.loc["Optimizer"].to_dict() == {"other": "AdamW", "one": "SGD"}
    assert {"Phase 1: Rate per group: layer4", "Phase 2: Epochs"} <= {*table.index}
    assert not [place for place in table.index if "." in place]


def test_which_is_better_is_said_in_words():
    small, large = answered(trained(Recipe(name="small")), 150), answered(trained(Recipe(name="large")), 185)
    app = ticking(page("runs"), small.id, large.id)
    assert not app.exception
    assert "“large” is better than “small”\\: accuracy 92.5% against 75.0%" in texts(app)
    answered(small, 184)
    app = ticking(page("runs"), small.id, large.id)
    assert "not distinguishable" in texts(app)


@pytest.mark.parametrize("text", [b'{"kind": "epoch", oh\n', b"\xff\n", b""])
def test_a_run_whose_records_are_damaged_stops_no_other(text: bytes):
    good, bad = trained(Recipe(name="good")), trained(Recipe(name="bad"))
    bad.records_file.write_bytes(text)
    if not text:
        bad.records_file.unlink()
        bad.records_file.mkdir()
    app = ticking(page("runs"), good.id, bad.id)
    assert not app.exception
    assert "Which is better?" in texts(app)


def test_to_the_trash_back_and_emptied():
    one, two = trained(Recipe(name="one")), trained(Recipe(name="two"))
    app = ticking(page("runs"), one.id, two.id)
    button(app, "All 2 to the trash").click().run()
    assert "No runs yet" in texts(app)
    app.multiselect(key="trash-chosen").set_value([one.id]).run()
    button(app, "Bring back").click().run()
    assert [run.id for run in summaries.summaries()] == [one.id]
    assert button(app, "Empty the trash").disabled
    app.checkbox(key="trash-sure").check().run()
    button(app, "Empty the trash").click().run()
    assert trash.thrown_away() == []
    assert two.path.exists() is False


def test_slimming_is_offered_where_it_frees_something():
    run = trained(Recipe())
    for file in (run.best, run.last):
        file.write_bytes(b"0" * 1_000_000)
    app = ticking(page("runs"), run.id)
    assert "about 1.0 MB become free" in texts(app)
    button(app, "Keep the best weights only").click().run()
    assert not run.last.exists()
    assert run.best.exists()


def test_a_zip_file_is_brought_in_and_a_bad_one_refused(tmp_path: Path):
    run = trained(Recipe(name="sent").with_value("data.source", {"kind": "folder", "path": "/nowhere/photos"}))
    whole = exchange.export_run(run, tmp_path / "run.zip").read_bytes()
    shutil.rmtree(places.runs_dir())
    app = page("runs")
    app.file_uploader(key="run-zip-0").upload("bad.zip", b"nothing").run()
    assert "cannot be read as a zip file" in texts(app).replace("\\", "")
    app.file_uploader(key="run-zip-0").upload("run.zip", whole).run()
    assert not app.exception
    (came,) = summaries.summaries()
    assert came.name == "sent"
    assert not app.file_uploader(key="run-zip-1").value, "closed, and empty"
    assert f"{came.id} came in." in texts(app).replace("\\", "")
    assert f"run={came.id}" in [link.proto.query_string for link in app.get("page_link")]
    assert "/nowhere/photos" in texts(app).replace("\\", ""), "its images are not here"
    app.run()
    assert len(summaries.summaries()) == 1, "and once is enough"
    assert "came in." not in texts(app)


def test_with_none_active_nothing_is_read_again(monkeypatch: pytest.MonkeyPatch):
    for number in range(30):
        trained(Recipe(name=f"run {number}"), epochs=1)
    app = page("runs")
    monkeypatch.setattr(store.Run, "status", property(lambda run: pytest.fail("read again")))
    app.run()
    assert not app.exception
    assert len(app.dataframe[0].value) == 30


def test_a_star_is_given_by_a_click():
    one, two = trained(Recipe(name="one")), trained(Recipe(name="two"))
    app = page("runs")
    assert app.dataframe[0].value["star"].tolist() == ["☆", "☆"]
    notes.write(one, Notes(star=True))
    app = page("runs")
    assert app.dataframe[0].value["star"].tolist() == ["☆", "★"]
    app.toggle(key="runs-starred").set_value(True).run()
    assert app.dataframe[0].value["id"].tolist() == [one.id]
    assert two.id
    assert json.loads(one.notes_file.read_text())["star"] is True


BARE = '{"kind": "event", "step": 3}\n{"kind": "event", "step": 4, "rule": "x", "name": "alarm", "text": "t"}\n'


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("targets.json", "{", "Reached **82.0%** validation accuracy in epoch"),
        ("changes.jsonl", '{"values": 7}\n', "The change"),
        ("lineage.json", '{"run": 5}', "lineage.json is damaged."),
        ("metrics.jsonl", BARE + '{"kind": "epoch", "step": 3}\n', "3 records cannot be read and are left out."),
    ],
)
def test_a_run_with_a_damaged_file_says_so_in_words(file: str, text: str, told: str):
    run = trained(Recipe())
    with (run.path / file).open("w" if file == "targets.json" else "a") as damaged:
        damaged.write(text)
    for tab in ("Charts", "Checkpoints"):
        app = page("run", run=run.id, tab=tab)
        assert not app.exception
        if told in texts(app).replace("\\", ""):
            break
    else:
        pytest.fail("not a word of it")


def test_an_alarm_may_lack_what_to_do():
    run = trained(Recipe())
    bare = {
        "kind": "event",
        "name": "alarm",
        "step": 4,
        "text": "Hot. It is.",
        "rule": "x",
        "level": "warn",
        "title": "Hot",
    }
    for mend in ({}, {"mend": None}, {"mend": {"title": "Cool"}}):
        places.append_line(run.records_file, json.dumps({**bare, **mend}))
        app = page("run", run=run.id)
        assert not app.exception
        assert "**Hot**" in texts(app)


def test_what_is_noted_here_and_elsewhere_at_the_same_time_is_kept():
    run = trained(Recipe(name="one"))
    notes.write(run, Notes(tags=("old",)))
    app = ticking(page("runs"), run.id)
    app.text_area(key=f"text:{run.id}").set_value("Ours")
    notes.write(run, Notes(star=True, tags=("old", "theirs")))
    app.run()
    assert notes.read(run) == Notes(star=True, tags=("old", "theirs"), text="Ours")
    app.multiselect(key=f"tags:{run.id}").set_value(["theirs"]).run()
    assert notes.read(run) == Notes(star=True, tags=("theirs",), text="Ours")


def test_a_star_for_a_run_that_has_gone_is_told():
    run = trained(Recipe())
    trash.throw_away(run)
    state.keep(listing.STARRED, {"row": 0})
    listing._toggle_star([run.id])
    assert state.take_note().what == f"There is no run {run.id}."
