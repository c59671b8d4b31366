"""Ctrl-C while everything is still loading: a word, no traceback, and nothing goes on."""

import os
import signal
import subprocess
import sys

import pytest

from finetune_core.places import ROOT


@pytest.mark.parametrize(
    ("module", "late"),
    [
        ("finetune_core runs", ["pathlib", "pydantic", "finetune_core.parts"]),
        (
            "pages.ui.frame.serve app.py --server.headless true",
            ["urllib.parse", "streamlit.errors", "pandas", "huggingface_hub"],
        ),
    ],
)
def test_an_early_ctrl_c_ends_in_a_word(module: str, late: list[str]) -> None:
    for import_of in late:
        child = subprocess.Popen(
            [sys.executable, "-X", "importtime", "-m", *module.split()],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert child.stderr
        for line in child.stderr:  # a line for each import that has been made
            if line.rpartition("|")[2].strip().startswith(import_of):
                os.kill(child.pid, signal.SIGINT)
                break
        said = [line.strip() for line in child.stderr if not line.startswith("import time:")]
        assert (said, child.wait(60)) == (["Stopped."], 130), import_of
