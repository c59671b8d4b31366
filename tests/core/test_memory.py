"""Freed memory stays with the process: the second time, no page is cleared again."""

import os
import platform
import subprocess
import sys

import pytest

CODE = """
import resource, numpy
from finetune_core import memory
print(memory.keep_freed() if {keep} else False)
numpy.ones(30_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    numpy.ones(30_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def asked(keep: bool, **variables: str) -> tuple[bool, int]:
    """Whether it is kept, and how many pages were cleared for 1.2 GB in five blocks."""
    answer = subprocess.run(
        [sys.executable, "-c", CODE.format(keep=keep)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **variables},
    )
    kept, faults = answer.stdout.split()
    return kept == "True", int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_freed_blocks_are_used_again() -> None:
    _, returned = asked(keep=False)
    kept, faults = asked(keep=True)
    assert kept
    assert faults < returned / 20


def test_a_persons_own_settings_go_first() -> None:
    assert not asked(keep=True, MALLOC_TRIM_THRESHOLD_="131072")[0]
