"""The number field: what is kept is what is shown, or all that starts something waits."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from finetune_core.cli.shared import changed
from finetune_core.parts import Head, Loss, Mixing, Optimizer, Part, Schedule, Transform
from finetune_core.parts.numbers import written
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from pages.ui.kit.state import draft_file
from tests.core.parts.test_numbers import ALPHABET
from tests.pages.conftest import ROOT, draft, saved

Open = Callable[[str], AppTest]
PLACES = {
    Head: "model.head",
    Schedule: "phases.0.schedule",
    Optimizer: "training.optimizer",
    Loss: "training.loss",
    Mixing: "training.mix",
    Transform: "augment.0",
}
EPOCHS, BATCH, RATE = "field:phases.0.epochs", "field:training.batch_size", "field:phases.0.learning_rate"
TYPED = [
    *("7", " 7 ", "0", "-3", "−3", "99999", "2.5", "2,5", "5 epochs", "5 apples", "", " ", "1,000", "1.000"),
    *("1\u202f000", "0,003", "0.003", "1e-3", "1·10⁻³", "1E−3", "1e999", "nan", "inf", "true", "yes", "0x10"),
    *("1_0", "20 %", "٣", "1/3", "1,234"),
]
HURRIED = settings(
    max_examples=50,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],  # each example draws a page, so that shrinking would take minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def _words(app: AppTest) -> str:
    return "\n".join(element.value for element in (*app.markdown, *app.caption))


def _parts() -> list[object]:
    return [
        pytest.param(place, part, id=f"{family.__name__}-{part.kind}")
        for family, place in PLACES.items()
        for part in family.kinds().values()
        if any(knob.scale for knob in part.knobs())
    ]


def _fields() -> None:
    from pages.ui.kit import fields, state

    for knob in state.value_at(state.value("place")).knobs():
        if knob.type != "list" and knob.name != "active":
            fields.field(f"{state.value('place')}.{knob.name}")


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch, open_page: Open, blooms: None) -> AppTest:
    return open_page("train")


@HURRIED
@given(
    key=st.sampled_from(
        ["field:phases.0.patience", BATCH, "field:training.optimizer.weight_decay", "field:training.ema"]
    ),
    text=st.sampled_from(TYPED) | st.text(ALPHABET, max_size=8),
)
def test_what_is_kept_is_what_is_shown_or_launch_waits(train: AppTest, key: str, text: str) -> None:
    train.text_input(key=key).set_value(text).run()
    assert not train.exception
    path = key.removeprefix("field:")
    kept = (draft() if draft_file().exists() else Recipe()).model_dump()
    for step in path.split("."):
        kept = kept[int(step) if step.isdigit() else step]
    shown = train.text_input(key=key).value
    if shown == written(kept):
        assert _understood(path, text, kept)
    else:
        assert shown == text
        assert train.button(key="primary").disabled
        assert f"; kept at {written(kept)}" in _words(train).replace("\\", "")
        train.text_input(key=key).set_value(written(kept)).run()
    assert not train.button(key="primary").disabled


def _understood(path: str, text: str, kept: object) -> bool:
    """Whether `--set` reads the same number of this text."""
    value = changed(Recipe(), [f"{path}={text}"]).model_dump()
    for step in path.split("."):
        value = value[int(step) if step.isdigit() else step]
    return value == pytest.approx(kept, rel=1e-11)  # a third is kept as it is shown


@pytest.mark.parametrize(("place", "part"), _parts())
def test_every_number_of_every_part_goes_through_the_field(place: str, part: type[Part]) -> None:
    """Also of parts to come: each is shown as it is written, and what does not fit stays beside what is kept."""
    saved(Recipe().with_value(place, part().model_dump(mode="json")))
    app = AppTest.from_function(_fields, default_timeout=30)
    app.session_state["place"] = place
    app.run()
    for knob in part.knobs():
        if knob.scale is None or knob.high is None:
            continue
        field = app.text_input(key=f"field:{place}.{knob.name}")
        shown = knob.scale.shown(knob.default)
        assert field.value == shown
        field.set_value(written(knob.high * 10 + 1)).run()
        assert knob.each.words() + (f"; kept at {shown}" if shown else "") in _words(app).replace("\\", "")
        app.text_input(key=f"field:{place}.{knob.name}").set_value(written(knob.high)).run()
        assert app.text_input(key=f"field:{place}.{knob.name}").value == written(knob.high)
        assert knob.each.words() not in "\n".join(each.value for each in app.markdown)
    assert not app.exception


def test_no_page_draws_a_number_otherwise() -> None:
    drawn = [file.name for file in (ROOT / "pages").rglob("*.py") if "number_input" in file.read_text(encoding="utf-8")]
    assert drawn == []


def test_no_page_starts_anything_otherwise() -> None:
    texts = {file.name: file.read_text(encoding="utf-8") for file in (ROOT / "pages").rglob("*.py")}
    launching = {name for name, text in texts.items() if "launch.start(" in text or "engines.begin(" in text}
    of_a_run = {"acting.py", "branching.py"}
    assert launching - of_a_run == {"asking.py", "finder.py", "measuring.py", "train.py"}
    assert not any("shell.waiting(" in text for text in texts.values())
    for name in ("rate.py", "racing.py", "measuring.py", "scouting.py", "doubting.py", "straining.py", "train.py"):
        assert "shell.start(" in texts[name]


class TestWrongEntries:
    """They stand until they are mended or what they stand for has changed, and hold back what would start."""

    def test_a_wrong_entry_holds_all_starts_and_says_which(self, open_page: Open, blooms: None) -> None:
        app = open_page("train")
        app.text_input(key=EPOCHS).set_value("0").run()
        assert app.button(key="primary").disabled
        assert "epochs" in app.button(key="primary").help
        assert "“0” cannot be kept. 1 to 1000; kept at 5." in _words(app)
        for page, key in (("rate", "primary"), ("layers", "primary"), ("data", "primary")):
            app = app.switch_page(f"pages/views/{page}.py").run()
            assert app.button(key=key).disabled, page
            assert app.button(key=key).help == "Mend first: epochs."
        app = app.switch_page("pages/views/layers.py").run()
        assert app.button(key="measure-timm-resnet10t").disabled
        app = app.switch_page("pages/views/train.py").run()
        assert app.text_input(key=EPOCHS).value == "0", "it is still there when one comes back"
        app.text_input(key=EPOCHS).set_value("6").run()
        assert not app.button(key="primary").disabled
        assert draft().phases[0].epochs == 6

    def test_a_click_that_comes_with_the_entry_starts_nothing(self, open_page: Open, blooms: None) -> None:
        app = open_page("layers")
        app.text_input(key="rate:0:layer4").set_value("much")
        app.button(key="measure-timm-resnet10t").click().run()
        app = open_page("train")
        app.text_input(key=EPOCHS).set_value("0")
        app.button(key="primary").click().run()
        app = open_page("rate")
        app.text_input(key=RATE).set_value("much")
        app.button(key="primary").click().run()
        assert not app.exception
        assert store.list_runs() == []

    def test_it_is_given_up_with_one_click(self, open_page: Open, blooms: None) -> None:
        app = open_page("train")
        app.text_input(key=EPOCHS).set_value("99999").run()
        next(button for button in app.button if button.label == "Keep 5").click().run()
        assert app.text_input(key=EPOCHS).value == "5"
        assert not app.button(key="primary").disabled

    def test_it_goes_when_its_value_changes_elsewhere(self, open_page: Open, blooms: None) -> None:
        app = open_page("train")
        app.text_input(key=EPOCHS).set_value("0").run()
        saved(Recipe().with_value("phases.0.epochs", 11))  # by another tab
        app.run()
        assert app.text_input(key=EPOCHS).value == "11"
        assert not app.button(key="primary").disabled

    def test_it_does_not_come_back_with_the_value_that_it_was_typed_over(self, open_page: Open, blooms: None) -> None:
        app = open_page("train")
        app.text_input(key=EPOCHS).set_value("0").run()
        for epochs in (11, 5):
            saved(Recipe().with_value("phases.0.epochs", epochs))  # by another tab
            app.run()
        assert app.text_input(key=EPOCHS).value == "5"

    def test_another_value_changed_elsewhere_leaves_it(self, open_page: Open, blooms: None) -> None:
        app = open_page("train")
        app.text_input(key=EPOCHS).set_value("0").run()
        app.text_input(key=BATCH).set_value("16").run()
        assert app.text_input(key=EPOCHS).value == "0"
        assert app.button(key="primary").disabled

    def test_a_fresh_session_shows_what_is_kept(self, open_page: Open, blooms: None) -> None:
        app = open_page("train")
        app.text_input(key=EPOCHS).set_value("0").run()
        assert open_page("train").text_input(key=EPOCHS).value == "5"

    def test_it_goes_with_its_phase(self, open_page: Open, blooms: None) -> None:
        phase = Recipe().phases[0]
        saved(Recipe(phases=(phase, phase)))
        app = open_page("train")
        app.text_input(key=EPOCHS).set_value("0").run()
        app = app.switch_page("pages/views/layers.py").run()
        app.button(key="phase-delete").click().run()
        assert len(draft().phases) == 1
        app = app.switch_page("pages/views/train.py").run()
        assert app.text_input(key=EPOCHS).value == "5"

    def test_a_groups_wrong_rate_goes_with_the_groups(self, open_page: Open, blooms: None) -> None:
        app = open_page("layers")
        app.text_input(key="rate:0:layer4").set_value("1,234").run()
        assert "1.234 or 1234? Write one of them; kept at 0.00099" in _words(app).replace("\\", "")
        assert app.button(key="primary").help == "Mend first: learning rate of layer4."
        app.button_group(key="preset").set_value("head_only").run()
        assert not app.button(key="primary").disabled

    def test_it_goes_with_a_new_recipe(self, open_page: Open, blooms: None) -> None:
        app = open_page("train")
        app.text_input(key=EPOCHS).set_value("0").run()
        app.button(key="primary")
        app = app.switch_page("pages/views/home.py").run()
        app.button(key="primary").click().run()
        app = app.switch_page("pages/views/train.py").run()
        assert app.text_input(key=EPOCHS).value == "5"


class TestSteps:
    """A click on − or + goes to the next round number."""

    @pytest.mark.parametrize(("key", "up", "down"), [(RATE, "0.005", "0.001")])
    def test_a_logarithmic_knob(self, open_page: Open, key: str, up: str, down: str) -> None:
        app = open_page("rate")
        app.button(key=f"plus:{key}").click().run()
        assert app.text_input(key=key).value == up
        app.button(key=f"minus:{key}").click().run()
        app.button(key=f"minus:{key}").click().run()
        assert app.text_input(key=key).value == down
        assert draft().phases[0].learning_rate == 0.001

    def test_whole_numbers_end_at_their_bounds(self, open_page: Open, blooms: None) -> None:
        saved(Recipe().with_value("phases.0.epochs", 999))
        app = open_page("train")
        app.button(key=f"plus:{EPOCHS}").click().run()
        assert draft().phases[0].epochs == 1000
        assert app.button(key=f"plus:{EPOCHS}").disabled

    def test_a_step_mends_a_wrong_entry(self, open_page: Open, blooms: None) -> None:
        app = open_page("train")
        app.text_input(key=EPOCHS).set_value("no").run()
        app.button(key=f"plus:{EPOCHS}").click().run()
        assert (app.text_input(key=EPOCHS).value, draft().phases[0].epochs) == ("6", 6)
        assert not app.button(key="primary").disabled

    def test_a_step_goes_on_from_what_was_typed_in_the_same_breath(self, open_page: Open, blooms: None) -> None:
        app = open_page("train")
        app.text_input(key=EPOCHS).set_value("41")
        app.button(key=f"plus:{EPOCHS}").click().run()
        assert draft().phases[0].epochs == 42

    def test_a_slider_and_its_field_agree(self, open_page: Open, blooms: None) -> None:
        app = open_page("train")
        key = "field:training.ema"
        app.text_input(key=key).set_value("0,995").run()
        assert app.slider(key=f"slide:{key}").value == 0.995
        app.text_input(key=key).set_value("2").run()
        assert app.slider(key=f"slide:{key}").value == 0.995
        app.slider(key=f"slide:{key}").set_value(0.5).run()
        assert app.text_input(key=key).value == "0.5"
        assert not app.button(key="primary").disabled


def test_a_groups_rate_is_kept_as_it_was_typed(open_page: Open) -> None:
    app = open_page("layers")
    for text, shown in (("0,0007", "0.0007"), ("1e-5", "1e-5"), ("0.00012345678", "0.00012345678")):
        app.text_input(key="rate:0:layer4").set_value(text).run()
        phase = draft().phases[0]
        assert app.text_input(key="rate:0:layer4").value == shown
        assert phase.learning_rate * phase.multipliers["layer4"] == pytest.approx(float(shown), rel=1e-14)
