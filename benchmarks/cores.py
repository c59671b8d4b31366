"""What it brings that threads which wait soon let go of their core: a network's forward pass alone, and two at once.

    python -m benchmarks.cores [--rounds 3] [--seconds 6]

Prints images a second with threads that spin for a short time and for long (GNU OpenMP's default), in turn, and the
ratio.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from statistics import median

from finetune_core import cores, memory

WAYS: dict[str, dict[str, str]] = {"short": {cores.SPINS: cores.SHORT}, "long": {}}


def main() -> None:
    """Measure in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(_one(options.seconds))
        return
    for count in (1, 2):
        found: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(options.rounds):
            for way, each in found.items():
                each.append(_together(count, way, options.seconds))
        short, long = (median(each) for each in found.values())
        print(
            f"{count} at once: short {short:7.1f}   long {long:7.1f} images/s together   {short / long:.2f}", flush=True
        )


def _together(count: int, way: str, seconds: float) -> float:
    """Images a second of so many processes at once, added up."""
    env = {name: value for name, value in os.environ.items() if name not in cores.OWN} | WAYS[way]
    command = [sys.executable, "-m", "benchmarks.cores", "--one", "--seconds", str(seconds)]
    started = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    return sum(float(each.communicate()[0]) for each in started)


def _one(seconds: float) -> float:
    import timm
    import torch

    memory.keep_freed()
    module = timm.create_model("mobilenetv2_100").eval().to(memory_format=torch.channels_last)
    images = torch.rand(32, 3, 160, 160).contiguous(memory_format=torch.channels_last)
    done = 0
    with torch.inference_mode():
        module(images)
        started = time.perf_counter()
        while time.perf_counter() - started < seconds:
            module(images)
            done += len(images)
    return done / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
