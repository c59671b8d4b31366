"""Tables and folders of strangers on the Data page: images, or a card that says what is wrong; never a traceback."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from PIL import Image
from streamlit.testing.v1 import AppTest

from finetune_core.cli import main
from finetune_core.recipe import Recipe
from tests.core.parts.sources.test_any_table import Written, tables
from tests.core.parts.sources.test_any_table import images as put_images
from tests.core.parts.sources.test_any_tree import Trees, grow

Open = Callable[[str], AppTest]


def show(app: AppTest) -> str:
    """Everything that the page says."""
    assert not app.exception, app.exception[0].value
    errors = [element.value for element in app.error]
    return "\n".join([*errors, *(element.value for element in [*app.markdown, *app.caption])])


def drawn(open_page: Open, tmp_path: Path, source: dict[str, str]) -> tuple[AppTest, str]:
    draft = tmp_path / "runs" / "draft.yaml"
    draft.parent.mkdir(exist_ok=True)
    Recipe().with_value("data.source", source).with_value("data.image_size", 32).save(draft)
    app = open_page("data")
    return app, show(app)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(written=tables())
def test_any_table_is_shown_or_its_row_is_named(open_page: Open, tmp_path: Path, written: Written) -> None:
    put_images(tmp_path)
    (tmp_path / "labels.csv").write_bytes(written.data)
    app, said = drawn(open_page, tmp_path, {"kind": "table", "path": str(tmp_path / "labels.csv")})
    shown = {metric.label: metric.value for metric in app.metric}
    if "Images" in shown and not written.wrong:
        assert shown["Images"] == str(len(written.said))
    elif written.wrong and "Images" not in shown:
        assert f"row {written.wrong}" in said.lower() or "comment line" in said or "split" in said


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(tree=Trees)
def test_any_tree_is_shown_or_refused_in_words(
    open_page: Open, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, tree: dict
) -> None:
    root = tmp_path_factory.mktemp("tree")
    grow(root, tree)
    drawn(open_page, tmp_path, {"kind": "folder", "path": str(root)})


def test_the_page_and_the_terminal_say_the_same_of_what_was_left_out(
    open_page: Open, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"):
        (tmp_path / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40)).save(tmp_path / "pets" / name)
    (tmp_path / "pets" / "dog" / "3.CR2").write_bytes(b"")
    _, said = drawn(open_page, tmp_path, {"kind": "folder", "path": str(tmp_path / "pets")})
    assert main(["data", str(tmp_path / "runs" / "draft.yaml"), "--quick"]) == 0
    note = capsys.readouterr().out.splitlines()[-1]
    assert note.startswith("Left out: 1 .cr2.")
    assert note in said.replace("\\", "")


def test_a_question_about_folders_is_answered_by_a_click(open_page: Open, tmp_path: Path) -> None:
    for name in ("1/cat/1", "1/cat/2", "1/dog/1", "2/cat/3", "2/dog/2", "2/dog/3"):
        (tmp_path / "days" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40)).save(tmp_path / "days" / f"{name}.png")
    app, said = drawn(open_page, tmp_path, {"kind": "folder", "path": str(tmp_path / "days")})
    assert "What are the classes" in said
    next(button for button in app.button if button.label == "cat, dog").click().run()
    show(app)
    assert {metric.label: metric.value for metric in app.metric}["Classes"] == "2"
    assert [each.value for each in app.metric if each.label == "Images"] == ["6"]
