"""The page about speed: what was measured, on what, and what each row means."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.peers.measured import Measured
from finetune_core import machine, places

HEAD = """# How quick Thaw is beside its peers

Written by `{command}`, which measures all of this again; do not edit it by hand.

The same images (clothing10, {train} to learn from and {valid} to measure on), the same weights (timm's
mobilenetv2_100), 160 px, batches of 32, a random crop and flip, fp32. Each side works in a process of its own with
nothing kept from before; the sides take turns, {rounds}, and medians are shown with their range. The peers have two
loader workers, and their own habits otherwise. *Thaw is … times better* is the ratio of medians. Last comes each peer
once more with freed memory kept by glibc's thresholds, which Thaw sets for itself (`benchmarks/memory.py`); the factor
behind it is Thaw's median beside that.
"""
HABITS = """
Frozen layers' norms hold still at Thaw, plain torch, timm's loader, Lightning and torch-lr-finder. fastai trains them,
which is its habit, and so works through all layers backwards; *norms held* is fastai told to leave them alone
(`train_bn=False`).
"""


def page(found: Sequence[Measured], about: Mapping[str, str]) -> str:
    """The whole page."""
    missing = {name: why for each in found for name, why in each.troubles().items()}
    parts = [
        HEAD.format(**about),
        *(_facts(about["machine"], about["versions"])),
        "\n## Goals\n\n" + _table(("", "goal", "reached"), goals(found)),
        "\n## The table\n\n" + "\n".join(_section(each) for each in found),
        HABITS,
    ]
    if missing:
        parts.append("\n## What is missing\n\n" + "".join(f"- {name}: {why}\n" for name, why in missing.items()))
    return "".join(parts)


def goals(found: Sequence[Measured]) -> Iterator[tuple[str, str, str]]:
    """For each row with a goal: its name, the goal, what was reached."""
    for each in found:
        if goal := each.row.goal:
            reached = each.reached()
            word = "not measured, or not reached at all" if reached is None else f"{reached:.2f} ×"
            mark = "" if reached is None else (" ✓" if reached >= goal.factor else " (not reached)")
            yield each.row.title, f"{goal.factor:g} × {goal.words}", word + mark


def machine_facts(device: str) -> str:
    """The machine in a line."""
    about = machine.facts()
    gpus = ", ".join(f"{each.name} ({each.memory_gb:.0f} GB)" for each in about.gpus) if device == "cuda" else ""
    busy = f"load {load():.1f} before it began"
    parts = (_processor(), f"{about.cores} cores", f"{about.memory_gb:.0f} GB", gpus, platform.platform(), busy)
    return ", ".join(filter(None, parts))


def load() -> float:
    """How many processes wanted to run in the last minute, in the mean; 0 where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def versions(peers: Mapping[str, str]) -> str:
    """All that took part, with versions."""
    named = {"Thaw": _commit(), "Python": platform.python_version(), **peers}
    named["glibc"] = platform.libc_ver()[1]
    named["Pillow"] = importlib.metadata.version("pillow")
    return ", ".join(f"{name} {each}" for name, each in named.items() if each)


def _facts(machine: str, versions: str) -> tuple[str, str, str]:
    return f"\nMachine: {machine}.  \n", f"Versions: {versions}.  \n", f"Measured on {time.strftime('%d %B %Y')}.\n"


def _section(each: Measured) -> str:
    lines = ((name, *each.cells(name)) for name in each.row.entries)
    head = ("", each.row.unit, "Thaw is … times better", "freed memory kept")
    footnote = f"\n{said}\n" if (said := each.footnote()) else ""
    return f"### {each.row.title}\n\n{each.row.about}\n\n{_table(head, lines)}{footnote}"


def _table(head: Sequence[str], lines: Iterator[tuple[str, ...]]) -> str:
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rule, *lines))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str:
    command = ["git", "-C", str(places.ROOT), "rev-parse", "--short", "HEAD"]
    answer = subprocess.run(command, capture_output=True, text=True)
    return answer.stdout.strip()
