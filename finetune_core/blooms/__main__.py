"""`python -m finetune_core.blooms FOLDER` draws the data set into a folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from finetune_core.blooms import ensure


def main() -> None:
    """Draw the set into the folder named on the command line, showing how far it is."""
    parser = argparse.ArgumentParser(prog="python -m finetune_core.blooms", description=__doc__)
    parser.add_argument("folder", type=Path, help="where to put the class folders")
    options = parser.parse_args()

    def show(done: int, total: int) -> None:
        print(f"\rDrawing Blooms: {done} of {total}", end="" if done < total else "\n", file=sys.stderr, flush=True)

    print(ensure(options.folder, show))


if __name__ == "__main__":
    main()
