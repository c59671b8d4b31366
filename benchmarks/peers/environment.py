"""The peers' own virtual environment, beside the torch, torchvision and timm that Thaw has: equal, and there once."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import version
from pathlib import Path

from finetune_core import places

PEERS = ("fastai", "lightning", "torch-lr-finder")
SHARED = ("torch", "torchvision", "timm")
ASK = "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))"


class Environment:
    """Where the peers run: `versions` of what is there, and in words why the rest is `missing`."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or places.cache_dir() / "peers"
        self.python = str(self.folder / "bin" / "python")
        self.versions = {name: version(name) for name in SHARED}
        self.missing: dict[str, str] = {}

    def make(self) -> None:
        """Make it as far as it is not there yet."""
        try:
            self._folder()
        except (OSError, subprocess.CalledProcessError) as error:
            self.missing = dict.fromkeys(PEERS, f"a virtual environment cannot be made: {error}")
            return
        for name in PEERS:
            if found := self._found(name) or self._installed(name):
                self.versions[name] = found

    def _folder(self) -> None:
        if not Path(self.python).exists():
            venv.create(self.folder, with_pip=True, symlinks=True)
        theirs = sysconfig.get_path("purelib", vars={"base": str(self.folder), "platbase": str(self.folder)})
        (Path(theirs) / "thaw.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
        kept = "".join(f"{name}=={version(name)}\n" for name in SHARED)
        (self.folder / "constraints.txt").write_text(kept, encoding="utf-8")

    def _found(self, name: str) -> str:
        """The version of a peer that is there, or nothing."""
        return subprocess.run([self.python, "-c", ASK, name], capture_output=True, text=True).stdout.strip()

    def _installed(self, name: str) -> str:
        """Install a peer; its version, or nothing and a word on why not."""
        print(f"Installing {name} in {self.folder}", file=sys.stderr, flush=True)
        constraints = ["--constraint", str(self.folder / "constraints.txt")]
        command = [self.python, "-m", "pip", "install", "--quiet", *constraints, name]
        answer = subprocess.run(command, capture_output=True, text=True)
        if answer.returncode:
            self.missing[name] = f"it cannot be installed: {last_line(answer.stderr)}"
        return self._found(name)


def last_line(text: str) -> str:
    """The last line that says something."""
    return next((line for line in reversed(text.splitlines()) if line.strip()), "no word")[:200]
