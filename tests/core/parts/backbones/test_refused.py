"""A file that holds no weights for the network is refused, with the cause that it has."""

import io
import os
import pickle
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from finetune_core.errors import UserError
from finetune_core.network.build import build
from finetune_core.parts.backbones import File, Timm, Torchvision
from finetune_core.parts.backbones.family import Backbone
from finetune_core.recipe import Model

NAME = "squeezenet1_1"


def model() -> torch.nn.Module:
    return torchvision.models.get_model(NAME, num_classes=7)


def state() -> dict[str, torch.Tensor]:
    return model().state_dict()


def by_torch(content: Any, **how: Any) -> Callable[[Path], None]:
    return lambda path: torch.save(content(), path, **how)


def of_bytes(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def shortened(write: Callable[[Path], object], share: float) -> Callable[[Path], object]:
    def cut(path: Path) -> None:
        write(path)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])

    return cut


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/model.pth", b"abc")


def tarred(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("model.pth")
        archive.addfile(info, io.BytesIO())


def scripted(path: Path) -> None:
    torch.jit.trace(torch.nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8)).save(path)


def stepped() -> dict[str, Any]:
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


PAGE = b"\n<!DOCTYPE html><html><body>404 Not Found</body></html>" + b" " * 400
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 102502400\n"
DETECTION = "fasterrcnn_mobilenet_v3_large_320_fpn"

# What is chosen by mistake, and the cause that is told.
WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (of_bytes(b""), "It is empty"),
    "a web page": (of_bytes(PAGE), "web page: the download went wrong"),
    "an error as XML": (
        of_bytes(b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'),
        "XML, such as a server's error",
    ),
    "an error as JSON": (of_bytes(b'{"error": "Repository not found"}'), "JSON"),
    "a pointer": (of_bytes(POINTER), "Git LFS"),
    "a text": (of_bytes(b"epoch,loss\n1,0.5\n"), "It is a text"),
    "noise": (of_bytes(np.random.default_rng(0).bytes(3000)), "neither a safetensors file nor made by torch.save"),
    "a picture": (of_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100)), "picture"),
    "Keras": (of_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100)), "Keras"),
    "a zip": (zipped, "zip archive, with weights/model.pth"),
    "a tar": (tarred, "tar archive"),
    "packed": (of_bytes(b"\x1f\x8b\x08" + bytes(100)), "packed archive"),
    "NumPy": (lambda path: np.savez(path.open("wb"), a=np.ones(3)), "zip archive, with a.npy"),
    "pickled": (lambda path: path.write_bytes(pickle.dumps({"a": 1})), "pickle.dump, not by torch.save"),
    "TorchScript": (scripted, "TorchScript archive"),
    "a whole model": (by_torch(model), "whole model, not its tensors: .* torchvision.models.squeezenet"),
    "a whole model beside": (by_torch(lambda: {"model": model(), "epoch": 3}), "whole model"),
    "a whole model of before 2020": (by_torch(model, _use_new_zipfile_serialization=False), "whole model"),
    "cut off": (shortened(by_torch(state), 0.5), "cut off"),
    "cut off early": (shortened(by_torch(state, _use_new_zipfile_serialization=False), 0.001), "cut off"),
    "cut off late": (shortened(by_torch(state, _use_new_zipfile_serialization=False), 0.9), "cut off"),
    "safetensors cut off": (shortened(lambda path: save_file(state(), path), 0.9), "cut off: .* bytes of"),
    "no tensors": (by_torch(lambda: {"epoch": 3}), "holds no named tensors"),
    "a list": (by_torch(lambda: [torch.ones(2)]), "holds no named tensors"),
    "one tensor": (by_torch(lambda: torch.ones(2)), "holds no named tensors"),
    "an optimizer": (by_torch(stepped), "memory of an optimizer"),
    "an optimizer in a dictionary": (by_torch(lambda: {"optimizer": stepped(), "epoch": 3}), "memory of an optimizer"),
    "another architecture": (
        by_torch(lambda: {"arch": "resnet18", "state_dict": torchvision.models.resnet18().state_dict()}),
        "another architecture: .* says itself that it is for resnet18",
    ),
    "a relative": (
        by_torch(torchvision.models.squeezenet1_0().state_dict),
        "another architecture: features.6.squeeze.weight is missing",
    ),
    "a detection network": (
        by_torch(lambda: torchvision.models.get_model(DETECTION, weights_backbone=None).state_dict()),
        "a file for a detection network",
    ),
}


def backbone(path: Path) -> Torchvision:
    return Torchvision(architecture=NAME, weights=File(path=str(path)))


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_true_cause_is_told(name: str, ending: str, tmp_path: Path) -> None:
    write, cause = WRONG[name]
    write(tmp_path / f"w{ending}")
    with pytest.raises(UserError) as caught:
        build(Model(backbone=backbone(tmp_path / f"w{ending}")), 3)
    if ending == ".pth" or "neither" not in cause:
        assert re.search(cause, str(caught.value)), str(caught.value)
    assert caught.value.hint
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in WRONG if name not in ("noise",)])
def test_what_is_no_weights_file_is_seen_without_torch(name: str, tmp_path: Path) -> None:
    write, cause = WRONG[name]
    write(path := tmp_path / "w.pth")
    fits_none = ("architecture", "tensors", "optimizer", "detection")
    if any(word in cause for word in fits_none) and "whole" not in cause:
        assert backbone(path).weights.facts(backbone(path)).startswith("w.pth: ")
        return
    if name == "cut off late":  # what torch.save wrote before 2020 does not say how long it is
        return
    with pytest.raises(UserError, match=cause):
        backbone(path).weights.facts(backbone(path))


# --- pickles that would run something --------------------------------------------------------------------------------


class Calls:
    """Pickled as a call, which an ordinary reader makes."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.args


HOSTILE: dict[str, Callable[[Path], Any]] = {
    "os.system": lambda trap: Calls(os.system, f"touch {trap}"),
    "subprocess": lambda trap: Calls(subprocess.call, ["touch", str(trap)]),
    "eval": lambda trap: Calls(eval, f"open({str(trap)!r}, 'w')"),
    "open": lambda trap: Calls(open, str(trap), "w"),
    "a method": lambda trap: Calls(Path.touch, trap),
    "torch.save": lambda trap: Calls(torch.save, {}, str(trap)),
    "torch.load": lambda trap: Calls(torch.hub.download_url_to_file, "file:///etc/hostname", str(trap)),
    "numpy": lambda trap: Calls(np.save, str(trap), [1]),
    "timm": lambda trap: Calls(torchvision.io.write_file, str(trap), torch.zeros(1, dtype=torch.uint8)),
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("modern", [True, False])
def test_code_in_a_pickle_is_not_run(what: str, modern: bool, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    content = {"state_dict": state(), "hook": HOSTILE[what](trap)}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=modern)
    wanted = backbone(tmp_path / "w.pth")
    for look in (lambda: wanted.weights.facts(wanted), lambda: build(Model(backbone=wanted), 3)):
        if what != "torch.save" or "build" in look.__code__.co_names:
            with pytest.raises(UserError, match="holds more than tensors") as caught:
                look()
            assert "could run code" in caught.value.why or "torch.load does not take" in caught.value.why
    assert not trap.exists()


# --- networks of one size --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("gmlp_ti16_224", 224),
        ("pit_ti_224", 224),
        ("visformer_tiny", 224),
        ("convit_tiny", 224),
        ("eca_botnext26ts_256", 256),
    ],
)
def test_a_network_of_one_size_says_so(name: str, side: int, tmp_path: Path) -> None:
    import timm

    torch.save({"model": timm.create_model(name).state_dict()}, tmp_path / "w.pth")
    made: Backbone = Timm(architecture=name, weights=File(path=str(tmp_path / "w.pth")))
    with pytest.raises(UserError, match=f"takes images of {side} px only; the recipe has 128"):
        build(Model(backbone=made), 3, image_size=128)
    assert build(Model(backbone=made), 3, image_size=side).groups


def test_published_weights_of_one_size_say_so_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    from finetune_core.parts.backbones import Hub

    monkeypatch.setenv("THAW_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "none"))
    (tmp_path / "weights").mkdir()
    save_file(timm.create_model("pit_ti_224").state_dict(), tmp_path / "weights" / "pit_ti_224.in1k.safetensors")
    model = Model(backbone=Timm(architecture="pit_ti_224", weights=Hub()))
    with pytest.raises(UserError, match="takes images of 224 px only; the recipe has 128"):
        build(model, 3, image_size=128)
    assert build(model, 3, image_size=224).groups
