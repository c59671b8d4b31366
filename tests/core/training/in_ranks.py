"""Started by torchrun in the tests: each process does the jobs of some run folders, one after the other.

An argument is a folder, or `folder@N` to ask for a stop at step N, or `folder@N=rate x0.5` for a change there.
"""

import sys
from pathlib import Path

from finetune_core.recipe.changes import parsed
from finetune_core.runs.store import Run
from finetune_core.runs.work.worker import work
from finetune_core.training import distributed


def main() -> int:
    distributed.join()
    for argument in sys.argv[1:]:
        folder, _, asked = argument.partition("@")
        stop_at, _, change = asked.partition("=")
        run = Run(Path(folder))

        def watch(record, run=run, stop_at=stop_at, change=change) -> None:
            if not stop_at or record.kind != "step" or record.step != int(stop_at) - 1:
                return
            if not change:
                run.ask("stop")
            elif not distributed.rank():
                run.ask_change(parsed(change).model_dump(mode="json"))

        if work(run, watch):
            return 1
        if (
            stop_at
            and not change
            and not distributed.rank()
            and (run.status.state, run.status.step) != ("stopped", int(stop_at))
        ):
            return 1
    distributed.leave()
    return 0


if __name__ == "__main__":
    distributed.end(main())
