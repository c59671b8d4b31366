"""A recipe survives YAML, refuses what it does not know, and says so in words."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_core.errors import UserError
from finetune_core.parts.schedules import OneCycle
from finetune_core.recipe import Phase, Recipe, load, loads, parse


def test_the_default_recipe_survives_yaml(tmp_path: Path) -> None:
    Recipe().save(tmp_path / "recipe.yaml")
    assert load(tmp_path / "recipe.yaml") == Recipe()


@settings(deadline=None)  # a busy machine is no mistake
@given(rate=st.floats(1e-9, 100.0), epochs=st.integers(1, 1000), share=st.floats(0.0, 0.95))
def test_any_valid_recipe_survives_yaml(rate: float, epochs: int, share: float) -> None:
    phase = Phase(learning_rate=rate, epochs=epochs, schedule=OneCycle(pct_start=share), multipliers={"stem": 0.1})
    recipe = Recipe(phases=(phase, phase), name="Blüten: ein Versuch")
    assert parse(yaml.safe_load(recipe.to_yaml())) == recipe


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        ("training.batch_sise", 3, "training.batch_sise"),
        ("phases.0.schedule.kind", "wavy", "one_cycle"),
        ("phases.0.learning_rate", -1, "phases.0.learning_rate"),
        ("phases.0.multipliers", {"stem": 0}, "stem"),
        ("phases", [], "at least one phase"),
        ("phases.7.epochs", 1, "phases.7.epochs"),
        ("model.head", {"kind": "mlp", "width": 3}, "model.head.width"),
        ("version", 3, "version"),
    ],
)
def test_a_wrong_value_is_named(path: str, value: object, word: str) -> None:
    with pytest.raises(UserError) as caught:
        Recipe().with_value(path, value)
    assert word in str(caught.value)


def test_one_value_can_be_changed_by_path() -> None:
    recipe = Recipe().with_value("phases.0.multipliers.layer4", 0.1).with_value("model.head", {"kind": "mlp"})
    assert recipe.phases[0].multipliers["layer4"] == 0.1
    assert recipe.model.head.kind == "mlp"
    assert Recipe().phases[0].multipliers["layer4"] != 0.1


@pytest.mark.parametrize("text", ["{", "- a\n- b", "", "version: 1\nfoo: 2"])
def test_a_broken_file_is_a_users_mistake(tmp_path: Path, text: str) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(UserError):
        load(tmp_path / "recipe.yaml")


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, "holds too much"),
        ("a: &a [*a]", "holds too much"),
        ("x: " + "[" * 30_000, "50 levels deep"),
        ("- " * 30_000, "50 levels deep"),
        ("version: 2\nphases:\n" + "- {epochs: 3}\n" * 300_000, "more than 1,000,000 letters"),
    ],
)
def test_a_file_that_would_fill_the_memory_or_end_the_process_is_refused(tmp_path: Path, text: str, says: str) -> None:
    """libyaml recurses in C: thirty thousand brackets were a segmentation fault."""
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(UserError, match=says):
        load(tmp_path / "r.yaml")
    with pytest.raises(UserError, match=says):
        loads(text)


def test_a_missing_file_is_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load(tmp_path / "nowhere.yaml")


def test_reading_a_recipe_needs_no_torch() -> None:
    code = (
        "import sys; from finetune_core import recipe, machine; "
        "from finetune_core.runs import store, launch, preflight; "
        "from finetune_core.recipe import plan; from finetune_core.network import catalogue; "
        "recipe.Recipe().to_yaml(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
