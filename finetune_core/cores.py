"""Cores that others want, too: a thread that waits lets go of its core.

On the processor PyTorch computes with OpenMP, whose threads wait for each other after every operation. GNU's has
them spin meanwhile; as soon as anything else wants the cores (a browser, a second run), they spin on the core that the
one they wait for needs: two trainings at once on two cores take twelve times as long instead of twice.
`python -m benchmarks.cores` measures it.
"""

from __future__ import annotations

import os

POLICY = "OMP_WAIT_POLICY"
OWN = (POLICY, "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def share() -> None:
    """Have waiting threads sleep, in this process and in those that it starts; to be called before PyTorch is loaded.

    A person's own settings go first.
    """
    if not any(name in os.environ for name in OWN):
        os.environ[POLICY] = "PASSIVE"
