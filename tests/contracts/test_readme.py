"""What the README shows is so: its commands are those of the parser, and each line and block does what it says."""

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from finetune_core import cli
from finetune_core.places import ROOT
from finetune_core.recipe import Recipe, load
from finetune_core.runs import store

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
PROGRAM = "python -m finetune_core "
LINES = [line.removeprefix(PROGRAM) for _, block in BLOCKS for line in block.splitlines() if line.startswith(PROGRAM)]
STAYS = ("studio", "sweep", "serve")  # go on behind the command; tests of their own start them
NOT_NOW = ("stop", "pause", "resume", "set", "move", "cancel")  # a finished run is neither at work nor waits: code 2


def words(line: str) -> list[str]:
    return shlex.split(line, comments=True)


def test_the_list_of_commands_is_the_parsers_own() -> None:
    assert {words(line)[0] for line in LINES} == set(cli.commands().names())


def test_every_line_works_in_its_order(
    tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.effect_noise((80, 60), 90).save("photo.jpg")
    Path("PICTURES").mkdir()
    Image.effect_noise((80, 60), 90).save("PICTURES/one.jpg")
    for line in LINES:
        command, *rest = words(line)
        if command in STAYS:
            continue
        if command != "restore":  # which is about the one that was thrown away just now
            run, other = ([each.id for each in store.list_runs()] + ["RUN", "OTHER"])[:2]
        code = cli.main([command, *({"RUN": run, "OTHER": other}.get(word, word) for word in rest)])
        assert code == (2 if command in NOT_NOW else 0), f"{line}: {capsys.readouterr().err}"
        if command == "init":
            assert load(Path("recipe.yaml")) == Recipe()
            tiny.save(Path("recipe.yaml"))  # the same commands, but seconds instead of minutes
    assert len(load(Path("two.yaml")).phases) == 2
    assert "torch" in Path("train.py").read_text()
    assert 3 in {run.recipe.epochs for run in store.list_runs()}, "--set was heard"


def test_the_model_loads_in_plain_timm(
    tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    [block] = [block for language, block in BLOCKS if language == "python" and "timm.create_model" in block]
    tiny.save(tmp_path / "recipe.yaml")
    assert cli.main(["train", str(tmp_path / "recipe.yaml")]) == 0
    monkeypatch.chdir(store.list_runs()[0].checkpoints)
    names: dict = {}
    ours = block.replace("resnet10t", "test_resnet").replace("12", "3")
    exec(f"import timm, safetensors.torch\n{ours}", names)
    assert names["model"].get_classifier().out_features == 3
