"""What a run survives: kills, signals, full disks, damaged files, broken numbers, crowds; each done to real runs.

    python -m benchmarks.faults [--kills 50] [--aimed 10] [--seed 0] [--only "killed" …]

After each fault the run goes on to its end and is compared with a run that nothing happened to: records and weights
bit by bit, the status, what is left in the folder, and the words. Exit code 1 where a trial fails.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.faults import crowds, disk, kills, troubles, wishes
from benchmarks.faults.lives import Lab
from benchmarks.faults.trials import HEAD, Trial, outcome, row

Scenarios = dict[str, Callable[[Lab], Iterator[Trial]]]


def scenarios(options: argparse.Namespace) -> Scenarios:
    """All of them, by name."""
    return {
        "kill -9, any moment": lambda lab: kills.killed(lab, options.kills),
        "kill -9, aimed": lambda lab: kills.aimed(lab, options.aimed),
        "signals": lambda lab: kills.signalled(lab, options.signals),
        "disk full, each file": lambda lab: disk.refused(lab, "ENOSPC"),
        "read-only, each file": lambda lab: disk.refused(lab, "EROFS"),
        "disk full, really": disk.full,
        "each file damaged": disk.damaged,
        "nan, memory": troubles.broken,
        "two at once": crowds.at_once,
        "a queue of four": crowds.queued,
        "several processes": lambda lab: crowds.several(lab, options.several),
        "pause, stop, stop --now": wishes.asked,
    }


def main() -> int:
    """Do them, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="at random moments (default 50)")
    parser.add_argument("--aimed", type=int, default=10, help="at the files of a checkpoint (default 10)")
    parser.add_argument("--signals", type=int, default=4, help="of each kind (default 4)")
    parser.add_argument("--several", type=int, default=1, help="of each of several processes (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="of chance (default 0)")
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="scenarios whose names hold a word")
    options = parser.parse_args()
    lines, failed = [HEAD], 0
    with tempfile.TemporaryDirectory(prefix="thaw-faults-") as folder:
        lab = Lab(Path(folder), options.seed)
        os.environ |= lab.variables
        for name, trials in scenarios(options).items():
            if not any(word in name for word in options.only):
                continue
            outcomes = []
            for trial in trials(lab):
                outcomes.append(found := outcome(trial))
                for problem in found.problems:
                    print(f"{name}: {trial.name}: {problem.kind}: {problem.text}", file=sys.stderr, flush=True)
            failed += sum(bool(each.problems) for each in outcomes)
            lines.append(row(name, outcomes))
            print(lines[-1], file=sys.stderr, flush=True)
    print("\n".join(lines))
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
