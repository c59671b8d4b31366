"""What a studio has done beside itself while people read."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune_core.blooms import PER_CLASS, place, so_far
from finetune_core.data import doctor
from finetune_core.places import ROOT, cache_dir
from finetune_core.recipe import Recipe

SHELLS = {"foreground": [], "background": ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]}


def begun(*shell: str) -> subprocess.Popen[bytes]:
    command = [*shell, sys.executable, "-m", "finetune_core.data.beforehand"]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE)


def ended(helper: subprocess.Popen[bytes], looks: Callable[[], object]) -> None:
    """Close its input once it has come so far, as its studio's end does."""
    while not looks():
        assert helper.poll() is None
        time.sleep(0.005)
    assert helper.stdin
    helper.stdin.close()
    assert helper.wait(20)


def kept() -> set[Path]:
    return {path for path in cache_dir().rglob("*") if path.is_file()}


@pytest.mark.usefixtures("blooms")
def test_the_images_are_looked_at_as_data_will_ask_for() -> None:
    with begun() as helper:
        assert helper.wait(120) == 0
        assert helper.stderr
        assert helper.stderr.read() == b""
    data = Recipe().data
    found = doctor.known(data.source.samples(), data.side, data.channels)
    assert found
    assert len(found.sides) == 12 * PER_CLASS


@pytest.mark.parametrize("shell", SHELLS.values(), ids=SHELLS)
def test_while_it_draws_it_ends_with_its_studio_and_leaves_nothing(shell: list[str]) -> None:
    """A shell's `&`, which `make run &` is, leaves a process deaf to Ctrl-C, and those that it starts too."""
    with begun(*shell) as helper:
        ended(helper, lambda: so_far(place()))
    assert kept() == set()


@pytest.mark.usefixtures("blooms")
def test_while_it_looks_it_ends_with_its_studio_and_leaves_nothing_half_done() -> None:
    with begun() as helper:
        ended(helper, lambda: [*cache_dir().glob("decoded/.*")])
    assert [path for path in kept() if "depths" not in path.parts] == []
