"""Home, Data, Augment, Model & layers, from the outside."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from finetune_core import recipe as recipes
from finetune_core.network import catalogue
from finetune_core.recipe import Recipe
from pages.ui.layers import picking
from tests.conftest import paint

Open = Callable[[str], AppTest]


@pytest.fixture
def draft(tmp_path: Path, tiny: Recipe) -> Path:
    """A draft on a small folder of real images."""
    file = tmp_path / "runs" / "draft.yaml"
    file.parent.mkdir()
    tiny.save(file)
    return file


def _code(app: AppTest) -> str:
    """What "Show the code" shows; the test bench forgets that it was opened."""
    app.session_state["code"] = True
    app.run()
    assert not app.exception, app.exception[0].value
    return next(element.value for element in reversed(app.code) if "import" in element.value)


def _texts(app: AppTest) -> str:
    return "\n".join(element.value for element in [*app.markdown, *app.caption, *app.text])


def test_home_opens_before_torch_is_loaded() -> None:
    script = """
import sys
from streamlit.testing.v1 import AppTest
app = AppTest.from_file("app.py", default_timeout=60).run()
assert not app.exception, app.exception
assert app.button(key="primary").label == "Start with Blooms"
print([name for name in ("torch", "torchvision", "timm") if name in sys.modules])
"""
    root = Path(__file__).resolve().parent.parent.parent
    answer = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_my_own_photos_leads_to_data(open_page: Open, tmp_path: Path) -> None:
    app = open_page("home")
    app.button(key="own-photos").click().run()
    assert not app.exception
    assert app.title[0].value == "Data"
    assert recipes.load(tmp_path / "runs" / "draft.yaml").data.source.kind == "folder"
    assert app.button(key="primary").disabled


def test_starting_with_blooms_sets_an_earlier_draft_aside(open_page: Open, draft: Path, tiny: Recipe) -> None:
    app = open_page("home")
    app.button(key="primary").click().run()
    assert recipes.load(draft) == Recipe()
    app = open_page("home")
    app.button(key="undo").click().run()
    assert recipes.load(draft) == tiny


def test_data_tells_counts_and_shows_pictures(open_page: Open, draft: Path) -> None:
    app = open_page("data")
    assert {metric.label: metric.value for metric in app.metric} == {
        "Images": "24",
        "Classes": "3",
        "For training": "18",
        "For validation": "6",
    }
    assert app.get("image")
    assert "flatnonzero(labels == label)" in _code(app)
    assert not app.button(key="primary").disabled


def test_data_shows_each_class_in_a_row_with_its_name_as_text(open_page: Open, draft: Path, tmp_path: Path) -> None:
    app = open_page("data")
    names = [each.value for each in app.markdown if ":small[:gray[8]]" in each.value]
    assert names == [f"class\\_{number}  :small[:gray[8]]" for number in range(3)]
    rows = [each.proto for each in app.get("image")]
    assert [each.imgs[0].alt for each in rows[:3]] == [f"Pictures of class_{number}." for number in range(3)]
    app.selectbox(key="sheet-class").set_value("class_1").run()
    assert [each.proto.imgs[0].alt for each in app.get("image")] == ["Pictures of class_1, page 1 of 1."]
    paint(tmp_path / "many", per_class=2, classes=30)
    recipes.load(draft).with_value("data.source.path", str(tmp_path / "many")).save(draft)
    assert len(open_page("data").get("image")) == 12, "more are leafed through"


def test_data_says_what_is_wrong_with_a_folder(open_page: Open, draft: Path, tmp_path: Path) -> None:
    app = open_page("data")
    app.text_input(key="field:data.source.path").set_value(str(tmp_path / "gone")).run()
    assert not app.exception
    assert "There is no folder" in _texts(app)
    assert app.button(key="primary").disabled


def test_data_names_unreadable_images(open_page: Open, draft: Path, images: Path) -> None:
    whole = open_page("data")
    assert "Every file can be read" not in _texts(whole), "the classes are small"
    (images / "class_0" / "broken.png").write_bytes(b"not a picture")
    (images / "class_0" / "cut.png").write_bytes((images / "class_0" / "0.png").read_bytes()[:-40])
    app = open_page("data")
    assert "2 files cannot be read" in _texts(app)
    train = open_page("train")
    assert train.button(key="primary").disabled, "what the page says is what the checks say"


def test_data_says_that_all_is_well_only_after_it_has_read_all(open_page: Open, draft: Path, tmp_path: Path) -> None:
    paint(tmp_path / "many", per_class=12)
    recipes.load(draft).with_value("data.source.path", str(tmp_path / "many")).save(draft)
    assert "Every file can be read" in _texts(open_page("data"))
    [folder] = (tmp_path / "cache" / "decoded").iterdir()
    assert folder.joinpath("pixels.bin").stat().st_size, "and training need not read it again"


def test_augment_shows_draws_and_switches_transforms(open_page: Open, draft: Path) -> None:
    app = open_page("augment")
    assert app.get("image")
    place = next(i for i, part in enumerate(Recipe().augment) if part.kind == "hue_shift")
    app.toggle(key=f"on:#{place}").set_value(True).run()
    assert not app.exception
    assert recipes.load(draft).augment[place].active
    assert "v2.ColorJitter(hue=0.05)" in _code(app)
    app.slider(key=f"slide:field:augment.#{place}.amount").set_value(0.4).run()
    assert recipes.load(draft).augment[place].amount == 0.4


@pytest.mark.parametrize("view", ["together", "single", "ladder"])
def test_every_view_of_augment_draws(open_page: Open, draft: Path, view: str) -> None:
    app = open_page("augment")
    app.button_group(key="augment-view").set_value(view).run()
    assert not app.exception
    assert app.get("image")
    app.button(key="redraw").click().run()
    app.button(key="others").click().run()
    assert not app.exception


def test_grey_images_are_chosen_with_the_data_and_seen_on_augment(open_page: Open, draft: Path) -> None:
    app = open_page("data")
    app.button_group(key="field:data.channels").set_value(1).run()
    assert not app.exception
    assert recipes.load(draft).data.channels == 1
    recipes.load(draft).with_value("augment.10.active", True).save(draft)
    app = open_page("augment")
    assert app.get("image")
    assert "fill=[117]" in _code(app)


def test_augment_mixes_images_and_says_where_that_does_not_fit(open_page: Open, draft: Path) -> None:
    app = open_page("augment")
    before = len(app.get("image"))
    app.button_group(key="kind:training.mix").set_value("mixup").run()
    assert not app.exception
    assert recipes.load(draft).training.mix.kind == "mixup"
    assert len(app.get("image")) == before + 1
    assert "mix = v2.MixUp(alpha=0.4, num_classes=3)" in _code(app)
    recipes.load(draft).with_value("training.loss", {"kind": "triplet"}).save(draft)
    app = open_page("augment")
    [told] = [each.value for each in app.markdown if "Triplet does not fit mixed images" in each.value]
    assert told.startswith(":blue["), "a choice is no mistake"
    assert len(app.get("image")) == before
    next(each for each in app.button if each.label == "Mix no images").click().run()
    assert recipes.load(draft).training.mix.kind == "none"
    assert "does not fit" not in _texts(app)


def test_layers_thaw_by_toggle_preset_and_rate(open_page: Open, draft: Path) -> None:
    app = open_page("layers")
    app.toggle(key="thaw:stem").set_value(False).run()
    assert "stem" not in recipes.load(draft).phases[0].thaw
    app.button_group(key="preset").set_value("last_stage").run()
    phase = recipes.load(draft).phases[0]
    assert phase.thaw == ("layer4", "head")
    assert phase.multipliers == {"layer4": 0.1}
    app.text_input(key="rate:0:layer4").set_value("5e-4").run()
    assert recipes.load(draft).phases[0].multipliers["layer4"] == pytest.approx(0.5)
    app.text_input(key="rate:0:head").set_value("2e-3").run()
    assert recipes.load(draft).phases[0].learning_rate == 2e-3
    assert not app.exception


def test_layers_warns_of_random_weights_and_of_nothing_thawed(open_page: Open, draft: Path) -> None:
    app = open_page("layers")
    assert "Random weights" in app.warning[0].value
    app.button_group(key="preset").set_value("head_only").run()
    app.toggle(key="thaw:head").set_value(False).run()
    assert app.button(key="primary").disabled


def _take_mobilenet() -> None:
    from finetune_core.network import catalogue, refit
    from pages.ui.layers import thawing

    thawing.take(refit.best_backbone(catalogue.entry("timm", "mobilenetv2_100")))


def test_the_catalogue_is_searched(open_page: Open, draft: Path) -> None:
    app = open_page("layers")
    app.button(key="change-backbone").click().run()
    assert not app.exception
    assert app.text_input(key="backbone-words")
    assert len(app.dataframe[0].value) == len(catalogue.GOOD_FIRST)
    assert all("vit" in entry.architecture for entry in picking.found(picking.Wish("vit tiny", ("timm",))))
    assert {entry.library for entry in picking.found(picking.Wish("resnet18", ("torchvision",)))} == {"torchvision"}


def test_another_backbone_refits_the_thawed_groups(open_page: Open, draft: Path) -> None:
    recipes.load(draft).with_value("phases.0.thaw", ["layer4", "head"]).save(draft)
    assert "Change" in [button.label for button in open_page("layers").button]
    # A rerun in Streamlit's test bench closes a dialog, so that its last click is taken without it.
    app = AppTest.from_function(_take_mobilenet, default_timeout=30).run()
    assert not app.exception
    recipe = recipes.load(draft)
    assert recipe.model.backbone.architecture == "mobilenetv2_100"
    assert recipe.phases[0].thaw == ("head",)
    assert recipe.phases[0].multipliers == {"stem": 0.1}  # both networks have a stem


def test_an_unknown_backbone_is_a_card_with_a_way_on(open_page: Open, draft: Path) -> None:
    recipes.load(draft).with_value("model.backbone.architecture", "resnet51").save(draft)
    app = open_page("layers")
    assert "no network called resnet51" in _texts(app)
    assert app.button(key="change-backbone")


def test_the_pictures_of_home_are_small() -> None:
    assets = Path(__file__).resolve().parent.parent.parent / "assets"
    assert (assets / "hero.jpg").stat().st_size < 200_000
    with Image.open(assets / "icon.png") as icon:
        assert icon.size == (128, 128)


def test_a_recipe_file_becomes_the_draft_and_the_one_before_is_kept(
    open_page: Open, draft: Path, tiny: Recipe, tmp_path: Path
) -> None:
    theirs = tiny.replace(name="theirs").with_value("training.batch_size", 7)
    app = open_page("home")
    app.file_uploader(key="recipe-file").upload("theirs.yaml", theirs.to_yaml().encode(), "text/yaml").run()
    assert not app.exception
    assert app.title[0].value == "Train"
    assert recipes.load(draft) == theirs
    assert recipes.load(draft.with_name("draft-before.yaml")) == tiny


@pytest.mark.parametrize("text", ["a: [", "training: {batch_sise: 3}", "\x00\xff", "- 1"])
def test_a_file_that_is_no_recipe_is_told_and_changes_nothing(open_page: Open, draft: Path, text: str) -> None:
    before = draft.read_text()
    app = open_page("home")
    app.file_uploader(key="recipe-file").upload("odd.yaml", text.encode("latin-1"), "text/yaml").run()
    assert not app.exception
    assert app.title[0].value == "Teach a model to see what you see"
    assert "recipe" in _texts(app).lower()
    assert draft.read_text() == before


def test_dropout_is_offered_where_the_backbone_has_it(open_page: Open, draft: Path) -> None:
    app = open_page("layers")
    app.slider(key="slide:field:model.backbone.drop_rate").set_value(0.3).run()
    assert recipes.load(draft).model.backbone.drop_rate == 0.3
    recipes.load(draft).with_value("model.backbone", {"kind": "torchvision", "architecture": "resnet18"}).save(draft)
    app = open_page("layers")
    assert "field:model.backbone.drop_rate" not in {slider.key for slider in app.slider}
