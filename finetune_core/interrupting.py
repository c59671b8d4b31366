"""Ctrl-C while a program still loads what it needs: it ends in a word.

Python would raise a KeyboardInterrupt in the midst of a library's import, which prints a traceback of that library's,
or swallows it and goes on.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ending_at_once() -> Iterator[None]:
    """Let Ctrl-C end the process with exit code 130; there must be nothing yet that would have to be saved."""
    before = signal.signal(signal.SIGINT, _end)
    yield
    if signal.getsignal(signal.SIGINT) is _end:  # else somebody listens now
        signal.signal(signal.SIGINT, before)


def _end(*_: object) -> None:
    os.write(2, b"Stopped.\n")
    os._exit(130)
