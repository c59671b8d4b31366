"""A worker without a run yet, `python -m finetune_core.runs.work.idle RUNS`, told of one by a line (see `standby`).

All that takes long to import is there when the line comes. Without one it ends.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module

from finetune_core import cores
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
    """Wait, and then work as if the run's folder had been named on the command line."""
    cores.share()
    for name in HEAVY:
        import_module(name)
    os.write(sys.stdout.fileno(), standby.READY)
    line = sys.stdin.readline()
    if not line:  # the studio is gone
        return 0
    os.write(sys.stdout.fileno(), standby.READY)
    order = json.loads(line)
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, place in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, place)
    os.environ.update(order["variables"])
    sys.argv[1:] = [order["run"]]
    return worker.main()


if __name__ == "__main__":
    sys.exit(main())
