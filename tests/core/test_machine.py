"""What the machine has, and what a number format does on it."""

import stat
from pathlib import Path

import pytest
import torch

from finetune_core import machine
from finetune_core.machine import Gpu, Machine
from finetune_core.recipe import Recipe, Training
from finetune_core.runs import preflight
from finetune_core.training import session

PLAIN = Machine(cores=2, memory_gb=8, free_disk_gb=50)


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An nvidia-smi that answers as the real one does."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA A100-SXM4-80GB, 81920, 8.0'\necho 'Tesla T4, 15360, [N/A]'\n")
    tool.chmod(tool.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    machine._gpus.cache_clear()
    yield tool
    machine._gpus.cache_clear()


def test_gpus_are_read_from_nvidias_tool(smi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = machine.facts()
    assert [(gpu.name, gpu.capability) for gpu in found.gpus] == [("NVIDIA A100-SXM4-80GB", 8.0), ("Tesla T4", 0.0)]
    assert found.devices[0] == "cuda"
    assert "NVIDIA A100-SXM4-80GB (86 GB) + Tesla T4 (16 GB)" in found.sentence()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert len(machine.facts().gpus) == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert machine.facts().devices == ("cpu",)


def test_what_the_processor_can_do_is_what_torch_says() -> None:
    if not Path("/proc/cpuinfo").exists():
        pytest.skip("only Linux lists the processor's abilities")
    able = torch.cpu.get_capabilities()
    assert machine.facts().cpu_bf16 == bool(able.get("avx512_bf16") or able.get("amx_bf16") or able.get("arm_bf16"))


@pytest.mark.parametrize(
    ("has", "training", "slow", "words"),
    [
        (PLAIN, {}, False, "fp32 is exact, and the fastest"),
        (PLAIN, {"precision": "bf16"}, True, "1.4 to 2.9 times as long"),
        (Machine(2, 8, 50, cpu_bf16=True), {"precision": "bf16"}, False, "twice as fast"),
        (PLAIN, {"precision": "fp16"}, True, "ten times as long"),
        (Machine(2, 8, 50, (Gpu("T4", 16, 7.5),)), {"precision": "bf16"}, True, "imitates"),
        (Machine(2, 8, 50, (Gpu("T4", 16, 7.5),)), {"precision": "fp16"}, False, "tensor cores"),
        (Machine(2, 8, 50, (Gpu("A100", 80, 8.0),)), {"precision": "bf16"}, False, "tensor cores"),
        (Machine(2, 8, 50, (Gpu("A100", 80, 8.0),)), {"tf32": True}, False, "TF32"),
        (Machine(2, 8, 50, (Gpu("A100", 80, 8.0),)), {"precision": "bf16", "device": "cpu"}, True, "CPU"),
        (Machine(2, 8, 50, apple_gpu=True), {"precision": "fp16"}, False, "scaling"),
    ],
)
def test_each_format_is_told_for_each_device(has: Machine, training: dict, slow: bool, words: str) -> None:
    wanted = Training(**training)
    said = machine.speed(has, wanted.device, wanted.precision, wanted.tf32)
    assert said.slow is slow
    assert words in said.text


def test_a_slow_format_is_found_before_launch_and_mended_by_one_click(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "facts", lambda: PLAIN)
    recipe = Recipe().with_value("training.precision", "fp16")
    [finding] = [each for each in preflight.findings(recipe) if each.title == "Precision"]
    mended = recipe.with_value(finding.mend.path, finding.mend.value)
    assert not [each for each in preflight.findings(mended) if each.title == "Precision"]


TWO = Machine(8, 64, 50, (Gpu("A100", 80, 8.0), Gpu("A100", 80, 8.0)))


@pytest.mark.parametrize(
    ("has", "training", "title", "level", "mended"),
    [
        (TWO, {}, "GPUs", "ok", 2),
        (TWO, {"processes": 4}, "Processes", "error", 2),
        (PLAIN, {"processes": 4}, "Processes", "warn", 1),
        (TWO, {"processes": 2, "batch_size": 3}, "Processes", "warn", 1),
    ],
)
def test_processes_are_counted_against_what_is_there(
    has: Machine, training: dict, title: str, level: str, mended: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "facts", lambda: has)

    def found(changed: Training) -> list[preflight.Finding]:
        recipe = Recipe(training=changed)
        return [each for each in preflight.findings(recipe) if each.title in ("GPUs", "Processes")]

    [finding] = found(Training(**training))
    assert (finding.title, finding.level, finding.mend.value) == (title, level, mended)
    assert not [each for each in found(Training(**training | {"processes": mended})) if each.level != "ok"]


@pytest.mark.parametrize("wanted", [True, False])
def test_tf32_is_as_the_recipe_says_wherever_cuda_asks(wanted: bool, tiny: Recipe) -> None:
    session.prepare(tiny.with_value("training.tf32", wanted))
    backends = torch.backends
    now = {each.fp32_precision for each in (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)}
    assert now == {"tf32" if wanted else "ieee"}
