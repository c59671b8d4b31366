"""The example of a new part, taken out of README.md: one class, and it is found everywhere with no other edit."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest

from finetune_core import recipe as recipes
from finetune_core.cli import main
from finetune_core.data.pipeline import train_pipeline
from finetune_core.export import script
from finetune_core.parts import Transform
from finetune_core.recipe import Data, Recipe
from finetune_core.runs import store
from finetune_core.runs.work.worker import work
from tests.contracts import test_code, test_parts, test_transforms
from tests.core.data import test_channels

ROOT = Path(__file__).resolve().parents[2]
MODULE = "a_new_part"


@pytest.fixture
def new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Transform]]:
    """The example's class, registered by being imported, as at the end of the family's module; forgotten afterwards."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Add your own part")[2]
    example = section.partition("```python\n")[2].partition("```")[0]
    (tmp_path / f"{MODULE}.py").write_text(f"from finetune_core.parts.transforms import *\n\n\n{example}")
    monkeypatch.syspath_prepend(str(tmp_path))
    kinds = Transform.kinds()
    others = {kind: part for kind, part in kinds.items() if f'"{kind}"' not in example}  # someone may have pasted it
    monkeypatch.setattr(Transform, "_kinds", dict(others))
    importlib.import_module(MODULE)
    (kind,) = set(Transform.kinds()) - set(others)
    yield Transform.kinds()[kind]
    monkeypatch.undo()
    del sys.modules[MODULE]
    assert Transform.kinds() == kinds


@pytest.fixture
def with_new(tiny: Recipe, new: type[Transform]) -> Recipe:
    """A recipe of one epoch that uses it."""
    return tiny.with_value("phases.0.epochs", 1).replace(augment=(*tiny.augment, new(chance=0.9)))


def test_it_is_told_of_on_the_command_line(new: type[Transform], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parts", "--json"]) == 0
    (told,) = (part for part in json.loads(capsys.readouterr().out)["transform"] if part["kind"] == new.kind)
    assert (told["title"], told["about"]) == (new.title, new.about())


def test_it_is_added_to_an_earlier_draft_on_the_page(
    tiny: Recipe, new: type[Transform], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "runs" / "draft.yaml"
    file.parent.mkdir()
    tiny.save(file)  # which knows nothing of it
    monkeypatch.chdir(ROOT)
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run().switch_page("pages/views/augment.py").run()
    assert not [toggle.label for toggle in app.toggle if new.title in toggle.label]
    app.menu_button(key="add-transform").click(new.kind).run()
    assert not app.exception, app.exception[0].value
    assert recipes.load(file) == tiny.replace(augment=(*tiny.augment, new()))
    name = f"#{len(tiny.augment)}"
    assert app.toggle(key=f"on:{name}").label == f"**{new.title}**"
    app.slider(key=f"slide:field:augment.{name}.{new.strength}").set_value(0.7).run()
    assert recipes.load(file).augment[-1] == new(chance=0.7)
    assert app.get("image")


def test_a_run_uses_it_and_keeps_it(with_new: Recipe, new: type[Transform]) -> None:
    run = store.create(with_new)
    assert work(run) == 0
    assert f"kind: {new.kind}" in (run.path / "recipe.yaml").read_text()
    assert store.open_run(run.id).recipe.augment[-1] == new(chance=0.9)


def test_the_exported_script_does_it(with_new: Recipe) -> None:
    text = script.whole(with_new, script.gather(with_new, lambda *_: None))
    assert "v2.RandomSolarize(threshold=128, p=0.9)" in text
    compile(text, "train.py", "exec")


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_it_works_on_grey_colour_and_transparency(new: type[Transform], channels: int) -> None:
    image = torch.full((channels, 32, 32), 200, dtype=torch.uint8)
    view = train_pipeline((new(chance=1.0),), Data(image_size=32, channels=channels))(image)
    assert view[:3].eq(55).all()
    assert view[3:].eq(200).all(), "transparency is no colour"


def test_it_keeps_every_promise(new: type[Transform]) -> None:
    """The contracts that loop over the registry as it stood when the tests were collected."""
    test_parts.test_a_part_explains_itself(new)
    test_parts.test_a_part_survives_plain_data(new)
    test_parts.test_every_field_is_a_knob_with_help_and_bounds(new)
    test_transforms.test_the_image_keeps_its_size_and_kind_at_any_setting(new, 97)
    test_transforms.test_the_code_does_what_the_transform_does(new)
    test_transforms.test_one_knob_is_the_strength(new)
    test_transforms.test_the_strength_goes_from_hardly_anything_to_much(new)
    test_transforms.test_every_transform_says_what_it_teaches(new)
    test_transforms.test_nonsense_is_refused(new)
    for number in (1, 4):
        test_code.test_a_transforms_code_does_the_same_to_grey_and_transparent_images(new(), number)
    channels = test_channels.TestTransforms()
    channels.test_alpha_follows_what_moves_and_nothing_else(new)
    for number in (1, 3, 4):
        channels.test_it_works_on_any_channels(new, number)


def test_a_fresh_recipe_is_what_it_was(new: type[Transform]) -> None:
    assert new.kind not in {part.kind for part in Recipe().augment}
    test_transforms.test_the_standard_stack_offers_a_dozen_and_begins_moderately()
