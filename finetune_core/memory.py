"""Memory that is freed after one step is kept for the next, instead of being handed back to the system.

The C library gives large blocks back as soon as they are free. Training frees and asks for hundreds of megabytes at
every step, and the system clears each page of them again: up to a third of the processor's time. See
`python -m benchmarks.memory`.
"""

from __future__ import annotations

import ctypes
import os
import platform

_TRIM, _MMAP = -1, -3  # glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD
_LARGEST = 1 << 30  # bytes of a block that is kept; larger ones are few
_OWN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")


def keep_freed() -> bool:
    """Keep freed blocks in this process from now on; says whether it is so.

    Only where the C library is glibc; a person's own settings, or another allocator, go first.
    """
    if platform.libc_ver()[0] != "glibc" or any(os.environ.get(name) for name in _OWN):
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(_MMAP, _LARGEST) and library.mallopt(_TRIM, _LARGEST))
