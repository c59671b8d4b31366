"""The exported script, run as a program of its own, gives the losses of the run: every one, to the last bit.

The recipes here use, between them, every part that there is; a new part that none of them uses is told of.
"""

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.models import squeezenet1_1

from finetune_core.cli import main
from finetune_core.export import script
from finetune_core.finder.range_test import range_test
from finetune_core.finder.sweep import Sweep
from finetune_core.network.build import build, description
from finetune_core.parts import FAMILIES, Part, Section, Transform
from finetune_core.parts.sources import hub_sets
from finetune_core.parts.sources import published as published_sets
from finetune_core.recipe import Recipe, parse
from finetune_core.recipe.changes import Made
from finetune_core.runs.store import create
from finetune_core.runs.work.worker import work
from finetune_core.training.loop import Trainer
from finetune_core.training.session import prepare
from tests.conftest import paint

RANDOM = {"kind": "random"}
TINY = {"kind": "timm", "architecture": "test_resnet", "weights": RANDOM}
VIT = {"kind": "timm", "architecture": "test_vit", "weights": {"kind": "hub"}}
SQUEEZE = {"kind": "torchvision", "architecture": "squeezenet1_1", "weights": RANDOM}


def everything(**changes: Any) -> dict[str, Any]:
    """A phase of one epoch that thaws all groups."""
    return {"epochs": 1, "thaw": ["*"], "learning_rate": 1e-3, "schedule": {"kind": "constant"}, **changes}


# --- images of many kinds --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Files:
    """What the recipes learn from, and the weights that they start from."""

    plain: Path  # a folder per class
    split: Path  # the same with folders for training and validation
    odd: Path  # all that a folder of photos can hold
    table: Path
    torchvision: Path
    run: Path


def files(folder: Path) -> Files:
    plain = paint(folder / "plain", per_class=7)
    for part, seed in (("train", 1), ("valid", 2)):
        paint(folder / "split" / part, per_class=5, seed=seed)
    table = folder / "labels.csv"
    rows = [
        f"{path.relative_to(folder)};{path.parent.name};a{' b' * (i % 3 == 0)}{' c' * (i == 2)};{i % 2};{i % 5};"
        + f"{i / 7 + 1.7e9:.3f};{'Val' if i % 4 == 0 else 'train'}"
        for i, path in enumerate(sorted(plain.glob("*/*.png"))[::-1])
    ]
    table.write_text("\n".join(["file; class;tags;red;age;weight;part", *rows, "gone.png;x;a;1;1;1;train"]))
    return Files(plain, folder / "split", odd(folder / "odd"), table, *weights(folder))


def odd(folder: Path) -> Path:
    """Two classes, in folders whose order is no alphabetical one."""
    colours = np.random.default_rng(3).integers(0, 256, (60, 48, 3), dtype=np.uint8)
    photo = Image.fromarray(colours)
    turned = Image.Exif()
    turned[274] = 6
    for name in ("class 2", "class 10"):
        place = folder / name / "more"
        place.mkdir(parents=True)
        photo.resize((400, 300)).save(place / "large.JPG", exif=turned)
        photo.convert("CMYK").save(place / "print.jpg")
        photo.convert("P").save(place / "palette.png")
        photo.convert("P").save(place / "clear.png", transparency=3)
        photo.convert("L").convert("LA").save(place / "grey.png")
        photo.convert("1").save(place / "fax.png")
        photo.resize((300, 40)).save(place / "long.png")
        Image.fromarray(colours[..., 0].astype(np.uint16) * 16).save(place / "deep.png")
        Image.fromarray(colours[..., 1].astype(np.int32) * 300).save(place / "deeper.tif")
        Image.fromarray(colours[..., 2].astype(np.float32) / 127 - 1).save(place / "float.tif")
        photo.putalpha(photo.convert("L"))
        photo.save(place / "faint.png")
        photo = photo.convert("RGB").rotate(180)
        photo.save(place / "phone.heic")
        (place / "broken.png").write_bytes(b"not an image")
        (place / ".hidden.png").write_bytes(b"")
    return folder


def weights(folder: Path) -> tuple[Path, Path]:
    """A file as torchvision saves it, wrapped and prefixed, and a checkpoint of Thaw's for four channels."""
    torch.manual_seed(7)
    file = folder / "squeezenet.pth"
    torch.save({"state_dict": {f"model.{name}": v for name, v in squeezenet1_1().state_dict().items()}}, file)
    recipe = parse({"model": {"backbone": TINY, "head": {"kind": "mlp", "hidden": 8}}})
    network = build(recipe.model, 3, image_size=32, channels=4)
    tensors = {name: value.contiguous() for name, value in network.module.state_dict().items()}
    save_file(tensors, folder / "run.safetensors", description(recipe.model, network, 3))
    return file, folder / "run.safetensors"


def published(cache: Path, torch_home: Path) -> None:
    """What the hubs would send."""
    torch.manual_seed(8)
    for name in ("test_vit.r160_in1k",):
        path = cache / "weights" / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(timm.create_model(name.partition(".")[0]).state_dict(), path)
    place = torch_home / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    place.parent.mkdir(parents=True)
    torch.save(squeezenet1_1().state_dict(), place)


# --- the recipes -----------------------------------------------------------------------------------------------------


def as_it_comes(files: Files) -> dict[str, Any]:
    """Nearly the default: the bundled backbone, the last stage and the head thawed."""
    return {
        "data": {"source": {"kind": "folder", "path": str(files.plain)}, "image_size": 64},
        "phases": [{"epochs": 2, "thaw": ["layer4", "head"], "multipliers": {"layer4": 0.3}}],
        "training": {"loss": {"kind": "cross_entropy", "label_smoothing": 0.1}},
    }


def in_phases(files: Files) -> dict[str, Any]:
    """Seeds 003 and 004, with groups regrouped, held and frozen again."""
    return {
        "data": {"source": {"kind": "folder", "path": str(files.split)}},
        "augment": [{"kind": "light"}, {"kind": "rotation"}, {"kind": "vertical_flip"}],
        "model": {
            "backbone": TINY,
            "head": {"kind": "concat_pool", "hidden": 16},
            "split": ["layer4"],
            "merge": [["stem", "layer1"]],
        },
        "phases": [
            everything(thaw=["head"], schedule={"kind": "step", "every": 1}, epochs=2),
            everything(
                hold=["type:BatchNorm2d", "conv2"],
                by_name={"conv1": 10, r"layer3\.0": 0.5},
                schedule={"kind": "linear", "warmup": 0.5},
            ),
            everything(
                thaw=["layer3", "head"],
                norm_statistics="update",
                optimizer_state="reset",
                schedule={"kind": "one_cycle", "cycle_momentum": True, "warmup": 0.3},
            ),
            everything(thaw=["layer4*", "head"], norm_statistics="batch", schedule={"kind": "linear"}),
            everything(
                norms={"layer4*": "hold", "layer3": "batch"}, hold=["layer[34].*bias"], schedule={"kind": "linear"}
            ),
            everything(schedule={"kind": "linear"}),
        ],
        "training": {
            "sampling": {"kind": "groups", "together": 3},
            "loss": {"kind": "triplet", "mining": "all", "compare": "layer", "layer": "fc.4", "normalise": False},
            "optimizer": {"kind": "sgd", "nesterov": True, "weight_decay": 0.1},
            "decay": {"stem*": 0.0, "head": 2.0},
            "clip_norm": 0.5,
            "l1": 1e-4,
            "batch_size": 7,
        },
    }


def averaged(files: Files) -> dict[str, Any]:
    """Half precision, micro-batches, weighted classes, an average that is measured."""
    loss = {"kind": "focal", "gamma": 1.5, "balance": "table", "weights": [1.0, 2.0, 0.5]}
    return {
        "data": {"source": {"kind": "file_names", "path": str(files.split / "train"), "pattern": r"^(\d)$"}},
        "augment": [{"kind": "random_resized_crop"}, {"kind": "horizontal_flip"}, {"kind": "gaussian_blur"}],
        "model": {
            "backbone": TINY,
            "head": {"kind": "mlp", "layers": 2, "hidden": 8, "bias": "priors", "init": "zero"},
        },
        "phases": [
            everything(epochs=2, schedule={"kind": "cosine", "warmup": 1}),
            everything(schedule={"kind": "table", "shares": [0.5]}),
        ],
        "training": {
            "loss": {**loss, "weights": [1.0, 2.0, 0.5, 1.0, 1.0]},
            "optimizer": {"kind": "adam"},
            "precision": "bf16",
            "accumulate": 2,
            "ema": 0.5,
            "batch_size": 5,
        },
    }


def scaled(files: Files) -> dict[str, Any]:
    """fp16 with its scaler, mixed images, and torchvision's published weights."""
    return {
        "data": {"source": {"kind": "folder", "path": str(files.odd)}, "unreadable": "skip", "image_size": 64},
        "augment": [{"kind": "perspective"}, {"kind": "hue_shift"}, {"kind": "grayscale"}],
        "model": {
            "backbone": {**SQUEEZE, "weights": {"kind": "hub"}, "drop_rate": 0.2},
            "head": {"kind": "mlp", "hidden": 8},
        },
        "phases": [everything(epochs=2, schedule={"kind": "cyclical", "half_cycle": 0.5, "mode": "exp_range"})],
        "training": {
            "loss": {"kind": "soft_f1"},
            "optimizer": {"kind": "rmsprop"},
            "precision": "fp16",
            "clip_norm": 1.0,
            "mix": "either",
        },
    }


def of_tags(files: Files) -> dict[str, Any]:
    """Tags in one column, a phase that ends early, a transformer of fixed size with its published weights."""
    return {
        "data": {"source": {"kind": "table", "path": str(files.table), "task": "multi_label", "labels": "tags"}},
        "augment": [{"kind": "auto_contrast"}],
        "model": {"backbone": {**VIT, "drop_path_rate": 0.1}, "head": {"kind": "concat_pool", "hidden": 8}},
        "phases": [
            everything(epochs=6, patience=1, learning_rate=0.3, schedule={"kind": "restarts"}, views=2),
            everything(thaw=["head"], schedule={"kind": "polynomial"}),
        ],
        "training": {"loss": {"kind": "bce", "balance": True}, "optimizer": {"kind": "lion"}, "ema": 0.3},
    }


def of_numbers(files: Files) -> dict[str, Any]:
    """Numbers, grey images, a weights file of another's making, and a rate that falls where the loss does not."""
    source = {"kind": "table", "path": str(files.table), "task": "regression", "labels": "age,weight", "split": "part"}
    return {
        "data": {"source": source, "channels": 1, "image_size": 64},
        "augment": [{"kind": "random_erasing"}, {"kind": "rand_augment"}],
        "model": {
            "backbone": {**SQUEEZE, "weights": {"kind": "file", "path": str(files.torchvision)}},
            "head": {"kind": "concat_pool", "hidden": 8},
        },
        "phases": [
            everything(epochs=4, patience=2, schedule={"kind": "plateau", "patience": 0, "factor": 0.5}),
            everything(epochs=2, schedule={"kind": "exponential"}),
        ],
        "training": {"loss": {"kind": "smooth_l1"}, "optimizer": {"kind": "lamb"}, "decay_all": True, "mix": "mixup"},
    }


def mended(files: Files) -> dict[str, Any]:
    """An archive whose images were mended by hand, split into folds with a test, as a run has them."""
    packed = shutil.make_archive(str(files.plain.parent / "packed"), "zip", files.plain)
    fixes = [
        {"kind": "leave_out", "images": ["class_0/1.png"]},
        {"kind": "move", "images": ["class_1/2.png"], "side": "valid"},
        {"kind": "relabel", "images": ["class_2/3.png"], "label": "class_0"},
        {"kind": "merge", "classes": ["class_1", "class_2"], "into": "other"},
    ]
    sized = {"crop_share": 0.7, "keep_side": 50}
    return {
        "data": {"source": {"kind": "archive", "path": packed}, "fixes": fixes, "fold": 1, "test_share": 0.2, **sized},
        "augment": [{"kind": "horizontal_flip"}],
        "model": {"backbone": TINY},
        "phases": [everything(epochs=2)],
        "training": {
            "loss": {"kind": "triplet", "compare": "features"},
            "optimizer": {"kind": "sgd_sutskever", "momentum": 0.8, "dampening": 0.1},
        },
    }


def going_on(files: Files) -> dict[str, Any]:
    """From a run's checkpoint with its head, for images with transparency."""
    return {
        "data": {"source": {"kind": "folder", "path": str(files.plain)}, "channels": 4},
        "augment": [{"kind": "light"}, {"kind": "rand_augment"}],
        "model": {
            "backbone": {**TINY, "weights": {"kind": "checkpoint", "path": str(files.run)}},
            "head": {"kind": "mlp", "hidden": 8},
        },
        "phases": [everything(epochs=2, thaw=["head"], schedule={"kind": "logspace"})],
        "training": {"loss": {"kind": "cross_entropy", "balance": "inverse", "divide": "images"}, "mix": "cutmix"},
    }


def published_set(files: Files) -> dict[str, Any]:
    """A set of the catalogue, as it lies where it has been downloaded."""
    shutil.copytree(files.plain, published_sets.folder("eurosat"), dirs_exist_ok=True)
    return {
        "data": {"source": {"kind": "published", "name": "eurosat"}},
        "augment": [],
        "model": {"backbone": TINY},
        "phases": [everything()],
        "training": {},
    }


def hub_set(files: Files) -> dict[str, Any]:
    """A set from Hugging Face, as it lies where it has been downloaded."""
    shutil.copytree(files.plain, hub_sets.folder("a/b", "", ""), dirs_exist_ok=True)
    return {**published_set(files), "data": {"source": {"kind": "hub_set", "name": "a/b"}}}


def plain_numbers(optimizer: str, loss: str) -> Callable[[Files], dict[str, Any]]:
    return lambda files: {
        "data": {
            "source": {"kind": "table", "path": str(files.table), "task": "regression", "labels": "age"},
            "channels": 3,
        },
        "augment": [],
        "model": {"backbone": TINY},
        "phases": [everything(schedule={"kind": "one_cycle", "cycle_momentum": True})],
        "training": {"loss": {"kind": loss}, "optimizer": {"kind": optimizer}},
    }


RECIPES: dict[str, Callable[[Files], dict[str, Any]]] = {
    "as it comes": as_it_comes,
    "in phases": in_phases,
    "averaged": averaged,
    "scaled": scaled,
    "of tags": of_tags,
    "of numbers": of_numbers,
    "going on": going_on,
    "mended": mended,
    "published": published_set,
    "hub set": hub_set,
    "mse": plain_numbers("radam", "mse"),
    "l1": plain_numbers("nadam", "l1"),
    "tags by column": lambda files: {
        "data": {"source": {"kind": "table", "path": str(files.table), "task": "multi_label", "labels": "red"}},
        "augment": [{"kind": kind} for kind in Transform.kinds()],  # a new one too, with no edit here
        "model": {"backbone": TINY},
        "phases": [everything()],
        "training": {"loss": {"kind": "soft_f1"}, "optimizer": {"kind": "adadelta"}, "accumulate": 3},
    },
    "classes by column": lambda files: {
        "data": {"source": {"kind": "table", "path": str(files.table), "labels": "class"}},
        "augment": [],
        "model": {"backbone": TINY},
        "phases": [everything()],
        "training": {
            "optimizer": {"kind": "adagrad"},
            "loss": {"kind": "cross_entropy", "balance": "effective"},
            "accumulate": 2,
            "sampling": {"kind": "balanced"},
        },
    },
    "kept views": lambda files: {
        "data": {"source": {"kind": "table", "path": str(files.table), "labels": "class"}},
        "augment": [{"kind": "light"}],
        "model": {"backbone": TINY},
        "phases": [
            everything(thaw=["head"], epochs=6, views=2),
            everything(thaw=["layer4", "head"], epochs=2, views=3),
        ],
        "training": {"sampling": {"kind": "balanced"}},
    },
}


def recipe(name: str, files: Files) -> Recipe:
    tree = RECIPES[name](files)
    tree["data"] = {"image_size": 32, "valid_share": 0.3, **tree["data"]}
    tree["training"] = {"batch_size": 6, **tree["training"], "device": "cpu"}
    return parse(tree)


SWEEPS = {
    "up": ("in phases", 0, Sweep(low=0.1, high=1e4, steps=12)),
    "down": ("in phases", 1, Sweep(steps=5, high=0.1, down=True)),
    "alone": ("in phases", 3, Sweep(steps=5, group="layer4.0.conv2")),
    "on views": ("kept views", 0, Sweep(steps=20, high=0.1)),
}


# --- both ways -------------------------------------------------------------------------------------------------------

RUNNER = """
import os, runpy, sys, traceback
for path in sys.argv[1:]:
    os.chdir(os.path.dirname(path))
    print(path, flush=True)
    try:
        runpy.run_path(path)
    except Exception:
        traceback.print_exc()
assert not [name for name in sys.modules if name.startswith("finetune_core")], "a script needs no Thaw"
"""


@dataclass
class Losses:
    """Of every step, then of every epoch in training and validation; and the score of every epoch."""

    steps: list[float]
    epochs: list[tuple[float, float]]
    scores: list[float]


@dataclass
class Both:
    """What runs gave, and what their scripts printed; `said` is what came on stderr."""

    texts: dict[str, str]
    runs: dict[str, Losses]
    scripts: dict[str, Losses]
    said: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    """The files, and the places that Thaw looks in."""
    folder = tmp_path_factory.mktemp("scripts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THAW_CACHE", str(folder / "cache"))
        patch.setenv("TORCH_HOME", str(folder / "torch"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "none"))
        published(folder / "cache", folder / "torch")
        yield files(folder)


@pytest.fixture(scope="module")
def both(made: Files, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Every recipe by Thaw itself, and by its script; all scripts in one process, for imports take most of the time."""
    both = Both({}, {}, {}, "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THAW_CACHE", str(made.plain.parent / "cache"))  # the fixture of each test sets its own
        for name in RECIPES:
            wanted = recipe(name, made)
            both.texts[name] = script.whole(wanted, script.gather(wanted, lambda text: None))
            both.runs[name] = trained(wanted)
        for name, (of, phase, sweep) in SWEEPS.items():
            swept = recipe(of, made)
            before, _, _ = both.texts[of].partition("PHASES = [")
            both.texts[name] = before + script.rate(swept, script.gather(swept), phase, sweep)
            curve = range_test(prepare(swept), phase, sweep)
            both.runs[name] = Losses([point.loss for point in curve], [], [])
    both.scripts, both.said = executed(both.texts, tmp_path_factory.mktemp("written"))
    return both


def executed(texts: dict[str, str], folder: Path) -> tuple[dict[str, Losses], str]:
    """What scripts print, all run by one process without Thaw; and what it says on stderr."""
    paths = {name: folder / f"{name}.py" for name in texts}
    for name, path in paths.items():
        path.write_text(texts[name])
    command = [sys.executable, "-c", RUNNER, *map(str, paths.values())]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    return {name: told(done.stdout.partition(f"{path}\n")[2]) for name, path in paths.items()}, done.stderr


def told(output: str) -> Losses:
    """What a script printed, up to the next one's name."""
    rows = [json.loads(line) for line in takewhile(lambda line: line.startswith("{"), output.splitlines())]
    epochs = [row for row in rows if "valid_loss" in row]
    return Losses(
        [row["loss"] for row in rows if "loss" in row],
        [(row["train_loss"], row["valid_loss"]) for row in epochs],
        [abs(row["valid_score"]) for row in epochs],
    )


def trained(recipe: Recipe) -> Losses:
    records = list(Trainer(prepare(recipe)).run())
    epochs = [record for record in records if record.kind == "epoch"]
    return Losses(
        [record.loss for record in records if record.kind == "step"],
        [(record.train_loss, record.valid_loss) for record in epochs],
        [record.valid_score for record in epochs],
    )


@pytest.mark.parametrize("name", [*RECIPES, *SWEEPS])
def test_the_script_gives_the_losses_of_the_run(both: Both, name: str) -> None:
    run, script = both.runs[name], both.scripts[name]
    assert len(script.steps) == len(run.steps) > 2, both.said
    kept = name in ("kept views", "on views")  # frozen layers look at other batches
    assert script.steps == (pytest.approx(run.steps, rel=1e-5) if kept else run.steps)
    assert [*chain(*script.epochs)] == (
        pytest.approx([*chain(*run.epochs)], rel=1e-5) if kept else [*chain(*run.epochs)]
    )
    assert script.scores == pytest.approx(run.scores, rel=1e-5, nan_ok=True), "which decide where a phase ends early"


def test_a_script_needs_no_thaw(both: Both) -> None:
    assert not both.said
    assert not any("finetune_core" in text for text in both.texts.values())


def test_what_should_happen_in_these_recipes_does(both: Both, made: Files) -> None:
    for name in ("of tags", "of numbers"):
        assert len(both.runs[name].epochs) < recipe(name, made).epochs, "a phase ends early"
    assert len(both.runs["up"].steps) < SWEEPS["up"][2].steps, "the range test stops where it diverges"


@pytest.mark.parametrize(
    "family", [name for name in FAMILIES if name not in ("job", "engine", "tracker")]
)  # what is done with a recipe, not in it
def test_every_part_is_in_one_of_these_recipes(family: str, made: Files) -> None:
    used = {kind for name in RECIPES for kind in kinds(recipe(name, made), FAMILIES[family])}
    assert used | kinds(Recipe(), FAMILIES[family]) == set(FAMILIES[family].kinds())


def kinds(section: Section, family: type[Part]) -> set[str]:
    """The parts of a family that a recipe uses."""
    found = {section.kind} if isinstance(section, family) and getattr(section, "active", True) else set()
    for _, value in section:
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Section):
                found |= kinds(item, family)
    return found


def test_scripts_and_chapters_are_clean_code(both: Both, made: Files, tmp_path: Path) -> None:
    wanted = recipe("in phases", made)
    facts = script.gather(wanted)
    texts = {
        **both.texts,
        "data": script.data(wanted, facts.pictures.samples),
        "augment": script.augment(wanted, 3),
        "layers": script.layers(wanted, facts, 1),
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "E,F,W", "."]
    ignored = ["--ignore", "F811,E402", "--line-length", "120"]  # range tests say again what the script above them said
    done = subprocess.run([*command, *ignored], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_script_of_a_changed_run_does_not_claim_the_same_losses(made: Files) -> None:
    wanted = Recipe().with_value("data.source", {"kind": "folder", "path": str(made.plain)})
    facts = script.gather(wanted, lambda text: None)
    changes = [Made(step=12, phase=0, values={"epochs": 7}, text='Epochs """changed')]
    about, plain = (ast.get_docstring(ast.parse(script.whole(wanted, facts, each))) or "" for each in (changes, ()))
    assert "step 12: Epochs ''" in about
    assert "up to the first of the changes" in about
    assert "to the last bit. Left out" in plain


def test_the_script_of_the_default_recipe_is_short(made: Files) -> None:
    wanted = Recipe().with_value("data.source", {"kind": "folder", "path": str(made.plain)})
    lines = script.whole(wanted, script.gather(wanted, lambda text: None)).splitlines()
    code = [line for line in lines if line.strip() and not line.strip().startswith("#")]
    assert len(code) < 210, "some forty of them say what an image is"


@pytest.mark.slow
@pytest.mark.usefixtures("blooms")
def test_the_default_recipe_from_the_command_line(tmp_path: Path) -> None:
    run = create(Recipe().with_value("phases.0.epochs", 1).with_value("training.device", "cpu"))
    assert work(run) == 0
    assert main(["export", run.id, "--out", str(tmp_path / "train.py")]) == 0
    command = [sys.executable, "train.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    rows = run.records()[0]
    assert told(done.stdout).steps == [row["loss"] for row in rows if row["kind"] == "step"]
    assert told(done.stdout).epochs == [(r["train_loss"], r["valid_loss"]) for r in rows if r["kind"] == "epoch"]
    assert load_weights(tmp_path / "model.pt") == load_weights(run.last)


ARCHITECTURES = {
    "timm": ("mobilenetv3_small_100", "test_convnext", "dla46x_c", "test_vit3"),
    "torchvision": ("resnet18", "swin_t", "regnet_y_400mf"),
}


@pytest.mark.slow
@pytest.mark.parametrize("head", ["mlp", "concat_pool"])
def test_networks_of_many_kinds(made: Files, tmp_path: Path, head: str) -> None:
    texts, runs = {}, {}
    for library, names in ARCHITECTURES.items():
        for name in names:
            backbone = {"kind": library, "architecture": name, "weights": RANDOM}
            tree = RECIPES["classes by column"](made)
            tree |= {"model": {"backbone": backbone, "head": {"kind": head, "hidden": 8}}, "phases": [everything()] * 2}
            tree["phases"][0] = everything(thaw=["head"])
            wanted = parse({**tree, "training": {"batch_size": 8, "device": "cpu", "optimizer": {"kind": "lamb"}}})
            wanted = wanted.with_value("data.image_size", 160 if name == "test_vit3" else 64)
            texts[f"{library}-{name}"] = script.whole(wanted, script.gather(wanted, lambda text: None))
            runs[f"{library}-{name}"] = trained(wanted)
    scripts, said = executed(texts, tmp_path)
    for name, losses in runs.items():
        assert scripts[name].steps == losses.steps, f"{name}: {said}"
        assert scripts[name].epochs == losses.epochs, name


def load_weights(path: Path) -> dict[str, list]:
    return {name: value.tolist() for name, value in timm.models.load_state_dict(str(path)).items()}


@pytest.mark.parametrize("command", [["export", "nothing"], ["export", "nothing.yaml"]])
def test_what_is_not_there_is_told_in_words(command: list[str], capsys: pytest.CaptureFixture) -> None:
    assert main(command) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 2


def test_a_recipe_that_cannot_run_has_no_script(made: Files, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    wanted = recipe("classes by column", made).with_value("training.loss", {"kind": "bce"})
    wanted.save(tmp_path / "recipe.yaml")
    assert main(["export", str(tmp_path / "recipe.yaml")]) == 2
    assert "does not fit the data" in capsys.readouterr().err


@pytest.mark.parametrize(("kind", "name"), [("timm", "resnet18"), ("torchvision", "resnet18")])
def test_weights_that_are_still_at_the_hub_are_shown_without_a_download(made: Files, kind: str, name: str) -> None:
    backbone = {"kind": kind, "architecture": name, "weights": {"kind": "hub"}}
    wanted = recipe("mse", made).with_value("model.backbone", backbone)
    text = script.layers(wanted, script.gather(wanted))
    assert ("pretrained=True" if kind == "timm" else 'get_weight("ResNet18_Weights.IMAGENET1K_V1")') in text
    assert "WEIGHTS" not in text


def test_export_prints_and_changes_values(made: Files, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    recipe("classes by column", made).save(tmp_path / "recipe.yaml")
    assert main(["export", str(tmp_path / "recipe.yaml"), "--set", "training.seed=41"]) == 0
    assert "SEED = 41" in capsys.readouterr().out
