"""Weights load however people have saved them: in dictionaries, under prefixes, beside other things, half or grey."""

import argparse
import collections
import datetime
import decimal
import fractions
import pathlib
import re
import types
import uuid
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch.optim.swa_utils import AveragedModel
from torchvision.models import densenet

from finetune_core.errors import UserError
from finetune_core.export import script
from finetune_core.export.script import network as network_code
from finetune_core.network.build import build, description, restore
from finetune_core.network.network import Network
from finetune_core.parts.backbones import Checkpoint, File, Hub, RandomWeights, Timm, Torchvision
from finetune_core.parts.backbones.family import Backbone
from finetune_core.parts.backbones.spec import Plan, Translation
from finetune_core.parts.backbones.state_dicts import find
from finetune_core.parts.codetext import importing
from finetune_core.parts.heads import MLP, Head, Linear
from finetune_core.recipe import Model, Recipe
from finetune_core.runs.store import create
from finetune_core.runs.work.worker import work

State = dict[str, torch.Tensor]
NAME = "squeezenet1_1"


def original() -> torch.nn.Module:
    torch.manual_seed(3)
    return torchvision.models.get_model(NAME, num_classes=7)


def under(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


def zeros(state: State) -> State:
    return {name: torch.zeros_like(value) for name, value in state.items()}


def saved(folder: Path, content: Any, name: str = "w.pth") -> File:
    torch.save(content, folder / name)
    return File(path=str(folder / name))


def from_file(weights: File, name: str = NAME, **more: Any) -> Network:
    backbone = Torchvision(architecture=name, weights=weights)
    weights.facts(backbone)
    return build(Model(backbone=backbone), 3, **more)


def holds(network: Network, state: State) -> bool:
    ours = network.module.state_dict()
    names = [name for name in ours if not name.startswith(network.classifier) and name in state]
    return len(names) > 20 and all(torch.equal(ours[name], state[name].float()) for name in names)


def averaged(state: State) -> State:
    model = AveragedModel(original())
    model.module.load_state_dict(state)
    return model.state_dict()


# What people save, of a state dict.
FORMS: dict[str, Callable[[State], Any]] = {
    "timm": lambda s: {"epoch": 3, "arch": NAME, "state_dict": s, "optimizer": {"state": {}}, "args": ns(lr=0.1)},
    "imagenet example": lambda s: {"epoch": 3, "state_dict": under("module.", s), "best_acc1": torch.tensor(3.0)},
    "model_state_dict": lambda s: {"model_state_dict": s, "optimizer_state_dict": adam()},
    "net": lambda s: {"net": s, "acc": 90.1},
    "weights": lambda s: {"weights": s},
    "params": lambda s: {"params": s},
    "params_ema": lambda s: {"params": zeros(s), "params_ema": s},
    "reference": lambda s: {"model": zeros(s), "model_ema": averaged(s), "epoch": 3, "args": ns(lr=0.1)},
    "ema under its own names": lambda s: {"ema": {"shadow": s, "decay": 0.99}, "model": zeros(s)},
    "averaged": averaged,
    "lightning": lambda s: {"state_dict": under("model.", s), "pytorch-lightning_version": "2", "loops": {}},
    "lightning with a loss": lambda s: {"state_dict": {**under("net.", s), "criterion.weight": torch.ones(7)}},
    "backbone": lambda s: {"state_dict": under("backbone.", s)},
    "encoder": lambda s: under("encoder.", s),
    "compiled": lambda s: under("_orig_mod.module.", s),
    "compiled inside": lambda s: under("module._orig_mod.", s),
    "teacher": lambda s: {"student": under("module.backbone.", zeros(s)), "teacher": under("backbone.", s)},
    "teacher by prefix": lambda s: {**under("student.backbone.", zeros(s)), **under("teacher.backbone.", s)},
    "queue": lambda s: {"state_dict": {**under("module.encoder_q.", s), **under("module.encoder_k.", zeros(s))}},
    "deep": lambda s: {"checkpoint": {"run": {"best": {"module": s}}}},
    "any word": lambda s: {"gewichte": under("netz.", s)},
    "parameters": lambda s: {n: torch.nn.Parameter(v) for n, v in s.items()},
    "half": lambda s: {n: v.half() for n, v in s.items()},
    "bfloat16": lambda s: {n: v.bfloat16() for n, v in s.items()},
    "double": lambda s: {n: v.double() for n, v in s.items()},
    "with a stray tensor": lambda s: {**s, "loss_fn.weight": torch.ones(7), "step": torch.tensor(5)},
    "without classifier": lambda s: {n: v for n, v in s.items() if not n.startswith("classifier.")},
    "another classifier": lambda s: {**s, "classifier.1.weight": torch.zeros(9, 512, 1, 1)},
}


def ns(**values: Any) -> argparse.Namespace:
    return argparse.Namespace(**values)


def adam() -> dict[str, Any]:
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


@pytest.mark.parametrize("form", FORMS)
def test_what_people_save_loads(form: str, tmp_path: Path) -> None:
    state = original().state_dict()
    content = FORMS[form](dict(state))
    rounded = {"half": torch.Tensor.half, "bfloat16": torch.Tensor.bfloat16}.get(form, lambda value: value)
    network = from_file(saved(tmp_path, content))
    assert holds(network, {name: rounded(value) for name, value in state.items()})
    assert all(each.dtype is torch.float32 for each in network.module.parameters())


@pytest.mark.parametrize("form", FORMS)
def test_the_script_loads_the_same(form: str, tmp_path: Path) -> None:
    file = saved(tmp_path, FORMS[form](dict(original().state_dict())))
    same_in_a_script(Torchvision(architecture=NAME, weights=file))


def same_in_a_script(backbone: Torchvision, channels: int = 3, head: Head | None = None) -> None:
    """The code that Thaw shows builds the network that Thaw builds."""
    recipe = Recipe(model=Model(backbone=backbone, head=head or Linear())).with_value("data.image_size", 64)
    recipe = recipe.with_value("data.channels", channels)
    torch.manual_seed(4)
    built = build(recipe.model, 3, image_size=64, channels=channels)
    blueprint = script.outline(recipe, 3)
    names: dict[str, Any] = {}
    torch.manual_seed(4)
    before = torch.serialization.get_safe_globals()
    try:
        exec(importing(network_code.layers(blueprint), network_code.building(recipe, blueprint)), names)
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)
    ours, theirs = built.module.state_dict(), names["model"].state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert (blueprint.mean, blueprint.std) == (built.mean, built.std)


@pytest.mark.parametrize(
    "name", ["model_best.pth.tar", "last.ckpt", "UPPER.PTH", "model.bin", "x.pkl", "weights", "a b"]
)
def test_no_ending_is_needed(name: str, tmp_path: Path) -> None:
    state = original().state_dict()
    assert holds(from_file(saved(tmp_path, state, name)), state)


def test_what_it_is_counts_and_not_how_it_is_called(tmp_path: Path) -> None:
    state = original().state_dict()
    save_file(state, tmp_path / "pytorch_model.bin")
    torch.save(state, tmp_path / "model.safetensors")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for name in ("pytorch_model.bin", "model.safetensors", "old.pth"):
        weights = File(path=str(tmp_path / name))
        assert holds(from_file(weights), state), name
        same_in_a_script(Torchvision(architecture=NAME, weights=weights))


# --- things beside the tensors ---------------------------------------------------------------------------------------

BESIDE: dict[str, Any] = {
    "float64": np.float64(0.5),
    "int32": np.int32(7),
    "bool": np.bool_(True),
    "array": np.arange(6, dtype=np.int16).reshape(2, 3),
    "words": np.array(["cat", "dog"]),
    "dtype": np.dtype("float32"),
    "random state": np.random.RandomState(1).get_state(),
    "namespace": ns(lr=0.1, path=pathlib.Path("runs/a"), tags={"x"}),
    "simple namespace": types.SimpleNamespace(a=1),
    "path": pathlib.Path("runs/a"),
    "windows path": pathlib.PureWindowsPath("C:/runs"),
    "defaultdict": collections.defaultdict(list, {"loss": [0.5, 0.4]}),
    "deque": collections.deque([1, 2], maxlen=5),
    "counter": collections.Counter("abca"),
    "ordered": collections.OrderedDict(a=1),
    "date": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
    "duration": datetime.timedelta(seconds=3),
    "decimal": decimal.Decimal("0.1"),
    "fraction": fractions.Fraction(1, 3),
    "uuid": uuid.UUID(int=5),
    "set": {1, 2},
    "frozen set": frozenset({1}),
    "bytes": b"abc",
    "type": float,
    "complex": 1j,
    "size": torch.Size([2]),
    "device": torch.device("cpu"),
    "format": torch.float16,
}


@pytest.mark.parametrize("what", BESIDE)
def test_what_merely_holds_data_may_lie_beside_the_tensors(what: str, tmp_path: Path) -> None:
    state = original().state_dict()
    weights = saved(tmp_path, {"state_dict": state, "beside": {"it": BESIDE[what]}})
    assert holds(from_file(weights), state)
    same_in_a_script(Torchvision(architecture=NAME, weights=weights))


def test_numpy_1_called_its_module_otherwise(tmp_path: Path) -> None:
    state = original().state_dict()
    torch.save(
        {"state_dict": state, "acc": np.float64(0.5)}, tmp_path / "new.pth", _use_new_zipfile_serialization=False
    )
    old = (tmp_path / "new.pth").read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (tmp_path / "w.pth").write_bytes(old)
    assert holds(from_file(File(path=str(tmp_path / "w.pth"))), state)


def test_settings_of_a_library_that_is_not_here(tmp_path: Path) -> None:
    module = types.ModuleType("pytorch_lightning.utilities.parsing")

    class AttributeDict(dict):
        __module__, __qualname__ = module.__name__, "AttributeDict"

    module.AttributeDict = AttributeDict  # type: ignore[attr-defined]
    state, here = original().state_dict(), pytest.MonkeyPatch()
    with here.context() as patch:
        for name in ("pytorch_lightning", "pytorch_lightning.utilities"):
            patch.setitem(__import__("sys").modules, name, types.ModuleType(name))
        patch.setitem(__import__("sys").modules, module.__name__, module)
        weights = saved(tmp_path, {"state_dict": under("model.", state), "hyper_parameters": AttributeDict(lr=0.1)})
    assert holds(from_file(weights), state)


# --- what is said ----------------------------------------------------------------------------------------------------


def test_what_is_left_out_is_named_and_counted(tmp_path: Path) -> None:
    state = original().state_dict()
    heads = {f"heads.{i}.weight": torch.ones(2) for i in range(5)}
    told: list[str] = []
    network = from_file(saved(tmp_path, {**under("model.", state), **heads}), report=lambda what, *_: told.append(what))
    note = (
        "5 tensors are no part of the network and left out: heads.0.weight, heads.1.weight, heads.2.weight and 2 more."
    )
    assert network.notes == (note,)
    assert note in told
    network = from_file(saved(tmp_path, {"model": zeros(state), "model_ema": state}))
    assert network.notes == ("Taken from model_ema, not from model.",)
    assert from_file(saved(tmp_path, {"state_dict": state, "epoch": 3})).notes == ()


def test_a_run_says_what_was_left_out(tiny: Recipe, tmp_path: Path) -> None:
    state = timm.create_model("test_resnet").state_dict()
    weights = saved(tmp_path, {**under("model.", state), "criterion.weight": torch.ones(7)})
    run = create(tiny.with_value("model.backbone.weights", weights.model_dump()).with_value("phases.0.epochs", 1))
    assert work(run) == 0
    told = [row["text"] for row in run.records()[0] if row["kind"] == "event" and row["name"] == "weights"]
    assert told == ["1 tensor is no part of the network and left out: criterion.weight."]


def test_a_file_that_holds_itself_ends(tmp_path: Path) -> None:
    state = original().state_dict()
    circle: dict[str, Any] = {}
    circle.update({f"again {number}": circle for number in range(1000)}, state_dict=state)
    assert holds(from_file(saved(tmp_path, circle)), state)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(number: float, tmp_path: Path) -> None:
    state = original().state_dict()
    state["features.0.weight"][0, 0, 0, 0] = number
    with pytest.raises(UserError, match=r"no numbers .* in features.0.weight: the training it comes from had diverged"):
        from_file(saved(tmp_path, state))
    state = {**original().state_dict(), "classifier.1.bias": torch.full((7,), number)}
    assert holds(from_file(saved(tmp_path, state)), state), "the old classifier is not used"


@pytest.mark.parametrize("channels", [1, 4])
def test_networks_for_other_images(channels: int, tmp_path: Path) -> None:
    state = original().state_dict()
    first = state["features.0.weight"]
    state["features.0.weight"] = first.sum(1, keepdim=True) if channels == 1 else first[:, [0, 1, 2, 0]]
    weights = saved(tmp_path, {"state_dict": under("model.", state)})
    network = from_file(weights, channels=channels)
    assert holds(network, state)
    assert network.channels == channels
    same_in_a_script(Torchvision(architecture=NAME, weights=weights), channels)
    kind = {1: "grey images", 4: "images with transparency"}[channels]
    with pytest.raises(UserError, match=f"Its weights were made for {kind}"):
        from_file(weights)


def facebooks(state: State) -> State:
    """ConvNeXt's names in its authors' files; `norm` and `head` stand apart there."""
    changes = [
        (r"^stem\.", "downsample_layers.0."),
        (r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1."),
        (r"^stages\.(\d)\.blocks\.", r"stages.\1."),
        ("conv_dw", "dwconv"),
        (r"mlp\.fc", "pwconv"),
        (r"^head\.norm\.", "norm."),
        (r"^head\.fc\.", "head."),
    ]
    return {reduce(lambda text, change: re.sub(*change, text), changes, name): value for name, value in state.items()}


TRANSLATED: dict[str, tuple[Backbone, Callable[[State], State], int]] = {
    "stretched by timm": (Timm(architecture="vit_tiny_patch16_224"), dict, 128),
    "renamed by torchvision": (Torchvision(architecture="densenet121"), lambda state: before_2018(state), 128),
    "renamed by timm": (Timm(architecture="test_convnext"), facebooks, 160),
}


@pytest.mark.parametrize("stray", [False, True])
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("what", TRANSLATED)
def test_what_a_translation_makes_is_not_left_out(what: str, prefix: str, stray: bool, tmp_path: Path) -> None:
    """Neither what it has stretched nor what it has renamed; what it passes on and nobody wants still is."""
    backbone, before, size = TRANSLATED[what]
    content = under(prefix, before(backbone.bare(Plan(10)).module.state_dict()))
    if stray:
        content[f"{prefix}criterion.weight"] = torch.ones(7)
    model = Model(backbone=backbone.replace(weights=saved(tmp_path, content)))
    notes = (f"1 tensor is no part of the network and left out: {prefix}criterion.weight.",)
    assert build(model, 3, image_size=size).notes == (notes if stray else ())


def test_several_tensors_made_of_one_leave_nothing_out() -> None:
    network = torch.nn.ModuleDict({name: torch.nn.Linear(4, 4, bias=False) for name in "qkv"})
    code = "weights = dict(zip(('q.weight', 'k.weight', 'v.weight'), weights['qkv.weight'].chunk(3)))"
    parted = Translation(
        code, lambda named, _: dict(zip(network.state_dict(), named["qkv.weight"].chunk(3), strict=True))
    )
    whole = torch.arange(48.0).reshape(12, 4)
    found = find({"qkv.weight": whole}, network, (), [parted])
    assert not found.misfit
    assert found.strays == ()
    assert torch.equal(torch.cat(list(found.named.values())), whole)


# --- torchvision's own ways ------------------------------------------------------------------------------------------


def before_2018(state: State) -> State:
    """DenseNet's names in the files that torchvision publishes."""
    old = {
        name: name.replace("norm", "norm.").replace("conv", "conv.") if "denselayer" in name else name for name in state
    }
    return {old[name]: value for name, value in state.items() if not name.endswith("num_batches_tracked")}


@pytest.mark.parametrize("way", ["hub", "file", "wrapped"])
def test_densenets_published_names(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.manual_seed(3)
    reference = torchvision.models.densenet121()
    old = before_2018(reference.state_dict())
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    weights = types.SimpleNamespace(get_state_dict=lambda **_: dict(old))
    densenet._load_state_dict(reference, weights, False)  # the library reads it so
    path = tmp_path / "hub" / "checkpoints" / "densenet121-a639ec97.pth"
    path.parent.mkdir(parents=True)
    torch.save({"state_dict": under("module.", old)} if way == "wrapped" else old, path)
    backbone = Torchvision(architecture="densenet121", weights=Hub() if way == "hub" else File(path=str(path)))
    assert holds(build(Model(backbone=backbone), 3), reference.state_dict())
    same_in_a_script(backbone)


@pytest.mark.slow
def test_a_vits_earlier_names_and_another_size(tmp_path: Path) -> None:
    torch.manual_seed(3)
    state = torchvision.models.vit_b_32(num_classes=2).state_dict()
    old = {n.replace(".mlp.0.", ".mlp.linear_1.").replace(".mlp.3.", ".mlp.linear_2."): v for n, v in state.items()}
    assert old.keys() != state.keys()
    backbone = Torchvision(architecture="vit_b_32", weights=saved(tmp_path, old))
    network = build(Model(backbone=backbone), 3, image_size=64)
    positions = "encoder.pos_embedding"
    assert network.module.state_dict()[positions].shape == (1, 1 + 4, 768)
    assert holds(network, {name: value for name, value in state.items() if name != positions})
    same_in_a_script(backbone)


@pytest.mark.parametrize("name", ["mnasnet0_5", "mnasnet1_3"])
@pytest.mark.parametrize("form", ["plain", "wrapped", "safetensors"])
def test_mnasnet_asks_for_a_version(name: str, form: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    state = torchvision.models.get_model(name, num_classes=7).state_dict()
    if form == "safetensors":
        save_file(state, tmp_path / "w.pth")
    weights = File(path=str(tmp_path / "w.pth"))
    if form != "safetensors":
        weights = saved(tmp_path, state if form == "plain" else under("module.", state))
    assert holds(from_file(weights, name), state)
    same_in_a_script(Torchvision(architecture=name, weights=weights))


@pytest.mark.parametrize("name", ["mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3"])
def test_mnasnet_comes_back_from_a_checkpoint(name: str, tmp_path: Path) -> None:
    model = Model(backbone=Torchvision(architecture=name, weights=RandomWeights()))
    network = build(model, 3)
    save_file(network.module.state_dict(), tmp_path / "w.safetensors", description(model, network, 3))
    again = restore(model, 3, tmp_path / "w.safetensors").module.state_dict()
    assert all(torch.equal(value, again[key]) for key, value in network.module.state_dict().items())
    going_on = Torchvision(architecture=name, weights=Checkpoint(path=str(tmp_path / "w.safetensors")))
    assert holds(build(Model(backbone=going_on), 3), again)
    same_in_a_script(going_on)


def test_a_head_comes_along_whole_or_not_at_all(tmp_path: Path) -> None:
    """The first layer of another head would fit; it stays new, in the script as well."""
    model = Model(backbone=Torchvision(architecture=NAME, weights=RandomWeights()), head=MLP(hidden=8))
    network = build(model, 5)
    save_file(network.module.state_dict(), tmp_path / "w.safetensors", description(model, network, 5))
    weights = Checkpoint(path=str(tmp_path / "w.safetensors"))
    going_on = model.replace(backbone=model.backbone.replace(weights=weights))
    theirs = network.module.get_submodule(network.classifier)[0].weight
    for outputs, same in ((3, False), (5, True)):
        head = build(going_on, outputs).module.get_submodule(network.classifier)
        assert torch.equal(head[0].weight, theirs) is same
    same_in_a_script(going_on.backbone, head=going_on.head)


def test_files_without_the_count_of_batches(tmp_path: Path) -> None:
    state = torchvision.models.resnet18().state_dict()
    old = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    assert holds(from_file(saved(tmp_path, old), "resnet18"), old)
