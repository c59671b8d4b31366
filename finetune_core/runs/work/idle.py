"""A process that has imported all that takes long, and forks a worker for each run that it is told of.

`python -m finetune_core.runs.work.idle RUNS`, which `standby` starts. A line on its standard input is an order; the
worker answers with its process id. It ends when nobody can give orders any more; its workers go on.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from finetune_core import cores
from finetune_core.network import catalogue
from finetune_core.runs import standby
from finetune_core.runs.work import worker

HEAVY = (
    "torchvision.transforms.v2",
    "timm",
    "finetune_core.training.loop",
    "finetune_core.runs.states.checkpoint",
    "finetune_core.finder.range_test",
    "finetune_core.finder.race",
)


def main() -> int:
    """Import, and wait for orders. It computes nothing itself, and asks for no GPU: neither survives a fork."""
    cores.share()
    for name in HEAVY:
        import_module(name)
    catalogue.entries()  # half a second to read
    gc.collect()
    gc.freeze()  # a worker's collector leaves what it shares with the others untouched
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how a worker has ended: its run says so
    os.write(sys.stdout.fileno(), standby.READY)
    for line in iter(sys.stdin.readline, ""):
        if not os.fork():
            return _work(json.loads(line))
    return 0


def _work(order: Mapping[str, Any]) -> int:
    """Work as if the run's folder had been named on the command line, in this environment."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.write(sys.stdout.fileno(), f"{os.getpid()}\n".encode())
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, place in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, place)
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv[1:] = [order["run"]]
    return worker.main()


if __name__ == "__main__":
    sys.exit(main())
