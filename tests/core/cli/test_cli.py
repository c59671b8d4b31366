"""The command line: what it prints, and two plain lines and exit code 2 for every mistake that a person can mend."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import timm
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file
from torchvision import models

from finetune_core import machine, places
from finetune_core.cli import commands, main
from finetune_core.network import catalogue
from finetune_core.parts.backbones import Timm
from finetune_core.recipe import Recipe, load
from finetune_core.recipe.changes import Made
from finetune_core.runs import store
from finetune_core.runs.jobs import Experiment, Measure
from finetune_core.runs.work.worker import work
from finetune_core.training import timing
from tests.core.data.test_doctor import photo

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def file(tiny: Recipe, tmp_path: Path) -> Path:
    tiny.save(tmp_path / "recipe.yaml")
    return tmp_path / "recipe.yaml"


def _json(capsys: Capture, *arguments: object) -> object:
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def _mistake(capsys: Capture, *arguments: object) -> str:
    """The two lines of a command that must fail as a person's mistake."""
    assert main([str(argument) for argument in arguments]) == 2
    told = capsys.readouterr().err.strip().splitlines()[-2:]
    assert all(told)
    assert not any("Traceback" in line for line in told)
    return "\n".join(told)


def test_init_writes_the_default_recipe_and_overwrites_nothing(tmp_path: Path, capsys: Capture) -> None:
    assert main(["init", str(tmp_path / "r.yaml")]) == 0
    assert yaml.safe_load((tmp_path / "r.yaml").read_text()) == Recipe().model_dump(mode="json")
    assert "exists already" in _mistake(capsys, "init", tmp_path / "r.yaml")


def test_data_counts_by_split_and_says_what_was_left_out(tmp_path: Path, tiny: Recipe, capsys: Capture) -> None:
    for name in ("cat/1.png", "cat/2.png", "cat/3.png", "dog/1.png", "dog/2.png"):
        (tmp_path / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40)).save(tmp_path / "pets" / name)
    (tmp_path / "pets/dog/3.png").write_bytes(b"broken")
    (tmp_path / "pets/dog/4.CR2").write_bytes(b"")
    tiny.with_value("data.source", {"kind": "folder", "path": str(tmp_path / "pets")}).save(tmp_path / "r.yaml")
    told = _json(capsys, "data", tmp_path / "r.yaml", "--set", "data.valid_share=0.34")
    assert isinstance(told, dict)
    assert told["names"] == {"cat": {"train": 2, "valid": 1}, "dog": {"train": 2, "valid": 1}}
    assert (told["task"], told["images"], told["train"], told["valid"]) == ("single_label", 6, 4, 2)
    assert told["notes"] == ["Left out: 1 .cr2. Thaw cannot read such pictures: save them as JPEG or PNG."]
    assert any("1 file cannot be read" in each["title"] for each in told["findings"])
    assert main(["data", str(tmp_path / "r.yaml"), "--quick"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "One class: 2 classes, 4 images to train on, 2 to measure on."
    assert lines[3].split() == ["cat", "2", "1"]
    assert lines[-1].startswith("Left out: 1 .cr2")
    assert "cannot be read" not in "".join(lines)


def test_a_run_lends_its_recipe(file: Path, tiny: Recipe, capsys: Capture) -> None:
    run = store.create(tiny.with_value("phases.0.epochs", 7))
    assert _json(capsys, "plan", "--run", run.id) == _json(capsys, "plan", file, "--set", "phases.0.epochs=7")
    run.keep_change(Made(step=0, phase=0, values={"epochs": 2}).saved())
    assert _json(capsys, "plan", "--run", run.path) == _json(capsys, "plan", file, "--set", "phases.0.epochs=2")
    assert "No recipe was named" in _mistake(capsys, "plan")
    assert "Two recipes were named" in _mistake(capsys, "plan", file, "--run", run.id)
    assert "no run" in _mistake(capsys, "train", "--run", "gone")


def test_train_show_predict_and_plan_agree(file: Path, images: Path, capsys: Capture) -> None:
    assert main(["train", str(file), "--set", "phases.0.epochs=1"]) == 0
    folder = Path(capsys.readouterr().out.strip().splitlines()[-1])
    assert (folder / "checkpoints" / "best.safetensors").exists()
    steps = [r for r in store.open_run(folder).records()[0] if r["kind"] == "step"]
    planned = _json(capsys, "plan", file, "--set", "phases.0.epochs=1")
    assert planned == [{"step": step["step"], "lr": step["lr"]} for step in steps]
    assert _json(capsys, "runs")[0]["state"] == "finished"
    shown = _json(capsys, "show", folder.name)
    assert shown["recipe"]["phases"][0]["epochs"] == 1
    image = next(images.glob("*/*.png"))
    [answer] = _json(capsys, "predict", folder, image)
    assert {each["name"] for each in answer["answers"]} == {"class_0", "class_1", "class_2"}
    assert "cannot be read" in _mistake(capsys, "predict", folder, images / "nothing.png")


def test_groups_are_listed_stem_to_head_with_their_rates(file: Path, capsys: Capture) -> None:
    rows = _json(capsys, "groups", file, "--set", "phases.0.thaw=[head, layer4]", "--set", "phases.0.multipliers={}")
    assert [row["name"] for row in rows] == ["stem", "layer1", "layer2", "layer3", "layer4", "head"]
    assert [row["frozen"] for row in rows] == [True] * 4 + [False] * 2
    assert rows[-1]["lr"] == [1e-3]
    import timm

    count = sum(p.numel() for p in timm.create_model("test_resnet", num_classes=3).parameters())
    assert sum(row["parameters"] for row in rows) == count


def test_what_is_held_is_counted_and_the_tree_shows_where(file: Path, capsys: Capture) -> None:
    hold = ("--set", "phases.0.hold=['type:Conv2d']")
    rows = {row["name"]: row for row in _json(capsys, "groups", file, *hold)}
    assert [rows[name]["held"] for name in ("layer1", "head")] == [[2], [0]]
    assert all(row["held"] == [0] for row in _json(capsys, "groups", file))
    assert "No layer is a Conv9d" in _mistake(capsys, "groups", file, "--set", "phases.0.hold=['type:Conv9d']")
    nodes = {node["path"]: node for node in _json(capsys, "tree", file)}
    convolutions = [node for node in nodes.values() if node["type"] == "Conv2d" and node["group"] == "layer1"]
    assert len(convolutions) == 2
    assert nodes["fc"] == {"path": "fc", "type": "Linear", "parameters": rows["head"]["parameters"], "group": "head"}
    assert nodes["layer4"]["parameters"] == rows["layer4"]["parameters"]
    assert main(["tree", str(file), "--depth", "1"]) == 0
    assert all(not line.startswith(" ") for line in capsys.readouterr().out.splitlines())


def test_groups_and_decay_that_are_not_there_are_told_before_anything_starts(file: Path, capsys: Capture) -> None:
    told = _mistake(capsys, "train", file, "--set", "training.decay={layer9: 0}")
    assert "There is no layer group called layer9" in told
    assert "layer9 cannot be split" in _mistake(capsys, "train", file, "--set", "model.split=[layer9]")
    assert not store.list_runs()


def test_a_network_is_timed_once_and_remembered(file: Path, capsys: Capture) -> None:
    found = _json(capsys, "measure", file)
    assert Path(found.pop("run")).is_dir()
    assert found["answer_ms"] > 0
    recipe = load(file)
    assert timing.known(recipe) == {"timm test_resnet": timing.Latency(**found)}
    assert timing.known(recipe.with_value("data.image_size", 64)) == {}, "another size is another question"
    assert store.list_runs() == [], "a measurement is no training run"
    stopped = store.create(
        timing.to_measure(recipe, recipe.model.backbone).with_value("data.image_size", 64), Measure()
    )
    assert work(stopped, watch=lambda _: stopped.ask("stop")) == 0
    assert stopped.status.state == "stopped"
    assert not timing.known(stopped.recipe)


def test_one_image_is_timed_with_several_networks_and_none_of_them_ends_it(file: Path) -> None:
    recipe = load(file)
    timing.keep(timing.to_measure(recipe, Timm(architecture="test_resnet")), timing.Latency(9.0, 640.0))
    names = ("timm/test_resnet", "torchvision/vit_b_16", "timm/test_efficientnet", "torchvision/inception_v3")
    run = store.create(recipe, Measure(backbones=names))
    assert work(run) == 0
    found = timing.known(recipe)
    assert found["timm test_efficientnet"].answer_ms
    assert found["timm test_resnet"].train_images_per_s == 640.0, "what is not measured again stays"
    assert found["timm test_resnet"].answer_ms != 9.0
    assert found["torchvision inception_v3"] == timing.Latency(None), "images of 32 px become too small for it"
    told = [row["text"] for row in run.records()[0] if row["kind"] == "event" and row["name"] == "not_timed"]
    assert any(each.startswith("torchvision/inception_v3: ") for each in told)
    summary = run.job.summary(run.records()[0], run.recipe)
    assert summary["backbones"]["torchvision/inception_v3"] is None
    assert "cannot look at images of this size" in "\n".join(run.job.lines([], run.recipe))
    left = timing.unknown(recipe, [catalogue.entry("timm", name) for name in ("resnet50", "test_resnet", "resnet18")])
    assert [each.architecture for each in left] == ["resnet18", "resnet50"], "the lightest first"


def test_a_network_that_is_not_there_is_told_before_any_is_timed(file: Path, capsys: Capture) -> None:
    assert "resnet51" in _mistake(capsys, "measure", file, "--backbones", "timm/resnet51")


def test_lr_find_gives_a_curve_and_suggestions(file: Path, capsys: Capture) -> None:
    found = _json(capsys, "lr-find", file, "--steps", "40")
    assert len(found["curve"]) > 10
    assert set(found["suggestions"]) == {"steepest", "lowest", "minimum_tenth", "valley", "slide"}
    assert {"confidence", "why", "between", "note"} <= set(found)
    assert store.list_runs() == [], "a search is no training run"


def test_lr_find_tries_several_seeds_down_and_one_group(file: Path, capsys: Capture) -> None:
    options = ("--steps", "12", "--tries", "2", "--down", "--group", "head")
    found = _json(capsys, "lr-find", file, *options)
    assert [point["trial"] for point in found["curve"]] == [0] * 12 + [1] * 12
    assert found["curve"][0]["lr"] == pytest.approx(0.1)
    assert found["curve"][11]["lr"] == pytest.approx(1e-7)
    assert "no thawed layer group called tail" in _mistake(capsys, "lr-find", file, "--group", "tail")
    assert "make no test" in _mistake(capsys, "lr-find", file, "--low", "20")
    assert "1 to 1000" in _mistake(capsys, "lr-find", file, "--tries", "0")


def test_a_race_names_its_winner(file: Path, capsys: Capture) -> None:
    found = _json(capsys, "race", file, "--rates", "1e-6", "3e-3", "--steps", "15")
    assert [place["lr"] for place in found["places"]] == [1e-6, 3e-3]
    assert found["winner"] == 3e-3
    assert store.list_runs() == [], "a race is no training run"


def test_what_a_class_expects_is_one_word_of_a_command() -> None:
    given = commands().parser.parse_args(["experiment", "r.yaml", "--hands", "{none: 2, '0.9': 1}"])
    assert Experiment.parsed({"hands": given.hands}, "The command").hands == {"none": 2, "0.9": 1}


def test_stop_and_resume(file: Path, capsys: Capture) -> None:
    run = store.create(Recipe())
    assert "not running" in _mistake(capsys, "stop", run.id)
    assert main(["train", str(file)]) == 0
    done = Path(capsys.readouterr().out.strip().splitlines()[-1])
    assert "cannot be resumed" in _mistake(capsys, "resume", done)


def test_parts_lists_every_part_with_its_knobs(capsys: Capture) -> None:
    table = _json(capsys, "parts")
    assert {"one_cycle", "cosine", "constant"} <= {part["kind"] for part in table["schedule"]}
    [knob] = [knob for knob in table["optimizer"][0]["knobs"] if knob["name"] == "weight_decay"]
    assert {"name", "title", "help", "type", "default", "low", "high"} <= set(knob)


# --- mistakes --------------------------------------------------------------------------------------------------------


def _with_source(folder: Path | str) -> list[str]:
    return ["--set", f"data.source={{kind: folder, path: {folder}}}"]


def test_a_missing_folder(file: Path, tmp_path: Path, capsys: Capture) -> None:
    assert "nowhere" in _mistake(capsys, "train", file, *_with_source(tmp_path / "nowhere"))


def test_an_empty_folder(file: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "empty").mkdir()
    assert "empty" in _mistake(capsys, "train", file, *_with_source(tmp_path / "empty"))


def test_one_class_only(file: Path, images: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "one").mkdir()
    (images / "class_0").rename(tmp_path / "one" / "class_0")
    assert "class" in _mistake(capsys, "train", file, *_with_source(tmp_path / "one"))


def test_a_class_with_one_image(file: Path, images: Path, capsys: Capture) -> None:
    for image in list((images / "class_1").iterdir())[1:]:
        image.unlink()
    assert "class_1" in _mistake(capsys, "train", file)


def test_an_unreadable_image_is_named_and_can_be_left_out(file: Path, images: Path, capsys: Capture) -> None:
    (images / "class_1" / "broken.png").write_bytes(b"\x89PNG no more")
    told = _mistake(capsys, "train", file)
    assert "broken.png" in told
    assert "skip" in told
    assert main(["train", str(file), "--set", "data.unreadable=skip"]) == 0


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("training.batch_sise=3", "batch_sise"),
        ("training.batch_size=0", "training.batch_size"),
        ("training.batch_size", "no '='"),
        ("model.backbone.architecture=resnet1800", "resnet18"),
        ("phases.0.thaw=[layer9]", "layer9"),
        ("phases.0.multipliers={layer9: 0.1}", "layer9"),
        ("training.device=tpu", "training.device"),
    ],
)
def test_a_wrong_value(file: Path, change: str, word: str, capsys: Capture) -> None:
    assert word in _mistake(capsys, "train", file, "--set", change)


@pytest.mark.parametrize(
    ("phase", "weights", "word"),
    [
        ({"thaw": ["head"]}, "random", "Random weights are frozen"),
        ({"thaw": ["stem"]}, "file", "The head is frozen, but it is new"),
        ({"thaw": ["layer2", "head"]}, "file", "layer3, layer4 frozen between thawed groups"),
    ],
)
def test_what_trains_poorly_is_said_before_it_trains(
    file: Path, tmp_path: Path, capsys: Capture, phase: dict, weights: str, word: str
) -> None:
    if weights == "file":
        save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "resnet.safetensors")
    chosen = {"kind": weights, **({"path": str(tmp_path / "resnet.safetensors")} if weights == "file" else {})}
    recipe = load(file).with_value("model.backbone.weights", chosen)
    recipe.with_value("phases", [{"epochs": 1, **phase}]).save(file)
    assert main(["train", str(file)]) == 0
    told = capsys.readouterr()
    assert f"Warning: Layers: {word}" in told.err
    assert "Warning" not in told.out, "what other programs read stays clean"


def test_weights_of_another_architecture(file: Path, tmp_path: Path, capsys: Capture) -> None:
    save_file({"conv1.weight": torch.zeros(3, 3, 3, 3)}, tmp_path / "odd.safetensors")
    weights = f"model.backbone.weights={{kind: file, path: {tmp_path / 'odd.safetensors'}}}"
    assert "odd.safetensors" in _mistake(capsys, "train", file, "--set", weights)


def test_a_pickle_is_not_executed(file: Path, tmp_path: Path, capsys: Capture) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "pwned"),)

    torch.save(Evil(), tmp_path / "evil.pth")
    weights = f"model.backbone.weights={{kind: file, path: {tmp_path / 'evil.pth'}}}"
    assert "evil.pth" in _mistake(capsys, "train", file, "--set", weights)
    assert not (tmp_path / "pwned").exists()


def test_no_disk_space_for_the_cache(file: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    places.cache_dir().mkdir()
    full = places.cache_dir()  # another disk than that of the runs
    room = lambda path: usage(10**9, 10**9, 1000 if Path(path).is_relative_to(full) else 10**9)  # noqa: E731
    monkeypatch.setattr("shutil.disk_usage", room)
    assert "THAW_CACHE" in _mistake(capsys, "train", file)
    assert not list(places.cache_dir().glob("decoded/*")), "nothing half-made is left"


def test_a_port_that_is_taken(capsys: Capture) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert f"Port {port} is taken" in _mistake(capsys, "studio", "--port", port)


def test_a_torch_pair_that_does_not_belong_together(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"torch": "2.14.1+cpu", "torchvision": "0.29.1"}
    monkeypatch.setattr("importlib.metadata.version", versions.__getitem__)
    assert "do not belong together" in _mistake(capsys, "studio")
    monkeypatch.setitem(versions, "torch", "2.14.1")
    monkeypatch.setitem(versions, "torchvision", "0.20.0")
    assert "do not belong together" in _mistake(capsys, "studio")
    monkeypatch.setitem(versions, "torchvision", "0.29.1")
    machine.check_torch_pair()


def test_the_installed_torch_pair_belongs_together() -> None:
    machine.check_torch_pair()


def test_phases_by_preset_and_rule_and_as_milestones(file: Path, tmp_path: Path, capsys: Capture) -> None:
    out, text = tmp_path / "two.yaml", tmp_path / "milestones.txt"
    assert (
        main(["phases", str(file), "--preset", "two_stage", "--rates", "slice", "1e-6", "1e-5", "--out", str(out)]) == 0
    )
    assert "frozen" in capsys.readouterr().out
    first, second = load(out).phases
    assert first.thaw == ("head",)
    assert second.learning_rate == 1e-5
    assert main(["phases", str(out), "--export", "--set", "phases.0.schedule={kind: one_cycle}"]) == 0
    text.write_text(capsys.readouterr().out)
    made = _json(capsys, "phases", file, "--milestones", text)
    assert [phase["thaw"] for phase in made] == [["head"], ["*"]]
    assert "no phase 3" in _mistake(capsys, "phases", out, "--rates", "decay", "0.7", "--phase", "3")
    assert "no rule best" in _mistake(capsys, "phases", out, "--rates", "best")
    assert "takes numbers" in _mistake(capsys, "phases", out, "--rates", "decay", "much")
    assert "cannot be read" in _mistake(capsys, "phases", out, "--milestones", tmp_path / "none.txt")


@pytest.mark.parametrize("arguments", [["train"], ["nonsense"], ["show", "nothing"], []])
def test_a_command_that_is_not_understood(arguments: list[str], capsys: Capture) -> None:
    _mistake(capsys, *arguments)


def test_a_mistake_is_two_lines_and_exit_code_2_in_a_shell_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "finetune_core", "train", str(tmp_path / "none.yaml")]
    done = subprocess.run(command, cwd=places.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 2
    assert done.stdout == ""


def test_images_of_odd_kinds_are_predicted_too(file: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(["train", str(file)]) == 0
    folder = capsys.readouterr().out.strip().splitlines()[-1]
    Image.new("LA", (300, 20)).save(tmp_path / "odd.png")
    assert main(["predict", folder, str(tmp_path / "odd.png")]) == 0


def test_backbones_are_searched_with_their_facts(capsys: Capture) -> None:
    found = _json(capsys, "backbones", "--search", "resnet 18")
    assert {"resnet18", "resnetv2_18"} <= {each["architecture"] for each in found}
    one = next(each for each in found if (each["library"], each["architecture"]) == ("torchvision", "resnet18"))
    assert one["parameters"] == sum(p.numel() for n, p in models.resnet18().named_parameters() if "fc" not in n)
    assert one["macs"] == pytest.approx(1.81e9, rel=0.01)
    assert one["top1"] == pytest.approx(69.758)
    assert main(["backbones", "--search", "resnet 18"]) == 0
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == len(found)
    assert "Must it answer quickly" in told.err
    assert "No network is called nonesuch" in _mistake(capsys, "backbones", "--search", "nonesuch")


def test_freeze_to_and_the_advice_for_so_many_images(file: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "frozen.yaml"
    assert main(["phases", str(file), "--freeze-to", "-2", "--out", str(out)]) == 0
    assert load(out).phases[0].thaw == ("layer4", "head")
    assert "freeze_to 9 does not fit" in _mistake(capsys, "phases", file, "--freeze-to", "9")
    assert main(["groups", str(file)]) == 0
    assert "About 6 training images per class, few, for a network that has learned nothing" in capsys.readouterr().err


def test_the_advice_takes_the_likeness_as_measured_or_as_it_is_said(
    tiny: Recipe, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, out = tmp_path / "bundled.yaml", tmp_path / "thawed.yaml"
    bundled = tiny.with_value("model", Recipe().model.model_dump(mode="json"))
    bundled.with_value("phases.0.multipliers", {}).save(file)
    assert main(["groups", str(file)]) == 0
    assert "per class, few: the new head alone" in capsys.readouterr().err, "nothing was measured unasked"
    told = _json(capsys, "groups", file, "--likeness", "measure")
    assert isinstance(told, dict)
    assert [each["name"] for each in told["groups"]] == ["stem", "layer1", "layer2", "layer3", "layer4", "head"]
    advice = told["advice"]
    assert (advice["images_per_class"], advice["likeness"], advice["preset"]) == (6, None, "head_only")
    assert "A linear head on the last features tells 100% of 24 images right" in advice["reason"]
    monkeypatch.setattr("finetune_core.finder.scout.scout", lambda *given: pytest.fail("measured again"))
    assert main(["groups", str(file), "--likeness", "measure"]) == 0
    assert "nearly all at either place" in capsys.readouterr().err, "as it was measured"
    assert main(["groups", str(file), "--likeness", "unlike"]) == 0
    said = capsys.readouterr().err
    assert "few, unlike what the network learned from" in said
    assert "--thaw last_stage" in said
    assert main(["phases", str(file), "--thaw", "last_stage", "--out", str(out)]) == 0
    assert (load(out).phases[0].thaw, load(out).phases[0].multipliers) == (("layer4", "head"), {"layer4": 0.1})


def test_advice_is_refused_where_it_cannot_be_had(
    tiny: Recipe, sources: dict[str, dict[str, str]], file: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert main(["groups", str(file), "--likeness", "alike"]) == 0
    assert "Random weights: there is nothing that your images could be like." in capsys.readouterr().err
    tiny.with_value("data.source", sources["multi_label"]).save(tmp_path / "tags.yaml")
    assert "Advice is for classes" in _mistake(capsys, "groups", tmp_path / "tags.yaml", "--likeness", "measure")
    lost = tiny.with_value("model.backbone.weights", {"kind": "file", "path": "/nowhere.safetensors"})
    lost.save(tmp_path / "lost.yaml")
    assert "cannot be measured" in _mistake(capsys, "groups", tmp_path / "lost.yaml", "--likeness", "measure")


@pytest.mark.parametrize(
    "change",
    ["name=[1", "name=*a", "name=2024-13-45", "phases.².epochs=3", "training.mix={kind: [a]}", "name=" + "[" * 3000],
)
def test_a_strange_value_is_a_mistake_in_words(file: Path, capsys: Capture, change: str) -> None:
    _mistake(capsys, "plan", file, "--set", change)


@pytest.mark.parametrize("rates", [["nan", "1e-3"], ["0"], ["1e-3", "1e-3"], ["[1"], ["2024-01-01"], ["{a: 1}"]])
def test_a_race_of_strange_rates_makes_no_folder(file: Path, capsys: Capture, rates: list[str]) -> None:
    _mistake(capsys, "race", file, "--rates", *rates)
    assert not store.list_runs(job="race")


def test_the_doctor_tells_and_mends(file: Path, images: Path, tmp_path: Path, capsys: Capture) -> None:
    picture = images / "class_0" / "0.png"
    photo(1).save(picture)
    shutil.copy(picture, images / "class_1" / "copy.png")
    assert main(["doctor", str(file)]) == 1
    assert "serious: 1 picture stands under two labels: class_0/0.png (class_0, class_1)" in capsys.readouterr().out
    assert main(["train", str(file), "--careful"]) == 2
    assert "ask for a decision" in capsys.readouterr().err
    assert main(["train", str(file), "--set", "phases.0.epochs=1"]) == 0
    assert "Warning: 1 picture stands under two labels" in capsys.readouterr().err
    mended = tmp_path / "mended.yaml"
    assert main(["doctor", str(file), "--mend", str(mended)]) == 0
    assert "Left out: 2 images, such as class_0/0.png and 1 more" in capsys.readouterr().out
    assert main(["doctor", str(mended), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert not [each for each in told["findings"] if each["level"] == "ask"]
    assert main(["train", str(mended), "--careful", "--set", "phases.0.epochs=1"]) == 0
