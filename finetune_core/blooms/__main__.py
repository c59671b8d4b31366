"""`python -m finetune_core.blooms FOLDER` draws the data set into a folder."""

from __future__ import annotations

import _thread
import argparse
import sys
import threading
from pathlib import Path

from finetune_core.blooms import ensure


def main() -> None:
    """Draw the set into the folder named on the command line, showing how far it is."""
    parser = argparse.ArgumentParser(prog="python -m finetune_core.blooms", description=__doc__)
    parser.add_argument("folder", type=Path, help="where to put the class folders")
    parser.add_argument("--beside", action="store_true", help="end when the standard input closes")
    options = parser.parse_args()
    if options.beside:
        threading.Thread(target=_end_with_the_input, daemon=True).start()

    def show(done: int, total: int) -> None:
        print(f"\rDrawing Blooms: {done} of {total}", end="" if done < total else "\n", file=sys.stderr, flush=True)

    print(ensure(options.folder, show))


def _end_with_the_input() -> None:
    """Whoever has started this is gone: end as by Ctrl-C, which takes back what is half done."""
    sys.stdin.buffer.read()
    _thread.interrupt_main()


if __name__ == "__main__":
    main()
