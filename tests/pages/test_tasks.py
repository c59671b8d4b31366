"""Tags and numbers on the pages: from the table on Data to what a finished run says."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from finetune_core import recipe as recipes
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.work.worker import work
from tests.pages.conftest import component

Open = Callable[[str], AppTest]


@pytest.fixture
def draft(tmp_path: Path, tiny: Recipe) -> Path:
    """A draft on a table of twelve images with a number and tags."""
    random = np.random.default_rng(0)
    lines = ["file,age,tags"]
    for number in range(12):
        Image.fromarray(random.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{number},{'even' if number % 2 == 0 else 'odd big'}")
    (tmp_path / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    file = tmp_path / "runs" / "draft.yaml"
    file.parent.mkdir()
    tiny.with_value("data.source", {"kind": "table", "path": str(tmp_path / "labels.csv"), "labels": "tags"}).save(file)
    return file


def texts(app: AppTest) -> str:
    return "\n".join(element.value for element in [*app.markdown, *app.caption, *app.text])


def test_another_kind_of_label_is_one_click_and_the_loss_another(open_page: Open, draft: Path) -> None:
    app = open_page("data")
    app.button_group(key="field:data.source.task").set_value("multi_label").run()
    assert not app.exception
    assert recipes.load(draft).task.key == "multi_label"
    assert {metric.label: metric.value for metric in app.metric}["Tags"] == "3"
    assert "Cross-entropy does not fit the data" in texts(app)
    next(button for button in app.button if button.label == "Use Binary cross-entropy").click().run()
    assert recipes.load(draft).training.loss.kind == "bce"
    assert "does not fit" not in texts(app)
    app = open_page("train")
    assert set(app.button_group(key="kind:training.loss").options) == {"Binary cross-entropy", "Soft F1"}


def test_another_kind_of_label_of_a_source_that_another_tab_has_replaced_does_nothing(
    open_page: Open, draft: Path, tiny: Recipe
) -> None:
    app = open_page("data")
    tiny.save(draft)
    app.button_group(key="field:data.source.task").set_value("multi_label").run()
    assert not app.exception
    assert recipes.load(draft) == tiny


@pytest.mark.parametrize(
    ("task", "labels", "words"), [("multi_label", "tags", "big, odd"), ("regression", "age", "age 1")]
)
def test_tags_and_numbers_stand_below_their_pictures_as_text(
    open_page: Open, draft: Path, task: str, labels: str, words: str
) -> None:
    made = recipes.load(draft).with_value("data.source.labels", labels).with_value("data.source.task", task)
    made.save(draft)
    [shown] = [each.proto for each in open_page("data").get("image")]
    assert len(shown.imgs) == 12
    assert shown.imgs[1].caption == shown.imgs[1].alt == words


def test_numbers_show_their_spread(open_page: Open, draft: Path) -> None:
    made = recipes.load(draft).with_value("data.source.task", "regression").with_value("data.source.labels", "age")
    made.with_value("training.loss", {"kind": "smooth_l1"}).save(draft)
    app = open_page("data")
    assert {metric.label: metric.value for metric in app.metric}["Numbers"] == "1"
    assert not [box for box in app.selectbox if box.key == "sheet-class"]  # nothing to choose between
    assert component(app, "thaw_chart")


@pytest.mark.parametrize(
    ("task", "labels", "loss", "words"),
    [
        ("multi_label", "tags", "bce", "validation mAP in epoch"),
        ("regression", "age", "l1", "validation mean error in"),
    ],
)
def test_a_finished_run_speaks_of_its_own_score(open_page: Open, draft: Path, task, labels, loss, words) -> None:
    made = recipes.load(draft).with_value("data.source.task", task).with_value("data.source.labels", labels)
    run = store.create(made.with_value("training.loss", {"kind": loss}).with_value("phases.0.epochs", 1))
    assert work(run) == 0
    app = open_page("run")
    assert words in texts(app)
    score = made.task.score
    assert score.shown(run.status.best_score) in {metric.value for metric in app.metric}
    app = open_page("runs")
    assert ("error" in app.dataframe[0].value.columns) == (task == "regression")
    app = open_page("home")
    assert score.shown(run.status.best_score) in {metric.value for metric in app.metric}


def test_classes_in_file_names_are_shown_as_one_types(open_page: Open, draft: Path, tmp_path: Path) -> None:
    source = {"kind": "file_names", "path": str(tmp_path), "pattern": r"^\d*(\d)$"}
    recipes.load(draft).with_value("data.source", source).save(draft)
    app = open_page("data")
    shown = app.dataframe[0].value
    assert shown.head(2).to_numpy().tolist() == [["0.png", "0"], ["1.png", "1"]]
    assert "names fit, with 10 classes" in texts(app)
    app.text_input(key="field:data.source.pattern").set_value(r"^1(\d)$").run()
    shown = app.dataframe[0].value
    assert shown["Class"][0] == "no class", "what is missed is seen first"
    app.text_input(key="field:data.source.pattern").set_value("(").run()
    assert not app.exception
    assert "no regular expression" in texts(app)


def test_columns_are_picked_from_those_that_are_there(open_page: Open, draft: Path) -> None:
    made = recipes.load(draft)
    app = open_page("data")
    columns = list(app.dataframe[0].value.columns)
    assert {"tags", "age"} <= {*columns}
    assert app.multiselect(key="pick:data.source.labels").options == columns
    app.multiselect(key="pick:data.source.labels").set_value(["age"]).run()
    assert recipes.load(draft).data.source.labels == "age"
    assert app.selectbox(key="pick:data.source.image").options == ["Found by looking", *columns]
    app.selectbox(key="pick:data.source.image").set_value("age").run()
    assert recipes.load(draft).data.source.image == "age", "their numbers lead to files, too"
    app.selectbox(key="pick:data.source.image").set_value("").run()
    app.multiselect(key="pick:data.source.labels").set_value([]).run()
    source = recipes.load(draft).data.source
    assert (source.image, source.labels) == ("", "")
    made.with_value("data.source.labels", "nothing such").save(draft)
    app = open_page("data")
    assert app.multiselect(key="pick:data.source.labels").value == ["nothing such"], "it can be taken away"


def test_lists_of_numbers_are_written_in_one_field(open_page: Open, draft: Path, images: Path) -> None:
    loss = {"kind": "cross_entropy", "balance": "table"}
    made = recipes.load(draft).with_value("data.source", {"kind": "folder", "path": str(images)})
    made.with_value("training.loss", loss).save(draft)
    app = open_page("train")
    assert "The table of class weights does not fit" in texts(app)
    app.text_input(key="field:training.loss.weights").set_value("1, 1; 10").run()
    assert recipes.load(draft).training.loss.weights == (1.0, 1.0, 10.0)
    assert "does not fit" not in texts(app)
    app.text_input(key="field:training.loss.weights").set_value("1, much").run()
    assert not app.exception
    assert r"For 'much'\: A number, 1e-9 to 10000; kept at 1, 1, 10" in texts(app)
    assert recipes.load(draft).training.loss.weights == (1.0, 1.0, 10.0), "nothing is lost"
    app.text_input(key="field:training.loss.weights").set_value("1 0 10").run()
    assert r"For '0'\: 1e-9 to 10000; kept at 1, 1, 10" in texts(app)
    app.text_input(key="field:training.loss.weights").set_value("0,5; 1,5; 10").run()
    assert app.text_input(key="field:training.loss.weights").value == "0.5, 1.5, 10"
    assert recipes.load(draft).training.loss.weights == (0.5, 1.5, 10.0)
