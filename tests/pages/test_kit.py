"""The draft, the fields drawn from knobs, and the words for what was chosen."""

import json
from html import unescape
from pathlib import Path

import plotly.graph_objects as go
import pytest
from streamlit.testing.v1 import AppTest

from finetune_core import figures
from finetune_core import recipe as recipes
from finetune_core.figures.style import marks
from finetune_core.finder.versus import Result
from finetune_core.parts import FAMILIES, Part, changed_kind
from finetune_core.parts.optimizers import SGD, AdamW
from finetune_core.parts.sources import Folder
from finetune_core.parts.tasks import ONE_CLASS
from finetune_core.recipe import Recipe
from finetune_core.recipe.words import rate_words, run_words, source_words, thaw_words
from finetune_core.runs import preflight
from pages.ui.kit import dataset, shell
from pages.ui.kit.chart import LEGEND, drawn, harmless


def _every_part() -> list[type[Part]]:
    return [part for family in FAMILIES.values() for part in family.kinds().values()]


def _fields() -> None:
    from pages.ui.kit import fields

    for name in ("data", "training", "phases.0"):
        fields.knobs(name)
    fields.choice("model.head", "Head")
    fields.choice("phases.0.schedule", "Schedule")


def test_a_widget_writes_the_draft_and_the_file(tmp_path: Path) -> None:
    app = AppTest.from_function(_fields, default_timeout=30).run()
    assert not app.exception
    app.text_input(key="field:phases.0.epochs").set_value("7").run()
    assert recipes.load(tmp_path / "runs" / "draft.yaml").phases[0].epochs == 7


def test_a_new_session_finds_the_draft() -> None:
    app = AppTest.from_function(_fields, default_timeout=30).run()
    app.text_input(key="field:phases.0.epochs").set_value("9").run()
    again = AppTest.from_function(_fields, default_timeout=30).run()
    assert again.text_input(key="field:phases.0.epochs").value == "9"


def test_an_edit_by_another_tab_is_seen(tmp_path: Path) -> None:
    app = AppTest.from_function(_fields, default_timeout=30).run()
    draft = tmp_path / "runs" / "draft.yaml"
    draft.parent.mkdir(exist_ok=True)
    Recipe().with_value("phases.0.epochs", 11).save(draft)
    app.run()
    assert app.text_input(key="field:phases.0.epochs").value == "11"


def test_a_kind_is_chosen_by_click(tmp_path: Path) -> None:
    app = AppTest.from_function(_fields, default_timeout=30).run()
    app.button_group(key="kind:model.head").set_value("mlp").run()
    assert not app.exception
    assert recipes.load(tmp_path / "runs" / "draft.yaml").model.head.kind == "mlp"


def test_another_kind_keeps_what_both_have() -> None:
    assert changed_kind(AdamW(weight_decay=0.2), "sgd")["weight_decay"] == 0.2
    assert SGD.model_validate(changed_kind(AdamW(), "sgd")) == SGD()


def test_an_unreadable_draft_is_set_aside_and_said(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "draft.yaml").write_text("version: 1\nnonsense: 3\n")
    app = AppTest.from_function(_fields, default_timeout=30).run()
    assert not app.exception
    assert (tmp_path / "runs" / "draft-unreadable.yaml").is_file()


@pytest.mark.parametrize("cls", _every_part(), ids=lambda cls: f"{cls.__mro__[1].__name__}-{cls.kind}")
def test_every_slider_has_round_steps(cls: type[Part]) -> None:
    for knob in cls.knobs():
        if knob.type == "float" and not knob.log and knob.scale and None not in (knob.low, knob.high):
            assert 20 <= (knob.high - knob.low) / knob.scale.even_step() <= 1000


def test_words_for_the_default_recipe() -> None:
    recipe = Recipe()
    assert source_words(recipe) == "Blooms"
    assert thaw_words(recipe) == "layer3 + layer4 + head"
    assert rate_words(recipe) == "0.003"
    assert run_words(recipe) == "Blooms · resnet10t · layer3 + layer4 + head"
    assert [chip.page for chip in shell.chips(recipe)] == ["data", "augment", "layers", "layers", "rate", "train"]


def test_care_where_the_folder_is_missing(tmp_path: Path) -> None:
    recipe = Recipe()
    assert not preflight.glance(recipe)
    source = Folder(path=str(tmp_path / "gone"))
    assert "not there" in preflight.glance(recipe.replace(data=recipe.data.replace(source=source)))["data"].title
    weights = recipe.with_value("model.backbone.weights", {"kind": "random"})
    assert "Random" in preflight.glance(weights)["layers"].title


@pytest.mark.parametrize("path", ["/", "~nobody/weights.pth", "a\0b", "/none.pth"])
def test_weights_that_are_no_file_are_seen_at_a_glance(path: str) -> None:
    recipe = Recipe().with_value("model.backbone.weights", {"kind": "file", "path": path})
    assert preflight.glance(recipe)["layers"].title == "The weights file is not there."


def test_text_of_people_is_not_read_as_markdown() -> None:
    assert shell.plain("a_b*c") == "a\\_b\\*c"
    assert shell.plain(":red[x]") == "\\:red\\[x\\]"


def test_a_command_in_a_hint_is_code_and_nothing_else_is() -> None:
    assert shell.with_code("See `python -m x *y*`. Not *this*.") == r"See `python -m x *y*`. Not \*this\*."
    assert shell.with_code("a ` alone [x](y)") == shell.plain("a ` alone [x](y)")
    for runs in ("``[x](http://z)``", "`[x](http://z)```", "```[x](http://z)`", "`` ` [x](http://z) ``"):
        assert "[x](" not in shell.with_code(runs), "none of these is code to Markdown as it is to a person"


def test_a_folder_that_changes_is_listed_anew(images: Path) -> None:
    source = Folder(path=str(images))
    before = len(dataset.samples(source))
    first = next((images / "class_0").iterdir())
    (images / "class_0" / "another.png").write_bytes(first.read_bytes())
    assert len(dataset.samples(source)) == before + 1


def _widgets_that_call_back() -> None:
    import streamlit as st

    from pages.ui.kit import state

    taken: list[float] = []
    told = state.callback(state.seed("n", 0.5), taken.append)
    for reported in (0.5, None, 0.7):
        state.keep("n", reported)
        told["on_change"](*told["args"])
    before = state.draft()
    state.edit_value("model.backbone.weights.tag", "of a part that has gone")
    state.edit_value("phases.7.epochs", 3)
    st.write(f"taken {taken}, draft {'kept' if state.draft() == before else 'changed'}, {state.take_note()}")


def test_only_what_a_person_changed_reaches_the_draft() -> None:
    app = AppTest.from_function(_widgets_that_call_back, default_timeout=30).run()
    assert not app.exception
    assert app.markdown[0].value == "taken [0.7], draft kept, None"


def _a_click_upon_a_click() -> None:
    import streamlit as st
    from streamlit.runtime.scriptrunner import RerunData, get_script_run_ctx

    from pages.ui.kit import state

    def typed() -> None:
        get_script_run_ctx().script_requests.request_rerun(RerunData())  # the browser sends the next click
        state.edit_value("phases.0.epochs", 7)
        state.keep("kept", True)

    st.button("Type", key="type", on_click=typed)
    st.caption("kept" if state.value("kept") else "lost")


def test_a_change_is_kept_whole_where_the_next_click_comes_while_it_is_taken(tmp_path: Path) -> None:
    app = AppTest.from_function(_a_click_upon_a_click, default_timeout=30).run()
    app.button(key="type").click().run()
    assert recipes.load(tmp_path / "runs" / "draft.yaml").phases[0].epochs == 7
    assert app.caption[0].value == "kept"


def test_a_legend_breaks_a_long_name_into_lines_and_cuts_only_what_no_name_should_be() -> None:
    name = "photos · mobilenetv2_035 · last two stages · rate 0.003 <b>&"
    whole, endless = (harmless(go.Figure(go.Scatter(name=each))).data[0].name for each in (name, "x" * 500))
    assert whole.replace("<br>", " ") == name.replace("&", "&amp;").replace("<", "&lt;")
    assert max(map(len, whole.split("<br>"))) < 55
    assert "<br>" in whole
    assert len(endless.replace("<br>", "")) == LEGEND
    assert endless.endswith("…")


def test_an_event_is_told_whole_in_lines_where_it_is_pointed_at() -> None:
    said = "Batch norm <b>drifts</b> in layer4 & the head: what is kept of it no longer fits what it is trained on"
    figure = go.Figure(layout_height=300)
    marks(figure, [{"name": "alarm", "step": step, "text": said} for step in (700, 701)], 2000)
    mark = json.loads(drawn(figure).figure)["data"][0]
    lines = unescape(mark["text"][0]).split("<br>")
    assert " ".join(lines) == f"{said} And 1 more like it."
    assert max(map(len, lines)) < 55
    assert "&lt;b>drifts" in mark["text"][0], "as words"
    assert mark["hovertemplate"].startswith("Step %{x:,}<br>")


def test_arms_are_told_beside_their_bars_in_lines_that_fit_and_apart() -> None:
    names = ["two, nothing between", "x" * 100, "x" * 100 + "y", "a <b>&"]
    found = [Result(name, {0: 0.9 - place / 10}) for place, name in enumerate(names)]
    made = drawn(figures.arms(found, ONE_CLASS.score, names[:1]))
    bars, said = json.loads(made.figure)["data"][:2]
    lines = [line for each in bars["y"] for line in unescape(each).split("<br>")]
    assert max(map(len, lines)) <= 16
    assert len({*bars["y"]}) == 4, "what is cut alike is one bar otherwise"
    assert bars["y"][0] == "two, nothing<br>between"
    assert bars["y"] == said["y"]
    assert said["text"][0] == ONE_CLASS.score.shown(0.9)
    assert "two, nothing between" in made.alt
    assert "a &lt;b>&amp; " in made.alt, "as words, whoever reads them"
