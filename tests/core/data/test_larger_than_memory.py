"""Data of three times the memory that a process may have: decoded, looked at and trained on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from finetune_core.data.cache import known
from finetune_core.recipe import Recipe
from tests.conftest import paint

MEMORY = 400  # MB that a process may allocate beside what PyTorch takes; files that are mapped do not count
SIDE = 512  # px, that are kept of each image; the model sees 32
EACH = SIDE * SIDE * 3

LIMITED = """
import resource, sys
import torch, timm, torchvision
[taken] = [int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmData")]
limit = taken + (int(sys.argv.pop(1)) << 20)
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
from finetune_core.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits what a process allocates, not what it maps")
def test_data_of_three_times_the_memory_train(tiny: Recipe, tmp_path: Path) -> None:
    paint(tmp_path / "few", per_class=4)
    folder = tmp_path / "many"
    for path in sorted((tmp_path / "few").rglob("*.png")):
        place = folder / path.parent.name
        place.mkdir(parents=True, exist_ok=True)
        for number in range(3 * (MEMORY << 20) // EACH // 12 + 1):
            os.link(path, place / f"{path.stem}-{number}.png")
    recipe = tiny.with_value("data.source.path", str(folder)).with_value("data.keep_side", SIDE)
    recipe = recipe.with_value("phases.0.epochs", 1)
    recipe.save(tmp_path / "recipe.yaml")
    for command in ("doctor", "train"):
        done = subprocess.run(
            [sys.executable, "-c", LIMITED, str(MEMORY), command, str(tmp_path / "recipe.yaml"), "--json"],
            capture_output=True,
            text=True,
            check=False,
        )
        copies = command == "doctor"  # which says so of all these links, by its exit status, too
        assert done.returncode == int(copies), done.stderr[-2000:]
    decoded = known(recipe.data.source.samples(), recipe.data.side)
    assert decoded is not None
    assert (decoded.folder / "pixels.bin").stat().st_size > 3 * (MEMORY << 20)
