"""The first images that anybody sees, got ready while people still read: drawn, decoded and looked at. No torch.

`python -m finetune_core.data.beforehand`, which the studio starts beside itself; it ends with its standard input, so
that it never outlives a studio that was killed.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading

from finetune_core.data import doctor
from finetune_core.recipe import Recipe


def main() -> None:
    """Do for the data of a new recipe what the page of data will ask for."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a studio started by `&` has passed on deaf ears
    threading.Thread(target=_end_with_the_input, daemon=True).start()
    data = Recipe().data
    doctor.examine(data.source.samples(), data.side, data.channels)


def _end_with_the_input() -> None:
    """Whoever has started this is gone: end as by Ctrl-C, which takes back what is half done."""
    while os.read(sys.stdin.fileno(), 1):  # not by Python's own reader: its lock, held at the end, would abort this
        pass
    _thread.interrupt_main()


if __name__ == "__main__":
    main()
